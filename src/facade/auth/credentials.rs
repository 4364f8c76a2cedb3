//! What a request says of who sends it: a bearer token, or basic authentication whose password is one.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use serde::Deserialize;
use thiserror::Error;

/// Longest Authorization header that is read, in bytes. Tokens of Kubernetes and of identity providers have a few
/// thousand at most.
const MAX_HEADER: usize = 16 * 1024;
const BEARER: &str = "Bearer ";

/// What stands for a token where answers about it are kept: its SHA-256.
pub(super) type Digest = [u8; SHA256_OUTPUT_LEN];

/// A caller's token, for as long as its request lasts. It has no way to be printed.
#[derive(Clone)]
pub(super) struct Token {
    header: HeaderValue,
    digest: Digest,
}

/// Why a request says nothing of who sends it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum BadCredentials {
    #[error(
        "this API asks for a Kubernetes token: send it as 'Authorization: Bearer <token>', or as the password of basic \
         authentication"
    )]
    Missing,
    #[error("there are several Authorization headers; send one")]
    Several,
    #[error("the Authorization header is longer than {MAX_HEADER} bytes, which no valid token is")]
    TooLong,
    #[error("the Authorization header is neither 'Bearer <token>' nor 'Basic <base64 of user:token>'")]
    Malformed,
}

impl Token {
    /// The token of a request. Of basic authentication the password is the token; the user name is not looked at, for
    /// the token says whose it is.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, BadCredentials> {
        let mut sent = headers.get_all(AUTHORIZATION).iter();
        let header = sent.next().ok_or(BadCredentials::Missing)?;
        if sent.next().is_some() {
            return Err(BadCredentials::Several);
        }
        if header.len() > MAX_HEADER {
            return Err(BadCredentials::TooLong);
        }
        let text = header.to_str().map_err(|_| BadCredentials::Malformed)?;
        let (scheme, credentials) = text.trim().split_once(' ').ok_or(BadCredentials::Malformed)?;
        match scheme.to_ascii_lowercase().as_str() {
            "bearer" => Self::new(credentials.trim()),
            "basic" => Self::new(&password(credentials.trim()).ok_or(BadCredentials::Malformed)?),
            _ => Err(BadCredentials::Malformed),
        }
    }

    /// A token is one word of visible ASCII, so that it is one header, and one line, whatever it goes into.
    fn new(text: &str) -> Result<Self, BadCredentials> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadCredentials::Malformed);
        }
        let mut header = HeaderValue::try_from(format!("{BEARER}{text}")).map_err(|_| BadCredentials::Malformed)?;
        header.set_sensitive(true);
        let mut key = Digest::default();
        key.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        Ok(Self { header, digest: key })
    }

    /// The header that sends this token on; marked sensitive.
    pub(super) fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    pub(super) fn text(&self) -> &str {
        self.header.to_str().ok().and_then(|header| header.strip_prefix(BEARER)).unwrap_or_default()
    }

    /// How long after `now` (the time since 1970) the token expires by its own account, if it is a JWT that says so.
    /// Nothing vouches for that: it may shorten what is believed of the token, and never lengthen it.
    pub(super) fn lifetime(&self, now: Duration) -> Option<Duration> {
        let claims = URL_SAFE_NO_PAD.decode(self.text().split('.').nth(1)?).ok()?;
        let Claims { exp } = serde_json::from_slice(&claims).ok()?;
        let left = (exp - now.as_secs_f64()).max(0.0);
        Some(Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX))
    }
}

/// RFC 7519, 4.1.4.
#[derive(Deserialize)]
struct Claims {
    exp: f64,
}

