//! What a batch would run with, for people to look at: every property with where it came from, no credential.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, Secret};
use serde::Serialize;
use serde_json::{Value, json};

use super::{EXECUTOR_TEMPLATE_FILE, PROPERTIES_FILE, PodSet};
use crate::api::redaction::{REDACTED, Redaction};
use crate::spark::{Origin, SparkConf, to_properties};

/// Shortest credential that is looked for inside of other texts: shorter ones would be found everywhere.
const SHORTEST_SOUGHT: usize = 4;

/// The objects of an attempt as they would be created, with credentials masked.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Volcano's group of the pods, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_group: Option<Value>,
    /// The driver pod.
    pub driver_pod: Value,
    /// The Secret, its data as text.
    pub secret: Value,
    /// The pod from which Spark makes executors.
    pub executor_pod_template: Value,
    /// Every property that the driver starts with.
    pub properties: BTreeMap<String, Property>,
}

/// A property of the driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Property {
    /// Its value.
    pub value: String,
    /// Where it came from.
    pub from: &'static str,
}

/// Explains `pods`, with what `redaction` takes for a credential masked wherever it stands.
#[must_use]
pub fn explain(pods: &PodSet, redaction: &Redaction) -> Explanation {
    let secrets: Vec<&str> =
        pods.conf.iter().filter(|(key, value)| redaction.is_secret(key, value)).map(|(_, value)| value).collect();
    let template = text_of(&pods.secret, EXECUTOR_TEMPLATE_FILE);
    let masked = |object: Value| mask(object, &secrets);
    Explanation {
        pod_group: pods.pod_group.as_ref().map(|group| masked(to_value(group))),
        driver_pod: masked(to_value::<Pod>(&pods.driver)),
        secret: masked(readable(&pods.secret, &pods.conf, redaction)),
        executor_pod_template: masked(serde_json::from_str(&template).unwrap_or_default()),
        properties: properties(&pods.conf, redaction, &secrets),
    }
}

fn properties(conf: &SparkConf, redaction: &Redaction, secrets: &[&str]) -> BTreeMap<String, Property> {
    let property = |key, value| Property {
        value: mask_text(redaction.shown(key, value).to_owned(), secrets),
        from: conf.origin(key).map_or("", name_of),
    };
    conf.iter().map(|(key, value)| (key.to_owned(), property(key, value))).collect()
}

fn name_of(origin: Origin) -> &'static str {
    match origin {
        Origin::Default => "default",
        Origin::Administrator => "administrator",
        Origin::ConfFrom => "confFrom",
        Origin::Conf => "conf",
        Origin::Field(name) => name,
        Origin::Operator => "operator",
    }
}

/// The Secret with its texts in the clear, but for credentials.
fn readable(secret: &Secret, conf: &SparkConf, redaction: &Redaction) -> Value {
    let mut shown = SparkConf::default();
    for (key, value) in conf.iter() {
        shown.set(key, redaction.shown(key, value), Origin::Operator);
    }
    let texts: BTreeMap<&str, String> = secret
        .data
        .iter()
        .flat_map(BTreeMap::keys)
        .map(|key| match key.as_str() {
            PROPERTIES_FILE => (PROPERTIES_FILE, to_properties(&shown)),
            EXECUTOR_TEMPLATE_FILE => (EXECUTOR_TEMPLATE_FILE, text_of(secret, EXECUTOR_TEMPLATE_FILE)),
            other => (other, REDACTED.to_owned()),
        })
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": secret.metadata, "immutable": secret.immutable,
        "stringData": texts
    })
}

fn text_of(secret: &Secret, key: &str) -> String {
    let bytes = secret.data.as_ref().and_then(|data| data.get(key));
    bytes.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned()).unwrap_or_default()
}

fn to_value<T: Serialize>(object: &T) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

/// `value` without the texts in `secrets`, wherever they stand in it.
fn mask(value: Value, secrets: &[&str]) -> Value {
    match value {
        Value::String(text) => Value::String(mask_text(text, secrets)),
        Value::Array(values) => values.into_iter().map(|value| mask(value, secrets)).collect(),
        Value::Object(entries) => entries.into_iter().map(|(key, value)| (key, mask(value, secrets))).collect(),
        other => other,
    }
}

fn mask_text(text: String, secrets: &[&str]) -> String {
    secrets.iter().filter(|secret| !secret.is_empty()).fold(text, |text, secret| {
        if text == *secret || (secret.len() >= SHORTEST_SOUGHT && text.contains(secret)) {
            text.replace(secret, REDACTED)
        } else {
            text
        }
    })
}
