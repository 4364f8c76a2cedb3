//! What Livy does not say of a batch, for those who ask: times, executors, and what the resource says.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{BatchView, FIELDS};
use crate::api::redaction::Redaction;
use crate::api::{AttemptRecord, ExecutorCounts, Reason, SparkBatch};

/// With `?details=true`, at each batch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Details {
    reason: Option<Reason>,
    created: Option<Timestamp>,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    executors: Option<ExecutorCounts>,
}

impl Details {
    /// The details that the view has.
    #[must_use]
    pub fn of(view: &BatchView) -> Self {
        let time = |seconds| Timestamp::from_second(seconds).ok();
        Self {
            reason: view.reason,
            created: time(view.created),
            started: view.started.and_then(time),
            ended: view.ended.and_then(time),
            executors: view.executors,
        }
    }
}

/// The answer to `GET …/details`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DetailsBody<'a> {
    id: i32,
    resource: &'a str,
    message: Option<&'a str>,
    attempt: Option<i32>,
    attempts: &'a [AttemptRecord],
    driver_pod: Option<&'a str>,
    request: Map<String, Value>,
    #[serde(flatten)]
    details: Details,
}

impl<'a> DetailsBody<'a> {
    /// What `batch`, whose view is given, says; values of conf that `redaction` takes for credentials are masked. Arguments
    /// are shown as they are, as by `kubectl get`.
    #[must_use]
    pub fn new(view: &'a BatchView, batch: &'a SparkBatch, redaction: &Redaction) -> Self {
        let status = batch.status.as_ref();
        Self {
            id: view.id,
            resource: &view.object_name,
            message: status.and_then(|status| status.message.as_deref()),
            attempt: status.and_then(|status| status.attempt),
            attempts: status.map_or(&[], |status| &status.attempts),
            driver_pod: view.driver_pod.as_deref(),
            request: request(batch, redaction),
            details: Details::of(view),
        }
    }
}

/// The fields of the spec that a request has, as it has them.
fn request(batch: &SparkBatch, redaction: &Redaction) -> Map<String, Value> {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(&batch.spec) else { return Map::new() };
    fields.retain(|field, value| FIELDS.contains(&field.as_str()) && !value.is_null());
    let conf = fields.get_mut("conf").and_then(Value::as_object_mut);
    for (key, value) in conf.into_iter().flatten() {
        if let Value::String(text) = value {
            *text = redaction.shown(key, text).to_owned();
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn details_are_what_the_resource_says_with_credentials_masked() {
        let batch: SparkBatch = serde_json::from_value(json!({
            "apiVersion": "sparkbatch.dev/v1alpha1", "kind": "SparkBatch",
            "metadata": { "name": "batch-7", "uid": "u", "creationTimestamp": "2026-01-31T08:00:00Z" },
            "spec": { "file": "/a.py", "image": "i", "conf": { "spark.a": "1", "spark.b.password": "hunter2" } },
            "status": { "id": 7, "phase": "Failed", "reason": "DriverExitNonZero", "message": "exit code 3", "attempt": 2,
                "runningTime": "2026-01-31T08:00:05Z", "completionTime": "2026-01-31T08:01:00Z",
                "attempts": [{ "attempt": 1, "reason": "DriverLost" }],
                "executors": { "requested": 2, "pending": 0, "running": 0, "succeeded": 2, "failed": 0 } }
        }))
        .unwrap();
        let view = BatchView::of(&batch).unwrap();
        let body = serde_json::to_value(DetailsBody::new(&view, &batch, &Redaction::default())).unwrap();
        assert_eq!(
            body,
            json!({
                "id": 7, "resource": "batch-7", "message": "exit code 3", "attempt": 2, "driverPod": null,
                "attempts": [{ "attempt": 1, "reason": "DriverLost" }], "reason": "DriverExitNonZero",
                "created": "2026-01-31T08:00:00Z", "started": "2026-01-31T08:00:05Z", "ended": "2026-01-31T08:01:00Z",
                "executors": { "requested": 2, "pending": 0, "running": 0, "succeeded": 2, "failed": 0 },
                "request": { "file": "/a.py", "conf": { "spark.a": "1", "spark.b.password": "*********(redacted)" } },
            })
        );
    }
}
