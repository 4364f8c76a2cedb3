//! docs/reference.md, made of the definition: every field with type, default, bounds and description.

use std::fmt::Write as _;

use kube::CustomResourceExt as _;
use serde_json::Value;
use sparkbatch::api::{self, SparkBatch};

/// The page.
pub(crate) fn page() -> String {
    let version = serde_json::to_value(&api::crd().spec.versions[0]).unwrap();
    let schema = &version["schema"]["openAPIV3Schema"]["properties"];
    // The definition leaves out the texts of what is deep in it, to stay small.
    let full = serde_json::to_value(&SparkBatch::crd().spec.versions[0]).unwrap();
    let texts = &full["schema"]["openAPIV3Schema"]["properties"];
    let mut page = String::from(HEAD);
    let changeable: Vec<_> = fields(&schema["spec"]).filter(|name| !is_frozen(&schema["spec"], name)).collect();
    writeln!(page, "What runs is frozen. What may change: `{}`.", changeable.join("`, `")).unwrap();
    part(&mut page, "spec", &schema["spec"], &texts["spec"]);
    part(&mut page, "status", &schema["status"], &texts["status"]);
    page.push_str("\n## Columns of `kubectl get`\n\n| column | field | |\n|---|---|---|\n");
    for column in version["additionalPrinterColumns"].as_array().unwrap() {
        let path = column["jsonPath"].as_str().unwrap().trim_start_matches('.');
        let wide = if column["priority"] == 1 { "with `-o wide`" } else { "" };
        writeln!(page, "| {} | `{path}` | {wide} |", column["name"].as_str().unwrap()).unwrap();
    }
    page
}

const HEAD: &str = "# Every field of a SparkBatch\n\n\
    <!-- written by make generate, of the definition -->\n\n\
    `sparkbatch.dev/v1alpha1`, kind `SparkBatch`, short name `sb`. The rules that CEL can say are in the definition, and \
    refused at once;\n`sparkbatch render` tells all of them. A field without a default is absent: Spark takes 1 core and 1g for driver \
    and executors, and 2 executors.\n\n";

fn fields(schema: &Value) -> impl Iterator<Item = &str> {
    schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str())
}

fn rules(schema: &Value) -> impl Iterator<Item = &Value> {
    schema["x-kubernetes-validations"].as_array().into_iter().flatten()
}

fn is_frozen(spec: &Value, field: &str) -> bool {
    let same = format!("self.{field} == oldSelf.{field}");
    rules(spec).any(|rule| rule["rule"].as_str().is_some_and(|rule| rule.contains(&same)))
}

/// A table of the part's own fields, and one for each field that has fields; fields that have the same share one.
fn part(page: &mut String, name: &str, schema: &Value, texts: &Value) {
    let nests: Vec<&str> = fields(schema).filter(|&field| nested(&schema["properties"][field]).is_some()).collect();
    head(page, 2, name);
    for field in fields(schema) {
        row(page, field, field, schema, texts);
    }
    let mut told: Vec<&str> = Vec::new();
    for field in &nests {
        let inner = nested(&schema["properties"][*field]).unwrap();
        let is_twin = |other: &&str| {
            nested(&schema["properties"][*other]).is_some_and(|other| other["properties"] == inner["properties"])
        };
        let twins: Vec<&str> = nests.iter().copied().filter(is_twin).collect();
        if told.contains(field) {
            continue;
        }
        told.extend(&twins);
        let names: Vec<_> = twins.iter().map(|twin| format!("{name}.{twin}")).collect();
        head(page, 3, &names.join("`, `"));
        all(page, "", inner, nested(&texts["properties"][*field]).unwrap_or(&Value::Null));
    }
}

fn head(page: &mut String, level: usize, name: &str) {
    write!(page, "\n{} `{name}`\n\n| field | type | default | bounds | |\n|---|---|---|---|---|\n", "#".repeat(level))
        .unwrap();
}

/// The rows of all fields below, by their paths.
fn all(page: &mut String, path: &str, schema: &Value, texts: &Value) {
    for field in fields(schema) {
        let path = format!("{path}{field}");
        row(page, field, &path, schema, texts);
        if let Some(inner) = nested(&schema["properties"][field]) {
            let list = if schema["properties"][field]["type"] == "array" { "[]" } else { "" };
            let texts = nested(&texts["properties"][field]).unwrap_or(&Value::Null);
            all(page, &format!("{path}{list}."), inner, texts);
        }
    }
}

