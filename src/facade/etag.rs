//! Answers that need not be sent again to a caller who has them (RFC 9110, 13.1.2).
//!
//! The tag is a hash of the body, so it is the same whichever replica answers. It is a weak one: a proxy may
//! compress the body. Nothing of this goes around authorisation, which comes before any handler.

use axum::body::{Body, Bytes};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::stream;
use http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use ring::digest::{SHA256, digest};
use serde::Serialize;

use super::error::{json, json_bytes};

/// For the caller's own cache, which is to ask each time.
const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-cache");

/// `body` as the answer to a GET, or 304 if `If-None-Match` says that the caller has it.
pub(super) fn answer(headers: &HeaderMap, body: &impl Serialize) -> Response {
    let Ok(bytes) = serde_json::to_vec(body) else { return json(StatusCode::OK, body) };
    tagged(headers, &tag(&bytes), || json_bytes(StatusCode::OK, bytes))
}

/// What never changes while the process lives, as the answer to a GET, or 304.
pub(super) fn constant(headers: &HeaderMap, bytes: &'static [u8]) -> Response {
    tagged(headers, &tag(bytes), || Response::new(Body::from(bytes)))
}

fn tagged(headers: &HeaderMap, tag: &str, whole: impl FnOnce() -> Response) -> Response {
    let known = headers.get_all(IF_NONE_MATCH).iter().any(|tags| names(tags.as_bytes(), tag.as_bytes()));
    let mut response = if known { not_modified() } else { whole() };
    if let Ok(value) = HeaderValue::try_from(format!("W/\"{tag}\"")) {
        response.headers_mut().insert(ETAG, value);
    }
    response.headers_mut().insert(CACHE_CONTROL, PRIVATE);
    response
}

fn tag(body: &[u8]) -> String {
    let hash = digest(&SHA256, body);
    URL_SAFE_NO_PAD.encode(hash.as_ref().get(..16).unwrap_or_default())
}

fn not_modified() -> Response {
    // A body of a known length, were it 0, would be announced as the length of what the caller has.
    let mut response = Response::new(Body::from_stream(stream::empty::<Result<Bytes, std::convert::Infallible>>()));
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

/// Whether a list of entity tags names `tag`, weakly compared, or is `*`. What follows a malformed tag is not read.
fn names(mut list: &[u8], tag: &[u8]) -> bool {
    if list.trim_ascii() == b"*" {
        return true;
    }
    loop {
        let start = list.iter().position(|byte| !b" \t,".contains(byte)).unwrap_or(list.len());
        list = list.get(start..).unwrap_or_default();
        let Some(opaque) = list.strip_prefix(b"W/").unwrap_or(list).strip_prefix(b"\"") else { return false };
        let Some(end) = opaque.iter().position(|&byte| byte == b'"') else { return false };
        let (named, rest) = opaque.split_at(end);
        if named == tag {
            return true;
        }
        list = rest.get(1..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("*", true)]
    #[case(" * ", true)]
    #[case(r#""abc""#, true)]
    #[case(r#"W/"abc""#, true)]
    #[case(r#""x", W/"y" ,	"abc""#, true)]
    #[case(r#",, "a,b","abc","#, true)]
    #[case(r#""x""abc""#, true)]
    #[case("", false)]
    #[case("abc", false)]
    #[case(r#""ab""#, false)]
    #[case(r#""abcd""#, false)]
    #[case(r#""abc"#, false)]
    #[case(r#"w/"abc""#, false)]
    #[case(r#"x, "abc""#, false)]
    #[case(r#""*""#, false)]
    #[case(r#"*, "x""#, false)]
    fn a_list_names_its_tags(#[case] list: &str, #[case] named: bool) {
        assert_eq!(names(list.as_bytes(), b"abc"), named);
    }

    #[test]
    fn a_tag_is_that_of_the_body_alone() {
        assert_eq!(tag(b"{}"), "RBNvo1WzZ4oRRq0W9-hkng");
        assert_ne!(tag(b"{}"), tag(b"{ }"));
    }

    proptest! {
        #[test]
        fn any_list_is_read_to_an_end(list: Vec<u8>) {
            let _ = names(&list, b"abc");
        }

        #[test]
        fn a_tag_is_found_among_others(before in prop::collection::vec("(W/)?\"[!#-~]{0,9}\"", 0..9), weak: bool) {
            let own = if weak { "W/\"abc\"" } else { "\"abc\"" };
            let list = before.iter().map(String::as_str).chain([own]).collect::<Vec<_>>().join(", ");
            prop_assert!(names(list.as_bytes(), b"abc"));
        }
    }
}
