//! What the operator saw of a batch.

#![allow(clippy::doc_markdown, reason = "these comments become `kubectl explain`, where backticks are noise")]

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{Phase, Reason};

/// What the operator saw of the batch.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SparkBatchStatus {
    /// Id under which the REST facade lists the batch: an integer from 1, unique in the namespace for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<i32>,
    /// Where the batch is in its life. Succeeded, Failed and Killed are final.
    #[serde(default)]
    pub phase: Phase,
    /// Why it is there, from a closed list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The reason in words: what happened and what to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Place in the namespace's queue, from 1, while the reason is Queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<i32>,
    /// Id of the Spark application (spark.app.id), which history servers and logs know it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    /// Attempts to run the batch, this one included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
    /// Earlier attempts that failed: the last five.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::api::crd::attempts_schema")]
    pub attempts: Vec<AttemptRecord>,
    /// Failures that count against spec.retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<Failures>,
    /// When this attempt may start, until its driver exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::api::crd::time_schema")]
    pub next_attempt_time: Option<Timestamp>,
    /// The driver of this attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<DriverStatus>,
    /// Executors by state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executors: Option<ExecutorCounts>,
    /// Executors of this attempt that failed: the last five.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::api::crd::executor_failures_schema")]
    pub executor_failures: Vec<ExecutorFailure>,
    /// When the driver pod of this attempt was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::api::crd::time_schema")]
    pub start_time: Option<Timestamp>,
    /// When the driver's container of this attempt started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::api::crd::time_schema")]
    pub running_time: Option<Timestamp>,
    /// When the batch reached its final phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::api::crd::time_schema")]
    pub completion_time: Option<Timestamp>,
    /// Ready, Reconciling, Stalled (kstatus), and Complete, Failed (as a Job's).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::api::crd::conditions_schema")]
    pub conditions: Vec<Condition>,
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// How many attempts a status remembers.
pub(crate) const MAX_ATTEMPT_RECORDS: usize = 5;

/// An attempt that failed and was followed by another.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptRecord {
    /// The attempt, from 1.
    pub attempt: i32,
    /// Why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Exit code of its driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The reason in words, cut short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When its driver pod was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Timestamp>,
    /// Id of its Spark application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
}

/// How many failures of executors a status remembers.
pub(crate) const MAX_EXECUTOR_FAILURES: usize = 5;

/// An executor that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutorFailure {
    /// Name of its pod, which may be gone.
    pub pod_name: String,
    /// Kubernetes' reason, such as `OOMKilled`, `Error`, `Evicted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Exit code of its container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Kubernetes' message, or the end of the container's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
}

/// Failures by cause, since the batch's creation or its last reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failures {
    /// Not the application's fault.
    pub infrastructure: i32,
    /// The application's.
    pub application: i32,
}

/// The driver pod of the current attempt.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriverStatus {
    /// Name of the pod.
    pub pod_name: String,
    /// Uid of the pod.
    pub pod_uid: String,
    /// Exit code of the driver's container, once it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Where the Spark UI listens while the driver runs: the pod's IP and the port. None without a UI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ui_address: Option<String>,
}

/// Executor pods by state. Spark deletes an executor's pod when the executor ends, so `succeeded` and
/// `failed` count pods that are still there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutorCounts {
    /// Executors that the batch asks for at its start.
    pub requested: i32,
    /// Pods that do not run yet.
    pub pending: i32,
    /// Pods that run.
    pub running: i32,
    /// Pods that ended well.
    pub succeeded: i32,
    /// Pods that ended badly.
    pub failed: i32,
}
