//! Checks of object content: the ones an operator runs into.

use serde_json::Value;

use super::{
    error::ApiError,
    kinds::Kind,
    store::{is_deleting, meta},
};

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const SECRET_LIMIT: usize = 1_048_576;
const ANNOTATIONS_LIMIT: usize = 262_144;

/// Checks an object on its own.
pub(super) fn object(kind: &Kind, object: &Value) -> Result<(), ApiError> {
    let name = meta(object, "name");
    let invalid = |field: &str, value: &str, why: &str| {
        let message = format!("Invalid value: \"{value}\": {why}");
        ApiError::invalid(kind, name, field, "FieldValueInvalid", &message)
    };
    if name.is_empty() {
        return Err(required(kind, name, "metadata.name", "name is required"));
    }
    let longest = if kind.plural == "namespaces" { 63 } else { 253 };
    if name.len() > longest {
        let why = format!("must be no more than {longest} characters");
        return Err(invalid("metadata.name", name, &why));
    }
    if !is_subdomain(name) || (kind.plural == "namespaces" && name.contains('.')) {
        return Err(invalid("metadata.name", name, SUBDOMAIN));
    }
    let entries = |field: &str| object["metadata"][field].as_object().into_iter().flatten();
    for (key, value) in entries("labels") {
        let value = value.as_str().unwrap_or("\u{0}");
        if !is_label_key(key) {
            return Err(invalid("metadata.labels", key, "name part must be a valid label key"));
        }
        if value.len() > 63 {
            return Err(invalid("metadata.labels", value, "must be no more than 63 bytes"));
        }
        if !value.is_empty() && !is_label_name(value) {
            return Err(invalid("metadata.labels", value, LABEL));
        }
    }
    let mut size = 0;
    for (key, value) in entries("annotations") {
        if !is_label_key(&key.to_lowercase()) {
            return Err(invalid("metadata.annotations", key, "name part must be a valid key"));
        }
        size += key.len() + value.as_str().unwrap_or_default().len();
    }
    if size > ANNOTATIONS_LIMIT {
        return Err(too_long(kind, name, "metadata.annotations", ANNOTATIONS_LIMIT));
    }
    owners(kind, name, object)?;
    content(kind, name, object)
}

fn required(kind: &Kind, name: &str, field: &str, why: &str) -> ApiError {
    let message = format!("Required value: {why}");
    ApiError::invalid(kind, name, field, "FieldValueRequired", &message)
}

fn too_long(kind: &Kind, name: &str, field: &str, limit: usize) -> ApiError {
    let message = format!("Too long: may not be more than {limit} bytes");
    ApiError::invalid(kind, name, field, "FieldValueTooLong", &message)
}

fn owners(kind: &Kind, name: &str, object: &Value) -> Result<(), ApiError> {
    let owners = object["metadata"]["ownerReferences"].as_array();
    let mut controllers = 0;
    for (at, owner) in owners.into_iter().flatten().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().unwrap_or_default().is_empty() {
                let field = format!("metadata.ownerReferences[{at}].{field}");
                return Err(required(kind, name, &field, "must not be empty"));
            }
        }
        controllers += i32::from(owner["controller"] == true);
    }
    if controllers > 1 {
        let why = "Invalid value: Only one reference can have Controller set to true";
        let field = "metadata.ownerReferences";
        return Err(ApiError::invalid(kind, name, field, "FieldValueInvalid", why));
    }
    Ok(())
}

fn content(kind: &Kind, name: &str, object: &Value) -> Result<(), ApiError> {
    match kind.plural {
        "pods" if object["spec"]["containers"].as_array().is_none_or(Vec::is_empty) => {
            Err(required(kind, name, "spec.containers", "must not be empty"))
        }
        "secrets" => {
            let data = object["data"].as_object().into_iter().flatten();
            // Base64: four characters for three bytes.
            let size: usize = data.map(|(_, v)| v.as_str().unwrap_or_default().len() / 4 * 3).sum();
            if size > SECRET_LIMIT {
                return Err(too_long(kind, name, "data", SECRET_LIMIT));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Checks what may change from `old` to `new`.
pub(super) fn update(kind: &Kind, old: &Value, new: &Value) -> Result<(), ApiError> {
    let name = meta(old, "name");
    if is_deleting(old) {
        let known = |f: &Value| {
            let old = old["metadata"]["finalizers"].as_array();
            old.is_some_and(|list| list.contains(f))
        };
        let new = new["metadata"]["finalizers"].as_array();
        if let Some(added) = new.into_iter().flatten().find(|f| !known(f)) {
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{added}}}"
            );
            return Err(ApiError::forbidden_field(kind, name, "metadata.finalizers", &why));
        }
    }
    match kind.plural {
        "secrets" | "configmaps" => {
            if old["type"] != new["type"] {
                let why = format!("Invalid value: {}: field is immutable", new["type"]);
                return Err(ApiError::invalid(kind, name, "type", "FieldValueInvalid", &why));
            }
            for field in ["immutable", "data", "binaryData"] {
                if old["immutable"] == true && old[field] != new[field] {
                    let why = "field is immutable when `immutable` is set";
                    return Err(ApiError::forbidden_field(kind, name, field, why));
                }
            }
            Ok(())
        }
        "pods" if pod_spec_essence(old) != pod_spec_essence(new) => {
            let why = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
            Err(ApiError::forbidden_field(kind, name, "spec", why))
        }
        _ => Ok(()),
    }
}

/// A pod's spec without what may be updated.
fn pod_spec_essence(pod: &Value) -> Value {
    let mut spec = pod["spec"].clone();
    if let Some(fields) = spec.as_object_mut() {
        for field in ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"] {
            fields.remove(field);
        }
        for list in ["containers", "initContainers"] {
            let containers = fields.get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                if let Some(container) = container.as_object_mut() {
                    container.remove("image");
                }
            }
        }
    }
    spec
}

fn is_subdomain(name: &str) -> bool {
    name.split('.').all(|part| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    })
}

fn is_label_name(name: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.len() <= 63
        && edge(name.chars().next())
        && edge(name.chars().last())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => prefix.len() <= 253 && is_subdomain(prefix) && is_label_name(name),
        None => is_label_name(key),
    }
}
