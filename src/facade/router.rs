//! Routes.

use axum::Router;
use axum::routing::{MethodRouter, get};

use super::layers::layered;
use super::{AppState, batches, docs, list, logs, page, ui};

/// Both dialects' routes, in their layers.
pub(super) fn router(state: AppState) -> Router {
    let routes = routes().into_iter().fold(Router::new(), |router, (path, methods)| router.route(&path, methods));
    let routes = routes.fallback(batches::no_route).method_not_allowed_fallback(batches::no_method);
    layered(routes, &state).with_state(state)
}

/// Every path, with what answers there. docs/openapi.yaml has the same.
fn routes() -> Vec<(String, MethodRouter<AppState>)> {
    let collections =
        ["/batches", "/namespaces/{namespace}/batches", "/v3/analytics_engines/{instance_id}/livy/batches"];
    let server =
        [("/version", get(batches::version)), ("/openapi.json", get(docs::openapi)), ("/docs", get(docs::show))];
    let page = [("/", get(page::show)), ("/ui", get(page::enter)), ("/page/{file}", get(page::part))];
    let server = server.into_iter().chain(page).map(|(path, methods)| (path.to_owned(), methods));
    collections.into_iter().flat_map(below).chain(server).collect()
}

/// The routes of a collection of batches.
fn below(base: &str) -> impl Iterator<Item = (String, MethodRouter<AppState>)> {
    let collection = || get(list::list).post(batches::create);
    let routes = [
        ("", collection()),
        ("/", collection()),
        ("/{id}", get(batches::read).delete(batches::delete)),
        ("/{id}/state", get(batches::read_state)),
        ("/{id}/details", get(batches::read_details)),
        ("/{id}/log", get(logs::read)),
        ("/{id}/ui", get(ui::enter)),
        ("/{id}/ui/", get(ui::show)),
        ("/{id}/ui/{*path}", get(ui::show)),
    ];
    routes.into_iter().map(move |(path, methods)| (format!("{base}{path}"), methods))
}

/// Every path, for the test that holds the document against them.
#[cfg(test)]
pub(super) fn paths() -> Vec<String> {
    routes().into_iter().map(|(path, _)| path).collect()
}
