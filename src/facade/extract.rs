//! What handlers take from a request, with errors in Livy's shape.

use std::future::ready;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;

use super::AppState;
use super::error::ApiError;
use super::layers::held;
use super::tenant::{Tenant, resolve};
use crate::livy::parse_int;

/// Parameters of the path, each decoded once.
async fn path_param(parts: &mut Parts, state: &AppState, name: &str) -> Option<String> {
    let params = RawPathParams::from_request_parts(parts, state).await.ok()?;
    params.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

impl FromRequestParts<AppState> for Tenant {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        if !state.progress.is_synced() {
            return Err(ApiError::unavailable("the list of batches is still being read; try again"));
        }
        let instance = path_param(parts, state, "instance_id").await;
        let namespace = path_param(parts, state, "namespace").await;
        resolve(state, instance, namespace).await
    }
}

/// The `{id}` of the path: digits, or in the Apache dialect a name.
pub(super) struct Asked(pub(super) String);

impl FromRequestParts<AppState> for Asked {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        // What does not decode to UTF-8 is nobody's name.
        path_param(parts, state, "id").await.map(Self).ok_or_else(|| ApiError::no_batch("\u{fffd}"))
    }
}

/// `from` and `size`, unread: one of the dialects ignores them.
pub(super) struct Paging {
    from: Option<String>,
    size: Option<String>,
}

impl Paging {
    pub(super) fn from(&self) -> Result<Option<i32>, ApiError> {
        Ok(self.from.as_deref().map(parse_int).transpose()?)
    }

    pub(super) fn size(&self) -> Result<Option<i32>, ApiError> {
        Ok(self.size.as_deref().map(parse_int).transpose()?)
    }
}

impl FromRequestParts<AppState> for Paging {
    type Rejection = ApiError;

    fn from_request_parts(parts: &mut Parts, _: &AppState) -> impl Future<Output = Result<Self, ApiError>> + Send {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        ready(pairs.map_err(|_| ApiError::bad_request("the query is malformed")).map(|Query(pairs)| {
            // Of a parameter that stands twice the first counts, as in a servlet.
            let first = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
            Self { from: first("from"), size: first("size") }
        }))
    }
}

/// The body of a POST. Its content type is not looked at, but that forms are refused: as with Livy.
pub(super) struct BatchJson(pub(super) Bytes);

impl FromRequest<AppState> for BatchJson {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        refuse_forms(request.headers())?;
        let limits = &state.config.limits;
        let declared = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if declared.is_some_and(|length: u64| length > limits.body_bytes as u64) {
            return Err(too_large(limits.body_bytes));
        }
        match tokio::time::timeout(limits.body_time, read(request.into_body(), state)).await {
            Ok(bytes) => bytes.map(Self),
            Err(_) => Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
        }
    }
}

/// The whole body, which holds its share of the room for bodies.
async fn read(mut body: Body, state: &AppState) -> Result<Bytes, ApiError> {
    let limit = state.config.limits.body_bytes;
    let full = || {
        state.counters.rejected("bodies");
        ApiError::unavailable("too many large requests at once; try again")
    };
    let mut bytes = Vec::new();
    let mut room = Arc::clone(&state.bodies).try_acquire_many_owned(0).map_err(|_| full())?;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ApiError::bad_request("the body broke off").because(error))?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limit - bytes.len() {
            return Err(too_large(limit));
        }
        let permits = u32::try_from(data.len()).unwrap_or(u32::MAX);
        room.merge(Arc::clone(&state.bodies).try_acquire_many_owned(permits).map_err(|_| full())?);
        bytes.extend_from_slice(&data);
    }
    Ok(held(bytes.into(), room))
}

fn too_large(limit: usize) -> ApiError {
    let text = format!("the body is larger than {limit} bytes: put large inputs in files");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, text)
}

fn refuse_forms(headers: &HeaderMap) -> Result<(), ApiError> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let content_type = content_type.trim().to_ascii_lowercase();
    if content_type.starts_with("application/x-www-form-urlencoded") || content_type.starts_with("multipart/") {
        return Err(ApiError::bad_request("the body was sent as a form: send it with Content-Type: application/json"));
    }
    Ok(())
}
