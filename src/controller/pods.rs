//! The pods of every batch, reduced at once to what decides: a driver's facts, an executor's state.

use std::collections::{HashMap, HashSet};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::runtime::watcher::Event;
use tokio::sync::watch;

use crate::api::{ExecutorCounts, LABEL_ATTEMPT, LABEL_BATCH, LABEL_SPARK_ROLE, ROLE_DRIVER, ROLE_EXECUTOR};
use crate::observe::{DriverFacts, ExecutorState, driver_facts, executor_state};

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
}

struct ExecutorFacts {
    attempt: Option<i32>,
    state: ExecutorState,
    deleted: bool,
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
                let touched: HashSet<_> = before.into_keys().chain(state.current.keys().cloned()).collect();
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

    /// Drivers of the batch with this uid that have not ended and that nobody has deleted.
    pub(super) fn live_drivers(&self, batch: &BatchKey, uid: &str) -> Vec<DriverFacts> {
        let is_live =
            |driver: &&DriverFacts| driver.owner_uid.as_deref() == Some(uid) && !driver.deleted && !driver.has_ended();
        let state = self.read();
        let drivers = state.current.get(batch).into_iter().flat_map(|pods| pods.drivers.values());
        drivers.filter(is_live).cloned().collect()
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
                attempt: pod.labels().get(LABEL_ATTEMPT).and_then(|attempt| attempt.parse().ok()),
                state: executor_state(pod),
                deleted: pod.metadata.deletion_timestamp.is_some(),
            };
            batches.entry(key.clone()).or_default().executors.insert(pod.name_any(), facts);
        }
        _ => return None,
    }
    Some(key)
}

fn remove(batches: &mut HashMap<BatchKey, BatchPods>, pod: &Pod) -> Option<BatchKey> {
    let key = key_of(pod)?;
    let pods = batches.get_mut(&key)?;
    pods.drivers.remove(&pod.name_any());
    pods.executors.remove(&pod.name_any());
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
    fn a_live_driver_is_the_batchs_own_and_has_not_ended() {
        let index = PodIndex::default();
        let owner = |uid| json!([{ "apiVersion": "v1", "kind": "k", "name": "b", "uid": uid, "controller": true }]);
        for (name, uid, phase) in [("d1", "u", "Running"), ("d2", "u", "Failed"), ("d3", "other", "Running")] {
            let mut driver = pod(name, ROLE_DRIVER, phase);
            driver.metadata.owner_references = serde_json::from_value(owner(uid)).unwrap();
            index.apply(&Event::Apply(driver));
        }
        let names: Vec<_> = index.live_drivers(&key(), "u").into_iter().map(|driver| driver.pod_name).collect();
        assert_eq!(names, ["d1"]);
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
