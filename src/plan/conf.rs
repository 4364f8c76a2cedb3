//! The conf of a batch: what it asks for, in the order of precedence, and what the operator adds.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::LocalObjectReference;

use super::{CONF_DIR, Defaults, EXECUTOR_TEMPLATE_FILE, ValidatedBatch, monitoring, volcano};
use crate::api::jvm_size::parse_mib;
use crate::api::validation::Problem;
use crate::api::{ContainerResources, EXECUTOR_CONTAINER, Scheduling, SparkBatchSpec};
use crate::spark::{Language, Origin, SparkConf, in_image};

/// Defaults that any batch may override.
///
/// Without a `ConfigMap` per application and with executors polled from the API server's cache, a driver
/// costs the API server least; Ivy's own default directory is not writable for the image's user; who may see a
/// driver's UI need not be one who may end its jobs.
const DEFAULTS: &[(&str, &str)] = &[
    ("spark.kubernetes.executor.disableConfigMap", "true"),
    ("spark.kubernetes.executor.enablePollingWithResourceVersion", "true"),
    ("spark.jars.ivy", "/tmp/.ivy2"),
    ("spark.ui.killEnabled", "false"),
];

/// What a Secret takes, 1 MiB, less what else stands in the driver's.
const MAX_CONF_BYTES: usize = 1_000_000;

/// The `ConfigMap` with Hadoop's configuration. Spark: `HadoopConfDriverFeatureStep`.
pub(super) const HADOOP_CONFIG_MAP: &str = "spark.kubernetes.hadoop.configMapName";
const HADOOP_FIELD: Origin = Origin::Field("hadoopConfFrom");
/// Scheduler of driver and executors.
pub(super) const SCHEDULER_NAME: &str = "spark.kubernetes.scheduler.name";

/// What a batch asks for: operator defaults, then confFrom, then conf, then the typed fields.
pub(super) fn requested(
    spec: &SparkBatchSpec,
    referenced: &[BTreeMap<String, String>],
    defaults: &Defaults,
) -> SparkConf {
    let mut conf = SparkConf::default();
    for (key, value) in DEFAULTS {
        conf.set(key, *value, Origin::Default);
    }
    conf.layer(&defaults.conf, Origin::Administrator);
    let image_defaults = [
        ("spark.kubernetes.container.image", &defaults.image, Origin::Administrator),
        ("spark.kubernetes.container.image.pullPolicy", &defaults.image_pull_policy, Origin::Administrator),
    ];
    set_all(&mut conf, image_defaults);
    for layer in referenced {
        conf.layer(layer, Origin::ConfFrom);
    }
    conf.layer(&spec.conf, Origin::Conf);
    set_typed(&mut conf, spec);
    conf
}

fn set_typed(conf: &mut SparkConf, spec: &SparkBatchSpec) {
    let number = |value: Option<i32>| value.map(|value| value.to_string());
    let typed = [
        ("spark.app.name", &spec.name, Origin::Field("name")),
        ("spark.driver.memory", &spec.driver_memory, Origin::Field("driverMemory")),
        ("spark.driver.cores", &number(spec.driver_cores), Origin::Field("driverCores")),
        ("spark.executor.memory", &spec.executor_memory, Origin::Field("executorMemory")),
        ("spark.executor.cores", &number(spec.executor_cores), Origin::Field("executorCores")),
        ("spark.executor.instances", &number(spec.num_executors), Origin::Field("numExecutors")),
        ("spark.yarn.queue", &spec.queue, Origin::Field("queue")),
        ("spark.kubernetes.container.image", &spec.image, Origin::Field("image")),
        ("spark.kubernetes.container.image.pullPolicy", &spec.image_pull_policy, Origin::Field("imagePullPolicy")),
    ];
    set_all(conf, typed);
    if !spec.image_pull_secrets.is_empty() {
        let names: Vec<_> = spec.image_pull_secrets.iter().map(|secret| secret.name.as_str()).collect();
        conf.set("spark.kubernetes.container.image.pullSecrets", names.join(","), Origin::Field("imagePullSecrets"));
    }
    // The launcher hands the driver's size to the JVM as it is, which knows neither `1gb` nor a bare number.
    for key in ["spark.driver.memory", "spark.executor.memory"] {
        if let (Some(Ok(mib)), Some(origin)) = (conf.get(key).map(parse_mib), conf.origin(key)) {
            conf.set(key, format!("{mib}m"), origin);
        }
    }
    prepend_files(conf, spec);
    set_dynamic_allocation(conf, spec);
    set_all(
        conf,
        [(HADOOP_CONFIG_MAP, &spec.hadoop_conf_from.as_ref().map(|source| source.name.clone()), HADOOP_FIELD)],
    );
    let scheduler = spec.scheduling.as_ref().and_then(scheduler_name);
    set_all(conf, [(SCHEDULER_NAME, &scheduler, Origin::Field("scheduling"))]);
    if let Some(resources) = spec.executor.as_ref().and_then(|executor| executor.resources.as_ref()) {
        set_executor_cpu(conf, resources);
    }
    if let Some(monitoring) = &spec.monitoring {
        monitoring::set(conf, monitoring);
    }
}