/// RFC 7617: what follows the first colon.
fn password(credentials: &str) -> Option<String> {
    let decoded = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
    decoded.split_once(':').map(|(_, password)| password.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn read(values: &[&[u8]]) -> Result<String, BadCredentials> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        Token::of(&headers).map(|token| token.text().to_owned())
    }

    fn basic(credentials: &[u8]) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(credentials)).into_bytes()
    }

    #[rstest]
    #[case("Bearer t0k.e-n_=")]
    #[case("bearer t0k.e-n_=")]
    #[case("BEARER   t0k.e-n_=  ")]
    #[case("Basic YWlyZmxvdzp0MGsuZS1uXz0=")]
    #[case("bAsIc OnQway5lLW5fPQ==")]
    fn a_token_is_read_from_either_scheme(#[case] header: &str) {
        assert_eq!(read(&[header.as_bytes()]).unwrap(), "t0k.e-n_=");
    }

    #[test]
    fn a_password_may_hold_colons() {
        assert_eq!(read(&[&basic(b"user:a:b")]).unwrap(), "a:b");
    }

    #[rstest]
    #[case(b"")]
    #[case(b"Bearer")]
    #[case(b"Bearer ")]
    #[case(b"Bearer a b")]
    #[case(b"Bearer a\tb")]
    #[case(b"Bearer t\xf6ken")]
    #[case(b"Bearer t\xc3\xb6ken")]
    #[case(b"Negotiate abc")]
    #[case(b"Basic ???")]
    #[case(b"Basic dXNlcg==")]
    fn what_is_no_token_is_refused(#[case] header: &[u8]) {
        assert_eq!(read(&[header]).unwrap_err(), BadCredentials::Malformed);
    }

    #[test]
    fn of_none_and_of_several_headers_none_is_read() {
        assert_eq!(read(&[]).unwrap_err(), BadCredentials::Missing);
        assert_eq!(read(&[b"Bearer a", b"Bearer a"]).unwrap_err(), BadCredentials::Several);
    }

    #[rstest]
    #[case(b"user:")]
    #[case(b"user:a\r\nImpersonate-User: root")]
    #[case(b"user:a\0")]
    #[case(b"user:\xff")]
    #[case("user:pässword".as_bytes())]
    fn a_password_injects_no_header(#[case] credentials: &[u8]) {
        assert_eq!(read(&[&basic(credentials)]).unwrap_err(), BadCredentials::Malformed);
    }

    #[test]
    fn a_token_of_a_megabyte_is_not_read() {
        let long = format!("Bearer {}", "x".repeat(1 << 20));
        assert_eq!(read(&[long.as_bytes()]).unwrap_err(), BadCredentials::TooLong);
        assert!(read(&[&long.as_bytes()[..MAX_HEADER]]).is_ok());
    }

    #[test]
    fn a_token_that_is_sent_on_hides_itself() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer s3cr3t"));
        let token = Token::of(&headers).unwrap();
        assert!(token.header().is_sensitive());
        assert!(!format!("{:?}", token.header()).contains("s3cr3t"));
    }

    fn lifetime(claims: &str) -> Option<Duration> {
        let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
        Token::new(&token).unwrap().lifetime(Duration::from_secs(1000))
    }

    #[rstest]
    #[case(r#"{"exp":1030}"#, Some(30.0))]
    #[case(r#"{"exp":1030.5,"sub":"x"}"#, Some(30.5))]
    #[case(r#"{"exp":999}"#, Some(0.0))]
    #[case(r#"{"exp":-1}"#, Some(0.0))]
    #[case(r#"{"exp":"1030"}"#, None)]
    #[case(r#"{"sub":"x"}"#, None)]
    #[case("no JSON", None)]
    fn a_jwt_says_when_it_expires(#[case] claims: &str, #[case] seconds: Option<f64>) {
        assert_eq!(lifetime(claims), seconds.map(Duration::from_secs_f64));
    }

    #[test]
    fn far_and_opaque_expiries_shorten_nothing() {
        assert_eq!(lifetime(r#"{"exp":1e300}"#), Some(Duration::MAX));
        assert_eq!(Token::new("opaque").unwrap().lifetime(Duration::ZERO), None);
    }

    proptest! {
        #[test]
        fn no_header_whatever_it_holds_becomes_more_than_one_word(header in prop::collection::vec(any::<u8>(), 0..64)) {
            let Ok(value) = HeaderValue::from_bytes(&header) else { return Ok(()) };
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value);
            if let Ok(token) = Token::of(&headers) {
                prop_assert!(!token.text().is_empty() && token.text().bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert!(token.lifetime(Duration::ZERO).is_none_or(|left| left >= Duration::ZERO));
            }
        }
    }
}
