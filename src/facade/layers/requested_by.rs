//! Protection from requests that other sites make browsers send: those cannot bring a header of their own.

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderName, Method};

use crate::facade::AppState;
use crate::facade::error::ApiError;

const X_REQUESTED_BY: HeaderName = HeaderName::from_static("x-requested-by");

/// Refuses what could change something and has no `X-Requested-By`, where that is wanted. Any value will do, as
/// with Livy.
///
/// Livy 0.9: `CsrfFilter`.
pub(super) fn refusal(state: &AppState, request: &Request) -> Option<Response> {
    let is_safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    if is_safe || !state.config.require_requested_by || request.headers().contains_key(X_REQUESTED_BY) {
        return None;
    }
    let text = "Missing Required Header for CSRF protection. Send X-Requested-By with any value.";
    Some(ApiError::bad_request(text).into_response())
}
