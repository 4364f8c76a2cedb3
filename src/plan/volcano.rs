//! The `PodGroup` by which Volcano admits a batch's pods to a queue, all that it asks for at once.
//!
//! Spark: `VolcanoFeatureStep`, of whose names and annotation these are. Volcano: "Spark on Volcano".

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, ObjectMeta};
use serde_json::json;

use super::quantity::Sum;
use super::{ValidatedBatch, conf, driver, pod};
use crate::api::SparkBatchSpec;
use crate::api::validation::Problem;
use crate::spark::executor_memory_mib;

/// Volcano's scheduler, by the name that it has unless it was installed by another.
pub(super) const SCHEDULER: &str = "volcano";
/// What tells Volcano the group of a pod. Spark: `VolcanoFeatureStep.POD_GROUP_ANNOTATION`.
pub(super) const GROUP_ANNOTATION: &str = "scheduling.k8s.io/group-name";

/// What a batch asks Volcano for.
#[derive(Clone, Debug)]
pub(super) struct Gang {
    queue: String,
    min_resources: BTreeMap<String, Quantity>,
}

/// What `spec` asks Volcano for, if it names a queue of it: resources for the driver and the executors of the start, so
/// that no driver takes the place that another's executors need, unless the batch names them itself.
pub(super) fn gang(spec: &SparkBatchSpec, batch: &ValidatedBatch) -> Result<Option<Gang>, Problem> {
    let scheduling = spec.scheduling.clone().unwrap_or_default();
    let Some(queue) = scheduling.volcano_queue else { return Ok(None) };
    let min_resources =
        if scheduling.volcano_min_resources.is_empty() { sum(batch)? } else { scheduling.volcano_min_resources };
    Ok(Some(Gang { queue, min_resources }))
}

fn sum(batch: &ValidatedBatch) -> Result<BTreeMap<String, Quantity>, Problem> {
    let executors = u32::try_from(batch.requested_executors()).unwrap_or_default();
    let driver = driver::resources(batch);
    let mut sum = Sum::default();
    sum.add(&reserved(driver.requests, driver.limits), 1)
        .and_then(|()| sum.add(&executor(batch).map_err(str::to_owned)?, executors))
        .map_err(|name| {
            let hint =
                format!("'{name}' of driver and executors cannot be added up; set it to what they need together");
            Problem::new("scheduling.volcanoMinResources", hint)
        })?;
    Ok(sum.into_quantities())
}

/// What one executor asks for; the key that cannot be read, if there is one.
///
/// Spark: `BasicExecutorFeatureStep`.
fn executor(batch: &ValidatedBatch) -> Result<BTreeMap<String, Quantity>, &'static str> {
    let memory = executor_memory_mib(&batch.conf, batch.language).map_err(|error| error.key)?;
    let keys = ["spark.kubernetes.executor.request.cores", "spark.executor.cores"];
    let cpu = keys.into_iter().find_map(|key| batch.conf.get(key)).unwrap_or("1");
    let own = &batch.executor.resources;
    let mut limits = pod::devices(&batch.conf, "executor");
    limits.extend(pod::other_resources(&own.limits));
    let mut resources = reserved(Some(pod::other_resources(&own.requests)), Some(limits));
    resources.insert("cpu".to_owned(), Quantity(cpu.to_owned()));
    resources.insert("memory".to_owned(), Quantity(format!("{memory}Mi")));
    Ok(resources)
}

/// What the scheduler reserves: of what has a limit only, the limit.
fn reserved(
    requests: Option<BTreeMap<String, Quantity>>,
    limits: Option<BTreeMap<String, Quantity>>,
) -> BTreeMap<String, Quantity> {
    let mut all: BTreeMap<_, _> = limits.unwrap_or_default().into_iter().filter(|(name, _)| name != "cpu").collect();
    all.extend(requests.unwrap_or_default());
    all
}

/// The kind of Volcano's groups.
#[must_use]
pub fn pod_group_resource() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("scheduling.volcano.sh", "v1beta1", "PodGroup"))
}

/// The group of the batch's pods, of which the driver alone must be there: it makes the others.
pub(super) fn pod_group(batch: &ValidatedBatch) -> Option<DynamicObject> {
    let Gang { queue, min_resources } = batch.gang.as_ref()?;
    let mut spec = json!({ "minMember": 1, "queue": queue, "minResources": min_resources });
    if let Some(class) = &batch.driver.pod.priority_class_name {
        spec["priorityClassName"] = json!(class);
    }
    let mut group = DynamicObject::new(&batch.names.pod_group, &pod_group_resource()).data(json!({ "spec": spec }));
    group.metadata = ObjectMeta {
        name: Some(batch.names.pod_group.clone()),
        namespace: Some(batch.namespace.clone()),
        labels: Some(pod::labels(batch, &BTreeMap::new())),
        owner_references: Some(vec![batch.owner_reference.clone()]),
        ..ObjectMeta::default()
    };
    Some(group)
}

/// Rules that the whole conf is needed for, of a batch that names a queue.
pub(super) fn problems(spec: &SparkBatchSpec, conf: &crate::spark::SparkConf) -> Vec<Problem> {
    let scheduling = spec.scheduling.clone().unwrap_or_default();
    if scheduling.volcano_queue.is_none() {
        return Vec::new();
    }
    // A pod that another scheduler places waits for nothing, and holds what its group reserves.
    let parts = ["spark.kubernetes.driver.scheduler.name", "spark.kubernetes.executor.scheduler.name"];
    let other = |key: &&str| conf.get(key).is_some_and(|name| conf.get(conf::SCHEDULER_NAME) != Some(name));
    let problem = |key| Problem::new(format!("conf.{key}"), "names another scheduler than volcanoQueue's: remove it");
    parts.into_iter().filter(other).map(problem).collect()
}
