//! Routes, and what every request passes on its way in and out.

use std::any::Any;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get};
use http::header::{CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, StatusCode};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::{info, warn};

use super::auth::LoggedUser;
use super::error::{ApiError, Cause};
use super::{AppState, batches, list, logs, requested_by, ui};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const NO_PAGE: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; sandbox");

/// Both dialects' routes, in the layers: request id and access log; concurrency and time; panics.
pub(super) fn router(state: AppState) -> Router {
    Router::new()
        .merge(routes("/batches"))
        .merge(routes("/namespaces/{namespace}/batches"))
        .merge(routes("/v3/analytics_engines/{instance_id}/livy/batches"))
        .route("/version", get(batches::version))
        .fallback(batches::no_route)
        .method_not_allowed_fallback(batches::no_method)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(state.clone(), requested_by::check))
        .layer(from_fn_with_state(state.clone(), admit))
        .layer(from_fn(access_log))
        .with_state(state)
}

fn routes(base: &str) -> Router<AppState> {
    let collection = || -> MethodRouter<AppState> { get(list::list).post(batches::create) };
    Router::new()
        .route(base, collection())
        .route(&format!("{base}/"), collection())
        .route(&format!("{base}/{{id}}"), get(batches::read).delete(batches::delete))
        .route(&format!("{base}/{{id}}/state"), get(batches::read_state))
        .route(&format!("{base}/{{id}}/log"), get(logs::read))
        .route(&format!("{base}/{{id}}/ui"), get(ui::enter))
        .route(&format!("{base}/{{id}}/ui/"), get(ui::show))
        .route(&format!("{base}/{{id}}/ui/{{*path}}"), get(ui::show))
}

/// Turns away what is too much at once, and ends what takes too long.
async fn admit(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let Ok(_permit) = state.permits.try_acquire() else {
        return ApiError::unavailable("too many requests at once; try again").into_response();
    };
    let limit = state.config.limits.request;
    tokio::time::timeout(limit, next.run(request)).await.unwrap_or_else(|_| {
        let text = format!("no answer within {} s; what was asked for may have been done", limit.as_secs());
        ApiError::new(StatusCode::GATEWAY_TIMEOUT, text).into_response()
    })
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    ApiError::internal().into_response()
}

/// One line per request: never its headers, query or body.
async fn access_log(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let id = request.headers().get(X_REQUEST_ID).filter(|id| is_request_id(id)).cloned().unwrap_or_else(new_request_id);
    let user = LoggedUser::default();
    request.extensions_mut().insert(user.clone());
    let mut response = next.run(request).await;

    let user = user.get();
    let route = route.as_ref().map_or("", MatchedPath::as_str);
    let status = response.status().as_u16();
    let micros = started.elapsed().as_micros();
    let request_id = id.to_str().unwrap_or_default();
    match response.extensions_mut().remove::<Cause>() {
        Some(cause) if status >= 500 => warn!(%method, route, status, micros, user, request_id, %cause, "request"),
        Some(cause) => info!(%method, route, status, micros, user, request_id, %cause, "request"),
        None => info!(%method, route, status, micros, user, request_id, "request"),
    }
    response.headers_mut().insert(X_REQUEST_ID, id);
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // What is no page of a UI is no page at all: nothing that a driver's page opens is of its own kind.
    response.headers_mut().entry(CONTENT_SECURITY_POLICY).or_insert(NO_PAGE);
    response
}

/// An id that a caller chose goes into the log: it is short and plain, or it is replaced.
fn is_request_id(id: &HeaderValue) -> bool {
    let id = id.as_bytes();
    (1..=128).contains(&id.len()) && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte))
}

fn new_request_id() -> HeaderValue {
    let random = || std::collections::hash_map::RandomState::new().build_hasher().finish();
    HeaderValue::try_from(format!("{:016x}{:016x}", random(), random())).unwrap_or(HeaderValue::from_static("-"))
}
