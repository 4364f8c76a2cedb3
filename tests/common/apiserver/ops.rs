//! Reads and writes of objects, with the rules of the real server.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    error::ApiError,
    kinds::Kind,
    store::{Key, State, has_finalizers, is_deleting, key_of, meta, normalise},
    validate,
};

/// Fields of the metadata only the server writes.
const OWNED: &[&str] =
    &["uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"];

/// How an existing object is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Write {
    /// Only the status, rather than all but the status.
    pub(super) status: bool,
    pub(super) dry_run: bool,
    /// A replace rather than a patch.
    pub(super) put: bool,
}

impl State {
    /// The object, or 404.
    pub(super) fn existing(&self, kind: &Kind, key: &Key) -> Result<Arc<Value>, ApiError> {
        let found = self.objects.get(key).cloned();
        found.ok_or_else(|| ApiError::not_found(kind, &key.2))
    }

    /// Creates an object as a client sent it.
    pub(super) fn create(
        &mut self,
        kind: &Kind,
        namespace: &str,
        mut object: Value,
        dry_run: bool,
    ) -> Result<Arc<Value>, ApiError> {
        shape(kind, namespace, &mut object)?;
        let name = meta(&object, "name").to_owned();
        if !meta(&object, "generateName").is_empty() {
            let why = "this project names every object itself: generateName is refused";
            return Err(ApiError::forbidden_field(kind, &name, "metadata.generateName", why));
        }
        if !meta(&object, "resourceVersion").is_empty() {
            let why = "resourceVersion should not be set on objects to be created";
            return Err(ApiError::new(400, why));
        }
        self.namespace_open(kind, namespace, &name)?;
        if let Some(fields) = object["metadata"].as_object_mut() {
            for field in OWNED {
                fields.remove(*field);
            }
        }
        initial_status(kind, &mut object);
        self.admit(kind, None, &mut object)?;
        validate::object(kind, &object)?;
        let key = key_of(kind, &object);
        if self.objects.contains_key(&key) {
            return Err(ApiError::already_exists(kind, &name));
        }
        if dry_run {
            // Nothing of the real objects' numbering is used up.
            object["metadata"]["uid"] = json!("00000000-0000-4000-8000-ffffffffffff");
            object["metadata"]["creationTimestamp"] = json!(super::store::rfc3339(self.clock));
            return Ok(Arc::new(object));
        }
        self.birth(kind, &mut object);
        Ok(self.store(&key, object))
    }

    fn namespace_open(&self, kind: &Kind, namespace: &str, name: &str) -> Result<(), ApiError> {
        if !kind.namespaced {
            return Ok(());
        }
        let key = ("namespaces", String::new(), namespace.to_owned());
        match self.objects.get(&key) {
            Some(found) if is_deleting(found) => {
                let mut error = ApiError::new(
                    403,
                    format!(
                        "{} \"{name}\" is forbidden: unable to create new content in namespace {namespace} because it is being terminated",
                        kind.qualified()
                    ),
                );
                error.details = json!({
                    "name": name, "group": kind.group, "kind": kind.plural,
                    "causes": [{
                        "reason": "NamespaceTerminating", "field": "metadata.namespace",
                        "message": format!("namespace {namespace} is being terminated"),
                    }],
                });
                Err(error)
            }
            None if self.options.enforce_namespaces => Err(ApiError::not_found(&self.kind("namespaces"), namespace)),
            _ => Ok(()),
        }
    }

    fn admit(&self, kind: &Kind, old: Option<&Value>, new: &mut Value) -> Result<(), ApiError> {
        match self.admission.get(kind.plural) {
            Some(admission) => admission(old, new),
            None => Ok(()),
        }
    }

    /// Puts `new` in the place of an object, as far as `write` may.
    pub(super) fn replace(
        &mut self,
        kind: &Kind,
        key: &Key,
        mut new: Value,
        write: Write,
    ) -> Result<Arc<Value>, ApiError> {
        let old = self.existing(kind, key)?;
        shape(kind, &key.1, &mut new)?;
        identity(kind, &old, &new, write.put)?;
        for field in OWNED {
            match old["metadata"].get(*field) {
                Some(value) => new["metadata"][field] = value.clone(),
                None => drop(new["metadata"].as_object_mut().and_then(|m| m.remove(*field))),
            }
        }
        if write.status {
            let status = new.get("status").cloned();
            new = (*old).clone();
            set_status(&mut new, status);
        } else if kind.status {
            set_status(&mut new, old.get("status").cloned());
        }
        self.admit(kind, Some(&old), &mut new)?;
        validate::object(kind, &new)?;
        validate::update(kind, &old, &new)?;
        if new == *old {
            return Ok(old);
        }
        if kind.generation && essence(&new) != essence(&old) {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or_default();
            new["metadata"]["generation"] = json!(generation + 1);
        }
        if write.dry_run {
            return Ok(Arc::new(new));
        }
        Ok(self.put_or_finish(key, new))
    }

