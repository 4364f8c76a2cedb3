//! The custom resource definition: the derived schema, bounded, frozen and made small enough to apply.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, ValidationRule,
};
use kube::CustomResourceExt as _;
use schemars::{Schema, SchemaGenerator, json_schema};

use super::SparkBatch;
use super::conf_policy::{MAX_KEYS, MAX_VALUE_LEN, OWNED_KEYS, OWNED_PREFIXES};
use super::v1alpha1::{MAX_ATTEMPT_RECORDS, MAX_EXECUTOR_FAILURES};

/// Fields of the spec that may change while a batch exists. Every other one is frozen.
const MUTABLE_FIELDS: [&str; 4] = ["cancel", "podRetention", "suspend", "ttlSecondsAfterFinished"];

/// The definition of `SparkBatch`, as `sparkbatch crd` prints it.
///
/// Over what is derived from the types: every field of the spec but those that may change is immutable,
/// the resource's name fits in a label, and the texts of Kubernetes' own types are cut, so that the whole stays
/// small enough for a client-side `kubectl apply`. The largest of those types are left open: [`super::Open`].
#[must_use]
pub fn crd() -> CustomResourceDefinition {
    static CRD: LazyLock<CustomResourceDefinition> = LazyLock::new(build);
    CRD.clone()
}

fn build() -> CustomResourceDefinition {
    let mut crd = SparkBatch::crd();
    for version in &mut crd.spec.versions {
        let Some(root) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) else {
            continue;
        };
        root.x_kubernetes_validations.get_or_insert_default().push(name_rule());
        let properties = root.properties.get_or_insert_default();
        if let Some(spec) = properties.get_mut("spec") {
            check_uris(spec);
            freeze(spec);
            keep_cancelled(spec);
            shorten(spec, 0);
        }
        if let Some(status) = properties.get_mut("status") {
            shorten(status, 0);
        }
    }
    crd
}

/// Names become label values and parts of pod names.
fn name_rule() -> ValidationRule {
    ValidationRule {
        rule: "self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')".into(),
        message: Some("the name must be a DNS label: at most 63 lower-case letters, digits and '-'".into()),
        ..ValidationRule::default()
    }
}

/// The files of a batch: what a driver can read, and what it would run.
fn check_uris(spec: &mut JSONSchemaProps) {
    let rule = ValidationRule {
        rule: "self.matches('^([A-Za-z][A-Za-z0-9+.-]*:|/[^/])') && !self.lowerAscii().startsWith('file:')".into(),
        message: Some("write local:///path for a file in the image, or a URI that the driver can read".into()),
        ..ValidationRule::default()
    };
    for field in ["jars", "pyFiles", "files", "archives"] {
        if let Some(uri) = child(spec, field).and_then(item) {
            uri.x_kubernetes_validations.get_or_insert_default().push(rule.clone());
        }
    }
    if let Some(uri) = child(spec, "file") {
        uri.x_kubernetes_validations.get_or_insert_default().push(rule);
    }
    spec.x_kubernetes_validations.get_or_insert_default().push(ValidationRule {
        rule: "has(self.className) || !self.file.lowerAscii().endsWith('.jar') || \
               self.file.lowerAscii().matches('^(/|local:)')"
            .into(),
        message: Some("className is required for a .jar that is not in the image: its manifest is not read".into()),
        field_path: Some(".className".into()),
        ..ValidationRule::default()
    });
}

/// One transition rule for all frozen fields, and a message that names the first that differs.
///
/// The API server evaluates it at every write of the status too, where the spec is the same: that is looked at first, as
/// reading each of some forty fields takes it longer than all the rest of such a write.
fn freeze(spec: &mut JSONSchemaProps) {
    let required = spec.required.clone().unwrap_or_default();
    let fields = spec.properties.iter().flatten().map(|(name, _)| name);
    let (mut same, mut first) = (Vec::new(), Vec::new());
    for name in fields.filter(|name| !MUTABLE_FIELDS.contains(&name.as_str())) {
        let (here, before) = (format!("self.{name}"), format!("oldSelf.{name}"));
        if required.contains(name) {
            same.push(format!("{here} == {before}"));
            first.push(format!("{here} != {before} ? '{name}' : "));
        } else {
            same.push(format!("has({here}) == has({before}) && (!has({here}) || {here} == {before})"));
            first.push(format!("has({here}) != has({before}) || (has({here}) && {here} != {before}) ? '{name}' : "));
        }
    }
    spec.x_kubernetes_validations.get_or_insert_default().push(ValidationRule {
        rule: format!("self == oldSelf || {}", same.join(" && ")),
        message_expression: Some(format!("({}'the spec') + ' is immutable; create another batch'", first.concat())),
        // For who reads the definition, and where the expression fails.
        message: Some(format!("all but {} is immutable; create another batch", MUTABLE_FIELDS.join(", "))),
        ..ValidationRule::default()
    });
}