/// A jar given as the application's file goes into `spark.jars` too: spark-submit does so on the client, and
/// the driver, which runs in client mode inside the pod, does not.
///
/// Spark: `SparkSubmit.prepareSubmitEnvironment` (`isKubernetesClusterModeDriver`).
fn prepend_files(conf: &mut SparkConf, spec: &SparkBatchSpec) {
    let uris = |uris: &[String]| uris.iter().map(|uri| in_image(uri)).collect::<Vec<_>>();
    conf.prepend("spark.jars", uris(&spec.jars), Origin::Field("jars"));
    if Language::of_file(&spec.file) == Language::Java {
        // The last of them, so that a jar that is to go before a class of the application does.
        conf.append("spark.jars", &in_image(&spec.file), Origin::Field("file"));
    }
    conf.prepend("spark.submit.pyFiles", uris(&spec.py_files), Origin::Field("pyFiles"));
    conf.prepend("spark.files", uris(&spec.files), Origin::Field("files"));
    conf.prepend("spark.archives", uris(&spec.archives), Origin::Field("archives"));
    conf.prepend("spark.jars.packages", spec.packages.clone(), Origin::Field("packages"));
    conf.prepend("spark.jars.repositories", spec.repositories.clone(), Origin::Field("repositories"));
    conf.prepend("spark.jars.excludes", spec.exclude_packages.clone(), Origin::Field("excludePackages"));
}

/// Spark: `SparkConf` keys of `org.apache.spark.internal.config` (`DYN_ALLOCATION_*`).
fn set_dynamic_allocation(conf: &mut SparkConf, spec: &SparkBatchSpec) {
    let Some(dynamic) = &spec.dynamic_allocation else { return };
    let number = |value: Option<i32>| value.map(|value| value.to_string());
    let values = [
        ("enabled", Some(dynamic.enabled.to_string())),
        ("initialExecutors", number(dynamic.initial_executors)),
        ("minExecutors", number(dynamic.min_executors)),
        ("maxExecutors", number(dynamic.max_executors)),
        ("shuffleTracking.enabled", dynamic.shuffle_tracking_enabled.map(|enabled| enabled.to_string())),
    ];
    for (name, value) in values {
        if let Some(value) = value {
            conf.set(&format!("spark.dynamicAllocation.{name}"), value, Origin::Field("dynamicAllocation"));
        }
    }
}

fn scheduler_name(scheduling: &Scheduling) -> Option<String> {
    let yunikorn = scheduling.yunikorn_queue.as_ref().map(|_| "yunikorn".to_owned());
    let volcano = scheduling.volcano_queue.as_ref().map(|_| volcano::SCHEDULER.to_owned());
    scheduling.scheduler_name.clone().or(yunikorn).or(volcano)
}

/// Spark sets an executor's CPU from these keys, over whatever the template says.
///
/// Spark: `BasicExecutorFeatureStep`.
fn set_executor_cpu(conf: &mut SparkConf, resources: &ContainerResources) {
    let cpu = |resources: &BTreeMap<String, _>| {
        resources.get("cpu").map(|cpu: &k8s_openapi::apimachinery::pkg::api::resource::Quantity| cpu.0.clone())
    };
    let cpus = [
        ("spark.kubernetes.executor.request.cores", &cpu(&resources.requests), Origin::Field("executor.resources")),
        ("spark.kubernetes.executor.limit.cores", &cpu(&resources.limits), Origin::Field("executor.resources")),
    ];
    set_all(conf, cpus);
}

