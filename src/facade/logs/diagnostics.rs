//! What the resource tells of a driver that has written nothing.

use kube::Api;

use super::super::AppState;
use super::super::error::ApiError;
use super::super::upstream::call;
use crate::api::{Phase, Reason, SparkBatch};
use crate::livy::BatchView;

/// Livy 0.9: `SparkKubernetesApp`, `"\nKubernetes Diagnostics: "`.
const HEADING: &str = "\nKubernetes Diagnostics: ";

const GONE: &str = "The driver pod is gone, and its log with it. Set podRetention: Always (or --pod-retention=always) to \
                    keep driver pods after the end.";

/// Lines that say why there is no log, as the operator wrote it into the status; none if nothing is wrong.
///
/// # RBAC needed
/// `sparkbatches`: `get`.
///
/// With `is_gone`, there is no pod of the driver's name.
pub(super) async fn lines(
    state: &AppState,
    namespace: &str,
    view: &BatchView,
    is_gone: bool,
) -> Result<Vec<String>, ApiError> {
    let batches: Api<SparkBatch> = Api::namespaced(state.client.clone(), namespace);
    let found = call(state.config.limits.upstream, batches.get_opt(&view.object_name)).await;
    let found = found.map_err(|failure| failure.answer(namespace))?;
    Ok(found.as_ref().map_or_else(Vec::new, |batch| told(batch, is_gone)))
}

fn told(batch: &SparkBatch, is_gone: bool) -> Vec<String> {
    let Some(status) = &batch.status else { return Vec::new() };
    let message = status.message.as_deref().filter(|message| !message.is_empty());
    let cause = match (status.reason, message) {
        // All is well: the driver has just written nothing.
        (None | Some(Reason::DriverRunning | Reason::DriverSucceeded), None) => None,
        (None, Some(message)) => Some(message.to_owned()),
        (Some(reason), Some(message)) => Some(format!("{reason}: {message}")),
        (Some(reason), None) => Some(reason.to_string()),
    };
    // What was killed had its pod deleted for it.
    let has_ended = matches!(status.phase, Phase::Succeeded | Phase::Failed);
    let log = (is_gone && has_ended && status.driver.is_some()).then_some(GONE);
    let lines: Vec<_> = cause.iter().flat_map(|cause| cause.lines()).chain(log).collect();
    let heading = (!lines.is_empty()).then_some(HEADING);
    heading.into_iter().chain(lines).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    #[rstest]
    #[case(json!({}), &[])]
    #[case(json!({ "phase": "Running", "reason": "DriverRunning" }), &[])]
    #[case(json!({ "phase": "Succeeded", "reason": "DriverSucceeded" }), &[])]
    #[case(json!({ "reason": "DriverPending" }), &["DriverPending"])]
    #[case(json!({ "reason": "Unschedulable", "message": "0/1 nodes\nadd one" }), &["Unschedulable: 0/1 nodes", "add one"])]
    #[case(json!({ "phase": "Failed", "reason": "DriverOOMKilled", "message": "raise it" }), &["DriverOOMKilled: raise it"])]
    fn a_status_is_told_as_it_is(#[case] status: Value, #[case] lines: &[&str]) {
        let batch = json!({ "apiVersion": "sparkbatch.dev/v1alpha1", "kind": "SparkBatch", "metadata": {},
            "spec": { "file": "/a.py" }, "status": status });
        let heading = (!lines.is_empty()).then_some(HEADING);
        let expected: Vec<_> = heading.into_iter().chain(lines.iter().copied()).collect();
        assert_eq!(told(&serde_json::from_value(batch).unwrap(), false), expected);
    }

    #[rstest]
    #[case(json!({ "phase": "Succeeded", "reason": "DriverSucceeded" }), &[GONE])]
    #[case(json!({ "phase": "Failed", "reason": "DriverOOMKilled" }), &["DriverOOMKilled", GONE])]
    #[case(json!({ "phase": "Killed", "reason": "Cancelled" }), &["Cancelled"])]
    #[case(json!({ "phase": "Running", "reason": "DriverRunning" }), &[])]
    fn a_pod_that_is_gone_after_the_end_is_told_of(#[case] mut status: Value, #[case] lines: &[&str]) {
        status["driver"] = json!({ "podName": "d", "podUid": "u" });
        let batch = json!({ "apiVersion": "sparkbatch.dev/v1alpha1", "kind": "SparkBatch", "metadata": {},
            "spec": { "file": "/a.py" }, "status": status });
        let told = told(&serde_json::from_value(batch).unwrap(), true);
        assert_eq!(told.iter().skip(1).map(String::as_str).collect::<Vec<_>>(), lines);
    }
}
