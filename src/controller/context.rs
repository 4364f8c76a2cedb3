//! What every reconciliation works with.

use jiff::Timestamp;
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::Store;
use kube::{Api, Client, Resource};

use super::memory::Memory;
use super::metrics::Counters;
use super::pods::PodIndex;
use crate::api::{MANAGER, SparkBatch};
use crate::ids::IdAllocator;
use crate::lease::{ElectionConfig, Leadership};
use crate::observe::Deadlines;
use crate::plan::Defaults;

/// How the controller works.
#[derive(Clone, Debug)]
pub struct ControllerConfig {
    /// What batches get that do not say otherwise.
    pub defaults: Defaults,
    /// How long batches may stay in each phase that do not say so themselves.
    pub deadlines: Deadlines,
    /// Retries of failures that are not the application's, for batches that name none.
    pub infrastructure_retries: i32,
    /// Batches that are worked on at once.
    pub concurrency: u16,
    /// How replicas elect who acts; without it, this process does.
    pub election: Option<ElectionConfig>,
    /// Namespaces to work in; all if empty.
    pub namespaces: Vec<String>,
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
    scope: Option<String>,
    pub(super) client: Client,
    pub(super) ids: IdAllocator,
    pub(super) leadership: Leadership,
    pub(super) config: ControllerConfig,
    pub(super) counters: Counters,
    pub(super) batches: Store<GuardedBatch>,
    pub(super) pods: PodIndex,
    pub(super) memory: Memory,
    pub(super) recorder: Recorder,
}

impl Context {
    pub(super) fn new(process: Process, scope: Option<String>, batches: Store<GuardedBatch>) -> Self {
        let Process { client, ids, leadership, config, counters } = process;
        let reporter = Reporter { controller: MANAGER.to_owned(), instance: None };
        let recorder = Recorder::new(client.clone(), reporter);
        let (pods, memory) = (PodIndex::default(), Memory::default());
        Self { scope, client, ids, leadership, config, counters, batches, pods, memory, recorder }
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

    /// The highest batch id that is known of in a namespace; 0 if none is.
    pub(super) fn highest_id(&self, namespace: &str) -> i32 {
        let batches = self.batches.state_filter(|batch| batch.meta().namespace.as_deref() == Some(namespace));
        batches.iter().filter_map(|batch| batch.0.as_ref().ok()?.batch_id()).max().unwrap_or(0)
    }

    /// The time, asked for in one place.
    #[expect(clippy::unused_self, reason = "the clock belongs to the context")]
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
