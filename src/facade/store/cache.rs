//! The batches that there are, as small views, fed by a watch and by what this process itself created and deleted.
//!
//! What the cache holds of one batch moves forward only: an older version never replaces a newer, a final phase
//! never changes, and a batch that was deleted does not come back, whatever order the news arrives in.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use kube::ResourceExt as _;
use tokio::sync::watch;

use super::journal::Journal;
use crate::api::{FACADE_NAME_PREFIX, SparkBatch};
use crate::livy::{BatchView, Dialect, ListQuery, list_range};

/// Deleted batches that are remembered, so that late news of them is known for what it is.
const MAX_DELETED: usize = 10_000;
/// Batches that are looked at before writers get their turn.
const CHUNK: usize = 250;
/// Changes that are read at once.
const MAX_CHANGES: usize = 100;

/// Views of all batches, by namespace and id.
#[derive(Default)]
pub(in crate::facade) struct BatchCache {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    namespaces: HashMap<String, Batches>,
    /// Namespaces that are gone, while batches or watchers of theirs are still known.
    gone: HashSet<String>,
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
    journal: Journal,
}

struct Entry {
    view: Arc<BatchView>,
    version: u64,
    /// The watch has not shown it yet: this process created or read it.
    fresh: bool,
    /// Its last change, as the journal counts them.
    change: u64,
}

/// Some of what changed in a namespace.
pub(in crate::facade) struct Changes {
    /// Each batch that changed; `None` if it is gone.
    pub(in crate::facade) batches: Vec<(i32, Option<Arc<BatchView>>)>,
    /// The last of these changes: where to read on.
    pub(in crate::facade) last: u64,
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

    /// How many batches are asked for, and the page of them.
    pub(in crate::facade) fn list(
        &self,
        namespace: &str,
        query: &ListQuery,
        dialect: Dialect,
    ) -> (usize, Vec<Arc<BatchView>>) {
        let range = query.page(dialect).map_or(0..usize::MAX, |(from, size)| list_range(from, size, usize::MAX));
        let (mut total, mut page) = (0, Vec::new());
        if query.filter.is_empty() {
            let inner = self.read();
            let Some(batches) = inner.namespaces.get(namespace) else { return (0, page) };
            let views = batches.entries(query.latest_first, None).skip(range.start).take(range.len());
            page.extend(views.map(|entry| Arc::clone(&entry.view)));
            return (batches.by_id.len(), page);
        }
        let mut at = None;
        loop {
            at = self.walk(namespace, query.latest_first, at, |view| {
                if query.filter.matches(view, dialect) {
                    if range.contains(&total) {
                        page.push(Arc::clone(view));
                    }
                    total += 1;
                }
            });
            if at.is_none() {
                return (total, page);
            }
        }
    }

    /// Visits some of the batches that come after the id `after`, or the first. Returns the id to go on after;
    /// `None` at the end.
    pub(in crate::facade) fn walk(
        &self,
        namespace: &str,
        latest_first: bool,
        after: Option<i32>,
        mut visit: impl FnMut(&Arc<BatchView>),
    ) -> Option<i32> {
        let inner = self.read();
        let mut last = None;
        let mut visited = 0;
        for entry in inner.namespaces.get(namespace)?.entries(latest_first, after).take(CHUNK) {
            visit(&entry.view);
            visited += 1;
            last = Some(entry.view.id);
        }
        last.filter(|_| visited == CHUNK)
    }

    /// Tells of each change in a namespace, by its number.
    pub(in crate::facade) fn subscribe(&self, namespace: &str) -> watch::Receiver<u64> {
        self.write().namespaces.entry(namespace.to_owned()).or_default().journal.subscribe()
    }

