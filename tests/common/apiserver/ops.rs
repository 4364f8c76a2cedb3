//! Reads and writes of objects, with the rules of the real server.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    error::ApiError,
    kinds::Kind,
    patch,
    select::Selector,
    store::{Key, State, has_finalizers, is_deleting, key_of, meta, normalise},
    validate,
};

/// Fields of the metadata only the server writes.
const OWNED: &[&str] = &[
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "resourceVersion",
];

/// How an existing object is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Write {
    /// Only the status, rather than all but the status.
    pub(super) status: bool,
    pub(super) dry_run: bool,
    /// A replace rather than a patch.
    pub(super) put: bool,
}

/// The query of a list.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    pub(super) selector: Selector,
    pub(super) limit: usize,
    pub(super) token: String,
    pub(super) version: u64,
    pub(super) exact: bool,
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
            OWNED.iter().for_each(|field| drop(fields.remove(*field)));
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
            None if self.options.enforce_namespaces => {
                Err(ApiError::not_found(&self.kind("namespaces"), namespace))
            }
            _ => Ok(()),
        }
    }

    fn admit(
        &self,
        kind: &Kind,
        old: Option<&Value>,
        new: &mut Value,
    ) -> Result<(), ApiError> {
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

    /// Patches an object; the flag says whether it was created.
    pub(super) fn patch(
        &mut self,
        kind: &Kind,
        key: &Key,
        body: &PatchBody,
        write: Write,
    ) -> Result<(Arc<Value>, bool), ApiError> {
        if let PatchBody::Apply { manager, value } = body {
            return self.apply(kind, key, manager, value, write);
        }
        let old = self.existing(kind, key)?;
        let mut new = (*old).clone();
        match body {
            PatchBody::Merge(value) => patch::merge(&mut new, value),
            PatchBody::Strategic(_) if kind.is_custom() => {
                let why = "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
                return Err(ApiError::new(415, why));
            }
            PatchBody::Strategic(value) => patch::merge_keyed(&mut new, value),
            PatchBody::Json(value) => {
                patch::json_patch(&mut new, value).map_err(|why| ApiError::new(422, why))?;
            }
            PatchBody::Apply { .. } => {}
        }
        Ok((self.replace(kind, key, new, write)?, false))
    }

    fn apply(
        &mut self,
        kind: &Kind,
        key: &Key,
        manager: &str,
        value: &Value,
        write: Write,
    ) -> Result<(Arc<Value>, bool), ApiError> {
        if manager.is_empty() {
            let mut error = ApiError::new(
                422,
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
            );
            error.details = json!({"kind": "PatchOptions", "group": "meta.k8s.io"});
            return Err(error);
        }
        let mut value = value.clone();
        shape(kind, &key.1, &mut value)?;
        if meta(&value, "name") != key.2 {
            let why = format!("the name of the object ({}) does not match the name on the URL ({})", meta(&value, "name"), key.2);
            return Err(ApiError::new(400, why));
        }
        let Some(old) = self.objects.get(key).cloned() else {
            if write.status {
                return Err(ApiError::not_found(kind, &key.2));
            }
            let uid = meta(&value, "uid");
            if !uid.is_empty() {
                let why = format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
                return Err(ApiError::conflict(kind, &key.2, &why));
            }
            let made = self.create(kind, &key.1, value.clone(), write.dry_run)?;
            self.remember(key, manager, value, write);
            return Ok((made, true));
        };
        let mut new = (*old).clone();
        if let Some(managers) = self.applied.get(key) {
            let mine = (manager.to_owned(), write.status);
            let others: Vec<&Value> =
                managers.iter().filter(|(m, _)| **m != mine).map(|(_, v)| v).collect();
            if let Some(before) = managers.get(&mine) {
                patch::prune(&mut new, before, &value, &others);
            }
        }
        patch::merge_keyed(&mut new, &value);
        let stored = self.replace(kind, key, new, write)?;
        self.remember(key, manager, value, write);
        Ok((stored, false))
    }

    fn remember(&mut self, key: &Key, manager: &str, value: Value, write: Write) {
        if !write.dry_run && self.objects.contains_key(key) {
            let managers = self.applied.entry(key.clone()).or_default();
            managers.insert((manager.to_owned(), write.status), value);
        }
    }

    /// Lists objects: `(items, resourceVersion, continue token, remaining)`.
    pub(super) fn list(
        &mut self,
        kind: &Kind,
        namespace: &str,
        query: &Listing,
    ) -> Result<(Vec<Arc<Value>>, u64, String, usize), ApiError> {
        if query.version > self.version {
            let mut error = ApiError::new(
                504,
                format!("Too large resource version: {}, current: {}", query.version, self.version),
            );
            error.retry_after = Some(1);
            error.details = json!({"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]});
            return Err(error);
        }
        if query.exact && query.version < self.version {
            // Only the newest state is kept: as after a compaction.
            return Err(ApiError::too_old(query.version, self.version));
        }
        let (version, items, start, id) = if query.token.is_empty() {
            let mut items = self.of_kind(kind.plural, namespace);
            items.retain(|object| query.selector.matches(object));
            (self.version, Arc::new(items), 0, None)
        } else {
            let parts = query.token.split_once('-');
            let (id, start) = parts
                .and_then(|(id, start)| Some((id.parse::<u64>().ok()?, start.parse().ok()?)))
                .ok_or_else(|| ApiError::new(400, "continue key is not valid"))?;
            let page = self.pages.iter().find(|(page, ..)| *page == id);
            let (_, version, items) = page.ok_or_else(|| {
                ApiError::new(410, "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.")
            })?;
            (*version, Arc::clone(items), start, Some(id))
        };
        let end = match query.limit {
            0 => items.len(),
            limit => items.len().min(start + limit),
        };
        let page = items.get(start..end).unwrap_or_default().to_vec();
        let remaining = items.len() - end;
        if remaining == 0 {
            return Ok((page, version, String::new(), 0));
        }
        let id = id.unwrap_or_else(|| self.keep_pages(items.to_vec()));
        Ok((page, version, format!("{id}-{end}"), remaining))
    }
}

/// A patch by its content type.
#[derive(Clone, Debug)]
pub(super) enum PatchBody {
    Merge(Value),
    Json(Value),
    Strategic(Value),
    Apply { manager: String, value: Value },
}

/// Checks that a body is an object of `kind` in `namespace`, and completes it.
fn shape(kind: &Kind, namespace: &str, object: &mut Value) -> Result<(), ApiError> {
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
        return bad(format!("the namespace of the provided object does not match the namespace sent on the request ({given} != {namespace})"));
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
    let Some(Value::Object(plain)) = object.as_object_mut().and_then(|o| o.remove("stringData"))
    else {
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
            let why = format!("the name of the object ({}) does not match the name on the URL ({name})", meta(new, "name"));
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
            let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", meta(old, "uid"));
            return Err(ApiError::conflict(kind, name, &why));
        }
        return immutable("uid");
    }
    Ok(())
}
