//! The handlers.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::LOCATION;
use http::{HeaderValue, Method, StatusCode, Uri};
use kube::Api;
use kube::api::{DeleteParams, Preconditions, PropagationPolicy};
use tracing::info;

use super::AppState;
use super::error::{ApiError, json};
use super::extract::{Asked, BatchJson, Paging};
use super::submit;
use super::tenant::Tenant;
use super::upstream::call;
use crate::api::{FACADE_NAME_PREFIX, SparkBatch};
use crate::livy::{
    BatchBody, BatchListBody, BatchView, DEFAULT_SIZE, Dialect, Message, StateBody, VersionBody, parse_int,
};

type Answer = Result<Response, ApiError>;

/// Livy 0.9: `SessionServlet`, `POST /`.
pub(super) async fn create(State(state): State<AppState>, tenant: Tenant, BatchJson(body): BatchJson) -> Answer {
    let view = submit::submit(&state, &tenant, &body).await?;
    let mut response = json(StatusCode::CREATED, &BatchBody::created(&view, tenant.dialect));
    if let Ok(location) = HeaderValue::try_from(format!("{}/{}", tenant.base, view.id)) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// Livy 0.9: `SessionServlet`, `GET /`. The managed services know no pages.
pub(super) async fn list(State(state): State<AppState>, tenant: Tenant, paging: Paging) -> Answer {
    let page = match tenant.dialect {
        Dialect::Apache => Some((paging.from()?.unwrap_or(0), paging.size()?.unwrap_or(DEFAULT_SIZE))),
        Dialect::Instance => None,
    };
    let (total, views) = state.batches.list(&tenant.namespace, page);
    let from = page.map_or(0, |(from, _)| from);
    let views = views.iter().map(AsRef::as_ref);
    Ok(json(StatusCode::OK, &BatchListBody::new(from, total, views, tenant.dialect)))
}

/// Livy 0.9: `SessionServlet`, `GET /:id`.
pub(super) async fn read(State(state): State<AppState>, tenant: Tenant, asked: Asked) -> Answer {
    let view = find(&state, &tenant, &asked).await?;
    Ok(json(StatusCode::OK, &BatchBody::read(&view, tenant.dialect)))
}

/// Livy 0.9: `SessionServlet`, `GET /:id/state`.
pub(super) async fn read_state(State(state): State<AppState>, tenant: Tenant, asked: Asked) -> Answer {
    let view = find(&state, &tenant, &asked).await?;
    Ok(json(StatusCode::OK, &StateBody::new(&view, tenant.dialect)))
}

/// Livy 0.9: `SessionServlet`, `DELETE /:id`. The resource goes, and Kubernetes deletes what it owns.
///
/// # RBAC needed
/// `sparkbatches`: `delete`.
pub(super) async fn delete(State(state): State<AppState>, tenant: Tenant, asked: Asked) -> Answer {
    let view = find(&state, &tenant, &asked).await?;
    let batches: Api<SparkBatch> = Api::namespaced(state.client.clone(), &tenant.namespace);
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        // Of this name, only the batch that the caller was shown.
        preconditions: Some(Preconditions { uid: Some(view.uid.clone()), resource_version: None }),
        ..DeleteParams::default()
    };
    let deletion = call(state.config.limits.upstream, batches.delete(&view.object_name, &params)).await;
    let gone = match deletion {
        Ok(_) => false,
        Err(failure) if matches!(failure.code(), Some(404 | 409)) => true,
        Err(failure) => return Err(failure.answer(&tenant.namespace)),
    };
    state.batches.deleted(&view.uid);
    if gone {
        return Err(ApiError::no_batch(&asked.0));
    }
    info!(namespace = tenant.namespace, id = view.id, "batch deleted");
    Ok(json(StatusCode::OK, &Message { msg: "deleted" }))
}

/// The batch of an id or, in the Apache dialect, of a name.
///
/// Another replica's, a moment old, may not have come by the watch yet: what the cache misses is looked up.
///
/// # RBAC needed
/// `sparkbatches`: `get`.
pub(super) async fn find(state: &AppState, tenant: &Tenant, Asked(asked): &Asked) -> Result<Arc<BatchView>, ApiError> {
    let missing = || ApiError::no_batch(asked);
    let is_id = !asked.is_empty() && asked.bytes().all(|byte| byte.is_ascii_digit());
    if !is_id {
        let named = state.batches.by_name(&tenant.namespace, asked);
        return named.filter(|_| tenant.dialect == Dialect::Apache).ok_or_else(missing);
    }
    let id = parse_int(asked)?;
    if let Some(view) = state.batches.by_id(&tenant.namespace, id) {
        return Ok(view);
    }
    if id == 0 {
        return Err(missing());
    }
    let batches: Api<SparkBatch> = Api::namespaced(state.client.clone(), &tenant.namespace);
    let found = call(state.config.limits.upstream, batches.get_opt(&format!("{FACADE_NAME_PREFIX}{id}"))).await;
    let found = found.map_err(|failure| failure.answer(&tenant.namespace))?;
    // The watch may still be behind what was just read: kept, so that the next answer is no older than this one.
    if let Some(batch) = &found {
        state.batches.fetched(batch);
    }
    found.as_ref().and_then(BatchView::of).filter(|view| view.id == id).map(Arc::new).ok_or_else(missing)
}

/// Livy 0.9: `LivyServer`, `GET /version`.
pub(super) async fn version() -> Response {
    json(StatusCode::OK, &VersionBody::default())
}

pub(super) async fn no_route(uri: Uri) -> Response {
    let path: String = uri.path().chars().take(200).collect();
    ApiError::not_found(format!("There is nothing at '{path}'.")).into_response()
}

pub(super) async fn no_method(method: Method) -> Response {
    let shown: String = method.as_str().chars().take(20).collect();
    let text = format!("Method {shown} is not allowed here; the Allow header lists those that are.");
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, text).into_response()
}
