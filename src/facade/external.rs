//! The URL by which users reach the REST API.

use std::str::FromStr;

use http::Uri;
use thiserror::Error;

/// URL of the REST API as its users reach it, through whatever stands in front of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalUrl {
    url: String,
    authority: String,
    prefix: String,
}

/// Why a text is no [`ExternalUrl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ExternalUrlError {
    /// It is no URL, or one of another scheme.
    #[error("must be a URL that starts with http:// or https://")]
    NoUrl,
    /// It has more than a host, a port and a path.
    #[error("must have no user, query or fragment")]
    TooMuch,
    /// Its path would not do as the first part of others.
    #[error("must have a path of plain segments: letters, digits, '.', '_', '~' and '-', none of them '.' or '..'")]
    Path,
}

impl FromStr for ExternalUrl {
    type Err = ExternalUrlError;

    fn from_str(text: &str) -> Result<Self, ExternalUrlError> {
        let uri: Uri = text.parse().map_err(|_| ExternalUrlError::NoUrl)?;
        let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(ExternalUrlError::NoUrl);
        };
        // The parser drops a fragment without a word.
        if authority.as_str().contains('@') || uri.query().is_some() || text.contains('#') {
            return Err(ExternalUrlError::TooMuch);
        }
        if authority.host().is_empty() || !is_authority(authority.as_str()) {
            return Err(ExternalUrlError::NoUrl);
        }
        let prefix = uri.path().strip_suffix('/').unwrap_or(uri.path());
        if !prefix.split('/').skip(1).all(is_plain) {
            return Err(ExternalUrlError::Path);
        }
        let authority = authority.as_str().to_owned();
        Ok(Self { url: format!("{scheme}://{authority}{prefix}"), authority, prefix: prefix.to_owned() })
    }
}

/// Whether this is a host, and a port if there is one, without anything that would have a meaning in a policy.
pub(super) fn is_authority(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
}

/// The path goes into pages that Spark makes, between quotes of theirs.
fn is_plain(segment: &str) -> bool {
    !matches!(segment, "" | "." | "..")
        && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte))
}

impl ExternalUrl {
    /// The URL, without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// Host, and port if it has one.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// The path under which all others stand; empty, or with a slash at its start and none at its end.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://x.example", "https://x.example", "x.example", "")]
    #[case("https://x.example/", "https://x.example", "x.example", "")]
    #[case("http://10.0.0.1:8998/team-a/spark/", "http://10.0.0.1:8998/team-a/spark", "10.0.0.1:8998", "/team-a/spark")]
    fn a_url_is_split(#[case] text: &str, #[case] url: &str, #[case] authority: &str, #[case] prefix: &str) {
        let external: ExternalUrl = text.parse().unwrap();
        assert_eq!((external.as_str(), external.authority(), external.prefix()), (url, authority, prefix));
    }

    #[rstest]
    #[case("", ExternalUrlError::NoUrl)]
    #[case("/spark", ExternalUrlError::NoUrl)]
    #[case("x.example", ExternalUrlError::NoUrl)]
    #[case("ftp://x.example", ExternalUrlError::NoUrl)]
    #[case("https://x.example/\r\nX: y", ExternalUrlError::NoUrl)]
    #[case("https://x.example;a", ExternalUrlError::NoUrl)]
    #[case("https://user:pw@x.example", ExternalUrlError::TooMuch)]
    #[case("https://x.example/?a=b", ExternalUrlError::TooMuch)]
    #[case("https://x.example/#a", ExternalUrlError::TooMuch)]
    #[case("https://x.example/a/../b", ExternalUrlError::Path)]
    #[case("https://x.example//a", ExternalUrlError::Path)]
    #[case("https://x.example/a'b", ExternalUrlError::Path)]
    #[case("https://x.example/%2e%2e", ExternalUrlError::Path)]
    fn what_would_make_bad_links_is_refused(#[case] text: &str, #[case] why: ExternalUrlError) {
        assert_eq!(text.parse::<ExternalUrl>(), Err(why));
    }
}
