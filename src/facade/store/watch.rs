//! The watches that feed the caches. They go on for ever: what breaks is tried again with a growing pause, and
//! the caches serve what they have meanwhile.
//!
//! # RBAC needed
//! `sparkbatches`: `list` and `watch`; `namespaces`: `list` and `watch`. In all namespaces, or where the
//! configuration names namespaces, in those: the watch of a namespace's own object selects it by name, so a
//! rule with `resourceNames` covers it.

use std::collections::HashSet;
use std::fmt::Debug;

use futures::stream::StreamExt as _;
use futures::{Stream, future};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::PartialObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use tokio::sync::watch;
use tracing::{info, warn};

use super::cache::BatchCache;
use super::namespaces::NamespaceCache;
use crate::api::SparkBatch;
use crate::api::calls::LIST_PAGE;
use crate::facade::metrics::Counters;
use crate::ids::IdAllocator;
use crate::metrics::Watches;

/// How many watches there are, and how many of them have shown everything once.
pub(in crate::facade) struct Progress {
    synced: watch::Sender<usize>,
    wanted: usize,
}

impl Progress {
    /// Of the watches of `namespaces`; none stands for all.
    pub(in crate::facade) fn of(namespaces: &[String]) -> Self {
        Self { synced: watch::Sender::new(0), wanted: 2 * namespaces.len().max(1) }
    }

    /// Whether the caches are complete.
    pub(in crate::facade) fn is_synced(&self) -> bool {
        *self.synced.borrow() >= self.wanted
    }

    /// Waits for the caches to be complete.
    pub(in crate::facade) async fn synced(&self) {
        let mut synced = self.synced.subscribe();
        // The sender lives as long as `self`, so this ends with the condition only.
        drop(synced.wait_for(|synced| *synced >= self.wanted).await);
    }
}

/// Feeds the caches, until dropped.
pub(in crate::facade) async fn feed(
    client: &Client,
    namespaces: &[String],
    batches: &BatchCache,
    known: &NamespaceCache,
    ids: &IdAllocator,
    progress: &Progress,
    counters: &Counters,
) {
    let scopes: Vec<Option<&str>> =
        if namespaces.is_empty() { vec![None] } else { namespaces.iter().map(|name| Some(name.as_str())).collect() };
    let feeds = scopes.into_iter().map(|scope| async move {
        let batch_feed = async {
            let mut sink = BatchSink { cache: batches, scope, listed: HashSet::new() };
            let watch = Watch { resource: "sparkbatches", scope, watches: &counters.watches };
            watch.follow(batch_events(client, scope), progress, |event| sink.take(event)).await;
        };
        let namespace_feed = async {
            let mut sink = NamespaceSink { cache: known, batches, ids, scope, listed: HashSet::new() };
            let watch = Watch { resource: "namespaces", scope, watches: &counters.watches };
            watch.follow(namespace_events(client, scope), progress, |event| sink.take(event)).await;
        };
        future::join(batch_feed, namespace_feed).await;
    });
    future::join_all(feeds).await;
}

type Guarded = DeserializeGuard<SparkBatch>;
type NamespaceMeta = PartialObjectMeta<Namespace>;

fn batch_events(client: &Client, scope: Option<&str>) -> impl Stream<Item = watcher::Result<Event<Guarded>>> + use<> {
    let api: Api<Guarded> = match scope {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    watcher(api, watcher::Config::default().page_size(LIST_PAGE)).default_backoff()
}

fn namespace_events(
    client: &Client,
    scope: Option<&str>,
) -> impl Stream<Item = watcher::Result<Event<NamespaceMeta>>> + use<> {
    let config = watcher::Config::default().page_size(LIST_PAGE);
    let config = match scope {
        Some(namespace) => config.fields(&format!("metadata.name={namespace}")),
        None => config,
    };
    watcher(Api::<NamespaceMeta>::all(client.clone()), config).default_backoff()
}

/// What is watched, and who counts.
struct Watch<'a> {
    resource: &'static str,
    scope: Option<&'a str>,
    watches: &'a Watches,
}

impl Watch<'_> {
    async fn follow<K: Debug>(
        &self,
        events: impl Stream<Item = watcher::Result<Event<K>>>,
        progress: &Progress,
        mut take: impl FnMut(Event<K>),
    ) {
        let Self { resource, scope, watches } = *self;
        let mut events = std::pin::pin!(events);
        let (mut synced, mut failing) = (false, false);
        watches.begins(resource, scope);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    if failing {
                        info!(resource, "watch is back");
                        failing = false;
                    }
                    let done = matches!(event, Event::InitDone);
                    take(event);
                    if done && !synced {
                        synced = true;
                        watches.listed(resource, scope);
                        progress.synced.send_modify(|count| *count += 1);
                    }
                }
                Err(error) => {
                    failing = true;
                    watches.failed(resource, scope, &error);
                    warn!(resource, %error, "watch failed; serving what is known and trying again");
                }
            }
        }
    }
}

struct BatchSink<'a> {
    cache: &'a BatchCache,
    scope: Option<&'a str>,
    listed: HashSet<String>,
}

impl BatchSink<'_> {
    fn take(&mut self, event: Event<Guarded>) {
        match event {
            Event::Init => {
                self.listed.clear();
                self.cache.listing_begins(self.scope);
            }
            Event::InitApply(batch) => {
                self.listed.extend(batch.uid());
                self.seen(batch);
            }
            Event::InitDone => self.cache.listing_ends(self.scope, &std::mem::take(&mut self.listed)),
            Event::Apply(batch) => self.seen(batch),
            Event::Delete(batch) => {
                if let Some(uid) = batch.uid() {
                    self.cache.deleted(&uid);
                }
            }
        }
    }

    fn seen(&self, DeserializeGuard(batch): Guarded) {
        match batch {
            Ok(batch) => self.cache.seen(&batch),
            // The version that was understood goes on to be shown; a deletion is one in any case.
            Err(invalid) => {
                let metadata = invalid.metadata;
                if let (Some(uid), true) = (&metadata.uid, metadata.deletion_timestamp.is_some()) {
                    self.cache.deleted(uid);
                } else {
                    let (namespace, name) = (metadata.namespace.unwrap_or_default(), metadata.name.unwrap_or_default());
                    warn!(namespace, name, "a SparkBatch cannot be read; its last readable version is shown");
                }
            }
        }
    }
}

struct NamespaceSink<'a> {
    cache: &'a NamespaceCache,
    batches: &'a BatchCache,
    ids: &'a IdAllocator,
    scope: Option<&'a str>,
    listed: HashSet<String>,
}

impl NamespaceSink<'_> {
    fn take(&mut self, event: Event<NamespaceMeta>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(namespace) => {
                self.listed.insert(namespace.name_any());
                self.seen(&namespace);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                let gone = self.cache.listing_ends(self.scope, &listed);
                for name in &gone {
                    self.ids.forget(name);
                }
                self.batches.namespaces_listed(self.scope, &listed);
            }
            Event::Apply(namespace) => self.seen(&namespace),
            Event::Delete(namespace) => {
                let name = namespace.meta().name.as_deref().unwrap_or_default();
                self.cache.deleted(name);
                self.batches.namespace_gone(name);
                self.ids.forget(name);
            }
        }
    }

    fn seen(&self, namespace: &NamespaceMeta) {
        self.cache.seen(namespace);
        self.batches.namespace_seen(&namespace.name_any());
    }
}