fn set_all<'a>(conf: &mut SparkConf, values: impl IntoIterator<Item = (&'a str, &'a Option<String>, Origin)>) {
    for (key, value, origin) in values {
        if let Some(value) = value {
            conf.set(key, value.as_str(), origin);
        }
    }
}

/// Rules that only the whole conf can be held against.
pub(super) fn problems(conf: &SparkConf) -> Vec<Problem> {
    let mut problems = Vec::new();
    // What a field says is refused where the field is.
    let is_typed = |key| matches!(conf.origin(key), Some(Origin::Field(_)));
    for key in ["spark.executor.instances", "spark.driver.cores", "spark.executor.cores"] {
        let least = i32::from(key != "spark.executor.instances");
        let is_too_small = |value: &str| value.parse::<i32>().map_or(true, |value| value < least);
        if !is_typed(key) && conf.get(key).is_some_and(is_too_small) {
            problems.push(Problem::new(format!("conf.{key}"), format!("must be a whole number from {least}")));
        }
    }
    // Spark: SparkSubmitArguments.validateSubmitArguments, in the driver.
    let instances = "spark.executor.instances";
    if conf.get(instances) == Some("0") && !is_dynamic(conf) && !is_typed(instances) {
        let message = "must be at least 1: Spark takes no application without executors, unless dynamicAllocation is \
                       enabled, which starts with none and asks for them when there is work";
        problems.push(Problem::new(format!("conf.{instances}"), message));
    }
    for key in conf.under("spark.driver.resource.").filter_map(|(key, _)| key.strip_suffix(".amount")) {
        if conf.get(&format!("spark.driver.resource.{key}.vendor")).is_none() {
            let field = format!("conf.spark.driver.resource.{key}.vendor");
            problems
                .push(Problem::new(field, "is missing: it is the first part of the resource's name, as nvidia.com"));
        }
    }
    let policy = conf.get("spark.kubernetes.container.image.pullPolicy").unwrap_or("IfNotPresent");
    if !["Always", "IfNotPresent", "Never"].contains(&policy) {
        problems.push(Problem::new("imagePullPolicy", "must be Always, IfNotPresent or Never"));
    }
    let size: usize = conf.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > MAX_CONF_BYTES {
        let rule = format!("is longer than {MAX_CONF_BYTES} bytes with what confFrom brings, more than a Secret holds");
        problems.push(Problem::new("conf", rule));
    }
    problems
}

fn is_dynamic(conf: &SparkConf) -> bool {
    conf.get("spark.dynamicAllocation.enabled") == Some("true")
}

/// Executors at the start. Spark: `SchedulerBackendUtils`, `Utils.getDynamicAllocationInitialExecutors`.
pub(super) fn requested_executors(conf: &SparkConf) -> i32 {
    let number = |key| conf.get(key).and_then(|value| value.parse::<i32>().ok());
    let instances = number("spark.executor.instances");
    if !is_dynamic(conf) {
        return instances.unwrap_or(2);
    }
    let least = number("spark.dynamicAllocation.minExecutors").unwrap_or(0);
    let initial = number("spark.dynamicAllocation.initialExecutors").unwrap_or(least);
    initial.max(least).max(instances.unwrap_or(0))
}

/// Where the Spark UI listens; `None` if it is off, or if the driver is to choose the port.
///
/// Spark: `UI.UI_ENABLED`, `UI.UI_PORT`.
pub(super) fn ui_port(conf: &SparkConf) -> Option<i32> {
    if conf.get("spark.ui.enabled").is_some_and(|enabled| enabled.eq_ignore_ascii_case("false")) {
        return None;
    }
    let port = conf.get("spark.ui.port").map_or(Some(4040), |port| port.parse().ok());
    port.filter(|port| (1..=65_535).contains(port))
}

/// The pull secrets, from the typed field or the conf key.
pub(super) fn pull_secrets(conf: &SparkConf) -> Vec<LocalObjectReference> {
    let names = conf.get("spark.kubernetes.container.image.pullSecrets").unwrap_or_default().split(',').map(str::trim);
    names.filter(|name| !name.is_empty()).map(|name| LocalObjectReference { name: name.to_owned() }).collect()
}

