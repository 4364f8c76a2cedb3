//! The batches that there are, as small views, fed by a watch and by what this process itself created and deleted.
//!
//! What the cache holds of one batch moves forward only: an older version never replaces a newer, a final phase
//! never changes, and a batch that was deleted does not come back, whatever order the news arrives in.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use kube::ResourceExt as _;

use crate::api::{FACADE_NAME_PREFIX, SparkBatch};
use crate::livy::{BatchView, list_range};

/// Deleted batches that are remembered, so that late news of them is known for what it is.
const MAX_DELETED: usize = 10_000;

/// Views of all batches, by namespace and id.
#[derive(Default)]
pub(in crate::facade) struct BatchCache {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    namespaces: HashMap<String, Batches>,
    /// Where the batch of a uid is.
    places: HashMap<String, Place>,
    deleted: HashSet<String>,
    deleted_in_order: VecDeque<String>,
}

#[derive(Clone)]
struct Place {
    namespace: String,
    id: i32,
}

#[derive(Default)]
struct Batches {
    by_id: BTreeMap<i32, Entry>,
    by_name: BTreeMap<String, BTreeSet<i32>>,
    /// The highest id that was ever seen here.
    highest: i32,
}

struct Entry {
    view: Arc<BatchView>,
    version: u64,
    /// The watch has not shown it yet: this process created or read it.
    fresh: bool,
}

impl BatchCache {
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The batch of an id.
    pub(in crate::facade) fn by_id(&self, namespace: &str, id: i32) -> Option<Arc<BatchView>> {
        let inner = self.read();
        inner.namespaces.get(namespace)?.by_id.get(&id).map(|entry| Arc::clone(&entry.view))
    }

    /// The latest batch of a name.
    pub(in crate::facade) fn by_name(&self, namespace: &str, name: &str) -> Option<Arc<BatchView>> {
        let inner = self.read();
        let batches = inner.namespaces.get(namespace)?;
        let id = batches.by_name.get(name)?.last()?;
        batches.by_id.get(id).map(|entry| Arc::clone(&entry.view))
    }

    /// How many batches there are, and a page of them by ascending id; all of them if no page is asked for.
    pub(in crate::facade) fn list(&self, namespace: &str, page: Option<(i32, i32)>) -> (usize, Vec<Arc<BatchView>>) {
        let inner = self.read();
        let Some(batches) = inner.namespaces.get(namespace) else { return (0, Vec::new()) };
        let total = batches.by_id.len();
        let range = page.map_or(0..total, |(from, size)| list_range(from, size, total));
        let views = batches.by_id.values().skip(range.start).take(range.len());
        (total, views.map(|entry| Arc::clone(&entry.view)).collect())
    }

    /// How many batches there are, in all namespaces.
    pub(in crate::facade) fn len(&self) -> usize {
        self.read().places.len()
    }

    /// The highest id that was ever seen in a namespace; 0 if none was.
    pub(in crate::facade) fn highest(&self, namespace: &str) -> i32 {
        self.read().namespaces.get(namespace).map_or(0, |batches| batches.highest)
    }

    /// Takes in a batch that the watch shows.
    pub(in crate::facade) fn seen(&self, batch: &SparkBatch) {
        self.write().take(batch, false);
    }

    /// Takes in a batch that this process created or read itself, ahead of the watch.
    pub(in crate::facade) fn fetched(&self, batch: &SparkBatch) {
        self.write().take(batch, true);
    }

    /// Forgets a batch for good.
    pub(in crate::facade) fn deleted(&self, uid: &str) {
        self.write().forget(uid);
    }

    /// Notes which batches may still be missing from a listing that begins now: those that were fetched before
    /// it are no longer fresh.
    pub(in crate::facade) fn listing_begins(&self, namespace: Option<&str>) {
        self.write().for_each(namespace, |entry| entry.fresh = false);
    }

    /// Forgets the batches that a listing, just ended, did not show.
    pub(in crate::facade) fn listing_ends(&self, namespace: Option<&str>, listed: &HashSet<String>) {
        let mut inner = self.write();
        let mut gone = Vec::new();
        inner.for_each(namespace, |entry| {
            if !entry.fresh && !listed.contains(&entry.view.uid) {
                gone.push(entry.view.uid.clone());
            }
        });
        for uid in &gone {
            inner.forget(uid);
        }
    }
}

impl Inner {
    fn for_each(&mut self, namespace: Option<&str>, mut visit: impl FnMut(&mut Entry)) {
        for (name, batches) in &mut self.namespaces {
            if namespace.is_none_or(|wanted| wanted == name) {
                batches.by_id.values_mut().for_each(&mut visit);
            }
        }
    }

    fn take(&mut self, batch: &SparkBatch, fresh: bool) {
        let Some(uid) = batch.metadata.uid.as_deref() else { return };
        let Some(namespace) = batch.namespace() else { return };
        if batch.metadata.deletion_timestamp.is_some() {
            return self.forget(uid);
        }
        if self.deleted.contains(uid) {
            return;
        }
        let Some(view) = BatchView::of(batch) else { return };
        // Versions are opaque in name and ascending numbers in fact; where one is not, the order of news decides.
        let version = batch.resource_version().and_then(|version| version.parse().ok()).unwrap_or(u64::MAX);
        if self.places.get(uid).is_some_and(|place| place.id != view.id) {
            self.remove(uid);
        }
        let batches = self.namespaces.entry(namespace.clone()).or_default();
        match batches.by_id.get(&view.id) {
            Some(held) if !replaces(&view, version, held) => return,
            Some(held) if held.view.uid != view.uid => {
                let uid = held.view.uid.clone();
                self.remove(&uid);
            }
            _ => {}
        }
        let uid = uid.to_owned();
        self.places.insert(uid, Place { namespace: namespace.clone(), id: view.id });
        self.namespaces.entry(namespace).or_default().put(Entry { view: Arc::new(view), version, fresh });
    }

    fn forget(&mut self, uid: &str) {
        self.remove(uid);
        if self.deleted.insert(uid.to_owned()) {
            self.deleted_in_order.push_back(uid.to_owned());
        }
        if self.deleted_in_order.len() > MAX_DELETED
            && let Some(oldest) = self.deleted_in_order.pop_front()
        {
            self.deleted.remove(&oldest);
        }
    }

    fn remove(&mut self, uid: &str) {
        if let Some(place) = self.places.remove(uid)
            && let Some(batches) = self.namespaces.get_mut(&place.namespace)
        {
            batches.remove(place.id);
        }
    }
}

/// Whether news of a batch replaces what is held under its id.
fn replaces(new: &BatchView, version: u64, held: &Entry) -> bool {
    let old = &held.view;
    if old.uid != new.uid {
        // Two resources claim one id. The facade's own name for it decides, else the one that came first.
        let own = |view: &BatchView| view.object_name == format!("{FACADE_NAME_PREFIX}{}", view.id);
        return if old.object_name == new.object_name { version > held.version } else { own(new) && !own(old) };
    }
    version >= held.version && !(old.phase.is_final() && new.phase != old.phase)
}

impl Batches {
    fn put(&mut self, entry: Entry) {
        let id = entry.view.id;
        self.remove(id);
        if let Some(name) = &entry.view.name {
            self.by_name.entry(name.clone()).or_default().insert(id);
        }
        self.highest = self.highest.max(id);
        self.by_id.insert(id, entry);
    }

    fn remove(&mut self, id: i32) {
        let Some(name) = self.by_id.remove(&id).and_then(|entry| entry.view.name.clone()) else { return };
        if let Some(ids) = self.by_name.get_mut(&name) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_name.remove(&name);
            }
        }
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
