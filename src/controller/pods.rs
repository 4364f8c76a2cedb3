//! The pods of every batch, reduced at once to what decides: a driver's facts, an executor's state.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::runtime::watcher::Event;
use tokio::sync::watch;

use crate::api::{
    ExecutorCounts, ExecutorFailure, LABEL_ATTEMPT, LABEL_BATCH, LABEL_SPARK_ROLE, MAX_EXECUTOR_FAILURES, ROLE_DRIVER,
    ROLE_EXECUTOR, Reason,
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
}

#[derive(Default)]
struct BatchPods {
    drivers: HashMap<String, DriverFacts>,
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
            Event::Delete(pod) => remove(&mut state.current, pod).into_iter().collect(),
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
                for (key, pods) in &mut state.current {
                    let known = before.get(key).map(|pods| &pods.failures[..]).unwrap_or_default();
                    for (attempt, failure) in known {
                        pods.remember(*attempt, failure.clone());
                    }
                }
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
        self.read().current.get(batch)?.drivers.get(pod_name).cloned()
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
        drivers.filter(|driver| driver.owner_uid.as_deref() == Some(uid)).cloned().collect()
    }

    /// Uids of the owners of drivers that have not ended, deleted or not.
    pub(super) fn owners_at_work(&self, batch: &BatchKey) -> HashSet<Arc<str>> {
        let state = self.read();
        let drivers = state.current.get(batch).into_iter().flat_map(|pods| pods.drivers.values());
        let at_work = drivers.filter(|driver| !driver.has_ended());
        at_work.filter_map(|driver| driver.owner_uid.as_deref().map(Arc::from)).collect()
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
        if let Some(failure) = executor_failure(pod).filter(|_| self.drivers.values().any(is_at_work)) {
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
            batches.entry(key.clone()).or_default().drivers.insert(pod.name_any(), driver_facts(pod));
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

fn remove(batches: &mut HashMap<BatchKey, BatchPods>, pod: &Pod) -> Option<BatchKey> {
    let key = key_of(pod)?;
    let pods = batches.get_mut(&key)?;
    pods.drivers.remove(&pod.name_any());
    if pods.executors.remove(&pod.name_any()).is_some() {
        // It may have ended since it was last told of.
        pods.note_failure(pod);
    }
    if pods.drivers.is_empty() && pods.executors.is_empty() {
        batches.remove(&key);
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, role: &str, phase: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": name, "namespace": "ns", "uid": name, "labels": {
                LABEL_BATCH: "b", LABEL_SPARK_ROLE: role, LABEL_ATTEMPT: "1" } },
            "status": { "phase": phase },
        }))
        .unwrap()
    }

    fn key() -> BatchKey {
        ("ns".into(), "b".into())
    }

    #[test]
    fn executors_are_counted_by_state() {
        let index = PodIndex::default();
        for (name, phase) in [("e1", "Running"), ("e2", "Pending"), ("e3", "Failed")] {
            assert_eq!(index.apply(&Event::Apply(pod(name, ROLE_EXECUTOR, phase))), [key()]);
        }
        index.apply(&Event::Delete(pod("e2", ROLE_EXECUTOR, "Pending")));
        let expected = ExecutorCounts { requested: 3, running: 1, failed: 1, ..ExecutorCounts::default() };
        assert_eq!(index.executors(&key(), 1, 3), expected);
        assert_eq!(index.executors(&key(), 2, 0), ExecutorCounts::default());
        assert!(index.has_live_executors(&key()));
    }

    #[test]
    fn a_driver_at_work_has_not_ended_and_is_its_owners() {
        let index = PodIndex::default();
        let owner = |uid| json!([{ "apiVersion": "v1", "kind": "k", "name": "b", "uid": uid, "controller": true }]);
        for (name, uid, phase) in [("d1", "u", "Running"), ("d2", "u", "Failed"), ("d3", "other", "Running")] {
            let mut driver = pod(name, ROLE_DRIVER, phase);
            driver.metadata.owner_references = serde_json::from_value(owner(uid)).unwrap();
            index.apply(&Event::Apply(driver));
        }
        let mut names: Vec<_> = index.drivers(&key(), "u").into_iter().map(|driver| driver.pod_name).collect();
        names.sort();
        assert_eq!(names, ["d1", "d2"]);
        assert_eq!(index.owners_at_work(&key()), HashSet::from(["u".into(), "other".into()]));
    }

    fn driver(state: &serde_json::Value) -> Pod {
        let mut driver = pod("d", ROLE_DRIVER, "Running");
        driver.status = serde_json::from_value(state.clone()).unwrap();
        driver
    }

    fn failed(name: &str, second: u32) -> Pod {
        let mut failed = pod(name, ROLE_EXECUTOR, "Failed");
        let state = json!({ "terminated": { "exitCode": 52, "finishedAt": format!("2026-01-01T00:00:{second:02}Z") } });
        failed.status = serde_json::from_value(json!({ "phase": "Failed", "containerStatuses": [{ "state": state,
            "name": "spark-kubernetes-executor", "ready": false, "restartCount": 0, "image": "", "imageID": "" }] }))
        .unwrap();
        failed
    }

    fn failures(index: &PodIndex) -> Vec<String> {
        index.executor_failures(&key(), 1).into_iter().map(|failure| failure.pod_name).collect()
    }

    #[test]
    fn failures_of_executors_outlive_their_pods_and_a_listing_and_go_with_the_batch() {
        let index = PodIndex::default();
        index.apply(&Event::Apply(driver(&json!({ "phase": "Running" }))));
        for n in 0..7 {
            // Of the last, nothing but its deletion tells.
            let name = format!("e{n}");
            index.apply(&Event::Apply(if n == 6 { pod(&name, ROLE_EXECUTOR, "Running") } else { failed(&name, n) }));
            index.apply(&Event::Delete(failed(&name, n)));
        }
        assert_eq!(failures(&index), ["e2", "e3", "e4", "e5", "e6"]);
        index.apply(&Event::Init);
        index.apply(&Event::InitApply(driver(&json!({ "phase": "Running" }))));
        index.apply(&Event::InitApply(failed("e7", 7)));
        index.apply(&Event::InitDone);
        assert_eq!(failures(&index), ["e3", "e4", "e5", "e6", "e7"]);
        index.apply(&Event::Delete(failed("e7", 7)));
        index.apply(&Event::Delete(driver(&json!({ "phase": "Running" }))));
        assert!(index.read().current.is_empty());
    }

    #[test]
    fn an_executor_that_fails_after_its_driver_is_none_that_failed() {
        let index = PodIndex::default();
        index.apply(&Event::Apply(driver(&json!({ "phase": "Failed" }))));
        index.apply(&Event::Apply(failed("e", 1)));
        assert!(failures(&index).is_empty());
    }

    #[test]
    fn a_pod_that_vanished_between_two_listings_touches_its_batch() {
        let index = PodIndex::default();
        index.apply(&Event::Apply(pod("d", ROLE_DRIVER, "Running")));
        index.apply(&Event::Init);
        assert!(index.driver(&key(), "d").is_some(), "a listing under way hides nothing");
        assert_eq!(index.apply(&Event::InitDone), [key()]);
        assert!(index.driver(&key(), "d").is_none());
    }

    #[test]
    fn pods_of_others_touch_nothing() {
        let index = PodIndex::default();
        let mut other = pod("x", "web", "Running");
        assert!(index.apply(&Event::Apply(other.clone())).is_empty());
        other.metadata.labels = None;
        assert!(index.apply(&Event::Apply(other)).is_empty());
    }
}
