//! The port for the kubelet: is the process alive, and is it ready?
//!
//! Alive and ready are different things: a process that waits for its caches, or for a definition that is
//! not installed yet, is alive and says what it waits for.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

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

/// `/livez` and `/readyz`.
pub fn router(readiness: Readiness) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(async |State(readiness): State<Readiness>| readiness.answer()))
        .with_state(readiness)
}

/// Serves until `cancel` is cancelled.
///
/// # Errors
/// If the address cannot be bound.
pub async fn serve(listen: SocketAddr, readiness: Readiness, cancel: CancellationToken) -> std::io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    axum::serve(listener, router(readiness)).with_graceful_shutdown(cancel.cancelled_owned()).await
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
