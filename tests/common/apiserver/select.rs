//! Label and field selectors.

use serde_json::Value;

use super::{
    error::ApiError,
    kinds::Kind,
    store::{label, text},
};

#[derive(Clone, Debug, PartialEq)]
enum Test {
    Exists,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
}

/// A parsed pair of selectors.
#[derive(Clone, Debug, Default)]
pub(super) struct Selector {
    labels: Vec<(String, Test)>,
    /// JSON pointer, wanted value, and whether it has to be equal.
    fields: Vec<(String, String, bool)>,
}

impl Selector {
    /// Reads both selectors as they come in a query.
    pub(super) fn parse(kind: &Kind, labels: &str, fields: &str) -> Result<Self, ApiError> {
        let labels = split(labels).into_iter().map(requirement).collect::<Result<_, _>>()?;
        let fields = split(fields).into_iter().map(|term| field(kind, term)).collect::<Result<_, _>>()?;
        Ok(Self { labels, fields })
    }

    /// Whether everything matches.
    pub(super) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether `object` is selected.
    pub(super) fn matches(&self, object: &Value) -> bool {
        let labels = self.labels.iter().all(|(key, test)| {
            let value = label(object, key);
            let among = |list: &[String]| value.is_some_and(|v| list.iter().any(|w| w == v));
            match test {
                Test::Exists => value.is_some(),
                Test::Absent => value.is_none(),
                Test::In(list) => among(list),
                Test::NotIn(list) => !among(list),
            }
        });
        labels
            && self
                .fields
                .iter()
                .all(|(pointer, wanted, equal)| (text(object, pointer).unwrap_or_default() == wanted) == *equal)
    }
}

/// Splits at commas outside parentheses.
fn split(selector: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    selector
        .split(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            c == ',' && depth == 0
        })
        .map(str::trim)
        .filter(|term| !term.is_empty())
        .collect()
}

fn bad(term: &str) -> ApiError {
    ApiError::new(400, format!("unable to parse requirement: {term}"))
}

fn requirement(term: &str) -> Result<(String, Test), ApiError> {
    let one = |value: &str| vec![value.trim().to_owned()];
    let (key, test) = if let Some((key, value)) = term.split_once("!=") {
        (key, Test::NotIn(one(value)))
    } else if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        (key, Test::In(one(value)))
    } else if let Some((head, list)) = term.split_once('(') {
        let list = list.strip_suffix(')').ok_or_else(|| bad(term))?;
        let list = list.split(',').map(|v| v.trim().to_owned()).collect();
        match head.split_whitespace().collect::<Vec<_>>().as_slice() {
            [key, "in"] => (*key, Test::In(list)),
            [key, "notin"] => (*key, Test::NotIn(list)),
            _ => return Err(bad(term)),
        }
    } else if let Some(key) = term.strip_prefix('!') {
        (key, Test::Absent)
    } else {
        (term, Test::Exists)
    };
    let key = key.trim();
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(bad(term));
    }
    Ok((key.to_owned(), test))
}

/// Fields a kind can be selected by, besides its name and namespace.
fn selectable(kind: &Kind) -> &'static [&'static str] {
    match kind.plural {
        "pods" => &[
            "spec.nodeName",
            "status.phase",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.podIP",
        ],
        "secrets" => &["type"],
        "namespaces" => &["status.phase"],
        "events" => &[
            "regarding.kind",
            "regarding.name",
            "regarding.namespace",
            "regarding.uid",
            "reason",
            "reportingController",
            "type",
        ],
        _ => &[],
    }
}

fn field(kind: &Kind, term: &str) -> Result<(String, String, bool), ApiError> {
    let (key, value, equal) = if let Some((key, value)) = term.split_once("!=") {
        (key, value, false)
    } else if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        (key, value, true)
    } else {
        return Err(ApiError::new(400, format!("invalid selector: '{term}'")));
    };
    if !["metadata.name", "metadata.namespace"].contains(&key) && !selectable(kind).contains(&key) {
        return Err(ApiError::new(400, format!("field label not supported: {key}")));
    }
    Ok((format!("/{}", key.replace('.', "/")), value.to_owned(), equal))
}
