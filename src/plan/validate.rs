//! From a resource, as anybody may have written it, to values that the builder cannot fail on.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{LocalObjectReference, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource as _, ResourceExt as _};

use super::shape::PodShape;
use super::volcano::Gang;
use super::{Defaults, conf, monitoring, volcano};
use crate::api::validation::{Problem, check_conf, problems};
use crate::api::{
    ANNOTATION_OWNER, DRIVER_CONTAINER, EXECUTOR_CONTAINER, FACADE_NAME_PREFIX, KEYED_NAME_PREFIX, PodSettings,
    ROLE_DRIVER, ROLE_EXECUTOR, SparkBatch,
};
use crate::spark::{
    AttemptNames, Language, Origin, PodMemory, SparkConf, app_id, driver_memory, in_image, with_manifest,
};

/// A batch that can be built: every name valid, every size read, the conf complete.
#[derive(Clone, Debug)]
pub struct ValidatedBatch {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) owner_reference: OwnerReference,
    pub(super) attempt: i32,
    pub(super) names: AttemptNames,
    pub(super) app_id: String,
    pub(super) app_name: String,
    pub(super) user: String,
    pub(super) submit_time: Timestamp,
    pub(super) language: Language,
    pub(super) file: String,
    /// None for a jar whose manifest names it.
    pub(super) class: Option<String>,
    pub(super) args: Vec<String>,
    pub(super) proxy_user: Option<String>,
    pub(super) image: String,
    pub(super) image_pull_policy: String,
    pub(super) image_pull_secrets: Vec<LocalObjectReference>,
    pub(super) service_account: String,
    pub(super) memory: PodMemory,
    // Boxed: futures hold them.
    pub(super) driver: Box<PodShape>,
    pub(super) executor: Box<PodShape>,
    pub(super) volumes: Vec<Volume>,
    /// The `ConfigMap` with files for `SPARK_CONF_DIR`.
    pub(super) spark_conf: Option<String>,
    pub(super) conf: SparkConf,
    /// What is asked of Volcano.
    pub(super) gang: Option<Gang>,
}

impl ValidatedBatch {
    /// Executors that the batch asks for at its start.
    ///
    /// Spark: `SchedulerBackendUtils.getInitialTargetExecutorNumber`.
    #[must_use]
    pub fn requested_executors(&self) -> i32 {
        conf::requested_executors(&self.conf)
    }
}

/// Checks `batch` for attempt `attempt`, with `referenced` holding what its `confFrom` brings, in its order.
///
/// # Errors
/// Every rule that the batch breaks.
pub fn validate(
    batch: &SparkBatch,
    attempt: i32,
    referenced: &[BTreeMap<String, String>],
    defaults: &Defaults,
) -> Result<ValidatedBatch, Vec<Problem>> {
    let spec = &batch.spec;
    let mut found = problems(spec);
    for (index, layer) in referenced.iter().enumerate() {
        check_conf(layer, &format!("confFrom[{index}]"), &mut found);
    }
    check_reserved_name(batch, &mut found);
    let (Some(uid), Some(namespace), Some(owner_reference)) =
        (batch.uid(), batch.namespace(), batch.controller_owner_ref(&()))
    else {
        found
            .push(Problem::new("metadata", "the resource was not read from an API server: it has no uid or namespace"));
        return Err(found);
    };
    // A foreground deletion of the batch waits for its pods.
    let owner_reference = OwnerReference { block_owner_deletion: Some(true), ..owner_reference };
    let name = batch.name_any();
    let language = Language::of_file(&spec.file);
    let class = language.runner_class().map(str::to_owned).or_else(|| spec.class_name.clone());
    let mut conf = conf::requested(spec, referenced, defaults);
    conf.set_if_missing("spark.app.name", name.as_str(), Origin::Default);
    let memory = driver_memory(&conf, language)
        .map_err(|error| found.push(Problem::new(format!("conf.{}", error.key), error.problem)))
        .ok();
    let image = conf.get("spark.kubernetes.driver.container.image").or(conf.get("spark.kubernetes.container.image"));
    if image.is_none_or(str::is_empty) {
        found.push(Problem::new("image", "is required: the operator has no default image"));
    }
    found.extend(conf::problems(&conf));
    found.extend(monitoring::problems(spec, &conf));
    found.extend(volcano::problems(spec, &conf));
    let (Some(memory), Some(image), true) = (memory, image.map(str::to_owned), found.is_empty()) else {
        return Err(found);
    };
    let (app_id, names) = (app_id(&uid, attempt), AttemptNames::new(&name, &uid, attempt));
    let scheduling = spec.scheduling.clone().unwrap_or_default();
    let metrics = spec.monitoring.clone().unwrap_or_default();
    let shape = |role: &str, settings: Option<&PodSettings>, spark: &str| {
        let shape =
            PodShape::new(&settings.cloned().unwrap_or_default(), spark).queued(&scheduling, &app_id, &names.pod_group);
        Box::new(monitoring::scraped(shape, role, &metrics, &conf))
    };
    let driver = shape(ROLE_DRIVER, spec.driver.as_deref(), DRIVER_CONTAINER);
    let executor = shape(ROLE_EXECUTOR, spec.executor.as_deref(), EXECUTOR_CONTAINER);
    let mut valid = ValidatedBatch {
        attempt,
        names,
        app_name: conf.get("spark.app.name").unwrap_or(&name).to_owned(),
        user: batch.annotations().get(ANNOTATION_OWNER).cloned().unwrap_or_else(|| "spark".to_owned()),
        submit_time: batch.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        language,
        file: if class.is_some() { in_image(&spec.file) } else { with_manifest(&spec.file) },
        class,
        args: spec.args.clone(),
        proxy_user: spec.proxy_user.clone(),
        image,
        image_pull_policy: conf.get("spark.kubernetes.container.image.pullPolicy").unwrap_or("IfNotPresent").to_owned(),
        image_pull_secrets: conf::pull_secrets(&conf),
        service_account: spec.service_account_name.clone().unwrap_or_else(|| defaults.service_account.clone()),
        memory,
        driver,
        executor,
        spark_conf: spec.spark_conf_from.as_ref().map(|source| source.name.clone()),
        volumes: spec.volumes.iter().filter_map(|volume| volume.read().ok()).collect(),
        app_id,
        conf,
        name,
        namespace,
        owner_reference,
        gang: None,
    };
    valid.gang = volcano::gang(spec, &valid).map_err(|problem| vec![problem])?;
    Ok(valid)
}

/// `batch-<number>` and `batch-key-<hash>` are how the REST facade names what it creates, and its promise that no id
/// is given twice rests on nobody else doing so.
fn check_reserved_name(batch: &SparkBatch, found: &mut Vec<Problem>) {
    let name = batch.name_any();
    let number = name.strip_prefix(FACADE_NAME_PREFIX).unwrap_or_default();
    let is_numbered = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    if (is_numbered || name.starts_with(KEYED_NAME_PREFIX)) && batch.facade_id().is_none() {
        found.push(Problem::new(
            "metadata.name",
            "names of the form batch-<number> and batch-key-... are the REST facade's; choose another",
        ));
    }
}
