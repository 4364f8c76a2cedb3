//! Each caller's share of the service.
//!
//! A caller is known by its credentials once they were found good, and by its address until then: whoever invents
//! credentials gets no new share with each.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::response::{IntoResponse as _, Response};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};
use http::StatusCode;
use http::header::AUTHORIZATION;
use moka::sync::Cache;
use ring::digest::{SHA256, digest};

use crate::facade::error::ApiError;
use crate::facade::{AppState, AuthMode, FacadeConfig};

/// Requests that may come at once, as a multiple of those of a second.
const BURST: NonZeroU32 = NonZeroU32::new(2).unwrap();
/// Requests between two looks for callers that have not called lately; so many more of them may be remembered.
const SWEEP: u32 = 4096;
/// Credentials of one address that may be found bad within [`WINDOW`]; after these, those that it brings are no longer
/// looked at. Each may have cost a call to the API server.
const MAX_REFUSED: u32 = 100;
const WINDOW: Duration = Duration::from_secs(60);
/// How long credentials that were found good are known after their last use.
const KNOWN: Duration = Duration::from_secs(600);
/// Most credentials, and most addresses, that are remembered.
const MAX_KEPT: u64 = 10_000;

/// SHA-256 of the header `Authorization`.
type Credentials = [u8; 32];

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Caller {
    Known(Credentials),
    From(IpAddr),
}

/// Who has called, and how often.
pub(in crate::facade) struct Callers {
    /// Whether there are credentials.
    authenticates: bool,
    rate: Option<DefaultKeyedRateLimiter<Caller>>,
    until_sweep: AtomicU32,
    known: Cache<Credentials, ()>,
    refused: Cache<IpAddr, Arc<AtomicU32>>,
}

/// Passes a request on if it is within its caller's share, else answers 429.
pub(super) async fn share<F>(state: &AppState, request: Request, next: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let callers = &state.callers;
    if !callers.authenticates && callers.rate.is_none() {
        return next(request).await;
    }
    let address = address(&request);
    let credentials = callers.credentials(&request);
    let is_known = credentials.is_some_and(|credentials| callers.known.contains_key(&credentials));
    if !is_known && callers.is_suspicious(address) {
        state.counters.rejected("authentication");
        let text = "too many requests from your address were not authenticated; check the token, and try again later";
        return too_many(text, WINDOW);
    }
    let caller = credentials.filter(|_| is_known).map_or(Caller::From(address), Caller::Known);
    if let Err(pause) = callers.take(&caller) {
        state.counters.rejected("rate");
        let text = "rate limit exceeded: send fewer requests, or ask the administrator to raise --rate-limit";
        return too_many(text, pause);
    }
    let needs_credentials =
        request.extensions().get::<MatchedPath>().is_some_and(|path| speaks_of_batches(path.as_str()));
    let response = next(request).await;
    match (response.status(), credentials) {
        // Without credentials nobody was asked about them.
        (StatusCode::UNAUTHORIZED, Some(credentials)) => callers.refused(address, &credentials),
        (status, Some(credentials)) if status.is_success() && needs_credentials && !is_known => {
            callers.known.insert(credentials, ());
        }
        _ => {}
    }
    response
}

/// Whether an answer of such a route says that the caller is who it says it is: `/version` is everybody's.
fn speaks_of_batches(route: &str) -> bool {
    route.split('/').any(|part| part == "batches")
}

fn too_many(text: &str, pause: Duration) -> Response {
    let seconds = pause.as_secs() + u64::from(pause.subsec_nanos() > 0);
    let seconds = u32::try_from(seconds.max(1)).unwrap_or(u32::MAX);
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, text).retry_after(seconds).into_response()
}

impl Callers {
    pub(in crate::facade) fn new(config: &FacadeConfig) -> Self {
        let quota = |rate: NonZeroU32| Quota::per_second(rate).allow_burst(rate.saturating_mul(BURST));
        Self {
            authenticates: config.auth != AuthMode::None,
            rate: NonZeroU32::new(config.limits.rate).map(|rate| DefaultKeyedRateLimiter::keyed(quota(rate))),
            until_sweep: AtomicU32::new(SWEEP),
            known: Cache::builder().max_capacity(MAX_KEPT).time_to_idle(KNOWN).build(),
            refused: Cache::builder().max_capacity(MAX_KEPT).time_to_live(WINDOW).build(),
        }
    }

    /// Where nobody looks at credentials, they tell nothing.
    fn credentials(&self, request: &Request) -> Option<Credentials> {
        let header = request.headers().get(AUTHORIZATION).filter(|_| self.authenticates)?;
        digest(&SHA256, header.as_bytes()).as_ref().try_into().ok()
    }

    /// One more request of `caller`; if it is one too many, how long to wait for the next.
    fn take(&self, caller: &Caller) -> Result<(), Duration> {
        let Some(rate) = &self.rate else { return Ok(()) };
        // Wraps around at zero, which takes as long as one likes.
        if self.until_sweep.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.until_sweep.store(SWEEP, Ordering::Relaxed);
            rate.retain_recent();
        }
        rate.check_key(caller).map_err(|not_until| not_until.wait_time_from(DefaultClock::default().now()))
    }

    fn is_suspicious(&self, address: IpAddr) -> bool {
        self.authenticates
            && self.refused.get(&address).is_some_and(|count| count.load(Ordering::Relaxed) >= MAX_REFUSED)
    }

    fn refused(&self, address: IpAddr, credentials: &Credentials) {
        self.known.invalidate(credentials);
        self.refused.get_with(address, Arc::default).fetch_add(1, Ordering::Relaxed);
    }
}

