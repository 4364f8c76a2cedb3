//! The state behind the lock: objects, versions and the history watches are served from.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::{
    calls::Call,
    error::ApiError,
    faults::Faults,
    kinds::{KINDS, Kind},
    list::Snapshot,
    logs::{Follows, Log, LogKey},
    watch::Watches,
};

/// Plural, namespace (empty if cluster-scoped), name.
pub(super) type Key = (&'static str, String, String);

/// Changes kept for watches; older ones are compacted away.
const HISTORY: usize = 4096;

/// One change of one object, as watches see it.
#[derive(Clone)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) plural: &'static str,
    pub(super) old: Option<Arc<Value>>,
    /// The object after the change, or as it was last when it is deleted.
    pub(super) new: Arc<Value>,
    pub(super) deleted: bool,
}

/// A change of an object, as an observer sees it.
pub struct Seen<'a> {
    /// Label of the client whose request made it, garbage collected for it included; empty for the test's own.
    pub by: &'a str,
    /// The kind.
    pub plural: &'static str,
    /// The object before, unless it is new.
    pub old: Option<&'a Value>,
    /// The object after, or as it was last.
    pub new: &'a Value,
    /// Whether it is gone.
    pub deleted: bool,
}

/// What a kind's writes are run through before they are stored.
pub(super) type Admission = Arc<dyn Fn(Option<&Value>, &mut Value) -> Result<(), ApiError> + Send + Sync>;
/// Who sees every change as it is made; it must not use the server.
pub(super) type Observer = Arc<dyn Fn(&Seen<'_>) + Send + Sync>;
/// What answers the creates of a review kind.
pub(super) type Review = Arc<dyn Fn(&Value) -> Result<Value, ApiError> + Send + Sync>;

/// Behaviours a test can switch.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Refuse creates in namespaces that do not exist (default: no).
    pub enforce_namespaces: bool,
    /// Collect garbage after each delete (default: yes).
    pub collect_garbage: bool,
    /// Keep deleted, scheduled, unfinished pods until
    /// [`finish_pod_deletion`](super::ApiServer::finish_pod_deletion) (default: no).
    pub graceful_pod_deletion: bool,
    /// How far the clock moves with each created object (default: one second).
    pub clock_step: SignedDuration,
    /// What tells the time, in place of a clock that stands still (default: nothing).
    pub clock: Option<fn() -> Timestamp>,
}

