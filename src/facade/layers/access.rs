//! Request ids, the access log and the metrics of requests.

use std::future::Future;
use std::hash::{BuildHasher as _, Hasher as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::body::HttpBody as _;
use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::response::Response;
use http::header::{CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Method};
use tracing::field::{Empty, display};
use tracing::{Instrument as _, Span, info, warn};

use crate::facade::AppState;
use crate::facade::auth::LoggedUser;
use crate::facade::error::Cause;
use crate::facade::metrics::known;
use crate::traces::{self, TraceParent};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const NO_PAGE: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; sandbox");
/// What nginx logs for a caller that did not wait for its answer.
const CLIENT_CLOSED_REQUEST: u16 = 499;

pub(super) async fn log<F>(state: &AppState, mut request: Request, next: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let mut entry = Entry::of(Arc::clone(state), &request);
    request.extensions_mut().insert(entry.user.clone());
    let (span, sent) = (entry.span(), sent_context(&request));
    if let Some(sent) = &sent {
        sent.adopt(&span);
    }
    // Where this process traces nothing, what the caller sent goes on as it is.
    request.extensions_mut().insert(TraceOf(TraceParent::of(&span).or(sent)));
    let mut response = next(request).instrument(span.clone()).await;
    entry.answered(&mut response);
    span.record("http.response.status_code", entry.status);
    if entry.status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
    response.headers_mut().insert(X_REQUEST_ID, entry.id.clone());
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // What is no page of a UI is no page at all: nothing that a driver's page opens is of its own kind.
    response.headers_mut().entry(CONTENT_SECURITY_POLICY).or_insert(NO_PAGE);
    response
}

/// W3C Trace Context: a request names the span that it is part of once, or it names none.
fn sent_context(request: &Request) -> Option<TraceParent> {
    let mut headers = request.headers().get_all("traceparent").iter();
    let sent = headers.next().filter(|_| headers.next().is_none())?;
    TraceParent::parse(sent.to_str().ok()?)
}

/// The span of a request, for what is made at it.
#[derive(Clone)]
pub(in crate::facade) struct TraceOf(pub(in crate::facade) Option<TraceParent>);

/// One line of the log, and one request in the metrics: never its headers, query or body. Written when dropped, so
/// that a caller who did not wait leaves a line, too.
struct Entry {
    state: AppState,
    started: Instant,
    method: Method,
    route: Option<MatchedPath>,
    peer: Option<IpAddr>,
    user: LoggedUser,
    id: HeaderValue,
    status: u16,
    /// Length of the answer; of one that goes on it is not known.
    bytes: Option<u64>,
    cause: Option<Cause>,
}

impl Entry {
    fn of(state: AppState, request: &Request) -> Self {
        let id = request.headers().get(X_REQUEST_ID).filter(|id| is_request_id(id.as_bytes())).cloned();
        Self {
            state,
            started: Instant::now(),
            method: request.method().clone(),
            route: request.extensions().get().cloned(),
            peer: request.extensions().get().map(|ConnectInfo::<SocketAddr>(peer)| peer.ip().to_canonical()),
            user: LoggedUser::default(),
            id: id.unwrap_or_else(new_request_id),
            status: CLIENT_CLOSED_REQUEST,
            bytes: None,
            cause: None,
        }
    }

    /// Never the path, which holds ids and names, nor the query, which may hold anything.
    fn span(&self) -> Span {
        let span = tracing::trace_span!(
            target: traces::TARGET, "request", otel.kind = "server", otel.name = Empty, otel.status_code = Empty,
            http.request.method = Empty, http.route = Empty, http.response.status_code = Empty
        );
        if !span.is_disabled() {
            let (method, route) = (known(&self.method), self.route.as_ref().map_or("", MatchedPath::as_str));
            span.record("otel.name", format!("{method} {route}").trim_end());
            span.record("http.request.method", method).record("http.route", route);
        }
        span
    }

    fn answered(&mut self, response: &mut Response) {
        self.status = response.status().as_u16();
        self.bytes = response.body().size_hint().exact();
        self.cause = response.extensions_mut().remove();
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Self { method, status, bytes, .. } = self;
        let route = self.route.as_ref().map_or("", MatchedPath::as_str);
        let took = self.started.elapsed();
        self.state.counters.answered(method, route, *status, took);
        // In JSON a number, which one of 128 bits would not be.
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let (peer, user) = (self.peer.map(display), self.user.get());
        let request_id = self.id.to_str().unwrap_or_default();
        match &self.cause {
            Some(cause) if *status >= 500 => {
                warn!(%method, route, status, micros, bytes, peer, user, request_id, %cause, "request");
            }
            Some(cause) => info!(%method, route, status, micros, bytes, peer, user, request_id, %cause, "request"),
            None => info!(%method, route, status, micros, bytes, peer, user, request_id, "request"),
        }
    }
}

/// An id that a caller chose goes into the log: it is short and plain, or it is replaced.
fn is_request_id(id: &[u8]) -> bool {
    (1..=128).contains(&id.len()) && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte))
}

fn new_request_id() -> HeaderValue {
    let random = || std::collections::hash_map::RandomState::new().build_hasher().finish();
    HeaderValue::try_from(format!("{:016x}{:016x}", random(), random())).unwrap_or(HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_that_is_echoed_forges_neither_a_header_nor_a_line(id in prop::collection::vec(any::<u8>(), 0..200)) {
            if is_request_id(&id) {
                prop_assert!(id.len() <= 128);
                prop_assert!(id.iter().all(u8::is_ascii_graphic) && !id.contains(&b'"') && !id.contains(&b'='));
            }
        }

        #[test]
        fn an_id_as_others_make_them_is_taken(id in "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}|[0-9A-Za-z._:-]{1,128}") {
            prop_assert!(is_request_id(id.as_bytes()));
        }
    }

    #[test]
    fn an_id_that_is_made_is_one_and_no_two_are_the_same() {
        let (one, other) = (new_request_id(), new_request_id());
        assert!(is_request_id(one.as_bytes()) && one.len() == 32 && one != other);
    }
}