/// What was cancelled is not started again: its driver may have ended by then.
fn keep_cancelled(spec: &mut JSONSchemaProps) {
    spec.x_kubernetes_validations.get_or_insert_default().push(ValidationRule {
        rule: "!(has(oldSelf.cancel) && oldSelf.cancel) || (has(self.cancel) && self.cancel)".into(),
        message: Some("a cancelled batch stays cancelled; create another batch".into()),
        field_path: Some(".cancel".into()),
        ..ValidationRule::default()
    });
}

fn child<'a>(schema: &'a mut JSONSchemaProps, name: &str) -> Option<&'a mut JSONSchemaProps> {
    schema.properties.as_mut()?.get_mut(name)
}

fn item(list: &mut JSONSchemaProps) -> Option<&mut JSONSchemaProps> {
    match list.items.as_mut()? {
        JSONSchemaPropsOrArray::Schema(item) => Some(item),
        JSONSchemaPropsOrArray::Schemas(_) => None,
    }
}

/// Levels of fields whose texts are kept: the fields of the spec and of its parts in full, those of
/// Kubernetes' own types by their first sentence, what is deeper not at all.
const FULL_TEXT_LEVELS: usize = 2;
const SENTENCE_LEVELS: usize = 3;

fn shorten(schema: &mut JSONSchemaProps, level: usize) {
    if level > SENTENCE_LEVELS {
        schema.description = None;
    } else if level > FULL_TEXT_LEVELS {
        schema.description = schema.description.take().map(|text| first_sentence(&text).to_owned());
    }
    for_each_child(schema, &mut |child| shorten(child, level + 1));
}

fn first_sentence(text: &str) -> &str {
    let end = text.find(". ").map(|end| end + 1).or_else(|| text.find('\n')).unwrap_or(text.len());
    text[..end].trim_end()
}

fn for_each_child(schema: &mut JSONSchemaProps, visit: &mut dyn FnMut(&mut JSONSchemaProps)) {
    schema.properties.iter_mut().flatten().for_each(|(_, child)| visit(child));
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(child)) => visit(child),
        Some(JSONSchemaPropsOrArray::Schemas(children)) => children.iter_mut().for_each(&mut *visit),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(child)) = &mut schema.additional_properties {
        visit(child);
    }
}

/// Schema of `spec.conf`: bounded, keys that Spark would read, none that the operator owns.
pub(super) fn conf_schema(_: &mut SchemaGenerator) -> Schema {
    let owned: Vec<_> = OWNED_KEYS.iter().map(|key| format!("'{key}'")).collect();
    let prefixed: Vec<_> = OWNED_PREFIXES.iter().map(|prefix| format!("k.startsWith('{prefix}')")).collect();
    json_schema!({
        "type": "object",
        "maxProperties": MAX_KEYS,
        "additionalProperties": { "type": "string", "maxLength": MAX_VALUE_LEN },
        "x-kubernetes-validations": [
            {
                "rule": "self.all(k, k.matches('^spark[.][A-Za-z0-9_./*-]+$'))",
                "message": "a conf key must start with 'spark.' and have only letters, digits, '_', '.', '-', '/' and '*'",
            },
            {
                "rule": format!("self.all(k, !(k in [{}] || {}))", owned.join(", "), prefixed.join(" || ")),
                "message": "conf sets a key that the operator owns: spark.master, spark.submit.deployMode, spark.app.id, \
                            the names, ports and templates of pods, spark.kubernetes.authenticate.*, spark.ui.proxyBase; remove it",
            },
        ],
    })
}

