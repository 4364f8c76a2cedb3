//! Calls to the API server: bounded in time, their errors turned into answers.

use std::time::Duration;

use http::StatusCode;
use kube::Error;
use kube::core::Status;
use thiserror::Error as ThisError;

use super::error::{ApiError, wished_pause};
use crate::api::calls::is_absent;

/// Longest text of the API server that a caller is shown.
const MAX_SHOWN: usize = 1024;

/// A call that had no answer in time.
#[derive(Debug, ThisError)]
#[error("no answer within {0:?}")]
struct TimedOut(Duration);

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The API server said why. Nothing was changed.
    Refused(Box<Status>),
    /// It is not known whether the call was carried out.
    Unknown(Box<dyn std::error::Error + Send + Sync>),
}

/// Waits for `call`, but not longer than `limit`.
pub(super) async fn call<T>(limit: Duration, call: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
    match tokio::time::timeout(limit, call).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(Error::Api(status))) if status.code < 500 => Err(Failure::Refused(status)),
        Ok(Err(error)) => Err(Failure::Unknown(error.into())),
        Err(_) => Err(Failure::Unknown(TimedOut(limit).into())),
    }
}

impl Failure {
    /// The API server's status code, where it gave one that says that nothing was done.
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Refused(status) => Some(status.code),
            Self::Unknown(_) => None,
        }
    }

    /// Whether a deletion failed only because what was to be deleted is gone.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, Self::Refused(status) if is_absent(status))
    }

    /// The error, for the log.
    pub(super) fn into_cause(self) -> Box<dyn std::error::Error + Send + Sync> {
        match self {
            Self::Refused(status) => Error::Api(status).into(),
            Self::Unknown(cause) => cause,
        }
    }

    /// The answer to a caller whose request needed this call in `namespace`.
    pub(super) fn answer(self, namespace: &str) -> ApiError {
        match self {
            Self::Refused(status) => refused(&status, namespace).because(Error::Api(status)),
            Self::Unknown(cause) => {
                ApiError::unavailable("the Kubernetes API server is not available; try again").because(cause)
            }
        }
    }
}

fn refused(status: &Status, namespace: &str) -> ApiError {
    let details = status.details.as_ref();
    let is_terminating =
        details.is_some_and(|details| details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating"));
    match status.code {
        400 | 422 => ApiError::bad_request(invalid(status)),
        403 if is_terminating => {
            ApiError::new(StatusCode::FORBIDDEN, format!("namespace '{namespace}' is being deleted"))
        }
        403 => ApiError::new(
            StatusCode::FORBIDDEN,
            format!(
                "not allowed in namespace '{namespace}': RBAC, a quota or an admission policy refused the request; \
                 ask the namespace's administrator"
            ),
        ),
        404 if details.is_some_and(|details| details.kind == "namespaces") => {
            ApiError::not_found(format!("namespace '{namespace}' does not exist"))
        }
        404 => ApiError::unavailable("the resource SparkBatch is not installed in this cluster; apply its definition"),
        413 => ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "the batch is larger than the API server takes"),
        429 => {
            let text = "the Kubernetes API server is overloaded; try again";
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, text).retry_after(wished_pause(status))
        }
        _ => ApiError::unavailable("the Kubernetes API server refuses the operator's calls; see the operator's log"),
    }
}

/// The fields that the API server names, each with its rule. What it says of conf may repeat a value, so only
/// the field is named.
fn invalid(status: &Status) -> String {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let rules: Vec<String> = causes
        .map(|cause| {
            let field = cause.field.trim_start_matches("spec.");
            if field.starts_with("conf") {
                "conf: the API server refuses a key or value".to_owned()
            } else if field.is_empty() || field == "spec" {
                "the API server refuses the batch".to_owned()
            } else {
                format!("{field}: {}", cause.message)
            }
        })
        .collect();
    let rules = if rules.is_empty() { "the API server refuses the batch".to_owned() } else { rules.join("; ") };
    let text = format!("Rejected, Reason: {rules}");
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::response::{StatusCause, StatusDetails};

    use super::*;

    fn status(causes: &[(&str, &str)]) -> Status {
        let cause = |(field, message): &(&str, &str)| StatusCause {
            reason: "FieldValueInvalid".into(),
            message: (*message).into(),
            field: (*field).into(),
        };
        let details = StatusDetails {
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: causes.iter().map(cause).collect(),
            retry_after_seconds: 0,
        };
        Status::failure("spec.conf: Invalid value: s3cr3t", "Invalid").with_code(422).with_details(details)
    }

    #[test]
    fn the_api_servers_rules_are_shown_and_values_of_conf_are_not() {
        let text =
            invalid(&status(&[("spec.driverCores", "must be at least 1"), ("spec.conf", "Invalid value: s3cr3t")]));
        assert_eq!(
            text,
            "Rejected, Reason: driverCores: must be at least 1; conf: the API server refuses a key or value"
        );
        assert!(!invalid(&status(&[])).contains("s3cr3t"));
    }

    #[test]
    fn the_api_servers_text_is_cut() {
        assert!(invalid(&status(&[("spec.file", &"é".repeat(5000))])).chars().count() <= MAX_SHOWN + 1);
    }
}
