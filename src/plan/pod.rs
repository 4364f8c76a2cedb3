//! What driver and executor pods have in common: the restricted security context and places to write to.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, ContainerPort, EmptyDirVolumeSource, PodSecurityContext, SeccompProfile,
    SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::ValidatedBatch;
use super::shape::PodShape;
use crate::api::{LABEL_ATTEMPT, LABEL_BATCH, MANAGER};
use crate::spark::SparkConf;

/// User and group of Spark's images. Spark: `kubernetes/dockerfiles/spark/Dockerfile` (`spark_uid`).
const SPARK_UID: i64 = 185;
const TMP_VOLUME: &str = "spark-tmp";
/// Working directory of Spark's images.
const WORK_DIR: &str = "/opt/spark/work-dir";

/// The labels by which the operator finds its pods.
pub(super) fn labels(batch: &ValidatedBatch, own: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut labels = own.clone();
    labels.insert("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned());
    labels.insert(LABEL_BATCH.to_owned(), batch.name.clone());
    labels.insert(LABEL_ATTEMPT.to_owned(), batch.attempt.to_string());
    labels
}

/// Pod Security `restricted`, for the pod.
pub(super) fn security_context() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(SPARK_UID),
        run_as_group: Some(SPARK_UID),
        fs_group: Some(SPARK_UID),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
        ..PodSecurityContext::default()
    }
}

/// Pod Security `restricted`, for the container, and a root file system that nothing can be written to.
pub(super) fn container_security_context() -> SecurityContext {
    SecurityContext { read_only_root_filesystem: Some(true), ..unprivileged() }
}

/// Pod Security `restricted`, for a container of the user's.
pub(super) fn unprivileged() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Capabilities::default() }),
        ..SecurityContext::default()
    }
}

/// An empty directory, in memory if `medium` says so.
pub(super) fn empty_dir(name: &str, medium: Option<&str>) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource { medium: medium.map(str::to_owned), ..EmptyDirVolumeSource::default() }),
        ..Volume::default()
    }
}

/// The files of a `ConfigMap`.
pub(super) fn config_map(name: &str, config_map: &str) -> Volume {
    let source = ConfigMapVolumeSource { name: config_map.to_owned(), ..ConfigMapVolumeSource::default() };
    Volume { name: name.to_owned(), config_map: Some(source), ..Volume::default() }
}

/// A mount of a whole volume.
pub(super) fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

/// Adds the volumes of the template, the batch's volumes that Spark's container mounts, and a temporary and a working
/// directory where it mounts none of its own there: the root file system is read-only.
pub(super) fn add_volumes(
    batch: &ValidatedBatch,
    shape: &PodShape,
    volumes: &mut Vec<Volume>,
    mounts: &mut Vec<VolumeMount>,
) {
    let own_mounts = shape.container.volume_mounts.as_deref().unwrap_or_default();
    let containers = shape.pod.containers.iter().chain(shape.pod.init_containers.iter().flatten());
    let all_mounts = || containers.clone().flat_map(|container| container.volume_mounts.iter().flatten());
    let is_mounted = |volume: &&Volume| own_mounts.iter().chain(all_mounts()).any(|mount| mount.name == volume.name);
    volumes.extend(batch.volumes.iter().filter(is_mounted).cloned());
    volumes.extend(shape.pod.volumes.iter().flatten().cloned());
    volumes.push(empty_dir(TMP_VOLUME, None));
    mounts.extend_from_slice(own_mounts);
    let work_dir = VolumeMount { sub_path: Some("work-dir".to_owned()), ..mount(TMP_VOLUME, WORK_DIR) };
    for own in [mount(TMP_VOLUME, "/tmp"), work_dir] {
        if !own_mounts.iter().any(|mount| mount.mount_path.trim_end_matches('/') == own.mount_path) {
            mounts.push(own);
        }
    }
}

/// The ports of Spark's container, before those of other names that the template gives it.
pub(super) fn ports(shape: &PodShape, own: Vec<ContainerPort>) -> Vec<ContainerPort> {
    let is_new = |port: &&ContainerPort| port.name.is_none() || own.iter().all(|own| own.name != port.name);
    let others: Vec<_> = shape.container.ports.iter().flatten().filter(is_new).cloned().collect();
    own.into_iter().chain(others).collect()
}

/// The resources of `settings` that Spark does not compute itself.
pub(super) fn other_resources(resources: &BTreeMap<String, Quantity>) -> BTreeMap<String, Quantity> {
    let computed = |name: &str| matches!(name, "cpu" | "memory");
    resources.iter().filter(|(name, _)| !computed(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// GPUs and other devices of conf, of driver or executor. Spark: `KubernetesUtils.buildResourcesQuantities`.
pub(super) fn devices(conf: &SparkConf, role: &str) -> BTreeMap<String, Quantity> {
    let prefix = format!("spark.{role}.resource.");
    let amounts = conf.under(&prefix).filter_map(|(key, amount)| {
        let name = key.strip_suffix(".amount")?;
        let vendor = conf.get(&format!("{prefix}{name}.vendor"))?;
        Some((format!("{vendor}/{name}"), Quantity(amount.trim().to_owned())))
    });
    amounts.collect()
}

/// `None` for an empty map or list, which the API server would drop.
pub(super) fn non_empty<T: IntoIterator + Default + PartialEq>(items: T) -> Option<T> {
    (items != T::default()).then_some(items)
}
