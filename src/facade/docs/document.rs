//! The REST API as `OpenAPI` 3.1: what openapi.yaml says once, for each collection of batches and each dialect.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::livy::Dialect;

const SOURCE: &str = include_str!("openapi.yaml");
/// Marks what an instance has only with `--instance-extensions`.
const EXTENSION: &str = "x-extension";
/// What stands before the name of an instance's own component.
const INSTANCE: &str = "Instance";

type Object = Map<String, Value>;
/// Methods with their operations.
type Item = BTreeMap<String, Object>;

/// Why there is no document. A test sees to it that there always is one.
#[derive(Debug, Error)]
pub enum DocumentError {
    /// The source is no YAML.
    #[error("openapi.yaml cannot be read")]
    Yaml(#[from] serde_saphyr::Error),
    /// The source has another form than this module expects.
    #[error("openapi.yaml is not as it has to be")]
    Form(#[from] serde_json::Error),
}

#[derive(Deserialize)]
struct Source {
    #[serde(rename = "x-collections")]
    collections: Vec<Collection>,
    #[serde(rename = "x-routes")]
    routes: BTreeMap<String, Item>,
    #[serde(rename = "x-batch-answers")]
    batch_answers: Object,
    #[serde(rename = "x-answers")]
    answers: Object,
    #[serde(rename = "x-headers")]
    headers: Object,
    paths: BTreeMap<String, Item>,
    components: BTreeMap<String, Object>,
    #[serde(flatten)]
    rest: Object,
}

/// Where batches are found.
#[derive(Deserialize)]
struct Collection {
    path: String,
    tag: String,
    /// Makes operation ids differ from those of other collections.
    ending: String,
    parameters: Vec<Value>,
    answers: Object,
}

/// The document of a server at `url`, if that is known, whose instances have the `extensions` or not.
pub fn document(extensions: bool, url: Option<&str>) -> Result<Value, DocumentError> {
    let source: Value = serde_saphyr::from_str(SOURCE)?;
    let Source { collections, routes, batch_answers, answers, headers, mut paths, mut components, mut rest } =
        serde_json::from_value(source)?;
    if !extensions {
        refuse_fields(&mut components);
    }
    for collection in &collections {
        for (path, item) in &routes {
            let item = item.iter().map(|(method, operation)| {
                let mut operation = collection.adapt(operation.clone(), extensions, &components);
                add(&mut operation, "responses", &batch_answers);
                (method.clone(), operation)
            });
            paths.insert(format!("{}{path}", collection.path), item.collect());
        }
    }
    for operation in paths.values_mut().flat_map(Item::values_mut) {
        add(operation, "responses", &answers);
        add_headers(operation.get_mut("responses").and_then(Value::as_object_mut), &headers);
    }
    add_headers(components.get_mut("responses"), &headers);
    if let Some(info) = rest.get_mut("info").and_then(Value::as_object_mut) {
        info.insert("version".to_owned(), env!("CARGO_PKG_VERSION").into());
    }
    rest.insert("servers".to_owned(), json!([{ "url": url.unwrap_or("/") }]));
    rest.insert("paths".to_owned(), serde_json::to_value(paths)?);
    rest.insert("components".to_owned(), serde_json::to_value(components)?);
    Ok(Value::Object(rest))
}

impl Collection {
    /// An operation as it is below this collection.
    fn adapt(&self, mut operation: Object, extensions: bool, components: &BTreeMap<String, Object>) -> Object {
        let is_instance =
            self.parameters.iter().any(|parameter| parameter["$ref"] == "#/components/parameters/Instance");
        operation.insert("tags".to_owned(), json!([self.tag]));
        add(&mut operation, "responses", &self.answers);
        let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
        if let Some(parameters) = parameters.as_array_mut() {
            parameters.splice(0..0, self.parameters.iter().cloned());
        }
        let mut operation = Value::Object(operation);
        mark(&mut operation, extensions || !is_instance);
        if is_instance {
            each_text(&mut operation, "$ref", &|target| own_component(target, components));
        }
        each_text(&mut operation, "operationId", &|id| Some(format!("{id}{}", self.ending)));
        self.lead_on(&mut operation);
        match operation {
            Value::Object(operation) => operation,
            _ => Object::new(),
        }
    }

    /// Links stay in the collection.
    fn lead_on(&self, operation: &mut Value) {
        let names: Vec<_> = self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        let responses = operation["responses"].as_object_mut();
        let links = responses.into_iter().flat_map(Object::values_mut).filter_map(|answer| answer.get_mut("links"));
        for link in links.filter_map(Value::as_object_mut).flat_map(Object::values_mut) {
            for name in &names {
                link["parameters"][*name] = format!("$request.path.{name}").into();
            }
        }
    }
}

/// The body that an instance without extensions takes.
fn refuse_fields(components: &mut BTreeMap<String, Object>) {
    let Some(schemas) = components.get_mut("schemas") else { return };
    let Some(mut request) = schemas.get("BatchRequest").cloned() else { return };
    if let Some(properties) = request["properties"].as_object_mut() {
        properties.retain(|field, _| !Dialect::Instance.refused_fields().contains(&field.as_str()));
    }
    schemas.insert(format!("{INSTANCE}BatchRequest"), request);
}

/// Adds `entries` to the object at `key`, but those that it has.
fn add(to: &mut Object, key: &str, entries: &Object) {
    if let Some(object) = to.entry(key).or_insert_with(|| json!({})).as_object_mut() {
        for (key, value) in entries {
            object.entry(key).or_insert_with(|| value.clone());
        }
    }
}

fn add_headers(answers: Option<&mut Object>, headers: &Object) {
    let answers = answers.into_iter().flat_map(Object::values_mut).filter_map(Value::as_object_mut);
    for answer in answers.filter(|answer| !answer.contains_key("$ref")) {
        add(answer, "headers", headers);
    }
}

/// Removes what is marked as an extension, or only the marks if it is to be kept.
fn mark(value: &mut Value, keep: bool) {
    let goes = |value: &Value| !keep && value.get(EXTENSION).is_some();
    match value {
        Value::Object(entries) => {
            entries.retain(|_, entry| !goes(entry));
            entries.remove(EXTENSION);
            for entry in entries.values_mut() {
                mark(entry, keep);
            }
        }
        Value::Array(entries) => {
            entries.retain(|entry| !goes(entry));
            for entry in entries {
                mark(entry, keep);
            }
        }
        _ => {}
    }
}

/// Replaces the texts at `key`, however deep, where there is something to replace them with.
fn each_text(value: &mut Value, key: &str, new: &impl Fn(&str) -> Option<String>) {
    match value {
        Value::Object(entries) => {
            for (name, entry) in entries {
                match entry.as_str().filter(|_| name == key).and_then(new) {
                    Some(text) => *entry = text.into(),
                    None => each_text(entry, key, new),
                }
            }
        }
        Value::Array(entries) => {
            for entry in entries {
                each_text(entry, key, new);
            }
        }
        _ => {}
    }
}

/// The component that instances have in place of the one at `target`.
fn own_component(target: &str, components: &BTreeMap<String, Object>) -> Option<String> {
    let (section, name) = target.strip_prefix("#/components/")?.split_once('/')?;
    let own = format!("{INSTANCE}{name}");
    components.get(section)?.contains_key(&own).then(|| format!("#/components/{section}/{own}"))
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
