//! Kubernetes' own types where the definition leaves their schema open.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An object of Kubernetes' type `T`, kept as it was written.
///
/// The definition does not spell out its schema, which would make it too large to apply, so the API server takes
/// anything. It is read when it is used: one that is wrong is a problem of its field, and not a resource that
/// nobody can read.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Open<T> {
    value: Value,
    #[serde(skip)]
    kind: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned + Serialize> Open<T> {
    /// The object.
    ///
    /// # Errors
    /// Where and why it is none, in words that say what to change: a value of another type, or a field that
    /// Kubernetes does not have and would have to be ignored.
    pub fn read(&self) -> Result<T, String> {
        let object: T =
            serde_path_to_error::deserialize(&self.value).map_err(|error| match error.path().to_string() {
                path if path == "." => error.inner().to_string(),
                path => format!("{path}: {}", error.inner()),
            })?;
        let known = serde_json::to_value(&object).map_err(|error| error.to_string())?;
        match unknown_field(&self.value, &known) {
            Some(path) => Err(format!("unknown field '{}'", path.trim_start_matches('.'))),
            None => Ok(object),
        }
    }

    /// What was written.
    #[must_use]
    pub fn written(&self) -> &Value {
        &self.value
    }
}

/// The path of a field of `written` that `known`, which was read from it, does not have.
fn unknown_field(written: &Value, known: &Value) -> Option<String> {
    match (written, known) {
        (Value::Object(written), Value::Object(known)) => {
            written.iter().filter(|(_, value)| !value.is_null()).find_map(|(name, value)| {
                let path = known.get(name).map_or(Some(String::new()), |known| unknown_field(value, known))?;
                Some(format!(".{name}{path}"))
            })
        }
        (Value::Array(written), Value::Array(known)) => {
            written.iter().zip(known).enumerate().find_map(|(index, (written, known))| {
                unknown_field(written, known).map(|path| format!("[{index}]{path}"))
            })
        }
        _ => None,
    }
}

impl<T> JsonSchema for Open<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Open".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodTemplateSpec;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn open(value: Value) -> Open<PodTemplateSpec> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_was_written_is_kept_and_read() {
        let written = json!({ "spec": { "containers": [
            { "name": "a", "resources": { "limits": { "cpu": 2, "memory": "1Gi" } }, "ports": [], "env": null },
        ] } });
        let open = open(written.clone());
        assert_eq!(serde_json::to_value(&open).unwrap(), written);
        assert_eq!(open.read().unwrap().spec.unwrap().containers[0].name, "a");
    }

    #[rstest]
    #[case(json!({ "spec": { "containers": [{ "name": "a", "prots": [] }] } }), "unknown field 'spec.containers[0].prots'")]
    #[case(json!({ "metadata": { "labels": { "a": 1 } } }), "metadata.labels.a: invalid type: integer `1`, expected a string")]
    #[case(json!("pod"), "invalid type: string \"pod\", expected PodTemplateSpec")]
    fn what_is_wrong_is_told_with_its_place(#[case] value: Value, #[case] message: &str) {
        let error = open(value).read().unwrap_err();
        assert!(error.starts_with(message), "{error}");
    }
}
