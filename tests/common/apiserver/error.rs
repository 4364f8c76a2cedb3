//! Refusals, worded and coded as the real API server does.

use serde_json::{Value, json};

use super::kinds::Kind;

/// A refused request: becomes a `Status` body.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason, such as `AlreadyExists`.
    pub reason: &'static str,
    /// Sentence for humans.
    pub message: String,
    /// `details` of the status.
    pub details: Value,
    /// Seconds for the `Retry-After` header.
    pub retry_after: Option<u32>,
}

impl ApiError {
    /// An error with the reason that usually goes with `code`.
    pub fn new(code: u16, message: impl Into<String>) -> Self {
        let reason = match code {
            400 => "BadRequest",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "NotFound",
            405 => "MethodNotAllowed",
            409 => "Conflict",
            410 => "Expired",
            413 => "RequestEntityTooLarge",
            415 => "UnsupportedMediaType",
            422 => "Invalid",
            429 => "TooManyRequests",
            503 => "ServiceUnavailable",
            504 => "Timeout",
            _ => "InternalError",
        };
        Self { code, reason, message: message.into(), details: json!({}), retry_after: None }
    }

    /// 422 for `field` of an object of this kind.
    pub fn invalid(kind: &Kind, name: &str, field: &str, cause: &str, message: &str) -> Self {
        let mut error = Self::new(422, format!("{} \"{name}\" is invalid: {field}: {message}", kind.kind));
        error.details = json!({
            "name": name, "kind": kind.kind, "group": kind.group,
            "causes": [{"reason": cause, "message": message, "field": field}],
        });
        error
    }

    pub(super) fn forbidden_field(kind: &Kind, name: &str, field: &str, why: &str) -> Self {
        let message = format!("Forbidden: {why}");
        Self::invalid(kind, name, field, "FieldValueForbidden", &message)
    }

    pub(super) fn not_found(kind: &Kind, name: &str) -> Self {
        Self::new(404, format!("{} \"{name}\" not found", kind.qualified())).about(kind, name)
    }

    pub(super) fn already_exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", kind.qualified());
        let mut error = Self::new(409, message).about(kind, name);
        error.reason = "AlreadyExists";
        error
    }

    pub(super) fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let what = kind.qualified();
        Self::new(409, format!("Operation cannot be fulfilled on {what} \"{name}\": {why}")).about(kind, name)
    }

    pub(super) fn modified(kind: &Kind, name: &str) -> Self {
        Self::conflict(
            kind,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    pub(super) fn nowhere() -> Self {
        Self::new(404, "the server could not find the requested resource")
    }

    pub(super) fn too_old(asked: u64, oldest: u64) -> Self {
        Self::new(410, format!("too old resource version: {asked} ({oldest})"))
    }

    fn about(mut self, kind: &Kind, name: &str) -> Self {
        self.details = json!({"name": name, "group": kind.group, "kind": kind.plural});
        self
    }

    /// The `Status` object of this error.
    pub fn to_status(&self) -> Value {
        let mut details = self.details.clone();
        if let Some(seconds) = self.retry_after {
            details["retryAfterSeconds"] = json!(seconds);
        }
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "details": details, "code": self.code,
        })
    }
}
