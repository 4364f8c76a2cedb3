//! Calls to the API server, counted where a client sends them.

use std::task::{Context, Poll};
use std::time::Instant;

use futures::future::{BoxFuture, FutureExt as _};
use http::{Method, Request, Response, Uri};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use tower::{Layer, Service};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::Metrics;
use crate::traces;

/// From an answer out of the API server's cache to a call that is given up.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// What a call does to what, in the words of access rules.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    verb: &'static str,
    resource: String,
}

/// A call and its status code; `none` if there was no answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    verb: &'static str,
    resource: String,
    status: String,
}

/// A layer for a [`kube::client::ClientBuilder`] that counts calls, and takes the time until the head of the answer.
#[derive(Clone)]
pub struct ApiCalls {
    calls: Family<Answered, Counter>,
    durations: Family<Call, Histogram>,
}

impl ApiCalls {
    /// A layer that counts into `metrics`.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let durations = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        Self {
            calls: metrics.register(
                "api_calls",
                "Calls to the API server",
                &["verb", "resource", "status"],
                Family::default(),
            ),
            durations: metrics.register(
                "api_call_duration_seconds",
                "Time to the head of the answer",
                &["verb", "resource"],
                durations,
            ),
        }
    }

    fn count(&self, call: &Call, status: Option<u16>, started: Instant) {
        let status = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        let answered = Answered { verb: call.verb, resource: call.resource.clone(), status };
        self.calls.get_or_create(&answered).inc();
        // A watch is asked for once and answered once; how long it goes on is no measure of anything.
        self.durations.get_or_create(call).observe(started.elapsed().as_secs_f64());
    }
}

impl<S> Layer<S> for ApiCalls {
    type Service = CountCalls<S>;

    fn layer(&self, inner: S) -> CountCalls<S> {
        CountCalls { inner, calls: self.clone() }
    }
}

/// A service whose calls are counted.
#[derive(Clone)]
pub struct CountCalls<S> {
    inner: S,
    calls: ApiCalls,
}

impl<S, A, B> Service<Request<A>> for CountCalls<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let (calls, started, call) = (self.calls.clone(), Instant::now(), Call::of(request.method(), request.uri()));
        let span = call.span();
        let answered = span.clone();
        let answering = self.inner.call(request);
        let counted = async move {
            let answer = answering.await;
            let status = answer.as_ref().ok().map(|response| response.status().as_u16());
            calls.count(&call, status, started);
            answered.record("http.response.status_code", status);
            answer
        };
        counted.instrument(span).boxed()
    }
}

impl Call {
    /// Of a path of the Kubernetes API. Names of namespaces and objects are left out.
    fn of(method: &Method, uri: &Uri) -> Self {
        let parts: Vec<&str> = uri.path().split('/').skip(1).collect();
        let rest = match parts[..] {
            ["api", _, ref rest @ ..] | ["apis", _, _, ref rest @ ..] => rest,
            _ => &[],
        };
        let rest = match rest {
            ["namespaces", _, inner @ ..] if !inner.is_empty() => inner,
            _ => rest,
        };
        let resource = match rest {
            [] => "other".to_owned(),
            [kind, _, part, ..] => format!("{kind}/{part}"),
            [kind, ..] => (*kind).to_owned(),
        };
        let is_watch = uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"));
        Self { verb: verb(method, rest.len() > 1, is_watch), resource }
    }
}

impl Call {
    /// For the trace that the call is part of. Watches and Leases are part of none: each would be a trace of its own.
    fn span(&self) -> Span {
        if Span::current().is_none() {
            return Span::none();
        }
        let span = tracing::trace_span!(
            target: traces::TARGET, "call", otel.kind = "client", otel.name = Empty, verb = self.verb,
            resource = self.resource, http.response.status_code = Empty
        );
        if !span.is_disabled() {
            span.record("otel.name", format!("{} {}", self.verb, self.resource));
        }
        span
    }
}

fn verb(method: &Method, is_named: bool, is_watch: bool) -> &'static str {
    match (method.as_str(), is_named) {
        ("GET", _) if is_watch => "watch",
        ("GET", true) => "get",
        ("GET", false) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("GET", "/api/v1/namespaces", "list", "namespaces")]
    #[case("GET", "/api/v1/namespaces/spark", "get", "namespaces")]
    #[case("GET", "/api/v1/pods?watch=true&limit=5", "watch", "pods")]
    #[case("GET", "/api/v1/namespaces/spark/pods/driver/log?follow=true", "get", "pods/log")]
    #[case("POST", "/apis/sparkbatch.dev/v1alpha1/namespaces/spark/sparkbatches", "create", "sparkbatches")]
    #[case(
        "PATCH",
        "/apis/sparkbatch.dev/v1alpha1/namespaces/spark/sparkbatches/batch-1/status",
        "patch",
        "sparkbatches/status"
    )]
    #[case("DELETE", "/api/v1/namespaces/spark/pods/driver", "delete", "pods")]
    #[case("DELETE", "/api/v1/namespaces/spark/pods", "deletecollection", "pods")]
    #[case("POST", "/apis/authentication.k8s.io/v1/tokenreviews", "create", "tokenreviews")]
    #[case("GET", "/version", "list", "other")]
    fn a_call_is_named_without_the_names_of_objects(
        #[case] method: Method,
        #[case] uri: Uri,
        #[case] verb: &'static str,
        #[case] resource: &str,
    ) {
        assert_eq!(Call::of(&method, &uri), Call { verb, resource: resource.to_owned() });
    }
}
