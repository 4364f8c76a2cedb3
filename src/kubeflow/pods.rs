//! The pods of driver and executors.

use serde_json::{Value, json};

use super::manifest::Manifest;
use super::text;

/// Whose pods there are.
pub(super) const ROLES: [&str; 2] = ["driver", "executor"];

/// Kubeflow: `DriverSpec`, `ExecutorSpec`.
pub(super) fn driver_and_executor(manifest: &mut Manifest) {
    manifest.copy("driver.serviceAccount", "serviceAccountName");
    manifest.copy("executor.instances", "numExecutors");
    for field in ["deleteOnTermination", "terminationGracePeriodSeconds"] {
        let path = format!("executor.{field}");
        if let Some(value) = manifest.take(&path) {
            manifest.conf(&path, &format!("spark.kubernetes.executor.{field}"), &value);
        }
    }
    for role in ROLES {
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
        let field = format!("{role}.{field}");
        if let Some(value) = manifest.take(&field) {
            manifest.conf(&field, &key, &value);
        }
    }
    gpu(manifest, role);
}

fn gpu(manifest: &mut Manifest, role: &str) {
    let parts = ["name", "quantity"].map(|part| manifest.take(&format!("{role}.gpu.{part}")));
    match parts {
        [Some(Value::String(name)), Some(quantity)] => {
            manifest.set(&format!("{role}.resources"), json!({ "limits": { name: text(&quantity) } }));
        }
        [None, None] => {}
        _ => manifest.note(&format!("{role}.gpu"), "is left out: it must have a name and a quantity"),
    }
}

fn environment(manifest: &mut Manifest, role: &str) {
    let mut env = Vec::new();
    let pairs = manifest.take_map(&format!("{role}.envVars")).unwrap_or_default();
    env.extend(pairs.into_iter().map(|(name, value)| json!({ "name": name, "value": value })));
    let refs = manifest.take_map(&format!("{role}.envSecretKeyRefs")).unwrap_or_default();
    env.extend(refs.into_iter().map(|(name, key)| json!({ "name": name, "valueFrom": { "secretKeyRef": key } })));
    env.extend(manifest.take_list(&format!("{role}.env")).unwrap_or_default());
    manifest.push(&format!("{role}.env"), env);
}

/// Secrets and `ConfigMaps` by path become volumes.
fn mounts(manifest: &mut Manifest, role: &str) {
    manifest.copy(&format!("{role}.volumeMounts"), &format!("{role}.volumeMounts"));
    for (field, source, key) in [("secrets", "secret", "secretName"), ("configMaps", "configMap", "name")] {
        let objects = manifest.take_list(&format!("{role}.{field}")).unwrap_or_default();
        for (index, object) in objects.into_iter().enumerate() {
            let volume = format!("{role}-{}-{index}", source.to_lowercase());
            manifest.push("volumes", vec![json!({ "name": volume, source: { key: object["name"] } })]);
            let mount = json!({ "name": volume, "mountPath": object["path"], "readOnly": true });
            manifest.push(&format!("{role}.volumeMounts"), vec![mount]);
            if let Some(text) = use_of_secret(&object["secretType"], role) {
                manifest.note(&format!("{role}.{field}[{index}].secretType"), text);
            }
        }
    }
}

/// What kubeflow does with a Secret beside mounting it, and this operator does not.
fn use_of_secret(kind: &Value, role: &str) -> Option<String> {
    let variable = match kind.as_str() {
        None if kind.is_null() => return None,
        Some("Generic") => return None,
        Some("GCPServiceAccount") => "GOOGLE_APPLICATION_CREDENTIALS=<path>/key.json",
        Some("HadoopDelegationToken") => "HADOOP_TOKEN_FILE_LOCATION=<path>/hadoop.token",
        Some("KerberosKeytab") => {
            return Some("is mounted; no Kerberos login is done for a batch: log in from the application".to_owned());
        }
        _ => return Some(format!("{}: is mounted as any other; nothing more is done with it", text(kind))),
    };
    Some(format!("is mounted; set the variable {variable} in {role}.env, which is not set for you"))
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
    manifest.copy(&format!("{role}.template"), &format!("{role}.podTemplate"));
    let of_pod = [
        ("dnsConfig", "dnsConfig"),
        ("hostAliases", "hostAliases"),
        ("hostNetwork", "hostNetwork"),
        ("podSecurityContext", "securityContext"),
        ("shareProcessNamespace", "shareProcessNamespace"),
    ];
    for (from, to) in of_pod {
        manifest.copy(&format!("{role}.{from}"), &format!("{role}.podTemplate.spec.{to}"));
    }
    for (from, to) in [("sidecars", "containers"), ("initContainers", "initContainers")] {
        let containers = manifest.take_list(&format!("{role}.{from}")).unwrap_or_default();
        manifest.push(&format!("{role}.podTemplate.spec.{to}"), containers);
    }
}
