//! What every reconciliation works with.

use jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::Store;
use kube::{Client, Resource as _};

use super::memory::Memory;
use super::pods::PodIndex;
use crate::api::{MANAGER, SparkBatch};
use crate::ids::IdAllocator;
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
}

/// A batch as it was read: one that cannot be understood does not stop the watch of the others.
pub(super) type GuardedBatch = DeserializeGuard<SparkBatch>;

pub(super) struct Context {
    pub(super) client: Client,
    pub(super) ids: IdAllocator,
    pub(super) config: ControllerConfig,
    pub(super) batches: Store<GuardedBatch>,
    pub(super) pods: PodIndex,
    pub(super) memory: Memory,
    pub(super) recorder: Recorder,
}

impl Context {
    pub(super) fn new(
        client: Client,
        ids: IdAllocator,
        config: ControllerConfig,
        batches: Store<GuardedBatch>,
    ) -> Self {
        let reporter = Reporter { controller: MANAGER.to_owned(), instance: None };
        let recorder = Recorder::new(client.clone(), reporter);
        Self { client, ids, config, batches, pods: PodIndex::default(), memory: Memory::default(), recorder }
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
