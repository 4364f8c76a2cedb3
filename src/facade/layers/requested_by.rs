//! Protection from requests that other sites make browsers send: those cannot bring a header of their own.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderName, Method};

use crate::facade::AppState;
use crate::facade::error::ApiError;

const X_REQUESTED_BY: HeaderName = HeaderName::from_static("x-requested-by");

/// Refuses what could change something and has no `X-Requested-By`, where that is wanted. Any value will do, as
/// with Livy.
///
/// Livy 0.9: `CsrfFilter`.
pub(super) async fn check(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let is_safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    if state.config.require_requested_by && !is_safe && !request.headers().contains_key(X_REQUESTED_BY) {
        let text = "Missing Required Header for CSRF protection. Send X-Requested-By with any value.";
        return ApiError::bad_request(text).into_response();
    }
    next.run(request).await
}