    /// Stores an object, or removes it if nothing holds its deletion back any more.
    pub(super) fn put_or_finish(&mut self, key: &Key, new: Value) -> Arc<Value> {
        let graceful = new["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) > 0;
        if !is_deleting(&new) || has_finalizers(&new) || graceful {
            return self.store(key, new);
        }
        let last = self.finish_delete(key, new);
        if self.options.collect_garbage {
            self.collect_garbage();
        }
        last
    }
}

/// Checks that a body is an object of `kind` in `namespace`, and completes it.
pub(super) fn shape(kind: &Kind, namespace: &str, object: &mut Value) -> Result<(), ApiError> {
    let bad = |why: String| Err(ApiError::new(400, why));
    if !object.is_object() || !(object["metadata"].is_null() || object["metadata"].is_object()) {
        return bad(format!("{} in the request is not an object with metadata", kind.kind));
    }
    for (field, wanted) in [("apiVersion", kind.api_version()), ("kind", kind.kind.to_owned())] {
        if object[field].as_str().is_some_and(|given| given != wanted) {
            let given = &object[field];
            return bad(format!("{field} in the data ({given}) does not match the expected {field} ({wanted})"));
        }
        object[field] = json!(wanted);
    }
    if object["metadata"].is_null() {
        object["metadata"] = json!({});
    }
    normalise(object);
    string_data(kind, object);
    if !kind.namespaced {
        return Ok(());
    }
    let given = meta(object, "namespace");
    if !given.is_empty() && given != namespace {
        return bad(format!(
            "the namespace of the provided object does not match the namespace sent on the request ({given} != {namespace})"
        ));
    }
    object["metadata"]["namespace"] = json!(namespace);
    Ok(())
}

/// Moves a secret's `stringData` into its `data`.
fn string_data(kind: &Kind, object: &mut Value) {
    if kind.plural != "secrets" {
        return;
    }
    if object["type"].is_null() {
        object["type"] = json!("Opaque");
    }
    let Some(Value::Object(plain)) = object.as_object_mut().and_then(|o| o.remove("stringData")) else {
        return;
    };
    for (key, value) in plain {
        let bytes = value.as_str().unwrap_or_default().as_bytes().to_vec();
        object["data"][key] = json!(k8s_openapi::ByteString(bytes));
    }
}

/// What the server makes of the status of a new object.
fn initial_status(kind: &Kind, object: &mut Value) {
    if kind.status {
        let status = match kind.plural {
            "pods" => Some(json!({"phase": "Pending", "qosClass": "BestEffort"})),
            "namespaces" => Some(json!({"phase": "Active"})),
            _ => None,
        };
        set_status(object, status);
    }
}

fn set_status(object: &mut Value, status: Option<Value>) {
    match status {
        Some(status) => object["status"] = status,
        None => drop(object.as_object_mut().and_then(|fields| fields.remove("status"))),
    }
}

/// What counts for the generation.
pub(super) fn essence(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("metadata");
        fields.remove("status");
    }
    object
}

/// Checks that a write is meant for this very object, and if it says so for this version of it.
fn identity(kind: &Kind, old: &Value, new: &Value, put: bool) -> Result<(), ApiError> {
    let name = meta(old, "name");
    let immutable = |field: &str| {
        let why = format!("Invalid value: \"{}\": field is immutable", meta(new, field));
        let field = format!("metadata.{field}");
        Err(ApiError::invalid(kind, name, &field, "FieldValueInvalid", &why))
    };
    if meta(new, "name") != name {
        if put {
            let why =
                format!("the name of the object ({}) does not match the name on the URL ({name})", meta(new, "name"));
            return Err(ApiError::new(400, why));
        }
        return immutable("name");
    }
    let version = meta(new, "resourceVersion");
    if version.is_empty() {
        if put && (kind.is_custom() || kind.plural == "leases") {
            let why = "Invalid value: 0: must be specified for an update";
            let field = "metadata.resourceVersion";
            return Err(ApiError::invalid(kind, name, field, "FieldValueInvalid", why));
        }
    } else if version != meta(old, "resourceVersion") {
        return Err(ApiError::modified(kind, name));
    }
    let uid = meta(new, "uid");
    if !uid.is_empty() && uid != meta(old, "uid") {
        if put {
            let why =
                format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", meta(old, "uid"));
            return Err(ApiError::conflict(kind, name, &why));
        }
        return immutable("uid");
    }
    Ok(())
}
