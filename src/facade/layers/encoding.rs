//! Bodies are read as they are: what is compressed is refused, so that no small body becomes a large one.

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::facade::error::ApiError;

/// RFC 9110, 8.4 and 15.5.16: answers 415 to a body in any encoding.
pub(super) fn refusal(request: &Request) -> Option<Response> {
    if is_identity(request.headers()) {
        return None;
    }
    let text = "the body is encoded: send it as it is, without Content-Encoding";
    let mut response = ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response();
    response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Some(response)
}

fn is_identity(headers: &HeaderMap) -> bool {
    let codings =
        headers.get_all(CONTENT_ENCODING).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    codings.map(<[u8]>::trim_ascii).all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity"))
}
