//! What handlers take from a request, with errors in Livy's shape.

use std::future::ready;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use super::AppState;
use super::error::ApiError;
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

/// The parameters of a query, unread: one of the dialects ignores them.
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// The first of a name counts, as in a servlet.
    pub(super) fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn int(&self, name: &str) -> Result<Option<i32>, ApiError> {
        Ok(self.first(name).map(parse_int).transpose()?)
    }
}

impl FromRequestParts<AppState> for Params {
    type Rejection = ApiError;

    fn from_request_parts(parts: &mut Parts, _: &AppState) -> impl Future<Output = Result<Self, ApiError>> + Send {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        ready(pairs.map(|Query(pairs)| Self(pairs)).map_err(|_| ApiError::bad_request("the query is malformed")))
    }
}

/// `from` and `size`, unread.
pub(super) struct Paging(Params);

impl Paging {
    pub(super) fn from(&self) -> Result<Option<i32>, ApiError> {
        self.0.int("from")
    }

    pub(super) fn size(&self) -> Result<Option<i32>, ApiError> {
        self.0.int("size")
    }
}

impl FromRequestParts<AppState> for Paging {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        Params::from_request_parts(parts, state).await.map(Self)
    }
}

/// The body of a POST. Its content type is not looked at, but that forms are refused: as with Livy.
pub(super) struct BatchJson(pub(super) Bytes);

impl FromRequest<AppState> for BatchJson {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        refuse_forms(request.headers())?;
        let limits = &state.config.limits;
        let too_large = || {
            let text = format!("the body is larger than {} bytes: put large inputs in files", limits.body_bytes);
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, text)
        };
        let declared = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if declared.is_some_and(|length: u64| length > limits.body_bytes as u64) {
            return Err(too_large());
        }
        match tokio::time::timeout(limits.body_time, read(request.into_body(), limits.body_bytes)).await {
            Ok(Ok(Some(bytes))) => Ok(Self(bytes)),
            Ok(Ok(None)) => Err(too_large()),
            Ok(Err(error)) => Err(ApiError::bad_request("the body broke off").because(error)),
            Err(_) => Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
        }
    }
}

/// The whole body; `None` if it is longer than `limit`.
async fn read(body: Body, limit: usize) -> Result<Option<Bytes>, axum::Error> {
    // One byte more than allowed tells a body that is too long from one that broke off.
    match to_bytes(body, limit.saturating_add(1)).await {
        Ok(bytes) => Ok(Some(bytes).filter(|bytes| bytes.len() <= limit)),
        Err(error) if is_length_limit(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_length_limit(error: &axum::Error) -> bool {
    // The error's type is that of a crate that is no dependency of this one.
    std::error::Error::source(error).is_some_and(|source| source.to_string() == "length limit exceeded")
}

fn refuse_forms(headers: &HeaderMap) -> Result<(), ApiError> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let content_type = content_type.trim().to_ascii_lowercase();
    if content_type.starts_with("application/x-www-form-urlencoded") || content_type.starts_with("multipart/") {
        return Err(ApiError::bad_request("the body was sent as a form: send it with Content-Type: application/json"));
    }
    Ok(())
}
