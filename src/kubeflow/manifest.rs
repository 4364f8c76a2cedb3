//! A manifest that is taken apart, and what is made of it.

use serde_json::{Map, Value, json};

use super::text;
use crate::api::conf_policy::canonical_key;
use crate::api::validation::Problem;

/// What to do about fields that have no counterpart, by the beginning of their path.
const HINTS: &[(&str, &str)] = &[
    ("batchSchedulerOptions", "it is for the batchScheduler volcano, and its queue for yunikorn too"),
    ("driver.kubernetesMaster", "the operator knows its cluster"),
    ("driver.lifecycle", "write it into driver.podTemplate, for the container spark-kubernetes-driver"),
    ("driver.podName", "the operator names the pod; status.driver.podName tells"),
    ("driver.serviceAnnotations", "there is no Service for the driver"),
    ("driver.serviceLabels", "there is no Service for the driver"),
    ("driver.terminationGracePeriodSeconds", "drivers have 15 s"),
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

    /// Takes out a list. What stands there and is none is told.
    pub(super) fn take_list(&mut self, path: &str) -> Option<Vec<Value>> {
        match self.take(path)? {
            Value::Array(list) => Some(list),
            _ => self.mistaken(path, "list"),
        }
    }

    /// Takes out a map. What stands there and is none is told.
    pub(super) fn take_map(&mut self, path: &str) -> Option<Map<String, Value>> {
        match self.take(path)? {
            Value::Object(map) => Some(map),
            _ => self.mistaken(path, "map"),
        }
    }

    fn mistaken<T>(&mut self, path: &str, kind: &str) -> Option<T> {
        self.note(path, format!("must be a {kind}, and is left out"));
        None
    }

    /// Puts `value` at `path` of the new spec.
    pub(super) fn set(&mut self, path: &str, value: Value) {
        *self.slot(path) = value;
    }

    fn slot(&mut self, path: &str) -> &mut Value {
        let mut at = &mut self.spec;
        for part in path.split('.') {
            if !at.is_object() {
                *at = json!({});
            }
            at = &mut at[part];
        }
        at
    }

    /// Moves what stands at `from` to `to` of the new spec.
    pub(super) fn copy(&mut self, from: &str, to: &str) {
        if let Some(value) = self.take(from) {
            self.put(from, to, value);
        }
    }

    /// Puts what stood at `from` at `to` of the new spec: beside what another field has put there, and over it, which
    /// is told.
    pub(super) fn put(&mut self, from: &str, to: &str, value: Value) {
        let mut replaced = Vec::new();
        merge(self.slot(to), value, to, &mut replaced);
        for path in replaced {
            self.note(from, format!("goes before what another field says of {path}"));
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

    /// Sets a key of conf as `field` says, whatever sparkConf says: kubeflow gives spark-submit the properties of its
    /// fields after those of sparkConf, and the last one counts.
    pub(super) fn conf(&mut self, field: &str, key: &str, value: &Value) {
        let value = Value::String(text(value));
        if self.take_conf(key).is_some_and(|before| before != value) {
            self.note(field, format!("goes before sparkConf's {key}, as with kubeflow"));
        }
        self.slot("conf")[key] = value;
    }

    /// Takes a key out of conf again, under its old names too.
    pub(super) fn take_conf(&mut self, key: &str) -> Option<Value> {
        let conf = self.spec.get_mut("conf")?.as_object_mut()?;
        let names: Vec<_> = conf.keys().filter(|name| canonical_key(name) == key).cloned().collect();
        names.iter().filter_map(|name| conf.remove(name)).last()
    }

    /// Whether sparkConf has a key whose field kubeflow gives spark-submit before it, so that the key counts. It is told
    /// of the field.
    pub(super) fn yields_to_conf(&mut self, field: &str, key: &str) -> bool {
        let yields = self.spec["conf"].get(key).is_some();
        if yields {
            self.note(field, format!("sparkConf's {key} goes before it, as with kubeflow"));
        }
        yields
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

/// Puts `value` over `at`, map by map, and notes the paths at which something else stood.
fn merge(at: &mut Value, value: Value, path: &str, replaced: &mut Vec<String>) {
    match (at, value) {
        (Value::Object(at), Value::Object(fields)) => {
            for (key, value) in fields {
                merge(at.entry(&key).or_insert(Value::Null), value, &format!("{path}.{key}"), replaced);
            }
        }
        (at, value) => {
            if !at.is_null() && *at != value {
                replaced.push(path.to_owned());
            }
            *at = value;
        }
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
