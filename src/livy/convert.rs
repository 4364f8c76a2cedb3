//! A request as the resource's spec, or every reason why it is none.

use std::collections::BTreeSet;
use std::fmt;

use super::{BatchRequest, Dialect};
use crate::api::SparkBatchSpec;
use crate::api::validation::{self, Problem, Rule};

/// Most reasons that one rejection spells out, and the longest of them.
const MAX_REASONS: usize = 50;
const MAX_REASON_LEN: usize = 400;

/// Why a request is refused, in words for its sender. Livy's words where Livy has some, followed by what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    text: String,
}

impl Rejection {
    /// A body that is no JSON object.
    pub(super) fn not_json(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }

    /// `Rejected, Reason: …` with every reason.
    #[must_use]
    pub fn because(reasons: &[String]) -> Self {
        let mut shown: Vec<String> = reasons
            .iter()
            .take(MAX_REASONS)
            .map(|reason| match reason.char_indices().nth(MAX_REASON_LEN) {
                Some((end, _)) => format!("{}…", &reason[..end]),
                None => reason.clone(),
            })
            .collect();
        if reasons.len() > MAX_REASONS {
            shown.push(format!("and {} more", reasons.len() - MAX_REASONS));
        }
        Self { text: format!("Rejected, Reason: {}", shown.join("; ")) }
    }

    /// The name of another batch. `id` is that batch's: the request has none yet.
    ///
    /// Livy 0.9: `SessionManager.register`.
    #[must_use]
    pub fn duplicate_name(name: &str, id: i32) -> Self {
        Self::because(&[format!("Duplicate session name: Some({name}) for session {id}")])
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Rejection {}

/// Reads the body of a POST into a spec that keeps every rule, or says all that is wrong with it.
pub fn read_spec(body: &[u8], dialect: Dialect) -> Result<SparkBatchSpec, Rejection> {
    let (request, mut problems) = BatchRequest::parse(body, dialect)?;
    let spec = spec_of(request);
    problems.extend(name_problem(spec.name.as_deref()));
    // A field that could not be read breaks rules because of that; once told is enough.
    let told: BTreeSet<String> = problems.iter().map(|problem| root(&problem.field).to_owned()).collect();
    problems.extend(validation::problems(&spec).into_iter().filter(|problem| !told.contains(root(&problem.field))));
    if problems.is_empty() { Ok(spec) } else { Err(Rejection::because(&reasons(&problems))) }
}

/// The spec that a request asks for, field by field; nothing is checked.
#[must_use]
pub fn spec_of(request: BatchRequest) -> SparkBatchSpec {
    SparkBatchSpec {
        file: request.file.unwrap_or_default(),
        class_name: request.class_name,
        args: request.args,
        jars: request.jars,
        py_files: request.py_files,
        files: request.files,
        archives: request.archives,
        driver_memory: request.driver_memory,
        driver_cores: request.driver_cores,
        executor_memory: request.executor_memory,
        executor_cores: request.executor_cores,
        num_executors: request.num_executors,
        name: request.name,
        conf: request.conf,
        queue: request.queue,
        proxy_user: request.proxy_user,
        ..SparkBatchSpec::default()
    }
}

/// Names are looked up where ids are, so none may look like an id.
///
/// Livy 0.9: `SessionManager.register`.
fn name_problem(name: Option<&str>) -> Option<Problem> {
    let name = name.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))?;
    let shown: String = name.chars().take(100).collect();
    let message = format!("Invalid session name: {shown} (a name must hold more than digits)");
    Some(Problem::new("name", message).of_rule(Rule::NoId))
}

fn root(field: &str) -> &str {
    field.split(['[', '.']).next().unwrap_or(field)
}

/// The problems in words: Livy's where it has some, else the field and its rule.
fn reasons(problems: &[Problem]) -> Vec<String> {
    let owned: Vec<&str> = problems.iter().filter_map(owned_key).collect();
    let mut reasons: Vec<String> = problems.iter().filter(|problem| owned_key(problem).is_none()).map(reason).collect();
    if !owned.is_empty() {
        let keys = owned.join(", ");
        reasons.push(format!(
            "Blacklisted configuration values in session config: {keys} (conf: the operator sets these; remove them)"
        ));
    }
    reasons
}

/// The key of conf that belongs to the operator, where that is the problem.
fn owned_key(problem: &Problem) -> Option<&str> {
    match &problem.rule {
        Rule::OwnedKey(key) if problem.field == "conf" => Some(key),
        _ => None,
    }
}

fn reason(problem: &Problem) -> String {
    let Problem { field, message, rule } = problem;
    match rule {
        Rule::NoId => message.clone(),
        Rule::Required if field == "file" => "requirement failed: File is required.".to_owned(),
        Rule::Absolute { path, hint } => {
            format!("requirement failed: Path '{path}' is not absolute. ({field}: {hint})")
        }
        _ => format!("{field}: {message}"),
    }
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
