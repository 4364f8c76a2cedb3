use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Manifests that have most of the fields there are.
const MANIFESTS: [&str; 5] = [
    include_str!("../../tests/cli/kubeflow/at-odds-with-itself.yaml"),
    include_str!("../../tests/cli/kubeflow/pi.yaml"),
    include_str!("../../tests/cli/kubeflow/python-with-hadoop.yaml"),
    include_str!("../../tests/cli/kubeflow/volcano-with-metrics.yaml"),
    include_str!("../../tests/cli/kubeflow/volumes-and-sidecars.yaml"),
];

/// What says nothing that a batch does not say anyway: mode 'cluster', and whether there are metrics where the exporter
/// decides it; a policy of retries without their number; what the API server writes. Nor does a Secret that is 'Generic'.
const WITHOUT_MEANING: &[&str] = &[
    "/metadata/uid",
    "/spec/mode",
    "/spec/monitoring/exposeDriverMetrics",
    "/spec/monitoring/exposeExecutorMetrics",
    "/spec/pythonVersion",
    "/spec/restartPolicy/type",
    "/spec/sparkVersion",
    "/spec/type",
];

/// The pointers of all values that are neither maps nor lists of maps.
fn leaves(value: &Value, pointer: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                leaves(value, &format!("{pointer}/{}", key.replace('/', "~1")), found);
            }
        }
        // Others are moved, or told of, as a whole.
        Value::Array(list) if pointer.ends_with("/secrets") || pointer.ends_with("/configMaps") => {
            for (index, value) in list.iter().enumerate() {
                leaves(value, &format!("{pointer}/{index}"), found);
            }
        }
        _ => found.push(pointer.to_owned()),
    }
}

fn without(manifest: &Value, pointer: &str) -> Value {
    let mut manifest = manifest.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = manifest.pointer_mut(parent).unwrap();
    parent.as_object_mut().unwrap().remove(&key.replace("~1", "/"));
    manifest
}

fn leaves_with_meaning(manifest: &Value) -> Vec<String> {
    let mut found = Vec::new();
    leaves(manifest, "", &mut found);
    found.retain(|pointer| pointer.starts_with("/spec/") || pointer.starts_with("/metadata/"));
    found.retain(|pointer| !WITHOUT_MEANING.contains(&pointer.as_str()));
    found.retain(|pointer| manifest.pointer(pointer) != Some(&json!("Generic")));
    found
}

fn parsed(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

fn converted(spec: &Value) -> Conversion {
    let manifest = json!({ "apiVersion": "sparkoperator.k8s.io/v1beta2", "kind": "SparkApplication",
        "metadata": { "name": "a" }, "spec": spec });
    convert(&manifest).unwrap()
}

fn notes(conversion: &Conversion) -> Vec<String> {
    conversion.notes.iter().map(ToString::to_string).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// In the batch or in a note: without it one of them is another.
    #[test]
    fn no_value_of_a_manifest_is_dropped_in_silence(
        which in 0..MANIFESTS.len(), dropped in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut manifest = parsed(MANIFESTS[which]);
        for index in dropped {
            let leaves = leaves_with_meaning(&manifest);
            let leaf: &String = index.get(&leaves);
            manifest = without(&manifest, leaf);
        }
        let whole = convert(&manifest).unwrap();
        for leaf in leaves_with_meaning(&manifest) {
            prop_assert_ne!(&convert(&without(&manifest, &leaf)).unwrap(), &whole, "{} of {}", leaf, manifest);
        }
    }
}

#[test]
fn a_field_goes_before_spark_conf_as_with_kubeflow() {
    let spec = json!({
        "sparkConf": { "spark.driver.extraJavaOptions": "conf", "spark.yarn.executor.memoryOverhead": "1g" },
        "driver": { "javaOptions": "field" },
        "executor": { "memoryOverhead": "2g" },
    });
    let conversion = converted(&spec);
    let expected = json!({ "spark.driver.extraJavaOptions": "field", "spark.executor.memoryOverhead": "2g" });
    assert_eq!(conversion.batch["spec"]["conf"], expected);
    assert!(notes(&conversion)[0].starts_with("driver.javaOptions: goes before sparkConf's"), "{conversion:?}");
}

#[test]
fn driver_and_executors_keep_schedulers_of_their_own() {
    let roles = json!({ "driver": { "schedulerName": "a" }, "executor": { "schedulerName": "b" } });
    let expected =
        json!({ "spark.kubernetes.driver.scheduler.name": "a", "spark.kubernetes.executor.scheduler.name": "b" });
    assert_eq!(converted(&roles).batch["spec"]["conf"], expected);
    let mut both = roles;
    both["batchScheduler"] = json!("c");
    let conversion = converted(&both);
    assert_eq!(conversion.batch["spec"]["scheduling"], json!({ "schedulerName": "c" }));
    assert_eq!(conversion.batch["spec"]["conf"], Value::Null);
    assert_eq!(notes(&conversion).len(), 2);
}

#[test]
fn what_is_of_another_type_is_told() {
    let spec = json!({ "sparkConf": "a", "imagePullSecrets": "b", "driver": { "env": {}, "envVars": [] } });
    assert_eq!(notes(&converted(&spec)).len(), 4, "{:?}", converted(&spec));
}
