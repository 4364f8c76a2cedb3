//! What handlers take from a request, with errors in Livy's shape.

use std::future::ready;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, StatusCode};
use http_body_util::BodyExt as _;

use super::AppState;
use super::error::ApiError;
use super::layers::held;
use crate::livy;

/// Parameters of the path, each decoded once.
pub(super) async fn path_param(parts: &mut Parts, state: &AppState, name: &str) -> Option<String> {
    let params = RawPathParams::from_request_parts(parts, state).await.ok()?;
    params.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
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

/// The parameters of the query, decoded and unread: one of the dialects ignores them.
pub(super) struct Parameters(pub(super) Vec<(String, String)>);

impl Parameters {
    fn of(parts: &Parts) -> Result<Self, ApiError> {
        let pairs = Query::try_from_uri(&parts.uri).map(|Query(pairs)| Self(pairs));
        pairs.map_err(|_| ApiError::bad_request("the query is malformed"))
    }

    fn text(&self, name: &str) -> Option<&str> {
        livy::parameter(&self.0, name)
    }

    pub(super) fn int(&self, name: &str) -> Result<Option<i32>, ApiError> {
        Ok(self.text(name).map(livy::parse_int).transpose()?)
    }

    pub(super) fn flag(&self, name: &'static str) -> Result<bool, ApiError> {
        Ok(livy::flag(&self.0, name)?)
    }
}

impl FromRequestParts<AppState> for Parameters {
    type Rejection = ApiError;

    fn from_request_parts(parts: &mut Parts, _: &AppState) -> impl Future<Output = Result<Self, ApiError>> + Send {
        ready(Self::of(parts))
    }
}

/// Whom the query names to run the batch on behalf of.
///
/// Livy 0.9: `SessionServlet.impersonatedUser`. Livy reads it on every request; it matters where batches are made.
pub(super) struct DoAs(pub(super) Option<String>);

impl FromRequestParts<AppState> for DoAs {
    type Rejection = ApiError;

    fn from_request_parts(parts: &mut Parts, _: &AppState) -> impl Future<Output = Result<Self, ApiError>> + Send {
        ready(Parameters::of(parts).map(|all| Self(all.text("doAs").map(str::to_owned))))
    }
}

/// Whether `?dryRun=true` is asked for.
pub(super) struct DryRun(pub(super) bool);

impl FromRequestParts<AppState> for DryRun {
    type Rejection = ApiError;

    fn from_request_parts(parts: &mut Parts, _: &AppState) -> impl Future<Output = Result<Self, ApiError>> + Send {
        ready(Parameters::of(parts).and_then(|all| all.flag("dryRun")).map(Self))
    }
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The body of a POST. Its content type is not looked at, but that forms are refused: as with Livy.
pub(super) struct BatchJson(pub(super) Bytes);

impl FromRequest<AppState> for BatchJson {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        refuse_forms(request.headers())?;
        refuse_other_sites(request.headers())?;
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

/// A page of another site can have a browser send plain text anywhere: to a port of this machine that asks for nothing,
/// or along with a password that the browser knows. Browsers say whose page it was; other clients say nothing.
fn refuse_other_sites(headers: &HeaderMap) -> Result<(), ApiError> {
    match headers.get(SEC_FETCH_SITE) {
        Some(site) if site != "same-origin" && site != "none" => {
            Err(ApiError::new(StatusCode::FORBIDDEN, "a page of another site sent this; it may not submit batches"))
        }
        _ => Ok(()),
    }
}

fn refuse_forms(headers: &HeaderMap) -> Result<(), ApiError> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let content_type = content_type.trim().to_ascii_lowercase();
    if content_type.starts_with("application/x-www-form-urlencoded") || content_type.starts_with("multipart/") {
        return Err(ApiError::bad_request("the body was sent as a form: send it with Content-Type: application/json"));
    }
    Ok(())
}