/// The client's address; of IPv6 the network, which is what one client has.
fn address(request: &Request) -> IpAddr {
    let peer = request.extensions().get().map(|ConnectInfo::<SocketAddr>(peer)| peer.ip().to_canonical());
    match peer {
        Some(IpAddr::V6(ip)) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64))),
        Some(ip) => ip,
        // A router that is called without a server.
        None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::Router;
    use axum::body::Body;
    use axum::middleware::{Next, from_fn};
    use axum::routing::get;
    use http::HeaderMap;
    use kube::Client;
    use rstest::rstest;
    use tower::{ServiceExt as _, service_fn};

    use super::*;
    use crate::facade::{Facade, Limits};
    use crate::ids::IdAllocator;
    use crate::metrics::Metrics;

    /// Routes that know the token `good`, behind the layer.
    fn routes(rate: u32, authenticates: bool) -> Router {
        let client =
            Client::new(service_fn(|_| async { Ok::<_, Infallible>(http::Response::new(Body::empty())) }), "default");
        let config = FacadeConfig { limits: Limits { rate, ..Limits::default() }, ..FacadeConfig::default() };
        let mut state = Facade::new(
            crate::facade::Clients { own: client.clone(), anonymous: client.clone() },
            IdAllocator::new(client),
            config,
            &Metrics::default(),
        )
        .state;
        Arc::get_mut(&mut state).unwrap().callers.authenticates = authenticates;
        let checked = async |headers: HeaderMap| {
            let is_good = headers.get(AUTHORIZATION).is_some_and(|value| value.as_bytes().starts_with(b"Bearer good"));
            if is_good { StatusCode::OK } else { StatusCode::UNAUTHORIZED }
        };
        Router::new().route("/batches", get(checked)).route("/version", get(async || "1")).layer(from_fn(
            move |request, next: Next| {
                let state = Arc::clone(&state);
                async move { share(&state, request, |request| next.run(request)).await }
            },
        ))
    }

    async fn call(routes: &Router, path: &str, token: &str, from: &str) -> Response {
        let mut request = Request::get(path).body(Body::empty()).unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(from.parse().unwrap(), 1)));
        if !token.is_empty() {
            request.headers_mut().insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        }
        routes.clone().oneshot(request).await.unwrap()
    }

    async fn status(routes: &Router, path: &str, token: &str, from: &str) -> u16 {
        call(routes, path, token, from).await.status().as_u16()
    }

    #[tokio::test]
    async fn a_caller_has_twice_its_rate_at_once_and_others_have_their_own() {
        let routes = routes(1, true);
        for token in ["good", "good2"] {
            // Known by its address until it is known by its token.
            assert_eq!(status(&routes, "/batches", token, "10.0.0.1").await, 200);
        }
        assert_eq!(status(&routes, "/batches", "good3", "10.0.0.1").await, 429);
        for path in ["/batches", "/version"] {
            assert_eq!(status(&routes, path, "good", "10.0.0.1").await, 200);
        }
        let over = call(&routes, "/batches", "good", "10.0.0.9").await;
        assert_eq!((over.status().as_u16(), &over.headers()["retry-after"]), (429, &"1".parse().unwrap()));
        assert_eq!(status(&routes, "/batches", "good2", "10.0.0.1").await, 200);
        assert_eq!(status(&routes, "/batches", "good3", "10.0.0.2").await, 200);
    }

    #[rstest]
    #[case("10.0.0.1", "::ffff:10.0.0.1", true)]
    #[case("10.0.0.1", "10.0.0.2", false)]
    #[case("2001:db8::1", "2001:db8:0:0:ffff::2", true)]
    #[case("2001:db8::1", "2001:db8:0:1::1", false)]
    #[tokio::test]
    async fn without_authentication_a_caller_is_an_address_whatever_it_says(
        #[case] one: &str,
        #[case] other: &str,
        #[case] are_one: bool,
    ) {
        let routes = routes(1, false);
        for token in ["a", "b"] {
            assert_eq!(status(&routes, "/version", token, one).await, 200);
        }
        assert_eq!(status(&routes, "/version", "c", one).await, 429);
        assert_eq!(status(&routes, "/version", "d", other).await, if are_one { 429 } else { 200 });
    }

    #[tokio::test]
    async fn whoever_guesses_tokens_is_no_longer_asked_for_them() {
        let routes = routes(0, true);
        assert_eq!(status(&routes, "/batches", "good", "10.0.0.1").await, 200);
        for guess in 0..MAX_REFUSED {
            assert_eq!(status(&routes, "/batches", "", "10.0.0.1").await, 401);
            // That all may see the version proves nothing of the token.
            status(&routes, "/version", &guess.to_string(), "10.0.0.1").await;
            assert_eq!(status(&routes, "/batches", &guess.to_string(), "10.0.0.1").await, 401);
        }
        let refused = call(&routes, "/batches", "0", "10.0.0.1").await;
        assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"60".parse().unwrap()));
        assert_eq!(status(&routes, "/batches", "good2", "10.0.0.1").await, 429);
        assert_eq!(status(&routes, "/batches", "good", "10.0.0.1").await, 200);
        assert_eq!(status(&routes, "/batches", "good2", "10.0.0.2").await, 200);
    }

    #[test]
    fn callers_that_are_gone_are_forgotten() {
        let callers = Callers::new(&FacadeConfig {
            limits: Limits { rate: 1_000_000, ..Limits::default() },
            ..FacadeConfig::default()
        });
        for n in 0..3 * SWEEP {
            callers.take(&Caller::From(IpAddr::V4(Ipv4Addr::from_bits(n)))).unwrap();
        }
        assert!(callers.rate.as_ref().unwrap().len() <= SWEEP as usize);
    }
}
