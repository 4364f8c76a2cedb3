//! The pods of driver and executors.

use serde_json::{Value, json};

use super::manifest::Manifest;

/// Kubeflow: `DriverSpec`, `ExecutorSpec`.
pub(super) fn driver_and_executor(manifest: &mut Manifest) {
    manifest.copy("driver.serviceAccount", "serviceAccountName");
    manifest.copy("executor.instances", "numExecutors");
    if let Some(delete) = manifest.take("executor.deleteOnTermination") {
        manifest.conf("spark.kubernetes.executor.deleteOnTermination", &delete);
    }
    for role in ["driver", "executor"] {
        size(manifest, role);
        environment(manifest, role);
        mounts(manifest, role);
        shape(manifest, role);
    }
}

fn size(manifest: &mut Manifest, role: &str) {
    manifest.copy(&format!("{role}.cores"), &format!("{role}Cores"));
    manifest.copy(&format!("{role}.memory"), &format!("{role}Memory"));
    let keys = [
        ("coreLimit", format!("spark.kubernetes.{role}.limit.cores")),
        ("coreRequest", format!("spark.kubernetes.{role}.request.cores")),
        ("memoryOverhead", format!("spark.{role}.memoryOverhead")),
        ("javaOptions", format!("spark.{role}.extraJavaOptions")),
        ("image", format!("spark.kubernetes.{role}.container.image")),
    ];
    for (field, key) in keys {
        if let Some(value) = manifest.take(&format!("{role}.{field}")) {
            manifest.conf(&key, &value);
        }
    }
    if let (Some(Value::String(name)), Some(quantity)) =
        (manifest.take(&format!("{role}.gpu.name")), manifest.take(&format!("{role}.gpu.quantity")))
    {
        manifest.set(&format!("{role}.resources"), json!({ "limits": { name: quantity.to_string() } }));
    }
}

fn environment(manifest: &mut Manifest, role: &str) {
    let mut env = Vec::new();
    if let Some(Value::Object(pairs)) = manifest.take(&format!("{role}.envVars")) {
        env.extend(pairs.into_iter().map(|(name, value)| json!({ "name": name, "value": value })));
    }
    if let Some(Value::Object(refs)) = manifest.take(&format!("{role}.envSecretKeyRefs")) {
        env.extend(refs.into_iter().map(|(name, key)| json!({ "name": name, "valueFrom": { "secretKeyRef": key } })));
    }
    if let Some(Value::Array(given)) = manifest.take(&format!("{role}.env")) {
        env.extend(given);
    }
    manifest.push(&format!("{role}.env"), env);
}

/// Secrets and `ConfigMaps` by path become volumes.
fn mounts(manifest: &mut Manifest, role: &str) {
    manifest.copy(&format!("{role}.volumeMounts"), &format!("{role}.volumeMounts"));
    for (field, source, key) in [("secrets", "secret", "secretName"), ("configMaps", "configMap", "name")] {
        let Some(Value::Array(objects)) = manifest.take(&format!("{role}.{field}")) else { continue };
        for (index, object) in objects.into_iter().enumerate() {
            let volume = format!("{role}-{}-{index}", source.to_lowercase());
            manifest.push("volumes", vec![json!({ "name": volume, source: { key: object["name"] } })]);
            let mount = json!({ "name": volume, "mountPath": object["path"], "readOnly": true });
            manifest.push(&format!("{role}.volumeMounts"), vec![mount]);
            let variable = match object["secretType"].as_str() {
                Some("GCPServiceAccount") => "GOOGLE_APPLICATION_CREDENTIALS=<path>/key.json",
                Some("HadoopDelegationToken") => "HADOOP_TOKEN_FILE_LOCATION=<path>/hadoop.token",
                _ => continue,
            };
            let text = format!("is mounted; set the variable {variable} in {role}.env, which is not set for you");
            manifest.note(&format!("{role}.{field}[{index}].secretType"), text);
        }
    }
}

fn shape(manifest: &mut Manifest, role: &str) {
    let same = [
        "affinity",
        "annotations",
        "envFrom",
        "labels",
        "nodeSelector",
        "priorityClassName",
        "securityContext",
        "tolerations",
    ];
    for field in same {
        let path = format!("{role}.{field}");
        manifest.copy(&path, &path);
    }
    manifest.copy(&format!("{role}.schedulerName"), "scheduling.schedulerName");
    manifest.copy(&format!("{role}.template"), &format!("{role}.podTemplate"));
    let of_pod = [
        ("dnsConfig", "dnsConfig"),
        ("hostAliases", "hostAliases"),
        ("hostNetwork", "hostNetwork"),
        ("podSecurityContext", "securityContext"),
        ("shareProcessNamespace", "shareProcessNamespace"),
        ("terminationGracePeriodSeconds", "terminationGracePeriodSeconds"),
    ];
    for (from, to) in of_pod {
        manifest.copy(&format!("{role}.{from}"), &format!("{role}.podTemplate.spec.{to}"));
    }
    for (from, to) in [("sidecars", "containers"), ("initContainers", "initContainers")] {
        if let Some(Value::Array(containers)) = manifest.take(&format!("{role}.{from}")) {
            manifest.push(&format!("{role}.podTemplate.spec.{to}"), containers);
        }
    }
}