/// The schema that has the fields of a field: its own, or that of its items.
fn nested(schema: &Value) -> Option<&Value> {
    [schema, &schema["items"]].into_iter().find(|schema| schema["properties"].is_object())
}

fn row(page: &mut String, field: &str, path: &str, parent: &Value, texts: &Value) {
    let schema = &parent["properties"][field];
    let text = schema["description"].as_str().map(str::to_owned);
    let text = text.or_else(|| texts["properties"][field]["description"].as_str().map(first_sentence));
    let (default, text) = default_of(&text.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" "));
    let default = schema["default"].as_str().map_or(default, |value| format!("`{value}`"));
    let is_required = parent["required"].as_array().is_some_and(|names| names.iter().any(|name| name == field));
    let bounds = [is_required.then(|| "required".to_owned())].into_iter().flatten().chain(bounds(schema));
    let bounds: Vec<_> = bounds.collect();
    let cells = [format!("`{path}`"), type_of(schema), default, bounds.join("; "), text];
    let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    writeln!(page, "| {} |", cells.join(" | ")).unwrap();
}

fn first_sentence(text: &str) -> String {
    text.find(". ").map_or(text, |end| &text[..=end]).to_owned()
}

/// The sentence that tells of a default, apart from the others: "10 if not given."
fn default_of(text: &str) -> (String, String) {
    let sentences: Vec<&str> = text.split_inclusive(". ").collect();
    let mut default = String::new();
    let mut others = String::new();
    for sentence in sentences {
        let told = sentence.trim_end().trim_end_matches('.');
        match ["if not given", "if none is given"].iter().find_map(|end| told.strip_suffix(end)) {
            Some(told) if told.len() < 60 => told.trim_end().trim_end_matches(',').clone_into(&mut default),
            _ => others.push_str(sentence),
        }
    }
    (default, others.trim_end().to_owned())
}

fn type_of(schema: &Value) -> String {
    if schema["x-kubernetes-int-or-string"] == true {
        return "integer or string".to_owned();
    }
    match (schema["type"].as_str().unwrap_or_default(), schema["format"].as_str()) {
        ("array", _) => format!("list of {}", type_of(&schema["items"])),
        ("object", _) if schema["additionalProperties"].is_object() => {
            format!("map of {}", type_of(&schema["additionalProperties"]))
        }
        ("object", _) if schema["x-kubernetes-preserve-unknown-fields"] == true => "object, as in a pod".to_owned(),
        ("string", Some("date-time")) => "time".to_owned(),
        (name, _) => name.to_owned(),
    }
}

fn bounds(schema: &Value) -> Vec<String> {
    let number = |field: &str| schema[field].as_f64().map(|number| number.to_string());
    let span = |least: Option<String>, most: Option<String>, what: &str| match (least, most) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}{what}")),
        (Some(least), None) => Some(format!("at least {least}{what}")),
        (None, Some(most)) => Some(format!("at most {most}{what}")),
        (None, None) => None,
    };
    let mut all: Vec<String> = [
        span(number("minimum"), number("maximum"), ""),
        span(number("minLength"), number("maxLength"), " characters"),
        span(number("minItems"), number("maxItems"), " items"),
        span(number("minProperties"), number("maxProperties"), " keys"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<_> = values.iter().filter_map(Value::as_str).collect();
        all.push(format!("`{}`", values.join("`, `")));
    }
    if let Some(pattern) = schema["pattern"].as_str().filter(|pattern| pattern.len() < 80) {
        all.push(format!("`{pattern}`"));
    }
    all.extend(rules(schema).filter_map(|rule| rule["message"].as_str()).map(str::to_owned));
    for (inner, what) in [("items", "each"), ("additionalProperties", "each value")] {
        if nested(schema).is_none() && schema[inner].is_object() {
            all.extend(bounds(&schema[inner]).into_iter().map(|bound| format!("{what} {bound}")));
        }
    }
    all
}
