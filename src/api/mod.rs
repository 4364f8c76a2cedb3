//! The resource: what a `SparkBatch` is, and the names that other modules and users know it by.
//!
//! Pure. Everything that is part of the project's contract with Kubernetes users stands here: the
//! group and kind, label and annotation keys, the closed list of reasons, conditions, and the custom
//! resource definition with its validation rules.

pub mod calls;
mod conditions;
pub mod conf_policy;
mod crd;
pub mod jvm_size;
pub mod object_names;
mod open;
mod phase;
pub mod redaction;
pub mod text;
mod v1alpha1;
pub mod validation;

pub use conditions::{
    CONDITION_COMPLETE, CONDITION_FAILED, CONDITION_READY, CONDITION_RECONCILING, CONDITION_STALLED, conditions_for,
};
pub use crd::crd;
pub use open::Open;
pub use phase::{Cause, Phase, Reason};
pub use v1alpha1::{
    AttemptRecord, ConfObject, ConfSource, ConfigMapName, ContainerResources, DeadlinesSpec, DriverStatus,
    DynamicAllocation, ExecutorCounts, ExecutorFailure, Failures, JmxExporter, Monitoring, PodRetention, PodSettings,
    RetrySpec, Scheduling, SparkBatch, SparkBatchSpec, SparkBatchStatus,
};
pub(crate) use v1alpha1::{MAX_ATTEMPT_RECORDS, MAX_EXECUTOR_FAILURES};

/// API group of the resource.
pub const GROUP: &str = "sparkbatch.dev";
/// Served and stored version of the resource.
pub const VERSION: &str = "v1alpha1";
/// Kind of the resource.
pub const KIND: &str = "SparkBatch";

/// Name under which the operator writes (field manager, Event reporter, `managed-by` label).
pub const MANAGER: &str = "sparkbatch";

/// Label on driver and executor pods, and on the Secret: the name of their `SparkBatch`.
pub const LABEL_BATCH: &str = "sparkbatch.dev/batch";
/// Label on driver and executor pods: the attempt that they belong to, from 1.
pub const LABEL_ATTEMPT: &str = "sparkbatch.dev/attempt";
/// Label on a `SparkBatch` that the REST facade created: its batch id. The object is named `batch-<id>`.
pub const LABEL_ID: &str = "sparkbatch.dev/id";
/// Label on a namespace: the instance id by which `/v3/analytics_engines/{instance_id}` finds it.
pub const LABEL_INSTANCE_ID: &str = "sparkbatch.dev/instance-id";
/// Annotation on a `SparkBatch`: the user who submitted it through the REST facade.
pub const ANNOTATION_OWNER: &str = "sparkbatch.dev/owner";

/// Label that Spark puts on every pod of an application: `driver` or `executor`.
///
/// Spark: `Constants.SPARK_ROLE_LABEL`.
pub const LABEL_SPARK_ROLE: &str = "spark-role";
/// Label that Spark puts on every pod of an application: the application id.
///
/// Spark: `Constants.SPARK_APP_ID_LABEL`.
pub const LABEL_SPARK_APP_SELECTOR: &str = "spark-app-selector";
/// Name of the driver's container, by which logs are found.
///
/// Spark: `BasicDriverFeatureStep`, `Constants.DEFAULT_DRIVER_CONTAINER_NAME`.
pub const DRIVER_CONTAINER: &str = "spark-kubernetes-driver";
/// Name of the port of the driver's container on which the Spark UI listens; not there if the UI is off.
///
/// Spark: `BasicDriverFeatureStep`, `Constants.UI_PORT_NAME`.
pub const UI_PORT_NAME: &str = "spark-ui";
/// Name of the executors' container, by which logs are found.
///
/// Spark: `Constants.DEFAULT_EXECUTOR_CONTAINER_NAME`.
pub const EXECUTOR_CONTAINER: &str = "spark-kubernetes-executor";
/// Value of [`LABEL_SPARK_ROLE`] on a driver pod.
pub const ROLE_DRIVER: &str = "driver";
/// Value of [`LABEL_SPARK_ROLE`] on an executor pod.
pub const ROLE_EXECUTOR: &str = "executor";

/// Annotation on a `SparkBatch` that was created under an `Idempotency-Key`: a digest of its request under that key.
pub const ANNOTATION_REQUEST_DIGEST: &str = "sparkbatch.dev/request-digest";
/// Annotation on a `SparkBatch`: the span of the request that created it, in the form of W3C Trace Context.
pub const ANNOTATION_TRACEPARENT: &str = "sparkbatch.dev/traceparent";

/// What every name that the REST facade gives starts with; followed by the batch's id.
pub const FACADE_NAME_PREFIX: &str = "batch-";
/// What the name of a batch that was created under an `Idempotency-Key` starts with; followed by the key's hash.
pub const KEYED_NAME_PREFIX: &str = "batch-key-";

impl SparkBatch {
    /// The id by which the REST facade knows this batch: the one that the facade named it by, or the
    /// one that the operator gave to a batch applied with kubectl.
    ///
    /// `None` until the operator has seen a batch that was applied with kubectl.
    #[must_use]
    pub fn batch_id(&self) -> Option<i32> {
        self.facade_id().or_else(|| self.status.as_ref().and_then(|status| status.id))
    }

    /// The id that the REST facade created this batch under, if it was created there: the name has to be that of
    /// the id, or of an `Idempotency-Key`, so a label alone claims nothing.
    #[must_use]
    pub fn facade_id(&self) -> Option<i32> {
        let id = self.metadata.labels.as_ref()?.get(LABEL_ID)?;
        let name = self.metadata.name.as_deref()?;
        let is_facades = name.starts_with(KEYED_NAME_PREFIX) || name.strip_prefix(FACADE_NAME_PREFIX) == Some(id);
        let number: i32 = id.parse().ok().filter(|_| is_facades)?;
        (number > 0 && number.to_string() == *id).then_some(number)
    }

    /// The phase that status shows; `Pending` before the operator has written one.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.status.as_ref().map_or(Phase::Pending, |status| status.phase)
    }
}
