//! What the resource tells of a driver that has written nothing.

use kube::Api;

use super::super::AppState;
use super::super::error::ApiError;
use super::super::upstream::call;
use crate::api::{Reason, SparkBatch};
use crate::livy::BatchView;

/// Livy 0.9: `SparkKubernetesApp`, `"\nKubernetes Diagnostics: "`.
const HEADING: &str = "\nKubernetes Diagnostics: ";

/// Lines that say why there is no log, as the operator wrote it into the status; none if nothing is wrong.
///
/// # RBAC needed
/// `sparkbatches`: `get`.
pub(super) async fn lines(state: &AppState, namespace: &str, view: &BatchView) -> Result<Vec<String>, ApiError> {
    let batches: Api<SparkBatch> = Api::namespaced(state.client.clone(), namespace);
    let found = call(state.config.limits.upstream, batches.get_opt(&view.object_name)).await;
    let found = found.map_err(|failure| failure.answer(namespace))?;
    Ok(found.as_ref().map_or_else(Vec::new, told))
}

fn told(batch: &SparkBatch) -> Vec<String> {
    let Some(status) = &batch.status else { return Vec::new() };
    let reason = match status.reason {
        // All is well: the driver has just written nothing.
        None | Some(Reason::DriverRunning | Reason::DriverSucceeded) => return Vec::new(),
        Some(reason) => reason,
    };
    let text = match status.message.as_deref().filter(|message| !message.is_empty()) {
        Some(message) => format!("{reason}: {message}"),
        None => reason.to_string(),
    };
    std::iter::once(HEADING).chain(text.lines()).map(str::to_owned).collect()
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
        assert_eq!(told(&serde_json::from_value(batch).unwrap()), expected);
    }
}
