//! What every reconciliation works with.

use futures::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, Resource};
use tokio_util::sync::CancellationToken;

use super::memory::Memory;
use super::metrics::Counters;
use super::pods::{BatchKey, PodIndex};
use super::queue::Queues;
use crate::api::{PodRetention, SparkBatch};
use crate::ids::IdAllocator;
use crate::lease::{ElectionConfig, Leadership};
use crate::observe::{Deadlines, Limits};
use crate::plan::Defaults;

/// Kubernetes takes the pods of a node that does not answer away after five minutes.
const OVERDUE_AFTER: SignedDuration = SignedDuration::from_mins(5);

/// How the controller works.
#[derive(Clone, Debug)]
pub struct ControllerConfig {
    /// What batches get that do not say otherwise.
    pub defaults: Defaults,
    /// How long batches may stay in each phase that do not say so themselves.
    pub deadlines: Deadlines,
    /// How long after the end of its grace period a driver pod that was deleted may still be there without a word.
    pub overdue_after: SignedDuration,
    /// How long batches stay after their end that do not say so themselves; for ever where it is `None`.
    pub ttl_after_finished: Option<SignedDuration>,
    /// Which driver pods stay after the end of batches that do not say so themselves.
    pub pod_retention: PodRetention,
    /// Retries of failures that are not the application's, for batches that name none.
    pub infrastructure_retries: i32,
    /// How many batches of a namespace may have a driver at once.
    pub limits: Limits,
    /// Batches that are worked on at once.
    pub concurrency: u16,
    /// How replicas elect who acts; without it, this process does.
    pub election: Option<ElectionConfig>,
    /// Namespaces to work in; all if empty.
    pub namespaces: Vec<String>,
    /// What tells the time: [`Timestamp::now`], but for a simulation. What only measures goes by tokio's time.
    pub clock: fn() -> Timestamp,
}

/// A controller that is alone, and limits nothing.
impl Default for ControllerConfig {
    fn default() -> Self {
        Self {
            defaults: Defaults::default(),
            deadlines: Deadlines::default(),
            overdue_after: OVERDUE_AFTER,
            ttl_after_finished: None,
            pod_retention: PodRetention::Always,
            infrastructure_retries: 0,
            limits: Limits::default(),
            concurrency: 32,
            election: None,
            namespaces: Vec::new(),
            clock: Timestamp::now,
        }
    }
}

/// A batch as it was read: one that cannot be understood does not stop the watch of the others.
pub(super) type GuardedBatch = DeserializeGuard<SparkBatch>;

/// What one process has, whatever the namespaces it works in.
#[derive(Clone)]
pub(super) struct Process {
    pub(super) client: Client,
    pub(super) ids: IdAllocator,
    pub(super) leadership: Leadership,
    pub(super) config: ControllerConfig,
    pub(super) counters: Counters,
}

pub(super) struct Context {
    /// The namespace that is worked in; `None` for all.
    pub(super) scope: Option<String>,
    pub(super) client: Client,
    pub(super) ids: IdAllocator,
    pub(super) leadership: Leadership,
    pub(super) config: ControllerConfig,
    pub(super) counters: Counters,
    pub(super) batches: Store<GuardedBatch>,
    pub(super) pods: PodIndex,
    pub(super) memory: Memory,
    pub(super) queues: Queues,
    /// Whether the process is shutting down.
    pub(super) cancel: CancellationToken,
}

impl Context {
    pub(super) fn new(
        process: Process,
        scope: Option<String>,
        batches: Store<GuardedBatch>,
        cancel: CancellationToken,
    ) -> Self {
        let Process { client, ids, leadership, config, counters } = process;
        let (pods, memory, queues) = (PodIndex::default(), Memory::default(), Queues::new(config.limits.clone()));
        Self { scope, client, ids, leadership, config, counters, batches, pods, memory, queues, cancel }
    }

    /// What is watched: one namespace, or all.
    pub(super) fn watched<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        match &self.scope {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    /// Waits until the caches are filled; `false` if they will not be.
    pub(super) async fn wait_until_ready(&self) -> bool {
        self.batches.wait_until_ready().await.is_ok() && self.pods.wait_until_ready().await
    }

    /// Whether the cache has this batch still; another of its name is none.
    pub(super) fn knows(&self, batch: &GuardedBatch) -> bool {
        self.batches.get(&ObjectRef::from_obj(batch)).is_some_and(|known| known.meta().uid == batch.meta().uid)
    }

    /// Forgets the drivers that are gone of which the batch by this name has no need, as the cache has it by now.
    pub(super) fn forget_gone_drivers(&self, key: &BatchKey) {
        // A cache that is not filled yet does not tell that there is no such batch.
        if !self.pods.has_gone_drivers(key) || self.batches.wait_until_ready().now_or_never().is_none() {
            return;
        }
        let batch = self.batches.get(&ObjectRef::new(&key.1).within(&key.0));
        let status = batch.as_ref().and_then(|batch| batch.0.as_ref().ok()?.status.clone()).unwrap_or_default();
        let uid = batch.as_ref().and_then(|batch| batch.meta().uid.as_deref());
        self.pods.keep_needed(key, uid.map(|uid| (uid, &status)));
    }

    /// The highest batch id that is known of in a namespace; 0 if none is.
    pub(super) fn highest_id(&self, namespace: &str) -> i32 {
        let batches = self.batches.state_filter(|batch| batch.meta().namespace.as_deref() == Some(namespace));
        batches.iter().filter_map(|batch| batch.0.as_ref().ok()?.batch_id()).max().unwrap_or(0)
    }

    /// The time, asked for in one place.
    pub(super) fn now(&self) -> Timestamp {
        (self.config.clock)()
    }
}
