//! The driver pod and its Secret.
//!
//! Spark: the feature steps of `KubernetesDriverBuilder`. Deliberate differences, and why:
//! - `spark.driver.host` is the pod's own address: no headless Service, no wait for DNS.
//! - Properties are in a Secret and not in a `ConfigMap`: credentials travel in conf.
//! - No `spark-version` label (the operator does not know the image's version) and no port for Spark Connect.
//! - Restricted security context, no service links, the end of the log as termination message, owner reference.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    ConfigMapProjection, Container, ContainerPort, EnvVar, EnvVarSource, ObjectFieldSelector, Pod, PodSpec,
    ProjectedVolumeSource, ResourceRequirements, Secret, SecretKeySelector, SecretProjection, SecretVolumeSource,
    Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{CONF_DIR, ENV_KEY_PREFIX, EXECUTOR_TEMPLATE_FILE, PROPERTIES_FILE, ValidatedBatch, conf, executor, pod};
use crate::api::{DRIVER_CONTAINER, LABEL_SPARK_APP_SELECTOR, LABEL_SPARK_ROLE, ROLE_DRIVER, UI_PORT_NAME};
use crate::spark::{Language, Origin, SparkConf, app_name_label, escape_arg, to_properties};

/// What the keys of conf start with that are variables of the driver's environment.
const DRIVER_ENV: &str = "spark.kubernetes.driverEnv.";
const CONF_VOLUME: &str = "spark-conf-volume-driver";
/// Spark: `Constants.HADOOP_CONF_VOLUME`, `Constants.HADOOP_CONF_DIR_PATH`.
const HADOOP_VOLUME: &str = "hadoop-properties";
const HADOOP_CONF_DIR: &str = "/opt/hadoop/conf";
const LOCAL_DIR: &str = "/var/data/spark";
/// Seconds that a driver has to end by itself: with those of its executors, less than the 30 in which a
/// deleted batch is promised to be gone.
const TERMINATION_GRACE_SECONDS: i64 = 15;

/// The driver pod.
pub(super) fn pod(batch: &ValidatedBatch) -> Pod {
    let (volumes, mounts, local_dirs) = volumes(batch);
    let shape = &batch.driver;
    let container = Container {
        name: DRIVER_CONTAINER.to_owned(),
        image: Some(batch.image.clone()),
        image_pull_policy: Some(batch.image_pull_policy.clone()),
        args: Some(args(batch)),
        ports: Some(pod::ports(shape, ports(batch))),
        env: Some(env(batch, &local_dirs)),
        resources: Some(resources(batch)),
        volume_mounts: Some(mounts),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..shape.container.clone()
    };
    Pod {
        metadata: metadata(batch),
        spec: Some(PodSpec {
            containers: [vec![container], shape.pod.containers.clone()].concat(),
            volumes: Some(volumes),
            restart_policy: Some("Never".to_owned()),
            service_account_name: Some(batch.service_account.clone()),
            automount_service_account_token: Some(true),
            enable_service_links: Some(false),
            image_pull_secrets: pod::non_empty(batch.image_pull_secrets.clone()),
            node_selector: pod::non_empty(node_selector(batch)),
            scheduler_name: scheduler(batch).or(shape.pod.scheduler_name.clone()),
            termination_grace_period_seconds: Some(TERMINATION_GRACE_SECONDS),
            ..shape.pod.clone()
        }),
        status: None,
    }
}

/// The Secret: immutable, since it is also the record that the attempt's pod was created.
pub(super) fn secret(batch: &ValidatedBatch, conf: &SparkConf) -> Secret {
    let mut data: BTreeMap<String, String> = [
        (PROPERTIES_FILE.to_owned(), to_properties(conf)),
        (EXECUTOR_TEMPLATE_FILE.to_owned(), executor::template(batch)),
    ]
    .into();
    data.extend(referenced_env(batch).map(|(name, value)| (format!("{ENV_KEY_PREFIX}{name}"), value.to_owned())));
    Secret {
        metadata: ObjectMeta {
            name: Some(batch.names.conf_secret.clone()),
            namespace: Some(batch.namespace.clone()),
            labels: Some(pod::labels(batch, &BTreeMap::new())),
            owner_references: Some(vec![batch.owner_reference.clone()]),
            ..ObjectMeta::default()
        },
        immutable: Some(true),
        data: Some(data.into_iter().map(|(name, text)| (name, ByteString(text.into_bytes()))).collect()),
        ..Secret::default()
    }
}

