//! `SparkBatch` in version `v1alpha1`, field by field. The doc comments become `kubectl explain`.

#![allow(unreachable_pub, reason = "KubeSchema repeats the types that it derives for in a scope of its own")]
#![allow(clippy::doc_markdown, reason = "these comments become `kubectl explain`, where backticks are noise")]
#![allow(clippy::duplicated_attributes, reason = "two columns may be of one type")]

mod monitoring;
mod pods;
mod status;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{LocalObjectReference, Volume};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use monitoring::{JmxExporter, Monitoring};
pub use pods::{ContainerResources, PodSettings};
pub use status::{AttemptRecord, DriverStatus, ExecutorCounts, ExecutorFailure, Failures, SparkBatchStatus};
pub(crate) use status::{MAX_ATTEMPT_RECORDS, MAX_EXECUTOR_FAILURES};

use super::Open;

/// What runs, in Livy's words, and how its pods look, in Kubernetes'.
///
/// Livy 0.9: `CreateBatchRequest`.
#[derive(Clone, Debug, Default, PartialEq, CustomResource, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "sparkbatch.dev",
    version = "v1alpha1",
    kind = "SparkBatch",
    plural = "sparkbatches",
    shortname = "sb",
    category = "spark",
    namespaced,
    status = "SparkBatchStatus",
    derive = "PartialEq",
    doc = "A Spark application that runs once to its end: one driver pod and its executor pods.",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason"),
    printcolumn(name = "Executors", type_ = "integer", json_path = ".status.executors.running"),
    printcolumn(name = "ID", type_ = "integer", json_path = ".status.id", priority = 1),
    printcolumn(name = "App ID", type_ = "string", json_path = ".status.appId", priority = 1),
    printcolumn(name = "Driver", type_ = "string", json_path = ".status.driver.podName", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    selectable = ".status.phase"
)]
#[serde(rename_all = "camelCase")]
pub struct SparkBatchSpec {
    /// File that holds the application: a .py, .R or .jar. A URI that the driver's image can read
    /// (local://, https://, s3a://, cos://, hdfs://, ...); an absolute path without a scheme is a file in
    /// the image.
    #[schemars(length(min = 1, max = 2048))]
    pub file: String,
    /// Main class of a Java or Scala application. Not needed for Python and R, nor for a jar in the image whose
    /// manifest names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub class_name: Option<String>,
    /// Arguments of the application.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10_000), inner(length(max = 131_072)))]
    pub args: Vec<String>,
    /// Jars for the class paths of driver and executors. Goes before spark.jars of conf.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(min = 1, max = 2048)))]
    pub jars: Vec<String>,
    /// Python files (.py, .zip, .egg) for the PYTHONPATH. Goes before spark.submit.pyFiles of conf.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(min = 1, max = 2048)))]
    pub py_files: Vec<String>,
    /// Files for the working directory of each executor. Goes before spark.files of conf.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(min = 1, max = 2048)))]
    pub files: Vec<String>,
    /// Archives to unpack in the working directory of driver and executors. Goes before spark.archives of conf.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(min = 1, max = 2048)))]
    pub archives: Vec<String>,
    /// Heap of the driver, as a JVM size: 512m, 4g. Without a unit: MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]{1,18}([kKmMgGtTpP]?[bB]?)$"))]
    pub driver_memory: Option<String>,
    /// Cores of the driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub driver_cores: Option<i32>,
    /// Heap of one executor, as a JVM size: 512m, 4g. Without a unit: MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]{1,18}([kKmMgGtTpP]?[bB]?)$"))]
    pub executor_memory: Option<String>,
    /// Cores of one executor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub executor_cores: Option<i32>,
    /// Executors to launch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub num_executors: Option<i32>,
    /// Name of the application, as Spark shows it. The resource's name if none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// Spark configuration properties. Keep credentials out of it: confFrom reads them from a Secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::api::crd::conf_schema")]
    pub conf: BTreeMap<String, String>,
    /// Queue of the application; becomes spark.yarn.queue, as with spark-submit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub queue: Option<String>,
    /// User whom the driver impersonates towards Hadoop services, as spark-submit's --proxy-user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub proxy_user: Option<String>,

    /// Spark properties from Secrets and ConfigMaps of the batch's namespace: each key of theirs is a conf
    /// key. conf goes before them; of two that hold one key, the later goes before the earlier.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub conf_from: Vec<ConfSource>,
    /// Image of driver and executors. The operator's default if none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub image: Option<String>,
    /// When to pull the image: Always, IfNotPresent (the default) or Never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^(Always|IfNotPresent|Never)$"))]
    pub image_pull_policy: Option<String>,
    /// Secrets with the credentials of the image's registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Service account of the driver, which creates the executor pods. The operator's default if none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,
    /// The driver's pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<Box<PodSettings>>,
    /// The executors' pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<Box<PodSettings>>,
    /// Volumes that driver.volumeMounts and executor.volumeMounts name, as in a pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::api::crd::volumes_schema")]
    pub volumes: Vec<Open<Volume>>,

