//! The handlers.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::response::{IntoResponse as _, Response};
use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use kube::Api;
use kube::api::ListParams;
use tracing::info;

use super::AppState;
use super::auth::{Allowed, Create, Delete, Get};
use super::error::{ApiError, json};
use super::extract::{Asked, BatchJson, DoAs, DryRun, Parameters};
use super::layers::TraceOf;
use super::submit::{Accepted, IDEMPOTENT_REPLAYED, IdempotencyKey, Request};
use super::tenant::Tenant;
use super::upstream::{Failure, call};
use super::{etag, submit, watch};
use crate::api::calls::only_of;
use crate::api::{FACADE_NAME_PREFIX, LABEL_ID, SparkBatch};
use crate::livy::{BatchBody, BatchView, DetailsBody, Dialect, Links, Message, StateBody, VersionBody, parse_int};

pub(super) type Answer = Result<Response, ApiError>;

/// Livy 0.9: `SessionServlet`, `POST /`.
pub(super) async fn create(
    State(state): State<AppState>,
    Allowed { tenant, caller, .. }: Allowed<Create>,
    DoAs(do_as): DoAs,
    DryRun(is_dry_run): DryRun,
    Extension(TraceOf(trace)): Extension<TraceOf>,
    headers: HeaderMap,
    BatchJson(body): BatchJson,
) -> Answer {
    let request = Request { tenant: tenant.clone(), caller, do_as, body, trace };
    let key = IdempotencyKey::of(&headers)?;
    if is_dry_run {
        return Ok(json(StatusCode::OK, &Box::pin(submit::dry_run(&state, &request)).await?));
    }
    let Accepted { view, is_replay } = submit::to_its_end(Arc::clone(&state), request, key).await?;
    let mut response = json(StatusCode::CREATED, &BatchBody::created(&view, tenant.dialect, &links(&state, &tenant)));
    if is_replay {
        response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
    if let Ok(location) = HeaderValue::try_from(format!("{}/{}", tenant.base, view.id)) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// Livy 0.9: `SessionServlet`, `GET /:id`. With `?watch=true`, which Livy has not: the batch, and what becomes of it.
pub(super) async fn read(
    State(state): State<AppState>,
    Allowed { tenant, .. }: Allowed<Get>,
    asked: Asked,
    parameters: Parameters,
    headers: HeaderMap,
) -> Answer {
    let view = find(&state, &tenant, &asked).await?;
    if tenant.extensions && parameters.flag("watch")? {
        return watch::one(&state, tenant, &view, &headers);
    }
    Ok(etag::answer(&headers, &BatchBody::read(&view, tenant.dialect, &links(&state, &tenant))))
}

/// Livy 0.9: `SessionServlet`, `GET /:id/state`.
pub(super) async fn read_state(
    State(state): State<AppState>,
    Allowed { tenant, .. }: Allowed<Get>,
    asked: Asked,
    headers: HeaderMap,
) -> Answer {
    let view = find(&state, &tenant, &asked).await?;
    Ok(etag::answer(&headers, &StateBody::new(&view, tenant.dialect)))
}

/// `GET …/:id/details`: what the resource says and Livy does not. Asked of the API server, as the cache holds little.
///
/// # RBAC needed
/// `sparkbatches`: `get`.
pub(super) async fn read_details(
    State(state): State<AppState>,
    Allowed { tenant, .. }: Allowed<Get>,
    asked: Asked,
    headers: HeaderMap,
) -> Answer {
    let view = find(&state, &tenant, &asked).await?;
    let batches: Api<SparkBatch> = Api::namespaced(state.client.clone(), &tenant.namespace);
    let read = call(state.config.limits.upstream, batches.get_opt(&view.object_name)).await;
    let batch = read.map_err(|failure| failure.answer(&tenant.namespace))?;
    let batch = batch.filter(|batch| batch.metadata.uid.as_ref() == Some(&view.uid));
    let batch = batch.ok_or_else(|| ApiError::no_batch(&asked.0))?;
    Ok(etag::answer(&headers, &DetailsBody::new(&view, &batch, &state.config.redaction)))
}

/// Livy 0.9: `SessionServlet`, `DELETE /:id`. The resource goes, and Kubernetes deletes what it owns.
///
/// # RBAC needed
/// `sparkbatches`: `delete`, for the caller.
pub(super) async fn delete(
    State(state): State<AppState>,
    Allowed { tenant, caller, .. }: Allowed<Delete>,
    asked: Asked,
) -> Answer {
    let view = find(&state, &tenant, &asked).await?;
    let batches: Api<SparkBatch> = Api::namespaced(caller.client(), &tenant.namespace);
    // Of this name, only the batch that the caller was shown.
    let params = only_of(&view.uid);
    let deletion = call(state.config.limits.upstream, batches.delete(&view.object_name, &params)).await;
    let gone = match deletion {
        Ok(_) => false,
        Err(failure) if failure.is_absence() => true,
        // It is still there, and shown: some other write came between.
        Err(failure) if failure.code() == Some(409) => {
            let text = "the batch was changed while it was to be deleted; try again";
            return Err(ApiError::unavailable(text).because(failure.into_cause()));
        }
        Err(failure) => return Err(state.auth.refused(&caller, failure, &tenant.namespace).await),
    };
    state.batches.deleted(&view.uid);
    if gone {
        return Err(ApiError::no_batch(&asked.0));
    }
    info!(namespace = tenant.namespace, id = view.id, "batch deleted");
    Ok(json(StatusCode::OK, &Message { msg: "deleted" }))
}

pub(super) fn links<'a>(state: &'a AppState, tenant: &'a Tenant) -> Links<'a> {
    state.config.links(&tenant.base, &tenant.namespace)
}

/// The batch of an id or, in the Apache dialect, of a name.
///
/// Another replica's, a moment old, may not have come by the watch yet: what the cache misses is looked up.
///
/// # RBAC needed
/// `sparkbatches`: `get` and `list`.
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
    let found = look_up(state, &tenant.namespace, id).await.map_err(|failure| failure.answer(&tenant.namespace))?;
    // The watch may still be behind what was just read: kept, so that the next answer is no older than this one.
    if let Some(batch) = &found {
        state.batches.fetched(batch);
    }
    found.as_ref().and_then(BatchView::of).filter(|view| view.id == id).map(Arc::new).ok_or_else(missing)
}

/// The batch of `id` as the API server has it: by the name that its id gave it, or by its label where an
/// `Idempotency-Key` gave it its name.
async fn look_up(state: &AppState, namespace: &str, id: i32) -> Result<Option<SparkBatch>, Failure> {
    let batches: Api<SparkBatch> = Api::namespaced(state.client.clone(), namespace);
    let limit = state.config.limits.upstream;
    if let Some(batch) = call(limit, batches.get_opt(&format!("{FACADE_NAME_PREFIX}{id}"))).await? {
        return Ok(Some(batch));
    }
    let labelled = ListParams::default().labels(&format!("{LABEL_ID}={id}")).limit(2);
    let labelled = call(limit, batches.list(&labelled)).await?;
    Ok(labelled.items.into_iter().find(|batch| batch.facade_id() == Some(id)))
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
