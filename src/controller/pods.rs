//! The pods of every batch, reduced at once to what decides: a driver's facts, an executor's state.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::runtime::watcher::Event;
use tokio::sync::watch;

use super::gone::Gone;
use crate::api::{
    ExecutorCounts, ExecutorFailure, LABEL_ATTEMPT, LABEL_BATCH, LABEL_SPARK_ROLE, MAX_EXECUTOR_FAILURES, ROLE_DRIVER,
    ROLE_EXECUTOR, Reason, SparkBatchStatus,
};
use crate::observe::{DriverFacts, ExecutorState, driver_facts, executor_failure, executor_state, executor_wait};

/// Namespace and name of a batch.
pub(super) type BatchKey = (String, String);

pub(super) struct PodIndex {
    state: RwLock<State>,
    ready: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    current: HashMap<BatchKey, BatchPods>,
    /// What a listing has brought so far; takes the place of `current` when it is complete.
    listing: HashMap<BatchKey, BatchPods>,
    /// What drivers told that are in neither.
    gone: Gone,
}

#[derive(Default)]
struct BatchPods {
    // Room for one entry is room for three.
    drivers: HashMap<String, Box<DriverFacts>>,
    executors: HashMap<String, ExecutorFacts>,
    /// The last failures of executors, most of which are gone by now.
    failures: Vec<(i32, ExecutorFailure)>,
}

struct ExecutorFacts {
    attempt: Option<i32>,
    state: ExecutorState,
    deleted: bool,
    /// Why it waits, where that is known.
    wait: Option<Box<(Reason, String)>>,
}

impl Default for PodIndex {
    fn default() -> Self {
        Self { state: RwLock::default(), ready: watch::Sender::new(false) }
    }
}

impl PodIndex {
    /// Takes in one event of the watch; the batches that it touches.
    pub(super) fn apply(&self, event: &Event<Pod>) -> Vec<BatchKey> {
        let mut state = self.write();
        match event {
            Event::Apply(pod) => insert(&mut state.current, pod).into_iter().collect(),
            Event::Delete(pod) => remove(&mut state, pod).into_iter().collect(),
            Event::Init => {
                state.listing = HashMap::new();
                Vec::new()
            }
            Event::InitApply(pod) => {
                insert(&mut state.listing, pod);
                Vec::new()
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut state.listing);
                let before = std::mem::replace(&mut state.current, listed);
                state.take_over(&before);
                let touched: BTreeSet<_> = before.into_keys().chain(state.current.keys().cloned()).collect();
                self.ready.send_replace(true);
                touched.into_iter().collect()
            }
        }
    }

    /// Waits for the first complete listing; `false` if there will be none.
    pub(super) async fn wait_until_ready(&self) -> bool {
        self.ready.subscribe().wait_for(|ready| *ready).await.is_ok()
    }

    pub(super) fn driver(&self, batch: &BatchKey, pod_name: &str) -> Option<DriverFacts> {
        self.read().current.get(batch)?.drivers.get(pod_name).map(|driver| DriverFacts::clone(driver))
    }

    /// Drivers of the batch with this uid that have not ended, deleted or not.
    pub(super) fn drivers_at_work(&self, batch: &BatchKey, uid: &str) -> Vec<DriverFacts> {
        let mut drivers = self.drivers(batch, uid);
        drivers.retain(|driver| !driver.has_ended());
        drivers
    }

    /// Drivers of the batch with this uid, of all attempts.
    pub(super) fn drivers(&self, batch: &BatchKey, uid: &str) -> Vec<DriverFacts> {
        let state = self.read();
        let drivers = state.current.get(batch).into_iter().flat_map(|pods| pods.drivers.values());
        let owned = drivers.filter(|driver| driver.owner_uid.as_deref() == Some(uid));
        owned.map(|driver| DriverFacts::clone(driver)).collect()
    }

    /// Uids of the owners of drivers that have not ended, deleted or not.
    pub(super) fn owners_at_work(&self, batch: &BatchKey) -> HashSet<Arc<str>> {
        let state = self.read();
        let drivers = state.current.get(batch).into_iter().flat_map(|pods| pods.drivers.values());
        let at_work = drivers.filter(|driver| !driver.has_ended());
        at_work.filter_map(|driver| driver.owner_uid.as_deref().map(Arc::from)).collect()
    }

    /// What a driver of the batch told of its end whose pod is gone: of those that `is_it` holds for, the last.
    pub(super) fn gone_driver(&self, batch: &BatchKey, is_it: impl Fn(&DriverFacts) -> bool) -> Option<DriverFacts> {
        self.read().gone.find(batch, is_it)
    }

    /// Whether any such is remembered of the batch.
    pub(super) fn has_gone_drivers(&self, batch: &BatchKey) -> bool {
        self.read().gone.has(batch)
    }

    /// The batches of whose drivers anything is remembered.
    pub(super) fn with_gone_drivers(&self) -> Vec<BatchKey> {
        self.read().gone.batches()
    }

    /// Forgets what the batch has no need of; everything where there is none.
    pub(super) fn keep_needed(&self, batch: &BatchKey, known: Option<(&str, &SparkBatchStatus)>) {
        self.write().gone.keep_needed(batch, known);
    }

    /// Executors of an attempt by state, with `requested` as it is given.
    pub(super) fn executors(&self, batch: &BatchKey, attempt: i32, requested: i32) -> ExecutorCounts {
        let state = self.read();
        let executors = state.current.get(batch).into_iter().flat_map(|pods| pods.executors.values());
        let mut counts = ExecutorCounts { requested, ..ExecutorCounts::default() };
        for executor in executors.filter(|executor| executor.attempt == Some(attempt)) {
            *match executor.state {
                ExecutorState::Pending => &mut counts.pending,
                ExecutorState::Running => &mut counts.running,
                ExecutorState::Succeeded => &mut counts.succeeded,
                ExecutorState::Failed => &mut counts.failed,
            } += 1;
        }
        counts
    }

    /// The last executors of an attempt that failed while its driver was at work.
    pub(super) fn executor_failures(&self, batch: &BatchKey, attempt: i32) -> Vec<ExecutorFailure> {
        let state = self.read();
        let failures = state.current.get(batch).into_iter().flat_map(|pods| &pods.failures);
        failures.filter(|(of, _)| *of == attempt).map(|(_, failure)| failure.clone()).collect()
    }

    /// Why an executor of an attempt waits: the first by name of those of which a cause is known.
    pub(super) fn executor_wait(&self, batch: &BatchKey, attempt: i32) -> Option<(Reason, String)> {
        let state = self.read();
        let executors = state.current.get(batch)?.executors.iter();
        let waiting = executors.filter(|(_, executor)| executor.attempt == Some(attempt) && executor.wait.is_some());
        let (_, first) = waiting.min_by_key(|(name, _)| *name)?;
        first.wait.as_deref().cloned()
    }

    /// Whether an executor of the batch is at work that nobody has deleted.
    pub(super) fn has_live_executors(&self, batch: &BatchKey) -> bool {
        let at_work = |executor: &ExecutorFacts| {
            !executor.deleted && matches!(executor.state, ExecutorState::Pending | ExecutorState::Running)
        };
        self.read().current.get(batch).is_some_and(|pods| pods.executors.values().any(at_work))
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Keeps what was known `before` a listing of pods that it does not have.
    fn take_over(&mut self, before: &HashMap<BatchKey, BatchPods>) {
        for (key, pods) in before {
            let mut listed = self.current.get_mut(key);
            for (name, driver) in &pods.drivers {
                let found = listed.as_ref().and_then(|listed| listed.drivers.get(name));
                if found.is_none_or(|found| found.pod_uid != driver.pod_uid) {
                    self.gone.remember(key, DriverFacts::clone(driver));
                }
            }
            let Some(listed) = listed.as_mut() else { continue };
            for (attempt, failure) in &pods.failures {
                listed.remember(*attempt, failure.clone());
            }
        }
    }
}