    /// As many executors as there is work for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dynamic_allocation: Option<DynamicAllocation>,
    /// Maven coordinates (group:artifact:version) of jars, which the driver fetches. Goes before spark.jars.packages of conf.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 512)))]
    pub packages: Vec<String>,
    /// Repositories beside Maven Central to look for packages in. Goes before spark.jars.repositories of conf.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 2048)))]
    pub repositories: Vec<String>,
    /// What not to fetch with packages (group:artifact). Goes before spark.jars.excludes of conf.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 512)))]
    pub exclude_packages: Vec<String>,
    /// ConfigMap with core-site.xml and its like, which becomes HADOOP_CONF_DIR of driver and executors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hadoop_conf_from: Option<ConfigMapName>,
    /// ConfigMap with log4j2.properties, hive-site.xml and its like for SPARK_CONF_DIR of driver and executors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spark_conf_from: Option<ConfigMapName>,
    /// Which scheduler places the pods, and in which queue they wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling: Option<Scheduling>,
    /// How Prometheus finds the metrics of driver and executors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<Monitoring>,

    /// No pods while true. A batch that runs is ended, and started anew when this becomes false. May be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// How long the batch may stay in each phase. Time in suspension does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadlines: Option<DeadlinesSpec>,
    /// Whether a batch that failed is run again. An attempt may have written output before it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetrySpec>,
    /// True ends the batch for good: its driver is ended, the phase becomes Killed. May be set once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<bool>,
    /// Seconds after its end at which the batch is deleted, with its pods and logs. The operator's default if not given. May be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub ttl_seconds_after_finished: Option<i32>,
    /// Whether the driver's pod, and its log, stay after the end. The operator's default if not given. May be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_retention: Option<PodRetention>,
}

/// Which driver pods stay after the end of their batch, until the batch goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum PodRetention {
    /// All.
    #[default]
    Always,
    /// Those of batches that did not succeed.
    OnFailure,
    /// None.
    Never,
}

/// How long a batch may stay in each phase, in seconds; as the operator's flags say where not given.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadlinesSpec {
    /// To wait in the namespace's queue, where the operator limits how many batches run at once; and behind scheduling
    /// gates of the driver pod, as in Kueue's queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub queued_seconds: Option<i32>,
    /// To wait for what keeps the driver pod from being created, such as a quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub pending_seconds: Option<i32>,
    /// From the driver pod's creation, or from when no scheduling gate holds it any more, until it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub driver_start_seconds: Option<i32>,
    /// To run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub running_seconds: Option<i32>,
}

/// Whether a batch that failed is run again.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetrySpec {
    /// Retries of what is not the application's fault. The operator's default if none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub infrastructure_retries: Option<i32>,
    /// Retries of an application that failed. 0 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub application_retries: Option<i32>,
    /// Pause before the first retry, doubled for each more. 10 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub backoff_seconds: Option<i32>,
    /// Longest pause. 300 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_backoff_seconds: Option<i32>,
    /// A driver that ran this long gives all retries back. Never if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub reset_after_seconds: Option<i32>,
}

/// One source of Spark properties: exactly one of its fields is set.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretRef) != has(self.configMapRef)")
    .message("set exactly one of secretRef and configMapRef"))]
pub struct ConfSource {
    /// A Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<ConfObject>,
    /// A ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfObject>,
}

/// A Secret or ConfigMap of the batch's namespace, by name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfObject {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Whether the batch starts without it where it does not exist. False if not given: the batch waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// A ConfigMap of the batch's namespace.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapName {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// How many executors there may be. Becomes spark.dynamicAllocation.*, and goes before conf.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DynamicAllocation {
    /// Whether executors come and go.
    pub enabled: bool,
    /// Executors at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub initial_executors: Option<i32>,
    /// Executors at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub min_executors: Option<i32>,
    /// Executors at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_executors: Option<i32>,
    /// Whether executors stay while they hold shuffle data that is needed. True if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shuffle_tracking_enabled: Option<bool>,
}

/// Which scheduler places the pods, and in which queue they wait.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scheduling {
    /// Scheduler of driver and executors. Goes before spark.kubernetes.scheduler.name of conf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub scheduler_name: Option<String>,
    /// LocalQueue of Kueue that admits the pods, one by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub kueue_queue: Option<String>,
    /// Queue of YuniKorn, which places the pods unless schedulerName says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub yunikorn_queue: Option<String>,
    /// Queue of Volcano, which places the pods, as a PodGroup, unless schedulerName says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub volcano_queue: Option<String>,
    /// What Volcano reserves. What driver and first executors ask for if not given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::api::crd::quantities_schema")]
    pub volcano_min_resources: BTreeMap<String, Quantity>,
}
