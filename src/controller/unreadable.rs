//! A batch that this operator cannot read: another version of it wrote the status, or the definition is newer than
//! the program and lets a spec have what the program does not know.
//!
//! It is left alone, and never failed: whoever can read it may be running it. What can be told without a guess is
//! told: an Event, a line in the log and a gauge, and where nothing was written to the batch yet, its status.

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::ObjectMeta;
use kube::discovery::ApiResource;
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;
use kube::{Api, Resource as _};
use serde_json::{Value, json};

use super::context::Context;
use super::error::{During as _, Error, ignore_absent};
use super::events::{self, UNREADABLE};
use crate::api::{Phase, Reason, SparkBatch, conditions_for};

/// Tells of the batch with this metadata, once for each life of the process.
///
/// # RBAC needed
/// `sparkbatches` get; `sparkbatches/status` patch; what [`events`] needs.
pub(super) async fn tell(context: &Context, metadata: &ObjectMeta) -> Result<Action, Error> {
    let (name, namespace) = (metadata.name.as_deref().unwrap_or_default(), metadata.namespace.as_deref());
    let namespace = namespace.unwrap_or_default();
    let leads = context.leadership.time_left(namespace).is_some();
    if !leads || metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), namespace, &ApiResource::erase::<SparkBatch>(&()));
    let Some(stored) = api.get_opt(name).await.during("read a batch")? else { return Ok(Action::await_change()) };
    let version = stored.metadata.resource_version.clone();
    let stored = serde_json::to_value(stored)?;
    let Some(field) = unknown_field(&stored) else { return Ok(Action::await_change()) };
    let message = format!(
        "this operator ({}) cannot read {field}: it is of another version. Upgrade the operator, or correct the field",
        env!("CARGO_PKG_VERSION")
    );
    if let Some(status) = status_to_tell(&stored, &field, &message, context.now()) {
        let patch = json!({ "metadata": { "resourceVersion": version }, "status": status });
        let written = api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        // Whoever changed it meanwhile has it looked at again.
        ignore_absent(written).during("write the status")?;
    }
    if context.memory.is_first_told(metadata.uid.as_deref().unwrap_or_default()) {
        tracing::warn!(namespace, name, field, "a batch cannot be read; it is left alone");
        let mut reference = SparkBatch::new(name, crate::api::SparkBatchSpec::default()).object_ref(&());
        reference.namespace = Some(namespace.to_owned());
        reference.uid.clone_from(&metadata.uid);
        events::send(context, &reference, events::event(EventType::Warning, "Read", UNREADABLE, &message)).await;
    }
    Ok(Action::await_change())
}

/// The path of what cannot be read; `None` if all can. Never its value, which may be a credential.
fn unknown_field(stored: &Value) -> Option<String> {
    serde_path_to_error::deserialize::<_, SparkBatch>(stored).err().map(|error| error.path().to_string())
}

/// The status of a batch whose spec cannot be read; `None` if it is not to be written: it is told already, or another
/// operator has begun with the batch.
fn status_to_tell(stored: &Value, field: &str, message: &str, now: jiff::Timestamp) -> Option<Value> {
    let status = &stored["status"];
    let phase = status["phase"].as_str().unwrap_or(Phase::Pending.as_str());
    let is_new = phase == Phase::Pending.as_str() && matches!(status["reason"].as_str(), None | Some("InvalidSpec"));
    if !field.starts_with("spec") || !is_new || status["driver"].is_object() || status["message"] == message {
        return None;
    }
    let generation = stored["metadata"]["generation"].as_i64().unwrap_or_default();
    // Not final: an operator that can read it starts it.
    let (phase, reason) = (Phase::Pending, Reason::InvalidSpec);
    let conditions = conditions_for(phase, reason, message, generation, &[], now);
    Some(json!({
        "phase": phase, "reason": reason, "message": message, "conditions": conditions,
        "observedGeneration": generation,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_batch_that_nobody_has_begun_with_is_written_to() {
        let told = |field: &str, status: Value| {
            let stored = json!({ "metadata": { "generation": 3 }, "status": status });
            status_to_tell(&stored, field, "why", jiff::Timestamp::UNIX_EPOCH)
        };
        let status = told("spec.args", Value::Null).unwrap();
        assert_eq!((&status["phase"], &status["reason"]), (&json!("Pending"), &json!("InvalidSpec")));
        assert_eq!(status["observedGeneration"], 3);
        assert!(told("spec.args", status).is_none(), "it is told once");
        assert!(told("status.phase", json!({ "phase": "Paused" })).is_none());
        for begun in [
            json!({ "phase": "Running" }),
            json!({ "phase": "Failed", "reason": "InvalidSpec" }),
            json!({ "phase": "Pending", "reason": "Suspended" }),
            json!({ "phase": "Pending", "driver": {} }),
        ] {
            assert!(told("spec.args", begun.clone()).is_none(), "{begun}");
        }
    }

    #[test]
    fn a_field_is_told_and_never_its_value() {
        let batch = |spec: Value| json!({ "apiVersion": "sparkbatch.dev/v1alpha1", "kind": "SparkBatch", "metadata": { "name": "b" }, "spec": spec });
        assert_eq!(unknown_field(&batch(json!({ "file": "/a.py", "new": { "field": 1 } }))), None);
        let field = unknown_field(&batch(json!({ "file": "/a.py", "conf": { "spark.a": ["hunter22"] } })));
        assert_eq!(field.as_deref(), Some("spec.conf.spark.a"));
    }
}