/// Spark: `BasicDriverFeatureStep`, `KubernetesDriverConf.labels`.
fn metadata(batch: &ValidatedBatch) -> ObjectMeta {
    let mut labels: BTreeMap<_, _> = owned(batch.conf.under("spark.kubernetes.driver.label."));
    labels.extend(pod::labels(batch, &batch.driver.labels));
    labels.insert(LABEL_SPARK_APP_SELECTOR.to_owned(), batch.app_id.clone());
    labels.insert("spark-app-name".to_owned(), app_name_label(&batch.app_name));
    labels.insert(LABEL_SPARK_ROLE.to_owned(), ROLE_DRIVER.to_owned());
    let mut annotations: BTreeMap<_, _> = owned(batch.conf.under("spark.kubernetes.driver.annotation."));
    annotations.extend(batch.driver.annotations.clone());
    ObjectMeta {
        name: Some(batch.names.driver_pod.clone()),
        namespace: Some(batch.namespace.clone()),
        labels: Some(labels),
        annotations: pod::non_empty(annotations),
        owner_references: Some(vec![batch.owner_reference.clone()]),
        ..ObjectMeta::default()
    }
}

/// Spark: `DriverCommandFeatureStep`. The image's entrypoint hands these to spark-submit in client mode.
fn args(batch: &ValidatedBatch) -> Vec<String> {
    let mut args = vec!["driver".to_owned()];
    if let Some(user) = &batch.proxy_user {
        args.extend(["--proxy-user".to_owned(), escape_arg(user)]);
    }
    args.extend([
        "--properties-file".to_owned(),
        format!("{CONF_DIR}/{PROPERTIES_FILE}"),
        "--conf".to_owned(),
        "spark.driver.host=$(SPARK_DRIVER_BIND_ADDRESS)".to_owned(),
    ]);
    if let Some(class) = &batch.class {
        args.extend(["--class".to_owned(), escape_arg(class)]);
    }
    args.push(escape_arg(&batch.file));
    args.extend(batch.args.iter().map(|arg| escape_arg(arg)));
    args
}

fn ports(batch: &ValidatedBatch) -> Vec<ContainerPort> {
    let ui = conf::ui_port(&batch.conf).map(|port| (UI_PORT_NAME, port));
    [("driver-rpc-port", 7078), ("blockmanager", 7079)]
        .into_iter()
        .chain(ui)
        .map(|(name, port)| ContainerPort {
            name: Some(name.to_owned()),
            container_port: port,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        })
        .collect()
}

/// In Kubernetes the last of two variables with one name counts, so the operator's come last.
fn env(batch: &ValidatedBatch, local_dirs: &[String]) -> Vec<EnvVar> {
    let value =
        |name: &str, value: &str| EnvVar { name: name.to_owned(), value: Some(value.to_owned()), ..EnvVar::default() };
    let address = ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: "status.podIP".to_owned() };
    let bind_address = EnvVar {
        name: "SPARK_DRIVER_BIND_ADDRESS".to_owned(),
        value_from: Some(EnvVarSource { field_ref: Some(address), ..EnvVarSource::default() }),
        ..EnvVar::default()
    };
    let mut env: Vec<_> = batch
        .conf
        .under(DRIVER_ENV)
        .map(|(name, text)| if is_referenced(batch, name) { from_secret(batch, name) } else { value(name, text) })
        .chain(interpreters(batch).map(|(name, path)| value(name, path)))
        .collect();
    let own = batch.driver.container.env.as_deref().unwrap_or_default();
    env.retain(|variable| own.iter().all(|own| own.name != variable.name));
    env.extend_from_slice(own);
    env.extend([
        value("SPARK_USER", &batch.user),
        value("SPARK_APPLICATION_ID", &batch.app_id),
        bind_address,
        value("SPARK_LOCAL_DIRS", &local_dirs.join(",")),
        value("SPARK_CONF_DIR", CONF_DIR),
    ]);
    if batch.conf.get(conf::HADOOP_CONFIG_MAP).is_some() {
        env.push(value("HADOOP_CONF_DIR", HADOOP_CONF_DIR));
    }
    env
}

/// Python's interpreters, which Spark's images take from the environment. Spark: `DriverCommandFeatureStep`.
fn interpreters(batch: &ValidatedBatch) -> impl Iterator<Item = (&'static str, &str)> {
    let keys = [("PYSPARK_PYTHON", "spark.pyspark.python"), ("PYSPARK_DRIVER_PYTHON", "spark.pyspark.driver.python")];
    let keys = keys.into_iter().filter(|_| batch.language == Language::Python);
    keys.filter_map(|(name, key)| Some((name, batch.conf.get(key)?)))
}

/// Variables of the driver's environment that confFrom brings. They may be credentials: the pod names the Secret that
/// holds them, and not their values.
fn referenced_env(batch: &ValidatedBatch) -> impl Iterator<Item = (&str, &str)> {
    batch.conf.under(DRIVER_ENV).filter(|(name, _)| is_referenced(batch, name))
}

fn is_referenced(batch: &ValidatedBatch, name: &str) -> bool {
    batch.conf.origin(&format!("{DRIVER_ENV}{name}")) == Some(Origin::ConfFrom)
}

fn from_secret(batch: &ValidatedBatch, name: &str) -> EnvVar {
    let key = SecretKeySelector {
        name: batch.names.conf_secret.clone(),
        key: format!("{ENV_KEY_PREFIX}{name}"),
        ..SecretKeySelector::default()
    };
    let source = EnvVarSource { secret_key_ref: Some(key), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value_from: Some(source), ..EnvVar::default() }
}

