//! Requests at once, and the time of each.

use std::future::Future;
use std::sync::Arc;

use axum::body::HttpBody as _;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::header::CONNECTION;
use http::{HeaderValue, StatusCode};

use super::held::Held;
use crate::facade::AppState;
use crate::facade::error::ApiError;

/// Turns away what is too much at once, and ends what takes too long.
///
/// An answer of known length is in flight until the client has it; one that goes on is counted by
/// [`crate::facade::streams`] instead.
pub(super) async fn admit<F>(state: &AppState, request: Request, next: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let Ok(permit) = Arc::clone(&state.permits).try_acquire_owned() else {
        state.counters.rejected("concurrency");
        return ApiError::unavailable("too many requests at once; try again").into_response();
    };
    let limit = state.config.limits.request;
    let mut response = tokio::time::timeout(limit, next(request)).await.unwrap_or_else(|_| {
        let text = format!(
            "no answer within {} s; the request may still have been carried out; check before trying again",
            limit.as_secs()
        );
        ApiError::new(StatusCode::GATEWAY_TIMEOUT, text).into_response()
    });
    // The rest of such a body is not waited for.
    if matches!(response.status(), StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    match response.body().size_hint().exact() {
        Some(_) => response.map(|body| Held::body(body, permit)),
        None => response,
    }
}
