//! The template from which Spark, inside the driver, makes executor pods.
//!
//! Spark adds to it what it computes: image, command, CPU, memory, its own labels, environment and local
//! directories (`BasicExecutorFeatureStep`, `LocalDirsFeatureStep`).

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{CONF_DIR, ValidatedBatch, pod};
use crate::api::EXECUTOR_CONTAINER;

/// Spark: `Constants.SPARK_CONF_VOLUME_EXEC`.
const CONF_VOLUME: &str = "spark-conf-volume-exec";

/// The template, as the text of a file. JSON is YAML, and is written the same way by every version.
pub(super) fn template(batch: &ValidatedBatch) -> String {
    // A Pod is made of maps with string keys only, so that it always has a JSON form.
    serde_json::to_string_pretty(&pod_template(batch)).unwrap_or_default()
}

fn pod_template(batch: &ValidatedBatch) -> Pod {
    let shape = &batch.executor;
    let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
    pod::add_volumes(batch, shape, &mut volumes, &mut mounts);
    if let Some(name) = &batch.spark_conf {
        volumes.push(pod::config_map(CONF_VOLUME, name));
        mounts.push(pod::mount(CONF_VOLUME, CONF_DIR));
    }
    let container = Container {
        name: EXECUTOR_CONTAINER.to_owned(),
        env: pod::non_empty(shape.container.env.clone().unwrap_or_default()),
        volume_mounts: Some(mounts),
        resources: Some(ResourceRequirements {
            requests: pod::non_empty(pod::other_resources(&shape.resources.requests)),
            limits: pod::non_empty(pod::other_resources(&shape.resources.limits)),
            ..ResourceRequirements::default()
        }),
        ..shape.container.clone()
    };
    Pod {
        metadata: ObjectMeta {
            labels: Some(pod::labels(batch, &shape.labels)),
            annotations: pod::non_empty(shape.annotations.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            containers: [vec![container], shape.pod.containers.clone()].concat(),
            volumes: Some(volumes),
            // Executors talk to their driver only; a token would be one more thing for a job to lose.
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            ..shape.pod.clone()
        }),
        status: None,
    }
}
