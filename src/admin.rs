//! The port for the cluster: is the process alive, is it ready, and what does it count?
//!
//! Alive and ready are different things: a process that waits for its caches, or for a definition that is
//! not installed yet, is alive and says what it waits for.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::{self, Metrics};
use crate::server::{self, ConnectionLimits, Connections};

/// Connections at once: the kubelet's, and those of who collects metrics.
const CONNECTIONS: usize = 64;

/// What the process still waits for before it is ready.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeSet<&'static str>>>);

impl Readiness {
    /// Waits for one more thing, until the returned function is called.
    pub fn gate(&self, name: &'static str) -> impl FnOnce() + Send + use<> {
        self.closed().insert(name);
        let gates = self.clone();
        move || {
            gates.closed().remove(name);
        }
    }

    fn closed(&self) -> std::sync::MutexGuard<'_, BTreeSet<&'static str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// With what keeps caches from being filled, as `metrics` know.
    fn answer(&self, metrics: &Metrics) -> (StatusCode, String) {
        let closed = self.closed();
        if closed.is_empty() {
            return (StatusCode::OK, "ok\n".to_owned());
        }
        let gates = format!("waiting for: {}", closed.iter().copied().collect::<Vec<_>>().join(", "));
        let causes = metrics.unlisted().into_iter().map(|cause| format!("- {cause}"));
        let lines: Vec<_> = [gates].into_iter().chain(causes).collect();
        (StatusCode::SERVICE_UNAVAILABLE, lines.join("\n") + "\n")
    }
}

/// `/livez`, `/readyz` and `/metrics`.
pub fn router(readiness: Readiness, metrics: Metrics) -> Router {
    let known = metrics.clone();
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(async move || readiness.answer(&known)))
        .route("/metrics", get(async move || show(&metrics)))
}

fn show(metrics: &Metrics) -> Response {
    match metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Serves until `cancel` is cancelled.
///
/// # Errors
/// If the address cannot be bound.
pub async fn serve(
    listen: SocketAddr,
    readiness: Readiness,
    metrics: Metrics,
    cancel: CancellationToken,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    let limits = ConnectionLimits { connections: CONNECTIONS, ..ConnectionLimits::default() };
    server::serve(listener, None, router(readiness, metrics), &Connections::new(limits), cancel).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Watches;

    #[test]
    fn readiness_names_what_it_waits_for() {
        let (readiness, metrics) = (Readiness::default(), Metrics::default());
        let watches = Watches::new(&metrics, "errors", "help");
        let (controller, facade) = (readiness.gate("controller"), readiness.gate("facade"));
        assert_eq!(
            readiness.answer(&metrics),
            (StatusCode::SERVICE_UNAVAILABLE, "waiting for: controller, facade\n".into())
        );
        controller();
        watches.begins("pods", None);
        let body = "waiting for: facade\n- has not listed pods in all namespaces yet\n";
        assert_eq!(readiness.answer(&metrics).1, body);
        facade();
        assert_eq!(readiness.answer(&metrics), (StatusCode::OK, "ok\n".into()));
    }
}