impl BatchPods {
    fn remember(&mut self, attempt: i32, failure: ExecutorFailure) {
        if self.failures.iter().any(|(_, known)| known.pod_name == failure.pod_name) {
            return;
        }
        self.failures.push((attempt, failure));
        self.failures.sort_by_key(|(attempt, failure)| (*attempt, failure.time));
        self.failures.drain(..self.failures.len().saturating_sub(MAX_EXECUTOR_FAILURES));
    }

    /// Remembers that an executor failed, if it did, and not for the end of its driver.
    fn note_failure(&mut self, pod: &Pod) {
        let Some(attempt) = attempt_of(pod) else { return };
        let is_at_work =
            |driver: &DriverFacts| driver.attempt == Some(attempt) && !driver.deleted && !driver.has_ended();
        if let Some(failure) = executor_failure(pod).filter(|_| self.drivers.values().any(|driver| is_at_work(driver)))
        {
            self.remember(attempt, failure);
        }
    }
}

fn attempt_of(pod: &Pod) -> Option<i32> {
    pod.labels().get(LABEL_ATTEMPT)?.parse().ok()
}

fn key_of(pod: &Pod) -> Option<BatchKey> {
    Some((pod.namespace()?, pod.labels().get(LABEL_BATCH)?.clone()))
}

fn insert(batches: &mut HashMap<BatchKey, BatchPods>, pod: &Pod) -> Option<BatchKey> {
    let key = key_of(pod)?;
    match pod.labels().get(LABEL_SPARK_ROLE).map(String::as_str) {
        Some(ROLE_DRIVER) => {
            batches.entry(key.clone()).or_default().drivers.insert(pod.name_any(), Box::new(driver_facts(pod)));
        }
        Some(ROLE_EXECUTOR) => {
            let facts = ExecutorFacts {
                attempt: attempt_of(pod),
                state: executor_state(pod),
                deleted: pod.metadata.deletion_timestamp.is_some(),
                wait: executor_wait(pod).map(Box::new),
            };
            let pods = batches.entry(key.clone()).or_default();
            pods.executors.insert(pod.name_any(), facts);
            pods.note_failure(pod);
        }
        _ => return None,
    }
    Some(key)
}

fn remove(state: &mut State, pod: &Pod) -> Option<BatchKey> {
    let (key, name) = (key_of(pod)?, pod.name_any());
    let known = state.current.get_mut(&key);
    let mut driver = None;
    if let Some(pods) = known {
        driver = pods.drivers.remove(&name).map(|driver| *driver);
        if pods.executors.remove(&name).is_some() {
            // It may have ended since it was last told of.
            pods.note_failure(pod);
        }
        if pods.drivers.is_empty() && pods.executors.is_empty() {
            state.current.remove(&key);
        }
    }
    if driver.is_some() || pod.labels().get(LABEL_SPARK_ROLE).map(String::as_str) == Some(ROLE_DRIVER) {
        state.gone.remember(&key, last_facts(driver, pod));
    }
    Some(key)
}

/// What a driver's `pod` told last, as its deletion brings it; of an end that was `known` before that, what was told
/// then: it did not come of the deletion.
fn last_facts(known: Option<DriverFacts>, pod: &Pod) -> DriverFacts {
    let last = driver_facts(pod);
    known.filter(|known| known.pod_uid == last.pod_uid && known.has_ended()).unwrap_or(last)
}

#[cfg(test)]
#[path = "pods_tests.rs"]
mod tests;
