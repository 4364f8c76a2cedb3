//! The little of a `SparkBatch` that answers are made of.

use jiff::Timestamp;

use crate::api::{ANNOTATION_OWNER, ExecutorCounts, Phase, Reason, SparkBatch};

/// What an answer says of a batch, and what the facade needs to find its driver. Nothing else of the resource
/// is kept: a process may hold a hundred thousand of these.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchView {
    /// Uid of the resource.
    pub uid: String,
    /// Name of the resource.
    pub object_name: String,
    /// Livy's id.
    pub id: i32,
    /// When it was created, in seconds since 1970: no finer does Kubernetes say it.
    pub created: i64,
    /// Livy's name.
    pub name: Option<String>,
    /// The user who submitted it.
    pub owner: Option<String>,
    /// The user whom the driver impersonates.
    pub proxy_user: Option<String>,
    /// Where it is in its life.
    pub phase: Phase,
    /// Why it is there.
    pub reason: Option<Reason>,
    /// Whether it is told to wait: suspended, or queued.
    pub is_held: bool,
    /// When its driver ran first, in seconds since 1970.
    pub started: Option<i64>,
    /// When it ended, in seconds since 1970.
    pub ended: Option<i64>,
    /// The driver's executors, once it has asked for some.
    pub executors: Option<ExecutorCounts>,
    /// Id of the Spark application.
    pub app_id: Option<String>,
    /// Name of the driver's pod.
    pub driver_pod: Option<String>,
    /// Where the Spark UI listens, while the driver runs: IP and port.
    pub ui_address: Option<String>,
}

impl BatchView {
    /// The view of `batch`; `None` while it has no id, and once it is being deleted: Livy forgets a batch with
    /// its DELETE.
    #[must_use]
    pub fn of(batch: &SparkBatch) -> Option<Self> {
        let metadata = &batch.metadata;
        if metadata.deletion_timestamp.is_some() {
            return None;
        }
        let status = batch.status.as_ref();
        let driver = status.and_then(|status| status.driver.as_ref());
        let phase = batch.phase();
        let reason = status.and_then(|status| status.reason);
        Some(Self {
            uid: metadata.uid.clone()?,
            object_name: metadata.name.clone()?,
            id: batch.batch_id().filter(|&id| id >= 0)?,
            created: metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
            name: batch.spec.name.clone(),
            owner: metadata.annotations.as_ref().and_then(|all| all.get(ANNOTATION_OWNER)).cloned(),
            proxy_user: batch.spec.proxy_user.clone(),
            phase,
            reason,
            started: status.and_then(|status| status.running_time).map(Timestamp::as_second),
            ended: status.and_then(|status| status.completion_time).map(Timestamp::as_second),
            executors: status.and_then(|status| status.executors),
            is_held: batch.spec.suspend == Some(true) || reason == Some(Reason::Queued),
            app_id: status.and_then(|status| status.app_id.clone()),
            driver_pod: driver.map(|driver| driver.pod_name.clone()),
            ui_address: driver.filter(|_| phase == Phase::Running).and_then(|driver| driver.ui_address.clone()),
        })
    }
}

/// A batch that tests start from.
#[cfg(test)]
pub(super) fn example() -> BatchView {
    BatchView {
        uid: "u".into(),
        object_name: "batch-14".into(),
        id: 14,
        created: 1_000,
        name: None,
        owner: None,
        proxy_user: None,
        phase: Phase::Pending,
        reason: None,
        is_held: false,
        started: None,
        ended: None,
        executors: None,
        app_id: None,
        driver_pod: None,
        ui_address: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_batch_that_is_suspended_or_queued_is_told_to_wait() {
        let is_held = |spec, status| {
            let batch = json!({ "apiVersion": "sparkbatch.dev/v1alpha1", "kind": "SparkBatch", "spec": spec, "status": status,
                "metadata": { "name": "a", "uid": "u" } });
            BatchView::of(&serde_json::from_value(batch).unwrap()).unwrap().is_held
        };
        assert!(is_held(json!({ "file": "/a.py", "suspend": true }), json!({ "id": 1 })));
        assert!(is_held(json!({ "file": "/a.py" }), json!({ "id": 1, "reason": "Queued" })));
        assert!(!is_held(json!({ "file": "/a.py" }), json!({ "id": 1, "reason": "DriverRefused" })));
    }
}
