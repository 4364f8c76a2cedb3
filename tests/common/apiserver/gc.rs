//! Deletion: finalizers, graceful pods, propagation and garbage collection.

use std::{collections::BTreeSet, sync::Arc};

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{
    error::ApiError,
    kinds::Kind,
    store::{Key, State, has_finalizers, is_deleting, meta, rfc3339, text},
};

const FOREGROUND: &str = "foregroundDeletion";

/// What a delete leaves behind.
pub(super) enum Deleted {
    /// The object is gone; this was its last state.
    Gone(Arc<Value>),
    /// It waits for finalizers or for its grace period.
    Waiting(Arc<Value>),
}

impl State {
    /// Deletes as a client asks with `options` (a `DeleteOptions` object).
    pub(super) fn delete(
        &mut self,
        kind: &Kind,
        key: &Key,
        options: &Value,
        dry_run: bool,
    ) -> Result<Deleted, ApiError> {
        let old = self.existing(kind, key)?;
        preconditions(kind, &old, &options["preconditions"])?;
        let policy = options["propagationPolicy"].as_str().unwrap_or_default();
        let grace = self.grace(kind, &old, options);
        let mut new = (*old).clone();
        if policy == "Foreground" && !has_finalizer(&new, FOREGROUND) {
            match new["metadata"]["finalizers"].as_array_mut() {
                Some(list) => list.push(json!(FOREGROUND)),
                None => new["metadata"]["finalizers"] = json!([FOREGROUND]),
            }
        }
        let waits = has_finalizers(&new) || grace > 0;
        if dry_run {
            return Ok(if waits { Deleted::Waiting(old) } else { Deleted::Gone(old) });
        }
        if policy == "Orphan" {
            self.orphan_dependents(&old);
        }
        let outcome = if waits {
            let shorter = old["metadata"]["deletionGracePeriodSeconds"].as_i64().is_none_or(|seconds| grace < seconds);
            if !is_deleting(&old) || shorter || policy == "Foreground" {
                let at = self.clock + SignedDuration::from_secs(grace);
                if !is_deleting(&old)
                    && let Some(generation) = new["metadata"]["generation"].as_i64()
                {
                    new["metadata"]["generation"] = json!(generation + 1);
                }
                if !is_deleting(&old) || shorter {
                    new["metadata"]["deletionTimestamp"] = json!(rfc3339(at));
                    new["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
                }
                let stored = if new == *old { old } else { self.store(key, new) };
                Deleted::Waiting(stored)
            } else {
                Deleted::Waiting(old)
            }
        } else {
            Deleted::Gone(self.finish_delete(key, new))
        };
        if self.options.collect_garbage {
            self.collect_garbage();
        }
        Ok(outcome)
    }

    /// How long this object lingers: only pods do, and only if the test asked for it.
    fn grace(&self, kind: &Kind, object: &Value, options: &Value) -> i64 {
        let finished = matches!(text(object, "/status/phase"), Some("Succeeded" | "Failed"));
        let scheduled = text(object, "/spec/nodeName").is_some_and(|node| !node.is_empty());
        if kind.plural != "pods" || !self.options.graceful_pod_deletion || finished || !scheduled {
            return 0;
        }
        options["gracePeriodSeconds"]
            .as_i64()
            .or_else(|| object["spec"]["terminationGracePeriodSeconds"].as_i64())
            .unwrap_or(30)
    }

    /// Removes an object, and with a namespace all that is in it.
    pub(super) fn finish_delete(&mut self, key: &Key, last: Value) -> Arc<Value> {
        if key.0 == "namespaces" {
            let inside: Vec<Key> = self.objects.keys().filter(|k| k.1 == key.2).cloned().collect();
            for inner in inside {
                if let Some(object) = self.objects.get(&inner).cloned() {
                    self.erase(&inner, (*object).clone());
                }
            }
        }
        self.erase(key, last)
    }

    /// Deletes objects all of whose owners are gone, finishes foreground deletions, and repeats
    /// until nothing changes.
    pub(super) fn collect_garbage(&mut self) {
        while self.collect_once() {}
    }

    fn collect_once(&mut self) -> bool {
        let living: BTreeSet<String> = self.objects.values().map(|object| meta(object, "uid").to_owned()).collect();
        let foreground: BTreeSet<String> = self
            .objects
            .values()
            .filter(|object| is_deleting(object) && has_finalizer(object, FOREGROUND))
            .map(|object| meta(object, "uid").to_owned())
            .collect();
        let dependents: Vec<(Key, Arc<Value>)> = self
            .objects
            .iter()
            .filter(|(_, object)| !is_deleting(object))
            .filter(|(_, object)| {
                let owners = object["metadata"]["ownerReferences"].as_array();
                owners.is_some_and(|owners| {
                    !owners.is_empty()
                        && owners.iter().all(|owner| {
                            let uid = owner["uid"].as_str().unwrap_or_default();
                            foreground.contains(uid) || (self.knows(owner) && !living.contains(uid))
                        })
                })
            })
            .map(|(key, object)| (key.clone(), Arc::clone(object)))
            .collect();
        let mut changed = false;
        for (key, object) in dependents {
            changed = true;
            let kind = self.kind(key.0);
            let automatic = self.options.collect_garbage;
            // Not again from inside: the loop around this one goes on until all is done.
            self.options.collect_garbage = false;
            let background = json!({"propagationPolicy": "Background"});
            drop(self.delete(&kind, &key, &background, false));
            self.options.collect_garbage = automatic;
            drop(object);
        }
        for uid in foreground {
            changed |= self.finish_foreground(&uid);
        }
        changed
    }

    /// Drops the finalizer of a foreground deletion no dependent blocks any more.
    fn finish_foreground(&mut self, uid: &str) -> bool {
        let blocked = self.objects.values().any(|object| {
            let owners = object["metadata"]["ownerReferences"].as_array();
            owners.into_iter().flatten().any(|o| o["uid"] == uid && o["blockOwnerDeletion"] == true)
        });
        let owner = self.objects.iter().find(|(_, object)| meta(object, "uid") == uid);
        let Some((key, object)) = owner.filter(|_| !blocked) else {
            return false;
        };
        let (key, mut object) = (key.clone(), (**object).clone());
        if let Some(list) = object["metadata"]["finalizers"].as_array_mut() {
            list.retain(|finalizer| finalizer != FOREGROUND);
        }
        if has_finalizers(&object) {
            self.store(&key, object);
        } else {
            self.finish_delete(&key, object);
        }
        true
    }

    /// Whether the owner is of a kind this server has, so that its absence means something.
    fn knows(&self, owner: &Value) -> bool {
        self.kinds.iter().any(|kind| owner["kind"] == kind.kind && owner["apiVersion"] == kind.api_version().as_str())
    }

    fn orphan_dependents(&mut self, owner: &Value) {
        let uid = meta(owner, "uid").to_owned();
        let all: Vec<(Key, Arc<Value>)> =
            self.objects.iter().map(|(key, object)| (key.clone(), Arc::clone(object))).collect();
        for (key, object) in all {
            let mut new = (*object).clone();
            let Some(owners) = new["metadata"]["ownerReferences"].as_array_mut() else {
                continue;
            };
            let before = owners.len();
            owners.retain(|owner| owner["uid"] != uid.as_str());
            if owners.len() < before {
                super::store::normalise(&mut new);
                self.store(&key, new);
            }
        }
    }
}

fn has_finalizer(object: &Value, name: &str) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|list| list.iter().any(|finalizer| finalizer == name))
}

fn preconditions(kind: &Kind, object: &Value, wanted: &Value) -> Result<(), ApiError> {
    let name = meta(object, "name");
    if let Some(uid) = wanted["uid"].as_str()
        && uid != meta(object, "uid")
    {
        let why =
            format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", meta(object, "uid"));
        return Err(ApiError::conflict(kind, name, &why));
    }
    if let Some(version) = wanted["resourceVersion"].as_str()
        && version != meta(object, "resourceVersion")
    {
        let why = format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). The object might have been modified",
            meta(object, "resourceVersion")
        );
        return Err(ApiError::conflict(kind, name, &why));
    }
    Ok(())
}
