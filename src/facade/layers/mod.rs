//! What every request passes on its way in and out.

mod access;
mod admit;
mod callers;
mod encoding;
mod held;
mod requested_by;

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use http::HeaderName;
use tower_http::catch_panic::CatchPanicLayer;

use super::AppState;
use super::error::{ApiError, for_script};

pub(super) use self::access::TraceOf;
pub(super) use self::callers::Callers;
pub(super) use self::held::held;

const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// [`pass`] around everything, and panics within it.
pub(super) fn layered(router: Router<AppState>, state: &AppState) -> Router<AppState> {
    router.layer(CatchPanicLayer::custom(panicked)).layer(from_fn_with_state(Arc::clone(state), pass))
}

/// From the outside in: request id, access log and metrics; the caller's share; requests at once, and their time;
/// the encoding of bodies; the header against CSRF.
///
/// One layer for all: at each request, each copies and boxes whatever is within it.
async fn pass(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let state = &state;
    let checked =
        async |request: Request| match encoding::refusal(&request).or_else(|| requested_by::refusal(state, &request)) {
            Some(refusal) => refusal,
            None => next.run(request).await,
        };
    let admitted = |request| admit::admit(state, request, checked);
    let shared = |request| callers::share(state, request, admitted);
    let is_script = request.headers().get(X_REQUESTED_WITH).is_some_and(|value| value == "XMLHttpRequest");
    let mut response = access::log(state, request, shared).await;
    if is_script {
        for_script(&mut response);
    }
    response
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    ApiError::internal().into_response()
}
