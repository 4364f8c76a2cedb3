//! The API described: for programs at `/openapi.json`, for people at `/docs`. Both say what the server is, and nothing of
//! what it holds, so they ask for no credentials.

mod document;
mod page;

use std::sync::OnceLock;

use axum::extract::State;
use axum::response::IntoResponse as _;
use http::HeaderMap;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use serde_json::value::RawValue;

pub use self::document::{DocumentError, document};

use super::batches::Answer;
use super::config::FacadeConfig;
use super::error::ApiError;
use super::external::ExternalUrl;
use super::{AppState, etag};

/// Made when first asked for.
#[derive(Default)]
pub(super) struct Docs(OnceLock<Option<Made>>);

struct Made {
    json: Box<RawValue>,
    page: String,
    /// What a browser lets the page do.
    policy: String,
}

impl Docs {
    fn get(&self, config: &FacadeConfig) -> Result<&Made, ApiError> {
        self.0.get_or_init(|| Made::new(config).ok()).as_ref().ok_or_else(ApiError::internal)
    }
}

impl Made {
    fn new(config: &FacadeConfig) -> Result<Self, DocumentError> {
        let document = document(config.instance_extensions, config.external_url.as_ref().map(ExternalUrl::as_str))?;
        let json = serde_json::value::to_raw_value(&document)?;
        Ok(Self { json, page: page::render(&document), policy: page::policy() })
    }
}

/// `/openapi.json`.
pub(super) async fn openapi(State(state): State<AppState>, headers: HeaderMap) -> Answer {
    Ok(etag::answer(&headers, &state.docs.get(&state.config)?.json))
}

/// `/docs`.
pub(super) async fn show(State(state): State<AppState>) -> Answer {
    let Made { page, policy, .. } = state.docs.get(&state.config)?;
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, policy.as_str())];
    Ok((headers, page.clone()).into_response())
}
