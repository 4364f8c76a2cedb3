//! Routes.

use axum::Router;
use axum::routing::{MethodRouter, get};

use super::layers::layered;
use super::{AppState, batches, list, logs, ui};

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
