//! What the facade counts.

use std::sync::{Arc, Weak};
use std::time::Duration;

use http::Method;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use super::{AppState, Shared};
use crate::metrics::{Metrics, Watches};
use crate::server::Connections;

/// From an answer out of the cache, of some microseconds, to the limit of a request.
const BUCKETS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: &'static str,
    /// As the router has it, with the names of its parameters; empty if there is none.
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Counters of the facade.
pub(super) struct Counters {
    requests: Family<Answered, Counter>,
    durations: Family<Route, Histogram>,
    rejected: Family<Reason, Counter>,
    pub(super) watches: Watches,
}

impl Counters {
    pub(super) fn new(metrics: &Metrics, connections: &Connections) -> Self {
        let durations = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        let help = "Connections that were turned away because too many were open";
        metrics.register("http_connections_turned_away", help, &[], connections.turned_away.clone());
        let help = "Connections that were cut because the client was too slow";
        metrics.register("http_connections_cut", help, &[], connections.cut.clone());
        let open = connections.clone();
        metrics.sample("http_connections_open", "Connections that are open", move || open.open());
        Self {
            requests: metrics.register(
                "http_requests",
                "Requests answered",
                &["method", "route", "status"],
                Family::default(),
            ),
            durations: metrics.register(
                "http_request_duration_seconds",
                "Time from the head of a request to the head of its answer",
                &["method", "route"],
                durations,
            ),
            rejected: metrics.register(
                "http_rejected",
                "Requests turned away before they were looked at, by the bound that was reached",
                &["reason"],
                Family::default(),
            ),
            watches: Watches::new(metrics, "watch_errors", "Errors of watches that feed caches"),
        }
    }

    /// One request was answered.
    pub(super) fn answered(&self, method: &Method, route: &str, status: u16, took: Duration) {
        let labels = Route { method: known(method), route: route.to_owned() };
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
        let Route { method, route } = labels;
        self.requests.get_or_create(&Answered { method, route, status }).inc();
    }

    /// One request was turned away.
    pub(super) fn rejected(&self, reason: &'static str) {
        self.rejected.get_or_create(&Reason { reason }).inc();
    }
}

/// Shows how much there is of what the facade holds.
pub(super) fn sample(metrics: &Metrics, state: &AppState) {
    let gauge = |name, help, read: fn(&Shared) -> usize| {
        let state: Weak<Shared> = Arc::downgrade(state);
        metrics.sample(name, help, move || state.upgrade().map_or(0, |state| read(&state)));
    };
    gauge("http_requests_in_flight", "Requests that are being answered, but for streams", |state| {
        state.config.limits.in_flight.saturating_sub(state.permits.available_permits())
    });
    gauge("http_streams_open", "Answers that go on", |state| {
        state.config.limits.streams.saturating_sub(state.streams.free())
    });
    gauge("facade_batches", "Batches in the facade's cache", |state| state.batches.len());
    gauge("facade_namespaces", "Namespaces in the facade's cache", |state| state.namespaces.len());
}

/// A method is what the caller says it is; of those that nobody knows, all are one.
pub(super) fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
