//! From a batch to the objects that run it: driver pod and Secret, and a `PodGroup` where Volcano schedules.
//!
//! Pure: [`validate`] turns a resource into a [`ValidatedBatch`] or lists every problem; [`build`] cannot
//! fail. The executors are made by Spark inside the driver, shaped by the template in the Secret.

mod conf;
mod driver;
mod executor;
mod explain;
mod monitoring;
mod pod;
mod quantity;
mod shape;
mod validate;
mod volcano;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::core::DynamicObject;

pub use explain::{Explanation, Property, explain};
pub use validate::{ValidatedBatch, validate};
pub use volcano::pod_group_resource;

use crate::spark::SparkConf;

/// Where the Secret is mounted. Spark: `Constants.SPARK_CONF_DIR_INTERNAL`.
const CONF_DIR: &str = "/opt/spark/conf";
/// Key of the Secret with the driver's properties. Spark: `Constants.SPARK_CONF_FILE_NAME`.
const PROPERTIES_FILE: &str = "spark.properties";
/// Key of the Secret with the template of executor pods.
const EXECUTOR_TEMPLATE_FILE: &str = "executor-pod-template.yaml";
/// What the keys of the Secret start with that hold variables of the driver's environment; the name follows.
const ENV_KEY_PREFIX: &str = "env.";

/// What the operator's administrator gives batches that do not say otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// Image of driver and executors; a batch must name its own where this is `None`.
    pub image: Option<String>,
    /// Pull policy of that image.
    pub image_pull_policy: Option<String>,
    /// Service account of drivers.
    pub service_account: String,
    /// Spark conf below everything that a batch sets.
    pub conf: BTreeMap<String, String>,
}

/// The objects of one attempt, in the order in which they are created.
#[derive(Clone, Debug)]
pub struct PodSet {
    /// Volcano's `PodGroup`, which the pods name, where the batch asks for one.
    pub pod_group: Option<DynamicObject>,
    /// The driver pod. It mounts [`PodSet::secret`] and cannot start before that exists.
    pub driver: Pod,
    /// The driver's configuration, and the record that the attempt's pod was created.
    pub secret: Secret,
    /// The conf in that Secret.
    pub conf: SparkConf,
}

/// The objects that run `batch`.
#[must_use]
pub fn build(batch: &ValidatedBatch) -> PodSet {
    let conf = conf::complete(batch);
    PodSet {
        pod_group: volcano::pod_group(batch),
        driver: driver::pod(batch),
        secret: driver::secret(batch, &conf),
        conf,
    }
}
