//! The page for people: one document, one style sheet and a few modules, that use the REST API as any client does. They say
//! nothing of what the server holds, so they ask for no credentials; the page asks its user for a token when the API
//! asks the page.
//!
//! Every address in it is relative, so that it works behind a proxy below any path.

use axum::response::{IntoResponse as _, Response};
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};

use super::batches::no_route;
use super::etag;

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const CSS: HeaderValue = HeaderValue::from_static("text/css; charset=utf-8");
const SCRIPT: HeaderValue = HeaderValue::from_static("text/javascript; charset=utf-8");

/// What a browser lets the page do: use what this server serves, and nothing in its own text.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
     frame-ancestors 'none'; form-action 'self'; base-uri 'none'",
);

/// A file of the page.
struct File {
    name: &'static str,
    kind: HeaderValue,
    text: &'static str,
}

macro_rules! file {
    ($name:literal, $kind:ident) => {
        File { name: $name, kind: $kind, text: include_str!(concat!("assets/", $name)) }
    };
}

const DOCUMENT: File = file!("index.html", HTML);
const FILES: [File; 8] = [
    file!("style.css", CSS),
    file!("app.js", SCRIPT),
    file!("api.js", SCRIPT),
    file!("batch.js", SCRIPT),
    file!("dom.js", SCRIPT),
    file!("list.js", SCRIPT),
    file!("log.js", SCRIPT),
    file!("submit.js", SCRIPT),
];

impl File {
    fn answer(&self, headers: &HeaderMap) -> Response {
        let mut response = etag::constant(headers, self.text.as_bytes());
        let own = response.headers_mut();
        own.insert(CONTENT_TYPE, self.kind.clone());
        own.insert(CONTENT_SECURITY_POLICY, POLICY);
        own.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }
}

/// `/`.
pub(super) async fn show(headers: HeaderMap) -> Response {
    DOCUMENT.answer(&headers)
}

/// `/page/{file}`.
pub(super) async fn part(uri: Uri, headers: HeaderMap) -> Response {
    let name = uri.path().rsplit('/').next().unwrap_or_default();
    match FILES.iter().find(|file| file.name == name) {
        Some(file) => file.answer(&headers),
        None => no_route(uri).await,
    }
}

/// `/ui`, where Livy has its own page.
pub(super) async fn enter() -> Response {
    (StatusCode::FOUND, [(LOCATION, "./")]).into_response()
}
