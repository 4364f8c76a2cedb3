//! Answers that are errors: `{"msg": …}` with the right status, the cause for the log and not for the caller.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use kube::core::response::Status;
use serde::Serialize;

use crate::ids::IdError;
use crate::livy::{BadInteger, BadQuery, Message, Rejection};

/// The content type of every answer, as Livy's.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json;charset=utf-8");

/// How a caller can say who it is. Browsers, which know no bearer tokens, ask their user for a password.
const CHALLENGE: HeaderValue = HeaderValue::from_static(r#"Bearer realm="sparkbatch", Basic realm="sparkbatch""#);

/// How a script in a browser can. Were it told of passwords, the browser would ask for one in its place.
const SCRIPTS_CHALLENGE: HeaderValue = HeaderValue::from_static(r#"Bearer realm="sparkbatch""#);

/// Answers a script that says what it is (`X-Requested-With: XMLHttpRequest`, as scripts have long done) so that the
/// browser does not speak in its place.
pub(super) fn for_script(response: &mut Response) {
    if let Some(challenge) = response.headers_mut().get_mut(WWW_AUTHENTICATE) {
        *challenge = SCRIPTS_CHALLENGE;
    }
}

/// An error to answer with.
#[derive(Clone, Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    msg: String,
    retry_after: Option<u32>,
    cause: Option<Cause>,
}

/// What went wrong behind the facade; travels in the extensions of the response to the access log.
#[derive(Clone)]
pub(super) struct Cause(Arc<dyn Error + Send + Sync>);

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl fmt::Display for Cause {
    /// The error and those below it, on one line. The API server repeats values of a spec that it refuses, so
    /// its own text is left to its own log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut next: Option<&(dyn Error + 'static)> = Some(&*self.0);
        let mut separator = "";
        while let Some(error) = next {
            let shared = error.downcast_ref::<Arc<kube::Error>>().map(AsRef::as_ref);
            if let Some(kube::Error::Api(status)) = error.downcast_ref().or(shared) {
                return write!(f, "{separator}API server: {} {}", status.code, status.reason);
            }
            write!(f, "{separator}{error}")?;
            separator = ": ";
            next = error.source();
        }
        Ok(())
    }
}

impl ApiError {
    pub(super) fn new(status: StatusCode, msg: impl Into<String>) -> Self {
        Self { status, msg: msg.into(), retry_after: None, cause: None }
    }

    pub(super) fn bad_request(msg: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, msg)
    }

    pub(super) fn not_found(msg: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, msg)
    }

    /// A fault of the facade itself.
    pub(super) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
    }

    /// Something that passes by itself.
    pub(super) fn unavailable(msg: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, msg).retry_after(1)
    }

    /// Livy 0.9: `SessionServlet`, for a batch that does not exist.
    pub(super) fn no_batch(asked: &str) -> Self {
        Self::not_found(format!("Session '{}' not found.", shown(asked)))
    }

    pub(super) fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    pub(super) fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(Cause(Arc::from(cause.into())));
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = json(self.status, &Message { msg: &self.msg });
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE);
        }
        if let Some(cause) = self.cause {
            response.extensions_mut().insert(cause);
        }
        response
    }
}

/// What a caller sent, as a message repeats it: cut.
pub(super) fn shown(sent: &str) -> String {
    sent.chars().take(100).collect()
}

/// An answer with `body` as JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let (status, bytes) = match serde_json::to_vec(body) {
        Ok(bytes) => (status, bytes),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, br#"{"msg":"internal error"}"#.to_vec()),
    };
    json_bytes(status, bytes)
}

/// An answer with a body that is JSON already.
pub(super) fn json_bytes(status: StatusCode, bytes: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        Self::bad_request(rejection.to_string())
    }
}

/// Seconds for which the API server wishes not to be asked again; one if it names none.
pub(super) fn wished_pause(status: &Status) -> u32 {
    status.details.as_ref().map_or(1, |details| details.retry_after_seconds.clamp(1, 300))
}

fn throttle_pause(error: &kube::Error) -> u32 {
    match error {
        kube::Error::Api(status) => wished_pause(status),
        _ => 1,
    }
}

impl From<BadInteger> for ApiError {
    fn from(error: BadInteger) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<BadQuery> for ApiError {
    fn from(error: BadQuery) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<IdError> for ApiError {
    fn from(error: IdError) -> Self {
        let (status, retry_after) = match &error {
            IdError::NamespaceNotFound(_) => (StatusCode::NOT_FOUND, None),
            IdError::NamespaceTerminating(_) | IdError::Forbidden(_) => (StatusCode::FORBIDDEN, None),
            IdError::Exhausted(_) | IdError::Unreadable(_) => (StatusCode::SERVICE_UNAVAILABLE, None),
            IdError::Throttled(cause) => (StatusCode::TOO_MANY_REQUESTS, Some(throttle_pause(cause))),
            IdError::Busy(_) | IdError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, Some(1)),
        };
        let mut answer = Self::new(status, error.to_string()).because(error);
        answer.retry_after = retry_after;
        answer
    }
}
