//! A manifest that is taken apart, and what is made of it.

use serde_json::{Map, Value, json};

use super::text;
use crate::api::validation::Problem;

/// What to do about fields that have no counterpart, by the beginning of their path.
const HINTS: &[(&str, &str)] = &[
    ("driver.kubernetesMaster", "the operator knows its cluster"),
    ("driver.lifecycle", "write it into driver.podTemplate, for the container spark-kubernetes-driver"),
    ("driver.podName", "the operator names the pod; status.driver.podName tells"),
    ("driver.serviceAnnotations", "there is no Service for the driver"),
    ("driver.serviceLabels", "there is no Service for the driver"),
    ("driverIngressOptions", "the REST API proxies the Spark UI below the batch's path"),
    ("executor.serviceAccount", "executors have the driver's; set serviceAccountName"),
    ("failureRetries", "it has had no effect since v1beta2; see retry"),
    ("monitoring.metricsProperties", "put a metrics.properties into the ConfigMap of sparkConfFrom"),
    ("monitoring.prometheus.configuration", "put it into the ConfigMap of sparkConfFrom"),
    ("restartPolicy.onSubmissionFailureRetryInterval", "both kinds of retries have retry.backoffSeconds"),
    ("retryInterval", "it has had no effect since v1beta2; see retry"),
    ("sparkUIOptions", "the REST API proxies the Spark UI below the batch's path"),
];

/// The spec of a `SparkApplication`, less what was taken, and the spec that is made of it.
pub(super) struct Manifest {
    left: Value,
    spec: Value,
    notes: Vec<Problem>,
}

impl Manifest {
    pub(super) fn new(left: Value) -> Self {
        Self { left, spec: json!({}), notes: Vec::new() }
    }

    /// Takes out what stands at `path`, whose parts have dots between.
    pub(super) fn take(&mut self, path: &str) -> Option<Value> {
        let (parents, field) = path.rsplit_once('.').map_or(("", path), |(parents, field)| (parents, field));
        let mut at = &mut self.left;
        for parent in parents.split('.').filter(|parent| !parent.is_empty()) {
            at = at.get_mut(parent)?;
        }
        at.as_object_mut()?.remove(field).filter(|value| !value.is_null())
    }

    /// Puts `value` at `path` of the new spec.
    pub(super) fn set(&mut self, path: &str, value: Value) {
        let mut at = &mut self.spec;
        for part in path.split('.') {
            if !at.is_object() {
                *at = json!({});
            }
            at = &mut at[part];
        }
        *at = value;
    }

    /// Moves what stands at `from` to `to` of the new spec.
    pub(super) fn copy(&mut self, from: &str, to: &str) {
        if let Some(value) = self.take(from) {
            self.set(to, value);
        }
    }

    /// Appends to a list of the new spec.
    pub(super) fn push(&mut self, path: &str, values: Vec<Value>) {
        let pointer = format!("/{}", path.replace('.', "/"));
        let mut list = self.spec.pointer(&pointer).and_then(Value::as_array).cloned().unwrap_or_default();
        list.extend(values);
        if !list.is_empty() {
            self.set(path, Value::Array(list));
        }
    }

    /// Sets a key of conf, unless sparkConf has it already.
    pub(super) fn conf(&mut self, key: &str, value: &Value) {
        if !self.spec["conf"].is_object() {
            self.spec["conf"] = json!({});
        }
        if self.spec["conf"][key].is_null() {
            self.spec["conf"][key] = Value::String(text(value));
        }
    }

    pub(super) fn note(&mut self, field: &str, text: impl Into<String>) {
        self.notes.push(Problem::new(field, text));
    }

    /// The new spec, and notes on all that is not in it.
    pub(super) fn end(mut self) -> (Value, Vec<Problem>) {
        let mut left = Vec::new();
        leaves(&self.left, "", &mut left);
        for path in left {
            let hint = HINTS.iter().find(|(prefix, _)| path.starts_with(prefix)).map(|(_, hint)| *hint);
            let text =
                hint.map_or_else(|| "has no counterpart".to_owned(), |hint| format!("has no counterpart: {hint}"));
            self.note(&path, text);
        }
        if let Value::Object(spec) = &mut self.spec {
            let empty: Vec<_> = spec.iter().filter(|(_, value)| value.is_null()).map(|(key, _)| key.clone()).collect();
            for key in empty {
                spec.remove(&key);
            }
        }
        (self.spec, self.notes)
    }
}

/// The paths of what is left: of fields, and of lists as a whole.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    let none = Map::new();
    let fields = value.as_object().unwrap_or(&none);
    for (key, value) in fields {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match value {
            Value::Object(_) => leaves(value, &path, found),
            Value::Null => {}
            _ => found.push(path),
        }
    }
}
