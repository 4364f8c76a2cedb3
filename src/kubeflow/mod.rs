//! Kubeflow's `SparkApplication` (`sparkoperator.k8s.io/v1beta2`) as a `SparkBatch`.
//!
//! Pure. What is mapped is taken out of the manifest; what is left over at the end has no counterpart and is told, so
//! that nothing is dropped in silence.

mod manifest;
mod pods;
mod scheduling;

use serde_json::{Map, Value, json};

use self::manifest::Manifest;
use crate::api::validation::{self, Problem};
use crate::api::{GROUP, KIND, SparkBatchSpec, VERSION};

/// What of the metadata is the resource's own, whichever it is.
const KEPT_METADATA: &[&str] = &["name", "generateName", "namespace", "labels", "annotations"];
/// What the API server writes into the metadata.
const SERVERS_METADATA: &[&str] =
    &["creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"];

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
        return Err("is not a SparkApplication of sparkoperator.k8s.io/v1beta2".to_owned());
    }
    let given = manifest["metadata"].clone();
    let mut manifest = Manifest::new(manifest["spec"].clone());
    let metadata = metadata(&given, &mut manifest);
    configuration(&mut manifest);
    application(&mut manifest);
    scheduling::scheduling(&mut manifest);
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

/// The metadata of the batch. Its labels are the pods', too, as with kubeflow.
fn metadata(given: &Value, manifest: &mut Manifest) -> Map<String, Value> {
    let mut metadata = Map::new();
    for (field, value) in given.as_object().unwrap_or(&Map::new()) {
        if KEPT_METADATA.contains(&field.as_str()) {
            metadata.insert(field.clone(), value.clone());
        } else if !SERVERS_METADATA.contains(&field.as_str()) {
            manifest.note(&format!("metadata.{field}"), "has no counterpart");
        }
    }
    if let Some(labels) = metadata.get("labels").filter(|labels| labels.is_object()) {
        for role in pods::ROLES {
            manifest.put("metadata.labels", &format!("{role}.labels"), labels.clone());
        }
    }
    metadata
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
    image(manifest);
}

/// Kubeflow: `imageOption`, whose image is given again as each role's, after sparkConf.
fn image(manifest: &mut Manifest) {
    if let Some(image) = manifest.take("image") {
        let of_roles = pods::ROLES.map(|role| format!("spark.kubernetes.{role}.container.image"));
        for key in of_roles {
            if manifest.take_conf(&key).is_some() {
                manifest.note("image", format!("goes before sparkConf's {key}, as with kubeflow"));
            }
        }
        manifest.set("image", image);
    }
    if let Some(policy) = manifest.take("imagePullPolicy")
        && !manifest.yields_to_conf("imagePullPolicy", "spark.kubernetes.container.image.pullPolicy")
    {
        manifest.set("imagePullPolicy", policy);
    }
    if let Some(secrets) = manifest.take_list("imagePullSecrets")
        && !manifest.yields_to_conf("imagePullSecrets", "spark.kubernetes.container.image.pullSecrets")
    {
        manifest.set("imagePullSecrets", secrets.into_iter().map(|name| json!({ "name": name })).collect());
    }
}

fn configuration(manifest: &mut Manifest) {
    for (field, prefix) in [("sparkConf", ""), ("hadoopConf", "spark.hadoop.")] {
        for (key, value) in manifest.take_map(field).unwrap_or_default() {
            manifest.conf(&format!("{field}.{key}"), &format!("{prefix}{key}"), &value);
        }
    }
    for (field, to) in [("sparkConfigMap", "sparkConfFrom"), ("hadoopConfigMap", "hadoopConfFrom")] {
        if let Some(name) = manifest.take(field) {
            manifest.set(to, json!({ "name": name }));
        }
    }
    let factor_key = "spark.kubernetes.memoryOverheadFactor";
    if let Some(factor) = manifest.take("memoryOverheadFactor")
        && !manifest.yields_to_conf("memoryOverheadFactor", factor_key)
    {
        manifest.conf("memoryOverheadFactor", factor_key, &factor);
    }
    for field in ["enabled", "initialExecutors", "minExecutors", "maxExecutors", "shuffleTrackingEnabled"] {
        let path = format!("dynamicAllocation.{field}");
        manifest.copy(&path, &path);
    }
    let timeout = "dynamicAllocation.shuffleTrackingTimeout";
    if let Some(millis) = manifest.take(timeout) {
        let millis = Value::String(format!("{}ms", text(&millis)));
        manifest.conf(timeout, "spark.dynamicAllocation.shuffleTracking.timeout", &millis);
    }
    monitoring(manifest);
}

fn monitoring(manifest: &mut Manifest) {
    let jar = manifest.take("monitoring.prometheus.jmxExporterJar");
    for field in ["monitoring.exposeDriverMetrics", "monitoring.exposeExecutorMetrics"] {
        match (manifest.take(field), &jar) {
            (Some(Value::Bool(false)), Some(_)) => {
                manifest.note(field, "false: the exporter serves the metrics of driver and executors alike");
            }
            (Some(Value::Bool(true)), None) => {
                let text = "true: there is no exporter without prometheus.jmxExporterJar; monitoring.prometheusServlet \
                            of a SparkBatch has Spark serve them";
                manifest.note(field, text);
            }
            _ => {}
        }
    }
    let Some(jar) = jar else { return };
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
        let field = format!("restartPolicy.{from}");
        match manifest.take(&field) {
            Some(_) if is_never => manifest.note(&field, "has no effect with restartPolicy.type: Never"),
            Some(value) => manifest.set(&format!("retry.{to}"), value),
            None => {}
        }
    }
}

/// A value of conf as Spark reads it.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests;
