//! Kubeflow's `SparkApplication` (`sparkoperator.k8s.io/v1beta2`) as a `SparkBatch`.
//!
//! Pure. What is mapped is taken out of the manifest; what is left over at the end has no counterpart and is told, so
//! that nothing is dropped in silence.

mod manifest;
mod pods;

use serde_json::{Map, Value, json};

use self::manifest::Manifest;
use crate::api::validation::{self, Problem};
use crate::api::{GROUP, KIND, SparkBatchSpec, VERSION};

/// What became of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversion {
    /// The `SparkBatch`, as far as it could be made.
    pub batch: Value,
    /// Fields of the manifest that are not in it, or mean something else, each with what to do.
    pub notes: Vec<Problem>,
    /// Rules that it breaks: it could not run.
    pub problems: Vec<Problem>,
}

/// Converts the manifest of a `SparkApplication`.
///
/// # Errors
/// That it is none.
pub fn convert(manifest: &Value) -> Result<Conversion, String> {
    let kind = manifest["kind"].as_str().unwrap_or_default();
    if kind == "ScheduledSparkApplication" {
        return Err(
            "a ScheduledSparkApplication has no counterpart: batches run once. Convert its spec.template as a \
                    SparkApplication, and submit it by a CronJob or a workflow engine"
                .to_owned(),
        );
    }
    if kind != "SparkApplication" || manifest["apiVersion"] != "sparkoperator.k8s.io/v1beta2" {
        return Err("is no SparkApplication of sparkoperator.k8s.io/v1beta2".to_owned());
    }
    let mut metadata = Map::new();
    for field in ["name", "namespace", "labels", "annotations"] {
        metadata.extend(manifest["metadata"].get(field).map(|value| (field.to_owned(), value.clone())));
    }
    let mut manifest = Manifest::new(manifest["spec"].clone());
    application(&mut manifest);
    configuration(&mut manifest);
    scheduling(&mut manifest);
    life(&mut manifest);
    pods::driver_and_executor(&mut manifest);
    let (spec, notes) = manifest.end();
    let problems = match serde_json::from_value::<SparkBatchSpec>(spec.clone()) {
        Ok(spec) => validation::problems(&spec),
        Err(error) => vec![Problem::new("spec", error.to_string())],
    };
    let batch = json!({ "apiVersion": format!("{GROUP}/{VERSION}"), "kind": KIND, "metadata": metadata, "spec": spec });
    Ok(Conversion { batch, notes, problems })
}

fn application(manifest: &mut Manifest) {
    // Told by the file's ending, and by the image.
    for field in ["type", "sparkVersion", "pythonVersion"] {
        manifest.take(field);
    }
    if let Some(mode) = manifest.take("mode").filter(|mode| mode != "cluster") {
        manifest.note("mode", format!("{mode}: every batch's driver has a pod of its own, as in 'cluster'"));
    }
    let fields = [
        ("mainApplicationFile", "file"),
        ("mainClass", "className"),
        ("arguments", "args"),
        ("proxyUser", "proxyUser"),
        ("image", "image"),
        ("imagePullPolicy", "imagePullPolicy"),
        ("volumes", "volumes"),
        ("suspend", "suspend"),
        ("timeToLiveSeconds", "ttlSecondsAfterFinished"),
    ];
    for (from, to) in fields {
        manifest.copy(from, to);
    }
    for list in ["jars", "pyFiles", "files", "archives", "packages", "excludePackages", "repositories"] {
        manifest.copy(&format!("deps.{list}"), list);
    }
    if let Some(Value::Array(secrets)) = manifest.take("imagePullSecrets") {
        manifest.set("imagePullSecrets", secrets.into_iter().map(|name| json!({ "name": name })).collect());
    }
}

