//! Objects as texts by path, so that each difference is one line.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Every leaf of `value` by its path. Lists whose entries have names are sorted by these, as their order says nothing.
pub(crate) fn flat(value: &Value, app_id: &str) -> BTreeMap<String, String> {
    let mut leaves = BTreeMap::new();
    add(value, String::new(), &mut leaves);
    leaves.into_iter().map(|(path, text)| (path, text.replace(app_id, "APP-ID"))).collect()
}

fn add(value: &Value, path: String, leaves: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(entries) if entries.is_empty() => drop(leaves.insert(path, "{}".to_owned())),
        Value::Object(entries) => entries.iter().for_each(|(key, below)| add(below, format!("{path}/{key}"), leaves)),
        Value::Array(entries) => {
            for (index, entry) in entries.iter().enumerate() {
                // Of two mounts of one volume the paths differ.
                let name = entry["mountPath"].as_str().or(entry["name"].as_str());
                add(entry, format!("{path}/{}", name.map_or_else(|| index.to_string(), str::to_owned)), leaves);
            }
        }
        Value::String(text) => drop(leaves.insert(path, text.clone())),
        other => drop(leaves.insert(path, other.to_string())),
    }
}

/// What `java.util.Properties` reads from `text`, of which Spark and the operator write no more than this. Heap sizes are
/// in MiB, as the operator writes them, so that `4g` and `4096m` are the same and nothing else is.
pub(crate) fn properties(text: &str) -> Value {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut properties: Map<_, _> = lines.map(property).collect();
    for key in ["spark.driver.memory", "spark.executor.memory"] {
        if let Some(Value::String(size)) = properties.get_mut(key) {
            *size = in_mebibytes(size);
        }
    }
    Value::Object(properties)
}

/// Spark: `JavaUtils.byteStringAsMb`.
fn in_mebibytes(size: &str) -> String {
    let size = size.to_lowercase();
    let number = size.trim_end_matches(char::is_alphabetic);
    let amount: u64 = number.parse().unwrap();
    match size[number.len()..].trim_end_matches('b') {
        "g" => format!("{}m", amount << 10),
        "" | "m" => format!("{amount}m"),
        "k" => format!("{}m", amount >> 10),
        other => panic!("{size}: {other}"),
    }
}

fn property(line: &str) -> (String, Value) {
    let (mut key, mut value, mut in_key, mut chars) = (String::new(), String::new(), true, line.chars());
    while let Some(char) = chars.next() {
        let side = if in_key { &mut key } else { &mut value };
        match char {
            '\\' => side.push(match chars.next().unwrap() {
                'n' => '\n',
                't' => '\t',
                'u' => {
                    let code: String = chars.by_ref().take(4).collect();
                    char::from_u32(u32::from_str_radix(&code, 16).unwrap()).unwrap()
                }
                other => other,
            }),
            '=' if in_key => in_key = false,
            other => side.push(other),
        }
    }
    (key, Value::String(value))
}
