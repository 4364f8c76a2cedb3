//! What every request passes on its way in and out.

mod access;
mod admit;
mod callers;
mod encoding;
mod held;
mod requested_by;

use std::any::Any;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use tower_http::catch_panic::CatchPanicLayer;

use super::AppState;
use super::error::ApiError;

pub(super) use self::callers::Callers;
pub(super) use self::held::held;

/// From the outside in: request id, access log and metrics; the caller's share; requests at once, and their time;
/// the encoding of bodies; the header against CSRF; panics.
pub(super) fn layered(router: Router<AppState>, state: &AppState) -> Router<AppState> {
    router
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(state.clone(), requested_by::check))
        .layer(from_fn(encoding::only_identity))
        .layer(from_fn_with_state(state.clone(), admit::admit))
        .layer(from_fn_with_state(state.clone(), callers::share))
        .layer(from_fn_with_state(state.clone(), access::log))
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    ApiError::internal().into_response()
}
