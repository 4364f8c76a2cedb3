//! Routes.

use axum::Router;
use axum::routing::{MethodRouter, get};

use super::layers::layered;
use super::{AppState, batches};

/// Both dialects' routes, in their layers.
pub(super) fn router(state: AppState) -> Router {
    let routes = Router::new()
        .merge(routes("/batches"))
        .merge(routes("/namespaces/{namespace}/batches"))
        .merge(routes("/v3/analytics_engines/{instance_id}/livy/batches"))
        .route("/version", get(batches::version))
        .fallback(batches::no_route)
        .method_not_allowed_fallback(batches::no_method);
    layered(routes, &state).with_state(state)
}

fn routes(base: &str) -> Router<AppState> {
    let collection = || -> MethodRouter<AppState> { get(batches::list).post(batches::create) };
    Router::new()
        .route(base, collection())
        .route(&format!("{base}/"), collection())
        .route(&format!("{base}/{{id}}"), get(batches::read).delete(batches::delete))
        .route(&format!("{base}/{{id}}/state"), get(batches::read_state))
        .route(&format!("{base}/{{id}}/log"), get(batches::read_log))
}
