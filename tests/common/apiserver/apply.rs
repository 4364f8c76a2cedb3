//! Patches of all kinds on stored objects, server-side apply among them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    error::ApiError,
    kinds::Kind,
    ops::{Write, shape},
    patch,
    store::{Key, State, meta},
};

/// A patch by its content type.
#[derive(Clone, Debug)]
pub(super) enum PatchBody {
    Merge(Value),
    Json(Value),
    Strategic(Value),
    Apply { manager: String, value: Value },
}

impl State {
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
            let why = format!(
                "the name of the object ({}) does not match the name on the URL ({})",
                meta(&value, "name"),
                key.2
            );
            return Err(ApiError::new(400, why));
        }
        let Some(old) = self.objects.get(key).cloned() else {
            if write.status {
                return Err(ApiError::not_found(kind, &key.2));
            }
            let uid = meta(&value, "uid");
            if !uid.is_empty() {
                let why =
                    format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
                return Err(ApiError::conflict(kind, &key.2, &why));
            }
            let made = self.create(kind, &key.1, value.clone(), write.dry_run)?;
            self.remember(key, manager, value, write);
            return Ok((made, true));
        };
        let mut new = (*old).clone();
        if let Some(managers) = self.applied.get(key) {
            let mine = (manager.to_owned(), write.status);
            let others: Vec<&Value> = managers.iter().filter(|(m, _)| **m != mine).map(|(_, v)| v).collect();
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
}