/// Everything the server knows.
pub(super) struct State {
    pub(super) kinds: Vec<Kind>,
    pub(super) options: Options,
    pub(super) objects: BTreeMap<Key, Arc<Value>>,
    pub(super) version: u64,
    pub(super) clock: Timestamp,
    pub(super) history: VecDeque<Change>,
    /// Versions below this one cannot be watched from.
    pub(super) oldest: u64,
    /// Version of the newest change dropped from the history.
    pub(super) dropped: u64,
    pub(super) snapshots: VecDeque<Snapshot>,
    /// Last applied configuration by object, manager and whether it was of the status.
    pub(super) applied: BTreeMap<Key, HashMap<(String, bool), Value>>,
    pub(super) admission: HashMap<&'static str, Admission>,
    pub(super) reviews: HashMap<&'static str, Review>,
    pub(super) logs: HashMap<LogKey, Log>,
    pub(super) follows: Follows,
    pub(super) faults: Faults,
    pub(super) calls: Vec<Call>,
    /// Number of the first of the calls kept.
    pub(super) first_call: usize,
    pub(super) watches: Watches,
    pub(super) observer: Option<Observer>,
    /// Number of the client whose request is being carried out.
    pub(super) acting: Option<usize>,
    uids: u64,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            kinds: KINDS.to_vec(),
            options: Options {
                enforce_namespaces: false,
                collect_garbage: true,
                graceful_pod_deletion: false,
                clock_step: SignedDuration::from_secs(1),
                clock: None,
            },
            objects: BTreeMap::new(),
            version: 1,
            // 2026-01-01T00:00:00Z
            clock: Timestamp::constant(1_767_225_600, 0),
            history: VecDeque::new(),
            oldest: 1,
            dropped: 0,
            snapshots: VecDeque::new(),
            applied: BTreeMap::new(),
            admission: HashMap::new(),
            reviews: HashMap::new(),
            logs: HashMap::new(),
            follows: Follows::default(),
            faults: Faults::default(),
            calls: Vec::new(),
            first_call: 0,
            watches: Watches::default(),
            observer: None,
            acting: None,
            uids: 0,
        }
    }

    /// The kind with this plural. A test naming an unknown one has a typo: it panics.
    pub(super) fn kind(&self, plural: &str) -> Kind {
        let found = self.kinds.iter().find(|kind| kind.plural == plural);
        *found.unwrap_or_else(|| panic!("no kind {plural} in the fake API server"))
    }

    /// Moves the clock on as an object is created, and tells the time as objects carry it.
    pub(super) fn stamp(&mut self) -> String {
        self.clock += self.options.clock_step;
        rfc3339(self.clock)
    }

    pub(super) fn next_uid(&mut self) -> String {
        self.uids += 1;
        format!("00000000-0000-4000-8000-{:012x}", self.uids)
    }

    /// Fills in what the server owns in the metadata of a new object.
    pub(super) fn birth(&mut self, kind: &Kind, object: &mut Value) {
        let (stamp, uid) = (self.stamp(), self.next_uid());
        let meta = &mut object["metadata"];
        meta["uid"] = json!(uid);
        meta["creationTimestamp"] = json!(stamp);
        if kind.generation {
            meta["generation"] = json!(1);
        }
    }

    /// Stores `object` under a new version and records the change.
    pub(super) fn store(&mut self, key: &Key, mut object: Value) -> Arc<Value> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let new = Arc::new(object);
        let old = self.objects.insert(key.clone(), Arc::clone(&new));
        self.record(key.0, old, Arc::clone(&new), false);
        new
    }

    /// Removes an object whose last state is `last` and records the deletion.
    pub(super) fn erase(&mut self, key: &Key, mut last: Value) -> Arc<Value> {
        self.version += 1;
        last["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let last = Arc::new(last);
        let old = self.objects.remove(key);
        self.applied.remove(key);
        if key.0 == "pods" {
            self.logs.retain(|(namespace, name, _), _| (namespace, name) != (&key.1, &key.2));
        }
        self.record(key.0, old, Arc::clone(&last), true);
        last
    }

    fn record(&mut self, plural: &'static str, old: Option<Arc<Value>>, new: Arc<Value>, deleted: bool) {
        if let Some(observer) = &self.observer {
            let by = self.acting.map_or("", |client| self.faults.label(client));
            observer(&Seen { by, plural, old: old.as_deref(), new: &new, deleted });
        }
        self.history.push_back(Change { version: self.version, plural, old, new, deleted });
        if self.history.len() > HISTORY
            && let Some(gone) = self.history.pop_front()
        {
            self.dropped = gone.version;
            self.oldest = self.oldest.max(gone.version);
        }
    }

    /// Makes every version handed out so far too old to watch or to page from.
    pub(super) fn compact(&mut self) {
        self.dropped = self.history.back().map_or(self.dropped, |c| c.version);
        self.history.clear();
        self.snapshots.clear();
        self.version += 1;
        self.oldest = self.version;
    }

    /// Objects of one kind, in one namespace or (if empty) in all.
    pub(super) fn of_kind(&self, plural: &str, namespace: &str) -> Vec<Arc<Value>> {
        self.objects
            .iter()
            .filter(|(key, _)| key.0 == plural && (namespace.is_empty() || key.1 == namespace))
            .map(|(_, object)| Arc::clone(object))
            .collect()
    }

    fn call(&mut self, id: usize) -> Option<&mut Call> {
        // Calls forgotten meanwhile have smaller numbers.
        self.calls.get_mut(id.checked_sub(self.first_call)?)
    }

    /// Notes that a call reached the state.
    pub(super) fn applied_call(&mut self, id: usize) {
        if let Some(call) = self.call(id) {
            call.applied = true;
        }
    }

    /// Notes how a call was answered.
    pub(super) fn answered_call(&mut self, id: usize, code: u16) {
        if let Some(call) = self.call(id) {
            call.code = Some(code);
        }
    }
}

/// A string inside an object, by JSON pointer.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer)?.as_str()
}

/// A label of an object.
pub(super) fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/labels")?.get(key)?.as_str()
}

/// A string of an object's metadata; empty if it is missing.
pub(super) fn meta<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// Where an object of this kind belongs.
pub(super) fn key_of(kind: &Kind, object: &Value) -> Key {
    let namespace = if kind.namespaced { meta(object, "namespace").to_owned() } else { String::new() };
    (kind.plural, namespace, meta(object, "name").to_owned())
}

/// Whether a list in the metadata has entries.
pub(super) fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|list| !list.is_empty())
}

/// Whether the object is only waiting to be removed.
pub(super) fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// Drops nulls, and metadata collections left empty, as the real server never stores them.
pub(super) fn normalise(object: &mut Value) {
    drop_nulls(object);
    let Some(meta) = object["metadata"].as_object_mut() else {
        return;
    };
    meta.remove("managedFields");
    for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
        let empty = meta.get(field).is_some_and(|value| {
            value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
        });
        if empty {
            meta.remove(field);
        }
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// A time as objects carry it: whole seconds, UTC.
pub(super) fn rfc3339(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