    /// Some of the changes after `change`; none if there are none, and `None` if they are no longer known.
    pub(in crate::facade) fn changes(&self, namespace: &str, change: u64) -> Option<Changes> {
        let inner = self.read();
        let batches = inner.namespaces.get(namespace)?;
        let mut changes = Changes { batches: Vec::new(), last: change };
        for (change, id) in batches.journal.after(change)?.take(MAX_CHANGES) {
            changes.batches.push((id, batches.by_id.get(&id).map(|entry| Arc::clone(&entry.view))));
            changes.last = change;
        }
        Some(changes)
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

    /// Notes that a namespace is there.
    pub(in crate::facade) fn namespace_seen(&self, namespace: &str) {
        let mut inner = self.write();
        inner.gone.remove(namespace);
        inner.sweep();
    }

    /// Forgets what was known of a namespace that is gone, as soon as its batches and watchers are, too: one of the same
    /// name is another, whose ids begin anew.
    pub(in crate::facade) fn namespace_gone(&self, namespace: &str) {
        let mut inner = self.write();
        inner.gone.insert(namespace.to_owned());
        inner.sweep();
    }

    /// [`Self::namespace_gone`], for each that a listing did not show; `only` is the one that was listed, if not all were.
    pub(in crate::facade) fn namespaces_listed(&self, only: Option<&str>, listed: &HashSet<String>) {
        let mut inner = self.write();
        let in_scope = |name: &&String| only.is_none_or(|only| only == name.as_str());
        let missing: Vec<String> =
            inner.namespaces.keys().filter(in_scope).filter(|name| !listed.contains(*name)).cloned().collect();
        inner.gone.extend(missing);
        inner.sweep();
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
        self.namespaces.entry(namespace).or_default().put(view, version, fresh);
    }

    /// Drops namespaces that are gone. One with watchers keeps its journal, which they read, and no more.
    fn sweep(&mut self) {
        let Self { namespaces, gone, .. } = self;
        gone.retain(|name| {
            let Some(batches) = namespaces.get_mut(name).filter(|batches| batches.by_id.is_empty()) else {
                return namespaces.contains_key(name);
            };
            batches.highest = 0;
            let is_watched = batches.journal.is_watched();
            if !is_watched {
                namespaces.remove(name);
            }
            is_watched
        });
    }

    fn forget(&mut self, uid: &str) {
        self.remove(uid);
        if !self.gone.is_empty() {
            self.sweep();
        }
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
    /// The batches that come after the id `after`.
    fn entries(&self, latest_first: bool, after: Option<i32>) -> impl Iterator<Item = &Entry> {
        let (lowest, highest) = match after.map_or(Bound::Unbounded, Bound::Excluded) {
            after if latest_first => (Bound::Unbounded, after),
            after => (after, Bound::Unbounded),
        };
        let mut entries = self.by_id.range((lowest, highest));
        std::iter::from_fn(move || if latest_first { entries.next_back() } else { entries.next() })
            .map(|(_, entry)| entry)
    }

    fn put(&mut self, view: BatchView, version: u64, fresh: bool) {
        let id = view.id;
        if let Some(held) = self.by_id.get_mut(&id)
            && *held.view == view
        {
            // Nothing that anybody is shown has changed.
            held.version = version;
            held.fresh = fresh;
            return;
        }
        let previous = self.take(id).map(|entry| entry.change);
        if let Some(name) = &view.name {
            self.by_name.entry(name.clone()).or_default().insert(id);
        }
        self.highest = self.highest.max(id);
        let change = self.journal.changed(id, previous);
        self.by_id.insert(id, Entry { view: Arc::new(view), version, fresh, change });
    }

    fn remove(&mut self, id: i32) {
        if let Some(entry) = self.take(id) {
            self.journal.removed(id, entry.change);
        }
    }

    fn take(&mut self, id: i32) -> Option<Entry> {
        let entry = self.by_id.remove(&id)?;
        if let Some(name) = &entry.view.name
            && let Some(ids) = self.by_name.get_mut(name)
        {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_name.remove(name);
            }
        }
        Some(entry)
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
