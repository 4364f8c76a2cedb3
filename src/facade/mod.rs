//! Livy's REST API: requests become create, read, list and delete of `SparkBatch` resources.
//!
//! Does IO and holds no state that the API server does not: reads come from a watch cache, writes go to the API
//! server before they are acknowledged. Any number of processes serve side by side.
//!
//! # RBAC needed
//! | resource | verbs | for |
//! |---|---|---|
//! | `sparkbatches.sparkbatch.dev` | get, list, watch | everything |
//! | `sparkbatches.sparkbatch.dev` | create, delete | without authentication; else callers write with their own rights |
//! | `tokenreviews.authentication.k8s.io`, `subjectaccessreviews.authorization.k8s.io` | create | who calls, and what they may |
//! | `configmaps` | get, create, update | batch ids ([`crate::ids`]) |
//! | `secrets` | create | credentials of requests |
//! | `namespaces` | get, list, watch | instance ids, and which namespaces there are |
//! | `pods/log` | get | `GET …/log` |

mod auth;
mod batches;
mod config;
mod docs;
mod error;
mod etag;
mod external;
mod extract;
mod layers;
mod list;
mod logs;
mod metrics;
mod page;
mod router;
mod store;
mod streams;
mod submit;
mod tenant;
mod ui;
mod upstream;
mod watch;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use kube::Client;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use auth::Clients;
pub use config::{AuthMode, FacadeConfig, Limits, ProxyUsers, UiLimits};
pub use docs::{DocumentError, document};
pub use external::{ExternalUrl, ExternalUrlError};

use self::auth::Auth;
use self::docs::Docs;
use self::layers::Callers;
use self::metrics::Counters;
use self::store::{BatchCache, NamespaceCache, Progress};
use self::streams::Streams;
use crate::ids::IdAllocator;
pub use crate::livy::{HistoryUrl, HistoryUrlError};
use crate::metrics::Metrics;
use crate::server::{self, Connections, Tls, TlsError};

/// Why the facade cannot serve.
#[derive(Debug, Error)]
pub enum FacadeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}; use a free port of an address of this machine")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Its certificate cannot be served.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The facade of one process.
#[derive(Clone)]
pub struct Facade {
    state: AppState,
}

/// What handlers share.
struct Shared {
    /// The facade's own client.
    client: Client,
    auth: Auth,
    config: FacadeConfig,
    ids: IdAllocator,
    batches: BatchCache,
    namespaces: NamespaceCache,
    progress: Progress,
    /// For requests in flight.
    permits: Arc<Semaphore>,
    /// For the bytes of request bodies.
    bodies: Arc<Semaphore>,
    streams: Streams,
    docs: Docs,
    logs: logs::Index,
    callers: Callers,
    connections: Connections,
    counters: Counters,
}

type AppState = Arc<Shared>;

impl Facade {
    /// A facade that calls the API server through `clients` and takes ids from `ids`, which a controller of the
    /// same process shares. It shows in `metrics` what it does.
    #[must_use]
    pub fn new(clients: Clients, ids: IdAllocator, config: FacadeConfig, metrics: &Metrics) -> Self {
        let connections = Connections::new(config.limits.connections);
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        let state = Shared {
            ids,
            batches: BatchCache::default(),
            namespaces: NamespaceCache::default(),
            progress: Progress::of(&config.namespaces),
            docs: Docs::default(),
            permits: semaphore(config.limits.in_flight),
            bodies: semaphore(config.limits.bodies_bytes),
            streams: Streams::new(config.limits.streams, CancellationToken::new()),
            client: clients.own.clone(),
            auth: Auth::new(clients, &config),
            logs: logs::Index::default(),
            callers: Callers::new(&config),
            counters: Counters::new(metrics, &connections),
            connections,
            config,
        };
        let state = Arc::new(state);
        metrics::sample(metrics, &state);
        Self { state }
    }

    /// The routes, in all their layers.
    pub fn router(&self) -> Router {
        router::router(Arc::clone(&self.state))
    }

    /// Feeds the caches; goes on until dropped. Until they are complete, requests are answered with 503.
    pub async fn feed(&self) {
        let Shared { client, config, batches, namespaces, ids, progress, counters, .. } = &*self.state;
        store::feed(client, &config.namespaces, batches, namespaces, ids, progress, counters).await;
    }

    /// Waits for the caches to be complete.
    pub async fn synced(&self) {
        self.state.progress.synced().await;
    }
}

/// Serves until `cancel`, then lets requests in flight end, as long as the limits allow. Calls `ready` once the caches
/// are complete.
pub async fn serve(
    clients: Clients,
    ids: IdAllocator,
    config: FacadeConfig,
    metrics: &Metrics,
    cancel: CancellationToken,
    ready: impl FnOnce() + Send,
) -> Result<(), FacadeError> {
    let address = config.listen;
    let tls = config.tls.clone().map(Tls::open).transpose()?.map(Arc::new);
    let listener = TcpListener::bind(address).await.map_err(|source| FacadeError::Bind { address, source })?;
    if config.auth == AuthMode::None && !address.ip().to_canonical().is_loopback() {
        warn!(%address, "no authentication: whoever reaches this address may submit, read and delete batches");
    }
    let facade = Facade::new(clients, ids, config, metrics);
    info!(%address, tls = tls.is_some(), "facade listens");

    let following = async {
        if let Some(tls) = tls.clone() {
            tls.follow().await;
        }
        std::future::pending::<()>().await;
    };
    let server = server::serve(listener, tls.clone(), facade.router(), &facade.state.connections, cancel.clone());
    let announce = async {
        facade.synced().await;
        info!("facade is ready");
        ready();
        std::future::pending::<()>().await;
    };
    let closing = async {
        cancel.cancelled().await;
        facade.state.streams.close();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        all_ended = server => {
            if !all_ended {
                warn!("requests were still in flight as the time to end them was over");
            }
        }
        () = closing => {}
        () = following => {}
        () = facade.feed() => {}
        () = announce => {}
    }
    Ok(())
}