/// The driver's whole conf: what the batch asks for, under what the operator sets.
pub(super) fn complete(batch: &ValidatedBatch) -> SparkConf {
    let mut conf = batch.conf.clone();
    let template = format!("{CONF_DIR}/{EXECUTOR_TEMPLATE_FILE}");
    let submit_time = batch.submit_time.as_millisecond().to_string();
    let factor = batch.memory.overhead_factor.to_string();
    let set = [
        ("spark.master", "k8s://https://kubernetes.default.svc"),
        ("spark.submit.deployMode", "cluster"),
        ("spark.app.id", &batch.app_id),
        ("spark.app.submitTime", &submit_time),
        ("spark.driver.port", "7078"),
        ("spark.driver.blockManager.port", "7079"),
        ("spark.kubernetes.namespace", &batch.namespace),
        ("spark.kubernetes.submitInDriver", "true"),
        ("spark.kubernetes.resource.type", batch.language.resource_type()),
        ("spark.kubernetes.memoryOverheadFactor", &factor),
        ("spark.kubernetes.authenticate.driver.serviceAccountName", &batch.service_account),
        ("spark.kubernetes.driver.pod.name", &batch.names.driver_pod),
        ("spark.kubernetes.driver.resourceNamePrefix", &batch.names.prefix),
        ("spark.kubernetes.executor.podNamePrefix", &batch.names.prefix),
        ("spark.kubernetes.executor.podTemplateFile", &template),
        ("spark.kubernetes.executor.podTemplateContainerName", EXECUTOR_CONTAINER),
    ];
    for (key, value) in set {
        conf.set(key, value, Origin::Operator);
    }
    if let Some(name) = batch.conf.get(HADOOP_CONFIG_MAP) {
        conf.set("spark.kubernetes.executor.hadoopConfigMapName", name, Origin::Operator);
    }
    if batch.spark_conf.is_some() {
        // Spark's own ConfigMap would be mounted in the same place.
        conf.set("spark.kubernetes.executor.disableConfigMap", "true", Origin::Operator);
    }
    let origin = conf.origin("spark.driver.memory").unwrap_or(Origin::Default);
    conf.set("spark.driver.memory", format!("{}m", batch.memory.heap_mib), origin);
    conf
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(&[], Some(4040))]
    #[case(&[("spark.ui.port", " 4041 ")], Some(4041))]
    #[case(&[("spark.ui.port", "0")], None)]
    #[case(&[("spark.ui.port", "65536")], None)]
    #[case(&[("spark.ui.enabled", "true")], Some(4040))]
    #[case(&[("spark.ui.enabled", " False"), ("spark.ui.port", "4041")], None)]
    fn the_ui_has_a_port_where_it_is_on_and_the_port_is_known(
        #[case] keys: &[(&str, &str)],
        #[case] port: Option<i32>,
    ) {
        let mut conf = SparkConf::default();
        for (key, value) in keys {
            conf.set(key, *value, Origin::Conf);
        }
        assert_eq!(ui_port(&conf), port);
    }

    #[rstest]
    #[case(&[("spark.executor.instances", "1")], true)]
    #[case(&[("spark.executor.instances", "0")], false)]
    #[case(&[("spark.executor.instances", "0"), ("spark.dynamicAllocation.enabled", "false")], false)]
    #[case(&[("spark.executor.instances", "0"), ("spark.dynamicAllocation.enabled", "true")], true)]
    fn an_application_without_executors_is_refused_unless_they_come_later(
        #[case] keys: &[(&str, &str)],
        #[case] taken: bool,
    ) {
        let mut conf = SparkConf::default();
        for (key, value) in keys {
            conf.set(key, *value, Origin::Conf);
        }
        let problems = problems(&conf);
        assert_eq!(problems.is_empty(), taken, "{problems:?}");
        assert!(problems.iter().all(|problem| problem.field == "conf.spark.executor.instances"), "{problems:?}");
    }

    #[rstest]
    #[case(json!({ "file": "/a.py", "numExecutors": 0 }))]
    #[case(json!({ "file": "/a.py", "numExecutors": -1 }))]
    #[case(json!({ "file": "/a.py", "driverCores": 0 }))]
    #[case(json!({ "file": "/a.py", "executorCores": 2000 }))]
    fn a_number_that_is_out_of_range_is_told_of_once(#[case] spec: serde_json::Value) {
        let spec: SparkBatchSpec = serde_json::from_value(spec).unwrap();
        let told = crate::api::validation::problems(&spec).len();
        let again = problems(&requested(&spec, &[], &Defaults::default())).len();
        assert_eq!((told, again), (1, 0));
    }
}
