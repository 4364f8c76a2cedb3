//! `Idempotency-Key`: a POST that is sent twice makes one batch.
//!
//! The key's hash is the resource's name, so the API server lets one of two requests with one key create it, in
//! whichever process and at whatever time they arrive. The resource remembers its request by a digest. Nothing
//! else is kept: a key is known for as long as its batch exists, and a crash leaves nothing to clean up.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName};
use ring::{digest, hmac};

use crate::api::{KEYED_NAME_PREFIX, SparkBatchSpec};
use crate::facade::error::ApiError;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Tells that an answer is about a batch that an earlier request made.
pub(in crate::facade) const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

const MAX_LEN: usize = 128;
/// Bytes of a key's hash that are in the name: 128 bits.
const HASH_LEN: usize = 16;

/// A caller's key. It is not kept, and neither is anything that it could be read from.
pub(in crate::facade) struct IdempotencyKey {
    object_name: String,
    mac: hmac::Key,
}

impl IdempotencyKey {
    /// The key that a request has, if it has one.
    pub(in crate::facade) fn of(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(key) = keys.next() else { return Ok(None) };
        let key = key.as_bytes();
        let is_valid = (1..=MAX_LEN).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
        if !is_valid || keys.next().is_some() {
            let rule =
                format!("send Idempotency-Key once, with 1 to {MAX_LEN} printable ASCII characters without blanks");
            return Err(ApiError::bad_request(rule));
        }
        let hash = digest::digest(&digest::SHA256, key);
        let object_name = format!("{KEYED_NAME_PREFIX}{}", hex(hash.as_ref().get(..HASH_LEN).unwrap_or_default()));
        Ok(Some(Self { object_name, mac: hmac::Key::new(hmac::HMAC_SHA256, key) }))
    }

    /// Name of the resource that is created under this key.
    pub(super) fn object_name(&self) -> &str {
        &self.object_name
    }

    /// What a request is known by. It covers credentials, so it is keyed: who does not have the caller's key cannot
    /// try out guesses.
    pub(super) fn digest(&self, spec: &SparkBatchSpec) -> Result<String, serde_json::Error> {
        Ok(hex(hmac::sign(&self.mac, &serde_json::to_vec(spec)?).as_ref()))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use rstest::rstest;

    use super::*;
    use crate::api::object_names::is_dns_label;

    fn key(text: &[u8]) -> Result<Option<IdempotencyKey>, ApiError> {
        let headers = [(IDEMPOTENCY_KEY, HeaderValue::from_bytes(text).unwrap())];
        IdempotencyKey::of(&headers.into_iter().collect())
    }

    #[test]
    fn a_key_is_a_name() {
        let name = key(b"0b3f-1").unwrap().unwrap().object_name;
        assert!(is_dns_label(&name) && !name.contains("0b3f"), "{name}");
        assert_eq!(name, key(b"0b3f-1").unwrap().unwrap().object_name);
        assert_ne!(name, key(b"0b3f-2").unwrap().unwrap().object_name);
    }

    #[test]
    fn a_digest_is_one_keys_and_one_requests() {
        let spec = |file: &str| SparkBatchSpec { file: file.into(), ..SparkBatchSpec::default() };
        let digest = |text: &[u8], file| key(text).unwrap().unwrap().digest(&spec(file)).unwrap();
        assert_eq!(digest(b"k", "/a.py"), digest(b"k", "/a.py"));
        assert_ne!(digest(b"k", "/a.py"), digest(b"k", "/b.py"));
        assert_ne!(digest(b"k", "/a.py"), digest(b"l", "/a.py"));
    }

    #[rstest]
    #[case(b"")]
    #[case(b"a b")]
    #[case(b"a\tb")]
    #[case(b"\xc3\xa9")]
    #[case(&[b'x'; 129])]
    fn what_is_no_key_is_refused(#[case] text: &[u8]) {
        assert!(key(text).is_err());
    }

    #[test]
    fn two_keys_are_one_too_many() {
        let mut headers = HeaderMap::new();
        assert!(IdempotencyKey::of(&headers).unwrap().is_none());
        headers.append(IDEMPOTENCY_KEY, HeaderValue::from_static("a"));
        headers.append(IDEMPOTENCY_KEY, HeaderValue::from_static("b"));
        assert!(IdempotencyKey::of(&headers).is_err());
    }
}
