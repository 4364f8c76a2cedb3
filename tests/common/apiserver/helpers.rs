//! What a test does to the objects directly, past all checks and without a trace in the calls.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    ApiServer,
    error::ApiError,
    kinds::Kind,
    ops::essence,
    store::{Key, Seen, State, key_of, meta, normalise},
};

fn key(kind: &Kind, namespace: &str, name: &str) -> Key {
    let namespace = if kind.namespaced { namespace } else { "" };
    (kind.plural, namespace.to_owned(), name.to_owned())
}

fn upsert(state: &mut State, kind: &Kind, mut object: Value) -> Value {
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    object["apiVersion"] = json!(kind.api_version());
    object["kind"] = json!(kind.kind);
    if kind.namespaced && meta(&object, "namespace").is_empty() {
        object["metadata"]["namespace"] = json!("default");
    }
    normalise(&mut object);
    let given = object["metadata"].clone();
    if meta(&object, "uid").is_empty() {
        state.birth(kind, &mut object);
    }
    for field in ["creationTimestamp", "generation"] {
        if !given[field].is_null() {
            object["metadata"][field] = given[field].clone();
        }
    }
    let key = key_of(kind, &object);
    assert!(!key.2.is_empty(), "the object has no name: {object}");
    (*state.store(&key, object)).clone()
}

impl ApiServer {
    /// An object as it is now.
    pub fn get(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        let state = self.lock();
        let key = key(&state.kind(plural), namespace, name);
        state.objects.get(&key).map(|object| (**object).clone())
    }

    /// All objects of a kind, in one namespace or (if empty) in all, by namespace and name.
    pub fn list(&self, plural: &str, namespace: &str) -> Vec<Value> {
        let state = self.lock();
        let plural = state.kind(plural).plural;
        let found = state.of_kind(plural, namespace);
        found.iter().map(|object| (**object).clone()).collect()
    }

    /// Puts an object in place, status and all; what its metadata lacks is filled in.
    pub fn insert(&self, plural: &str, object: Value) -> Value {
        self.change(|state| {
            let kind = state.kind(plural);
            upsert(state, &kind, object)
        })
    }

    /// Changes an object in place, as another writer would: it gets a new version, and a new
    /// generation if anything but metadata and status changes. `change` must not use the server.
    pub fn update(&self, plural: &str, namespace: &str, name: &str, change: impl FnOnce(&mut Value)) -> Value {
        self.change(|state| {
            let kind = state.kind(plural);
            let key = key(&kind, namespace, name);
            let Some(old) = state.objects.get(&key).cloned() else {
                panic!("{plural} {namespace}/{name} does not exist");
            };
            let mut new = (*old).clone();
            change(&mut new);
            normalise(&mut new);
            if new == *old {
                return new;
            }
            if kind.generation && essence(&new) != essence(&old) {
                let generation = old["metadata"]["generation"].as_i64().unwrap_or(0);
                new["metadata"]["generation"] = json!(generation + 1);
            }
            (*state.put_or_finish(&key, new)).clone()
        })
    }

    /// Removes an object, finalizers or not; tells whether it was there.
    pub fn remove(&self, plural: &str, namespace: &str, name: &str) -> bool {
        self.change(|state| {
            let kind = state.kind(plural);
            let key = key(&kind, namespace, name);
            let Some(last) = state.objects.get(&key).cloned() else {
                return false;
            };
            state.finish_delete(&key, (*last).clone());
            if state.options.collect_garbage {
                state.collect_garbage();
            }
            true
        })
    }

    /// Deletes objects whose owners are all gone, with theirs, and finishes foreground deletions.
    pub fn collect_garbage(&self) {
        self.change(State::collect_garbage);
    }

    /// Makes all versions handed out so far too old to watch or to page from. Watches that are
    /// open and have missed nothing go on.
    pub fn compact(&self) {
        self.change(State::compact);
    }

    /// The newest version of all.
    pub fn version(&self) -> u64 {
        self.lock().version
    }

    /// Runs all writes of a kind through `admission`, which may change the new object (to set
    /// defaults) or refuse it; the old one is `None` for creates. It must not use the server.
    pub fn admit(
        &self,
        plural: &str,
        admission: impl Fn(Option<&Value>, &mut Value) -> Result<(), ApiError> + Send + Sync + 'static,
    ) {
        let mut state = self.lock();
        let plural = state.kind(plural).plural;
        state.admission.insert(plural, Arc::new(admission));
    }

    /// Has `observer` see every change as it is made, in order. It must not use the server.
    pub fn observe(&self, observer: impl Fn(&Seen<'_>) + Send + Sync + 'static) {
        self.lock().observer = Some(Arc::new(observer));
    }

    /// Answers the creates of a review kind: what is returned becomes the answer's `status`.
    pub fn on_review(&self, plural: &str, review: impl Fn(&Value) -> Result<Value, ApiError> + Send + Sync + 'static) {
        let mut state = self.lock();
        let plural = state.kind(plural).plural;
        state.reviews.insert(plural, Arc::new(review));
    }
}
