//! The patch formats: merge, JSON, strategic merge and server-side apply.

use serde_json::{Map, Value};

/// Lists merged item by item in strategic merges and applies: field name and the key of an item.
const KEYED: &[(&str, &str)] = &[
    ("conditions", "type"),
    ("containerStatuses", "name"),
    ("containers", "name"),
    ("env", "name"),
    ("initContainers", "name"),
    ("ownerReferences", "uid"),
    ("volumeMounts", "mountPath"),
    ("volumes", "name"),
];

/// RFC 7386.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    merge_with(target, patch, "", false);
}

/// A merge in which well-known lists are merged by key; used for strategic merges and applies.
pub(super) fn merge_keyed(target: &mut Value, patch: &Value) {
    merge_with(target, patch, "", true);
}

fn merge_with(target: &mut Value, patch: &Value, field: &str, keyed: bool) {
    match patch {
        Value::Object(fields) => {
            if !target.is_object() {
                *target = Value::Object(Map::new());
            }
            let Value::Object(into) = target else { return };
            for (key, value) in fields {
                if value.is_null() {
                    into.remove(key);
                } else {
                    merge_with(into.entry(key).or_insert(Value::Null), value, key, keyed);
                }
            }
        }
        Value::Array(items) if keyed && target.is_array() => merge_list(target, items, field),
        _ => *target = patch.clone(),
    }
}

fn merge_list(target: &mut Value, items: &[Value], field: &str) {
    let Value::Array(into) = target else { return };
    if field == "finalizers" {
        let new: Vec<_> = items.iter().filter(|item| !into.contains(item)).collect();
        let new: Vec<Value> = new.into_iter().cloned().collect();
        into.extend(new);
    } else if let Some(key) = list_key(field) {
        for item in items {
            match into.iter_mut().find(|old| old[key] == item[key]) {
                Some(old) => merge_with(old, item, "", true),
                None => into.push(item.clone()),
            }
        }
    } else {
        items.clone_into(into);
    }
}

fn list_key(field: &str) -> Option<&'static str> {
    KEYED.iter().find(|(name, _)| *name == field).map(|(_, key)| *key)
}

/// Removes what `before` (the last apply of a manager) had and `after` (its new one) has no more,
/// except what one of `others` (the last applies of other managers) has too.
pub(super) fn prune(live: &mut Value, before: &Value, after: &Value, others: &[&Value]) {
    prune_in(live, before, after, others, "");
}

fn prune_in(live: &mut Value, before: &Value, after: &Value, others: &[&Value], field: &str) {
    match (live, before) {
        (Value::Object(live), Value::Object(before)) => {
            for (key, old) in before {
                let theirs: Vec<&Value> = others.iter().filter_map(|o| o.get(key)).collect();
                let new = after.get(key);
                let Some(value) = live.get_mut(key) else {
                    continue;
                };
                if old.is_object() || (list_key(key).is_some() && old.is_array()) {
                    prune_in(value, old, new.unwrap_or(&Value::Null), &theirs, key);
                    let empty =
                        value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty);
                    if empty && new.is_none() {
                        live.remove(key);
                    }
                } else if new.is_none() && theirs.is_empty() {
                    live.remove(key);
                }
            }
        }
        (Value::Array(live), Value::Array(before)) => {
            let Some(key) = list_key(field) else { return };
            let has = |list: &Value, id: &Value| list.as_array().is_some_and(|l| l.iter().any(|i| i[key] == *id));
            live.retain(|item| {
                let id = &item[key];
                !before.iter().any(|i| i[key] == *id) || has(after, id) || others.iter().any(|o| has(o, id))
            });
        }
        _ => {}
    }
}

/// RFC 6902. On an error the target may have been changed in part.
pub(super) fn json_patch(target: &mut Value, operations: &Value) -> Result<(), String> {
    let operations = operations.as_array().ok_or("a JSON patch is a list of operations")?;
    for operation in operations {
        let part =
            |name: &str| operation[name].as_str().ok_or_else(|| format!("operation without {name}: {operation}"));
        let path = part("path")?;
        let value = || operation.get("value").cloned().ok_or_else(|| format!("operation without value: {operation}"));
        match part("op")? {
            "add" => add(target, path, value()?)?,
            "remove" => drop(remove(target, path)?),
            "replace" => *find(target, path)? = value()?,
            "test" => {
                if target.pointer(path).unwrap_or(&Value::Null) != &value()? {
                    return Err(format!("testing value {path} failed"));
                }
            }
            "move" => {
                let moved = remove(target, part("from")?)?;
                add(target, path, moved)?;
            }
            "copy" => {
                let copied = find(target, part("from")?)?.clone();
                add(target, path, copied)?;
            }
            other => return Err(format!("unknown operation {other}")),
        }
    }
    Ok(())
}

fn find<'a>(target: &'a mut Value, path: &str) -> Result<&'a mut Value, String> {
    target.pointer_mut(path).ok_or_else(|| format!("doc is missing key: {path}"))
}

fn parent<'a>(target: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), String> {
    let (parent, last) = path.rsplit_once('/').ok_or_else(|| format!("bad path: {path}"))?;
    let last = last.replace("~1", "/").replace("~0", "~");
    Ok((find(target, parent)?, last))
}

fn add(target: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        *target = value;
        return Ok(());
    }
    let (into, last) = parent(target, path)?;
    match into {
        Value::Object(fields) => {
            fields.insert(last, value);
        }
        Value::Array(items) => {
            let at = if last == "-" { items.len() } else { last.parse().map_err(|_| format!("bad index: {path}"))? };
            if at > items.len() {
                return Err(format!("index out of bounds: {path}"));
            }
            items.insert(at, value);
        }
        _ => return Err(format!("cannot add at {path}")),
    }
    Ok(())
}

fn remove(target: &mut Value, path: &str) -> Result<Value, String> {
    let (from, last) = parent(target, path)?;
    let missing = || format!("unable to remove nonexistent key: {path}");
    match from {
        Value::Object(fields) => fields.remove(&last).ok_or_else(missing),
        Value::Array(items) => {
            let at: usize = last.parse().map_err(|_| missing())?;
            if at < items.len() { Ok(items.remove(at)) } else { Err(missing()) }
        }
        _ => Err(missing()),
    }
}
