//! The other side of the wire: the body of a POST, and the answers, as a client of any Livy reads them.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api::{Phase, SparkBatchSpec};

/// A batch of an answer. Keys that a dialect has not are absent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchAnswer {
    /// Livy's id.
    pub id: i32,
    /// Livy's name.
    pub name: Option<String>,
    /// The user who submitted it.
    pub owner: Option<String>,
    /// Livy's state.
    pub state: String,
    /// Id of the Spark application.
    pub app_id: Option<String>,
    /// URLs.
    #[serde(default)]
    pub app_info: AppInfoAnswer,
}

/// URLs of a batch.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppInfoAnswer {
    /// Of its Spark UI.
    pub spark_ui_url: Option<String>,
}

/// A list of batches.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ListAnswer {
    /// How many there are in all.
    pub total: i64,
    /// Those of this page.
    pub sessions: Vec<BatchAnswer>,
}

/// A page of a log.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct LogAnswer {
    /// Offset of the first line.
    pub from: i32,
    /// How many lines there are in all.
    pub total: i32,
    /// The lines.
    pub log: Vec<String>,
}

/// An answer that is an error.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ErrorAnswer {
    /// What is wrong.
    pub msg: String,
}

/// The phase that a state of Livy's stands for, those of sessions included; `None` for what is no state.
///
/// Livy 0.9: `SessionState`.
#[must_use]
pub fn phase_of(state: &str) -> Option<Phase> {
    Some(match state {
        "not_started" => Phase::Pending,
        "starting" | "recovering" => Phase::Starting,
        "running" | "idle" | "busy" | "shutting_down" => Phase::Running,
        "success" => Phase::Succeeded,
        "dead" | "error" => Phase::Failed,
        "killed" => Phase::Killed,
        _ => return None,
    })
}

/// The body of a POST that asks for `spec`. What Livy has no field for becomes conf where Spark has a key for it.
///
/// # Errors
/// The fields that cannot be said.
pub fn body_of(spec: &SparkBatchSpec) -> Result<Value, Vec<String>> {
    let SparkBatchSpec { packages, repositories, exclude_packages, service_account_name, .. } = spec;
    if service_account_name.is_some() {
        let problem = "serviceAccountName: Livy has no field for it; leave out \
                       spark.kubernetes.authenticate.driver.serviceAccountName, which the operator has a default for, \
                       or submit by --context instead of a URL";
        return Err(vec![problem.to_owned()]);
    }
    let mut conf = spec.conf.clone();
    let lists = [
        ("spark.jars.packages", packages),
        ("spark.jars.repositories", repositories),
        ("spark.jars.excludes", exclude_packages),
    ];
    for (key, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        conf.insert(key.to_owned(), list.join(","));
    }
    let fields = json!({
        "file": spec.file, "className": spec.class_name, "args": spec.args, "jars": spec.jars,
        "pyFiles": spec.py_files, "files": spec.files, "archives": spec.archives,
        "driverMemory": spec.driver_memory, "driverCores": spec.driver_cores,
        "executorMemory": spec.executor_memory, "executorCores": spec.executor_cores,
        "numExecutors": spec.num_executors, "name": spec.name, "queue": spec.queue, "proxyUser": spec.proxy_user,
        "conf": conf,
    });
    let is_said = |value: &Value| !(value.is_null() || *value == json!([]) || *value == json!({}));
    let Value::Object(fields) = fields else { return Ok(Value::Null) };
    Ok(Value::Object(fields.into_iter().filter(|(_, value)| is_said(value)).collect::<Map<_, _>>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::livy::{Dialect, LivyState, read_spec};

    #[test]
    fn every_state_has_a_phase() {
        for state in LivyState::ALL.into_iter().map(LivyState::as_str).chain(LivyState::UNUSED) {
            assert!(phase_of(state).is_some(), "{state}");
        }
        assert_eq!(phase_of("asleep"), None);
    }

    #[test]
    fn what_is_asked_for_by_a_body_is_what_the_facade_reads() {
        let spec: SparkBatchSpec = serde_json::from_value(json!({
            "file": "s3a://b/a.py", "args": ["--x", ""], "jars": ["/a.jar"], "pyFiles": ["/a.zip"], "files": ["/f"],
            "archives": ["/a.tgz"], "driverMemory": "1g", "driverCores": 1, "executorMemory": "2g", "executorCores": 2,
            "numExecutors": 1, "name": "n", "queue": "q", "proxyUser": "u", "className": "C", "conf": { "spark.a": "b" }
        }))
        .unwrap();
        let body = body_of(&spec).unwrap();
        assert_eq!(read_spec(body.to_string().as_bytes(), Dialect::Apache).unwrap(), spec);
    }

    #[test]
    fn what_livy_has_no_field_for_becomes_conf_or_is_told() {
        let spec = SparkBatchSpec { packages: vec!["a:b:1".into(), "c:d:2".into()], ..SparkBatchSpec::default() };
        assert_eq!(body_of(&spec).unwrap()["conf"], json!({ "spark.jars.packages": "a:b:1,c:d:2" }));
        let spec = SparkBatchSpec { service_account_name: Some("spark".into()), ..SparkBatchSpec::default() };
        assert!(body_of(&spec).unwrap_err()[0].contains("leave out"));
    }
}