/// Schema of a map of labels.
pub(super) fn labels_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 128,
        "additionalProperties": { "type": "string", "maxLength": 63 },
    })
}

/// Schema of a map of annotations.
pub(super) fn annotations_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 128,
        "additionalProperties": { "type": "string", "maxLength": 65_536 },
    })
}

/// Schema of a map of resource names to quantities.
pub(super) fn quantities_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {
            "anyOf": [{ "type": "integer" }, { "type": "string" }],
            "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
            "x-kubernetes-int-or-string": true,
        },
    })
}

/// Schema of a list of volumes, which are open but for their names.
pub(super) fn volumes_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "items": {
            "type": "object",
            "description": "A volume, as in a pod: its name and its source.",
            "required": ["name"],
            "properties": { "name": { "type": "string", "minLength": 1, "maxLength": 63 } },
            "x-kubernetes-preserve-unknown-fields": true,
        },
    })
}

/// Schema of a time.
pub(super) fn time_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time", "nullable": true })
}

/// Schema of the list of earlier attempts.
pub(super) fn attempts_schema(_: &mut SchemaGenerator) -> Schema {
    let time = json_schema!({ "type": "string", "format": "date-time" });
    json_schema!({
        "type": "array",
        "maxItems": MAX_ATTEMPT_RECORDS,
        "items": {
            "type": "object",
            "required": ["attempt"],
            "properties": {
                "attempt": { "type": "integer" },
                "reason": { "type": "string" },
                "exitCode": { "type": "integer" },
                "message": { "type": "string" },
                "startTime": time,
                "completionTime": time,
                "appId": { "type": "string" },
            },
        },
    })
}

/// Schema of the list of executors that failed.
pub(super) fn executor_failures_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": MAX_EXECUTOR_FAILURES,
        "items": {
            "type": "object",
            "required": ["podName"],
            "properties": {
                "podName": { "type": "string" },
                "reason": { "type": "string" },
                "exitCode": { "type": "integer" },
                "message": { "type": "string" },
                "time": { "type": "string", "format": "date-time" },
            },
        },
    })
}

/// Schema of the list of conditions, which merges by type.
pub(super) fn conditions_schema(generator: &mut SchemaGenerator) -> Schema {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
    let items = generator.subschema_for::<Condition>();
    json_schema!({
        "type": "array",
        "items": items,
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> JSONSchemaProps {
        let schema = crd().spec.versions[0].schema.clone().unwrap().open_api_v3_schema.unwrap();
        schema.properties.unwrap()["spec"].clone()
    }

    #[test]
    fn the_definition_is_small_enough_to_apply() {
        let yaml = serde_saphyr::to_string(&crd()).unwrap();
        assert!(yaml.len() < 64 * 1024, "{} bytes", yaml.len());
    }

    #[test]
    fn every_field_is_frozen_but_those_that_may_change() {
        let spec = spec();
        let rules = spec.x_kubernetes_validations.unwrap();
        for name in spec.properties.unwrap().keys() {
            let frozen = rules.iter().any(|rule| rule.rule.contains(&format!("self.{name} == oldSelf.{name}")));
            assert_eq!(frozen, !MUTABLE_FIELDS.contains(&name.as_str()), "{name}");
        }
    }

    #[test]
    fn what_was_cancelled_stays_so() {
        let rules = spec().x_kubernetes_validations.unwrap();
        assert!(rules.iter().any(|rule| rule.field_path.as_deref() == Some(".cancel")));
    }

    #[test]
    fn every_field_of_the_spec_is_described() {
        for (name, field) in spec().properties.unwrap() {
            assert!(field.description.is_some(), "{name}");
        }
    }

    #[test]
    fn columns_and_selectable_fields_exist() {
        let version = &crd().spec.versions[0];
        let root = serde_json::to_value(version.schema.clone().unwrap().open_api_v3_schema.unwrap()).unwrap();
        let columns = version.additional_printer_columns.iter().flatten().map(|column| column.json_path.clone());
        let selectable = version.selectable_fields.iter().flatten().map(|field| field.json_path.clone());
        for path in columns.chain(selectable).filter(|path| !path.starts_with(".metadata")) {
            let pointer = path.replace('.', "/properties/");
            assert!(root.pointer(&pointer).is_some(), "{path}");
        }
    }
}
