//! Which Spark conf keys a batch may set.
//!
//! The operator owns the keys that give a batch its identity, its place and its rights; a batch that
//! sets one is refused, never silently corrected. Keys that shape the driver pod are honoured by the
//! builder or refused with the field to use in their place: none is accepted and ignored. Keys that the
//! driver itself acts on (executors, SQL, shuffle, Hadoop, ...) are free.
//!
//! This is a convenience and not a boundary: the driver runs its user's code with its service account.
//! The boundary is RBAC and Pod Security.

/// Longest conf key, in bytes.
pub const MAX_KEY_LEN: usize = 512;
/// Longest conf value, in bytes.
pub const MAX_VALUE_LEN: usize = 65_536;
/// Most conf keys of one batch.
pub const MAX_KEYS: usize = 2000;

/// Keys that the operator sets, or that would change whose rights a batch runs with. Refused by CEL at
/// admission and by [`refusal`].
pub const OWNED_KEYS: &[&str] = &[
    "spark.app.id",
    "spark.blockManager.port",
    "spark.driver.bindAddress",
    "spark.driver.blockManager.port",
    "spark.driver.host",
    "spark.driver.port",
    "spark.kubernetes.context",
    "spark.kubernetes.driver.master",
    "spark.kubernetes.driver.pod.excludedFeatureSteps",
    "spark.kubernetes.driver.pod.featureSteps",
    "spark.kubernetes.driver.pod.name",
    "spark.kubernetes.driver.podTemplateContainerName",
    "spark.kubernetes.driver.podTemplateFile",
    "spark.kubernetes.driver.resourceNamePrefix",
    "spark.kubernetes.executor.pod.excludedFeatureSteps",
    "spark.kubernetes.executor.pod.featureSteps",
    "spark.kubernetes.executor.podNamePrefix",
    "spark.kubernetes.executor.podTemplateContainerName",
    "spark.kubernetes.executor.podTemplateFile",
    "spark.kubernetes.file.upload.path",
    "spark.kubernetes.namespace",
    "spark.kubernetes.resource.type",
    "spark.kubernetes.submitInDriver",
    "spark.kubernetes.trust.certificates",
    "spark.master",
    "spark.submit.deployMode",
    "spark.submit.proxyUser.allowCustomClasspathInClusterMode",
    "spark.ui.proxyBase",
    "spark.ui.proxyRedirectUri",
    "spark.ui.reverseProxy",
    "spark.ui.reverseProxyUrl",
];

/// Prefixes of keys that are refused for the same reason.
pub const OWNED_PREFIXES: &[&str] = &["spark.kubernetes.authenticate."];

/// Environment variables by which the operator and Spark start a driver, and by which its UI finds its path.
pub const RESERVED_ENV: &[&str] = &[
    "APPLICATION_WEB_PROXY_BASE",
    "SPARK_APPLICATION_ID",
    "SPARK_CONF_DIR",
    "SPARK_DRIVER_BIND_ADDRESS",
    "SPARK_LOCAL_DIRS",
    "SPARK_USER",
];

/// Keys under `spark.kubernetes.driver.` that the driver reads while it runs.
const DRIVER_RUNTIME_KEYS: &[&str] = &[
    "spark.kubernetes.driver.annotateExitException",
    "spark.kubernetes.driver.connectionTimeout",
    "spark.kubernetes.driver.ownPersistentVolumeClaim",
    "spark.kubernetes.driver.requestTimeout",
    "spark.kubernetes.driver.reusePersistentVolumeClaim",
    "spark.kubernetes.driver.service.deleteOnTermination",
    "spark.kubernetes.driver.waitToReusePersistentVolumeClaim",
];

/// Keys and prefixes of keys under `spark.kubernetes.driver.` that the builder of the driver pod honours.
const DRIVER_BUILDER_KEYS: &[&str] = &[
    "spark.kubernetes.driver.container.image",
    "spark.kubernetes.driver.limit.cores",
    "spark.kubernetes.driver.request.cores",
    "spark.kubernetes.driver.scheduler.name",
];
const DRIVER_BUILDER_PREFIXES: &[&str] = &[
    "spark.kubernetes.driver.annotation.",
    "spark.kubernetes.driver.label.",
    "spark.kubernetes.driver.node.selector.",
];

/// Prefixes of keys that shape the driver pod or what is beside it, which the builder does not honour, and what to use
/// in their place.
const HINTS: &[(&str, &str)] = &[
    ("spark.kubernetes.driver.service.annotation.", "there is no Service for the driver"),
    ("spark.kubernetes.driver.service.ip", "there is no Service for the driver"),
    ("spark.kubernetes.driver.service.label.", "there is no Service for the driver"),
    ("spark.kubernetes.driver.secretKeyRef.", "use driver.env with valueFrom.secretKeyRef"),
    ("spark.kubernetes.driver.secrets.", "use volumes and driver.volumeMounts"),
    ("spark.kubernetes.driver.volumes.", "use volumes and driver.volumeMounts"),
    ("spark.kubernetes.scheduler.volcano.", "use scheduling.volcanoQueue and scheduling.volcanoMinResources"),
    ("spark.kubernetes.kerberos.", "use volumes, driver.volumeMounts and executor.volumeMounts"),
];

