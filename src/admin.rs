//! The port for the cluster: is the process alive, is it ready, and what does it count?
//!
//! Alive and ready are different things: a process that waits for its caches, or for a definition that is
//! not installed yet, is alive and says what it waits for.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
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

    fn answer(&self) -> (StatusCode, String) {
        let closed = self.closed();
        if closed.is_empty() {
            return (StatusCode::OK, "ok\n".to_owned());
        }
        let names: Vec<_> = closed.iter().copied().collect();
        (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for: {}\n", names.join(", ")))
    }
}

/// `/livez`, `/readyz` and `/metrics`.
pub fn router(readiness: Readiness, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(async |State(readiness): State<Readiness>| readiness.answer()))
        .with_state(readiness)
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

    #[test]
    fn readiness_names_what_it_waits_for() {
        let readiness = Readiness::default();
        let (controller, facade) = (readiness.gate("controller"), readiness.gate("facade"));
        assert_eq!(readiness.answer(), (StatusCode::SERVICE_UNAVAILABLE, "waiting for: controller, facade\n".into()));
        controller();
        assert_eq!(readiness.answer().1, "waiting for: facade\n");
        facade();
        assert_eq!(readiness.answer().0, StatusCode::OK);
    }
}
