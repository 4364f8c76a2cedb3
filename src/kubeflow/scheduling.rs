//! Who places the pods, and where.

use serde_json::{Value, json};

use super::manifest::Manifest;
use super::pods::ROLES;

/// Kubeflow: `batchScheduler`, `BatchSchedulerConfiguration`, `schedulerName` of driver and executor.
pub(super) fn scheduling(manifest: &mut Manifest) {
    let scheduler = manifest.take("batchScheduler");
    let mut queue = || manifest.take("batchSchedulerOptions.queue").unwrap_or_else(|| json!("default"));
    match scheduler.as_ref().and_then(Value::as_str) {
        Some("volcano") => {
            let queue = queue();
            manifest.set("scheduling.volcanoQueue", queue);
            manifest.copy("batchSchedulerOptions.resources", "scheduling.volcanoMinResources");
        }
        Some("yunikorn") => {
            let queue = queue();
            manifest.set("scheduling.yunikornQueue", queue);
        }
        Some(other) => manifest.set("scheduling.schedulerName", json!(other)),
        None => {}
    }
    schedulers_of_pods(manifest, scheduler.is_some());
    let of_both = [("batchSchedulerOptions.priorityClassName", "priorityClassName"), ("nodeSelector", "nodeSelector")];
    for (from, to) in of_both {
        if let Some(value) = manifest.take(from) {
            for role in ROLES {
                manifest.set(&format!("{role}.{to}"), value.clone());
            }
        }
    }
}

/// Each role's own, which count where there is no batchScheduler.
///
/// Kubeflow: `addSchedulerName`.
fn schedulers_of_pods(manifest: &mut Manifest, has_batch_scheduler: bool) {
    for role in ROLES {
        let field = format!("{role}.schedulerName");
        match manifest.take(&field) {
            Some(_) if has_batch_scheduler => manifest.note(&field, "batchScheduler goes before it, as with kubeflow"),
            Some(name) => manifest.conf(&field, &format!("spark.kubernetes.{role}.scheduler.name"), &name),
            None => {}
        }
    }
}