/// The name that Spark knows a key by: without blanks around it, and the current one of a deprecated name.
///
/// Spark: `SparkConf.deprecatedConfigs`, `SparkConf.configsWithAlternatives`.
#[must_use]
pub fn canonical_key(key: &str) -> &str {
    match key.trim() {
        "spark.yarn.driver.memoryOverhead" => "spark.driver.memoryOverhead",
        "spark.yarn.executor.memoryOverhead" => "spark.executor.memoryOverhead",
        key => key,
    }
}

/// Why a batch may not set `key`, in words that say what to change; `None` if it may.
#[must_use]
pub fn refusal(key: &str) -> Option<String> {
    let key = canonical_key(key);
    if let Some(problem) = malformed(key) {
        return Some(problem);
    }
    if is_owned(key) {
        return Some("is set by the operator; remove it".to_owned());
    }
    if let Some(name) = key.strip_prefix("spark.kubernetes.driverEnv.")
        && (name.is_empty() || RESERVED_ENV.contains(&name))
    {
        return Some("names a variable that the operator sets; remove it".to_owned());
    }
    if let Some((_, hint)) = HINTS.iter().find(|(prefix, _)| key.starts_with(prefix)) {
        return Some(format!("is not supported; {hint}"));
    }
    let is_unknown = key.starts_with("spark.kubernetes.driver.") && !is_honoured(key);
    is_unknown.then(|| "is not supported; remove it".to_owned())
}

/// Whether `key` is well formed, and the operator's to set.
#[must_use]
pub fn is_owned(key: &str) -> bool {
    let key = canonical_key(key);
    malformed(key).is_none()
        && (OWNED_KEYS.contains(&key) || OWNED_PREFIXES.iter().any(|prefix| key.starts_with(prefix)))
}

fn is_honoured(key: &str) -> bool {
    DRIVER_RUNTIME_KEYS.contains(&key)
        || DRIVER_BUILDER_KEYS.contains(&key)
        || DRIVER_BUILDER_PREFIXES.iter().any(|prefix| key.len() > prefix.len() && key.starts_with(prefix))
}

fn malformed(key: &str) -> Option<String> {
    if !key.starts_with("spark.") {
        return Some("does not start with 'spark.': Spark would ignore it".to_owned());
    }
    if key.len() > MAX_KEY_LEN {
        return Some(format!("is longer than {MAX_KEY_LEN} characters"));
    }
    let valid = |c: char| c.is_ascii_alphanumeric() || "_.-/*".contains(c);
    (!key.chars().all(valid))
        .then(|| "has a character other than letters, digits, '_', '.', '-', '/' and '*'".to_owned())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("spark.master")]
    #[case(" spark.master ")]
    #[case("spark.kubernetes.authenticate.driver.serviceAccountName")]
    #[case("spark.kubernetes.authenticate.submission.oauthToken")]
    #[case("spark.kubernetes.driver.volumes.hostPath.x.mount.path")]
    #[case("spark.kubernetes.driverEnv.APPLICATION_WEB_PROXY_BASE")]
    #[case("spark.ui.proxyBase")]
    #[case("spark.kubernetes.driver.label.")]
    #[case("spark.kubernetes.driver.other")]
    #[case("spark.kubernetes.kerberos.krb5.path")]
    #[case("spark.kubernetes.scheduler.volcano.podGroupTemplateFile")]
    #[case("master")]
    #[case("spark.a b")]
    #[case("spark.a\nb")]
    fn keys_that_a_batch_may_not_set_are_refused(#[case] key: &str) {
        assert!(refusal(key).is_some());
    }

    #[rstest]
    #[case("spark.app.name")]
    #[case("spark.hadoop.fs.cos.mycos.access.key")]
    #[case("spark.metrics.conf.*.sink.console.period")]
    #[case("spark.kubernetes.driver.label.example.com/team")]
    #[case("spark.kubernetes.driver.request.cores")]
    #[case("spark.kubernetes.driver.scheduler.name")]
    #[case("spark.kubernetes.executor.volumes.emptyDir.v.mount.path")]
    #[case("spark.yarn.driver.memoryOverhead")]
    fn other_keys_are_free(#[case] key: &str) {
        assert_eq!(refusal(key), None);
    }

    #[test]
    fn an_unsupported_driver_key_says_which_field_to_use() {
        let refusal = refusal("spark.kubernetes.driver.secretKeyRef.PW").unwrap();
        assert!(refusal.contains("driver.env"), "{refusal}");
    }

    #[test]
    fn the_list_is_sorted_and_has_no_key_twice() {
        assert!(OWNED_KEYS.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