fn configuration(manifest: &mut Manifest) {
    for (field, prefix) in [("sparkConf", ""), ("hadoopConf", "spark.hadoop.")] {
        if let Some(Value::Object(conf)) = manifest.take(field) {
            for (key, value) in conf {
                manifest.conf(&format!("{prefix}{key}"), &value);
            }
        }
    }
    for (field, to) in [("sparkConfigMap", "sparkConfFrom"), ("hadoopConfigMap", "hadoopConfFrom")] {
        if let Some(name) = manifest.take(field) {
            manifest.set(to, json!({ "name": name }));
        }
    }
    if let Some(factor) = manifest.take("memoryOverheadFactor") {
        manifest.conf("spark.kubernetes.memoryOverheadFactor", &factor);
    }
    for field in ["enabled", "initialExecutors", "minExecutors", "maxExecutors", "shuffleTrackingEnabled"] {
        let path = format!("dynamicAllocation.{field}");
        manifest.copy(&path, &path);
    }
    if let Some(millis) = manifest.take("dynamicAllocation.shuffleTrackingTimeout") {
        let millis = Value::String(format!("{}ms", text(&millis)));
        manifest.conf("spark.dynamicAllocation.shuffleTracking.timeout", &millis);
    }
    monitoring(manifest);
}

fn monitoring(manifest: &mut Manifest) {
    manifest.take("monitoring.exposeDriverMetrics");
    manifest.take("monitoring.exposeExecutorMetrics");
    let Some(jar) = manifest.take("monitoring.prometheus.jmxExporterJar") else { return };
    let file = manifest.take("monitoring.prometheus.configFile");
    let file = file.unwrap_or_else(|| {
        let text = "the operator brings no configuration for the exporter: put yours into a ConfigMap as \
                    prometheus.yaml, and name that in sparkConfFrom";
        manifest.note("monitoring.prometheus.configFile", text);
        json!("/opt/spark/conf/prometheus.yaml")
    });
    manifest.set("monitoring.jmxExporter", json!({ "jar": jar, "configFile": file }));
    manifest.copy("monitoring.prometheus.port", "monitoring.jmxExporter.port");
}

fn scheduling(manifest: &mut Manifest) {
    let scheduler = manifest.take("batchScheduler");
    let queue = manifest.take("batchSchedulerOptions.queue").unwrap_or_else(|| json!("default"));
    match scheduler.as_ref().and_then(Value::as_str) {
        Some("volcano") => {
            manifest.set("scheduling.volcanoQueue", queue);
            manifest.copy("batchSchedulerOptions.resources", "scheduling.volcanoMinResources");
        }
        Some("yunikorn") => manifest.set("scheduling.yunikornQueue", queue),
        Some(other) => manifest.set("scheduling.schedulerName", json!(other)),
        None => {}
    }
    if let Some(class) = manifest.take("batchSchedulerOptions.priorityClassName") {
        for role in ["driver", "executor"] {
            manifest.set(&format!("{role}.priorityClassName"), class.clone());
        }
    }
    if let Some(selector) = manifest.take("nodeSelector") {
        for role in ["driver", "executor"] {
            manifest.set(&format!("{role}.nodeSelector"), selector.clone());
        }
    }
}

/// Kubeflow: `RestartPolicy`, whose pauses grow by themselves; here they are doubled.
fn life(manifest: &mut Manifest) {
    let policy = manifest.take("restartPolicy.type");
    if policy.as_ref().is_some_and(|policy| policy == "Always") {
        let text = "Always: a batch that succeeded is not run again; submit it anew, by a CronJob or a workflow engine";
        manifest.note("restartPolicy.type", text);
    }
    let is_never = policy.is_none_or(|policy| policy == "Never");
    let fields = [
        ("onFailureRetries", "applicationRetries"),
        ("onSubmissionFailureRetries", "infrastructureRetries"),
        ("onFailureRetryInterval", "backoffSeconds"),
    ];
    for (from, to) in fields {
        let value = manifest.take(&format!("restartPolicy.{from}"));
        if let Some(value) = value.filter(|_| !is_never) {
            manifest.set(&format!("retry.{to}"), value);
        }
    }
}

/// A value of conf as Spark reads it.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
