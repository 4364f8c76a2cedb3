//! What passes between a caller and a driver, both ways. Neither is trusted with what is the other's: the driver
//! runs whatever its submitter wrote, and its pages come from the address of the REST API.

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CACHE_CONTROL, CONNECTION, CONTENT_DISPOSITION, CONTENT_ENCODING,
    CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, LOCATION, REFERRER_POLICY, X_FRAME_OPTIONS,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Root;
use super::path;

const X_FORWARDED_CONTEXT: HeaderName = HeaderName::from_static("x-forwarded-context");
const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// What a driver is told of a caller. No credentials: the driver is not the one whom they are for.
const TO_DRIVER: [HeaderName; 3] = [ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE];
/// What a caller is told by a driver. No cookies: they would be those of the REST API.
const TO_CALLER: [HeaderName; 4] = [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_DISPOSITION];

/// The headers of the request to the driver at `address`.
///
/// Spark: `UIUtils.uiRoot` takes the path that its links start with from `X-Forwarded-Context`.
pub(super) fn to_driver(caller: &HeaderMap, root: &Root, address: &HeaderValue) -> HeaderMap {
    let mut headers = passed_on(caller, &TO_DRIVER);
    headers.insert(HOST, address.clone());
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(X_FORWARDED_CONTEXT, root.path.clone());
    headers
}

/// The headers of the answer to the caller, but for where it redirects to.
pub(super) fn to_caller(driver: &HeaderMap, root: &Root) -> HeaderMap {
    let mut headers = passed_on(driver, &TO_CALLER);
    // As Spark's own HttpSecurityFilter has it; a driver may not say that anybody is to keep what it shows.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, root.policy.clone());
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CROSS_ORIGIN_OPENER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    headers
}

fn passed_on(from: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    names.iter().filter_map(|name| Some((name.clone(), from.get(name)?.clone()))).collect()
}

/// A redirect to where it is not to be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Elsewhere;

/// Where the driver at `address` redirects to, if it does: below `root`.
pub(super) fn redirect(driver: &HeaderMap, root: &Root, address: &str) -> Result<Option<HeaderValue>, Elsewhere> {
    let below = |location: &HeaderValue| {
        let location = below(location.to_str().ok()?, root.path.to_str().ok()?, address)?;
        HeaderValue::try_from(location).ok()
    };
    driver.get(LOCATION).map(|location| below(location).ok_or(Elsewhere)).transpose()
}

fn below(location: &str, root: &str, address: &str) -> Option<String> {
    let location = match location.strip_prefix("http://") {
        Some(absolute) => absolute.strip_prefix(address)?,
        None => location,
    };
    // Jetty's redirects are absolute, or start at the root.
    let target: PathAndQuery = location.strip_prefix('/').and(location.parse().ok())?;
    // A page that follows X-Forwarded-Context has put the root there itself.
    let path = target.path().strip_prefix(root).filter(|rest| rest.starts_with('/')).unwrap_or(target.path());
    path::check(path.strip_prefix('/')?).ok()?;
    Some(match target.query() {
        Some(query) => format!("{root}{path}?{query}"),
        None => format!("{root}{path}"),
    })
}

/// What a browser lets a driver's page do, where `sources` is the UI's own address and nothing else.
///
/// The page comes from the origin of the REST API, and with it go the caller's credentials. So it may load and call
/// what is below its own address only; and it has no windows, frames or workers through which it could reach what
/// is not. Spark's pages need scripts, inline ones too, local storage and their own `api/v1`.
pub(super) fn policy(sources: &str) -> String {
    format!(
        "default-src 'none'; script-src {sources} 'unsafe-inline'; style-src {sources} 'unsafe-inline'; \
         img-src {sources} data:; font-src {sources} data:; connect-src {sources}; form-action {sources}; \
         worker-src 'none'; base-uri 'none'; frame-ancestors 'self'; \
         sandbox allow-scripts allow-same-origin allow-forms allow-modals allow-downloads"
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const ROOT: &str = "/batches/1/ui";

    #[rstest]
    #[case("http://10.0.0.1:4040/jobs/", "/batches/1/ui/jobs/")]
    #[case("/jobs/", "/batches/1/ui/jobs/")]
    #[case("/jobs/job/?id=1&a=%2F", "/batches/1/ui/jobs/job/?id=1&a=%2F")]
    #[case("http://10.0.0.1:4040/", "/batches/1/ui/")]
    #[case("/batches/1/ui/stages/", "/batches/1/ui/stages/")]
    #[case("/batches/1/uis", "/batches/1/ui/batches/1/uis")]
    fn redirects_stay_below_the_root(#[case] location: &str, #[case] expected: &str) {
        assert_eq!(below(location, ROOT, "10.0.0.1:4040").as_deref(), Some(expected));
    }

    #[rstest]
    #[case("http://10.0.0.1:4041/")]
    #[case("http://10.0.0.1:40400/")]
    #[case("http://10.0.0.1:4040@evil.example/")]
    #[case("http://10.0.0.1:4040")]
    #[case("https://10.0.0.1:4440/")]
    #[case("http://evil.example/")]
    #[case("//evil.example/")]
    #[case("/\\evil.example/")]
    #[case("jobs/")]
    #[case("javascript:alert(1)")]
    #[case("/../../2")]
    #[case("/batches/1/ui/../../2")]
    #[case("/jobs/job/kill/?id=1")]
    #[case("")]
    fn redirects_to_elsewhere_are_not_relayed(#[case] location: &str) {
        assert_eq!(below(location, ROOT, "10.0.0.1:4040"), None);
    }
}