/// Spark: `BasicDriverFeatureStep`.
pub(super) fn resources(batch: &ValidatedBatch) -> ResourceRequirements {
    let own = &batch.driver.resources;
    let quantity = |text: &str| Quantity(text.to_owned());
    let memory = Quantity(format!("{}Mi", batch.memory.total_mib));
    let cores = batch.conf.get("spark.kubernetes.driver.request.cores").or(batch.conf.get("spark.driver.cores"));
    let cpu = own.requests.get("cpu").cloned().unwrap_or_else(|| quantity(cores.unwrap_or("1")));
    let limit = own.limits.get("cpu").cloned().or(batch.conf.get("spark.kubernetes.driver.limit.cores").map(quantity));
    let mut requests = pod::other_resources(&own.requests);
    requests.extend([("cpu".to_owned(), cpu), ("memory".to_owned(), memory.clone())]);
    let mut limits = pod::devices(&batch.conf, ROLE_DRIVER);
    limits.extend(pod::other_resources(&own.limits));
    limits.insert("memory".to_owned(), memory);
    limits.extend(limit.map(|limit| ("cpu".to_owned(), limit)));
    ResourceRequirements { requests: Some(requests), limits: Some(limits), ..ResourceRequirements::default() }
}

/// Volumes, their mounts, and the directories for Spark's shuffle and spill files.
///
/// Spark: `LocalDirsFeatureStep` (a user's volume named `spark-local-dir-*` takes the place of its own).
fn volumes(batch: &ValidatedBatch) -> (Vec<Volume>, Vec<VolumeMount>, Vec<String>) {
    let mut volumes = vec![conf_volume(batch)];
    let mut mounts = vec![VolumeMount { read_only: Some(true), ..pod::mount(CONF_VOLUME, CONF_DIR) }];
    if let Some(name) = batch.conf.get(conf::HADOOP_CONFIG_MAP) {
        volumes.push(pod::config_map(HADOOP_VOLUME, name));
        mounts.push(pod::mount(HADOOP_VOLUME, HADOOP_CONF_DIR));
    }
    pod::add_volumes(batch, &batch.driver, &mut volumes, &mut mounts);
    let own = batch
        .driver
        .container
        .volume_mounts
        .iter()
        .flatten()
        .filter(|mount| mount.name.starts_with("spark-local-dir-"));
    let mut local_dirs: Vec<_> = own.map(|mount| mount.mount_path.clone()).collect();
    if local_dirs.is_empty() {
        let in_memory = batch.conf.get("spark.kubernetes.local.dirs.tmpfs") == Some("true");
        let dirs = batch.conf.get("spark.local.dir").unwrap_or(LOCAL_DIR).split(',').map(str::trim);
        for (index, dir) in dirs.filter(|dir| !dir.is_empty()).enumerate() {
            let name = format!("spark-local-dir-{}", index + 1);
            volumes.push(pod::empty_dir(&name, in_memory.then_some("Memory")));
            mounts.push(pod::mount(&name, dir));
            local_dirs.push(dir.to_owned());
        }
    }
    (volumes, mounts, local_dirs)
}

/// The Secret, with the files of the batch's own conf directory under it: of two sources that hold one file, the
/// later counts.
fn conf_volume(batch: &ValidatedBatch) -> Volume {
    let secret = batch.names.conf_secret.clone();
    let Some(config_map) = &batch.spark_conf else {
        let source = SecretVolumeSource { secret_name: Some(secret), ..SecretVolumeSource::default() };
        return Volume { name: CONF_VOLUME.to_owned(), secret: Some(source), ..Volume::default() };
    };
    let config_map = ConfigMapProjection { name: config_map.clone(), ..ConfigMapProjection::default() };
    let secret = SecretProjection { name: secret, ..SecretProjection::default() };
    let sources = vec![
        VolumeProjection { config_map: Some(config_map), ..VolumeProjection::default() },
        VolumeProjection { secret: Some(secret), ..VolumeProjection::default() },
    ];
    let projected = ProjectedVolumeSource { sources: Some(sources), ..ProjectedVolumeSource::default() };
    Volume { name: CONF_VOLUME.to_owned(), projected: Some(projected), ..Volume::default() }
}

fn node_selector(batch: &ValidatedBatch) -> BTreeMap<String, String> {
    let mut selector: BTreeMap<_, _> = owned(batch.conf.under("spark.kubernetes.node.selector."));
    selector.extend(owned(batch.conf.under("spark.kubernetes.driver.node.selector.")));
    selector.extend(batch.driver.pod.node_selector.clone().unwrap_or_default());
    selector
}

/// Spark: `KubernetesDriverConf.schedulerName`.
fn scheduler(batch: &ValidatedBatch) -> Option<String> {
    let keys = ["spark.kubernetes.driver.scheduler.name", conf::SCHEDULER_NAME];
    keys.into_iter().find_map(|key| batch.conf.get(key)).map(str::to_owned)
}

fn owned<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
