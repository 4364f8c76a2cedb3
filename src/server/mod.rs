//! HTTP/1 connections: how many there are, how slow they may be, and how they end.
//!
//! The answers are a [`Router`]'s. What hyper refuses by itself, because it is no HTTP or too long, is answered with
//! 400, 414 or 431 and an empty body.

mod socket;
mod tls;
#[cfg(test)]
mod tls_tests;

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use tracing::{debug, warn};

use self::socket::{Pace, Socket, Timed};
pub use self::tls::{Tls, TlsError, TlsFiles};

/// Pause after a connection could not be accepted, for want of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// How long what a client still sends after its last answer is read, and how much of it.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 4 * 1024 * 1024;
/// Connections beyond the limit that are told so at once; what is beyond these, too, is closed without a word.
const TURNED_AWAY: usize = 64;
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/json;charset=utf-8\r\n\
    content-length: 50\r\n\
    retry-after: 1\r\n\
    connection: close\r\n\r\n\
    {\"msg\":\"too many connections are open; try again\"}";

/// Bounds on connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections at once; more are answered with 503 and closed, or closed without a word where TLS would have to come
    /// first.
    pub connections: usize,
    /// How long a connection may be open without a request. Longer than the proxies in front keep theirs, or they
    /// send requests into a connection that is being closed.
    pub idle: Duration,
    /// How long the head of a request may take to arrive, from its first byte; and a TLS handshake.
    pub head: Duration,
    /// Longest head of a request, in bytes; at least 8192.
    pub head_bytes: usize,
    /// How long a client may read nothing while there is something for it to read.
    pub stall: Duration,
    /// How long a client may take to read an answer of known length.
    pub answer: Duration,
    /// How long requests in flight may go on after a shutdown begins.
    pub drain: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 4096,
            idle: Duration::from_secs(75),
            head: Duration::from_secs(10),
            head_bytes: 64 * 1024,
            stall: Duration::from_secs(30),
            answer: Duration::from_secs(60),
            drain: Duration::from_secs(25),
        }
    }
}

/// The connections of a server: how many may come yet, and what became of others.
#[derive(Clone, Debug)]
pub struct Connections {
    free: Arc<Semaphore>,
    limits: ConnectionLimits,
    /// Connections that were turned away as there were too many.
    pub turned_away: Counter,
    /// Connections that were cut as their clients were too slow.
    pub cut: Counter,
}

impl Connections {
    /// None yet.
    #[must_use]
    pub fn new(limits: ConnectionLimits) -> Self {
        let limits = ConnectionLimits { connections: limits.connections.min(Semaphore::MAX_PERMITS), ..limits };
        let free = Arc::new(Semaphore::new(limits.connections));
        Self { free, limits, turned_away: Counter::default(), cut: Counter::default() }
    }

    /// Connections that are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.limits.connections.saturating_sub(self.free.available_permits())
    }
}

/// Serves until `cancel`, then lets requests in flight end. Returns whether all of them did in time. Handlers find
/// the client's address as [`ConnectInfo`]. Without `tls`, bytes travel as they are.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    router: Router,
    connections: &Connections,
    cancel: CancellationToken,
) -> bool {
    let tasks = TaskTracker::new();
    let server = Server::new(tls, router, connections.clone(), cancel.clone());
    let killed = CancellationToken::new();
    let _kill = killed.clone().drop_guard();
    let turning_away = Arc::new(Semaphore::new(TURNED_AWAY));
    while let Some(accepted) = cancel.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => {
                if let Ok(permit) = Arc::clone(&connections.free).try_acquire_owned() {
                    let connection = server.clone().connection(stream, peer, permit);
                    tasks.spawn(killed.clone().run_until_cancelled_owned(connection));
                } else {
                    connections.turned_away.inc();
                    if server.tls.is_none()
                        && let Ok(permit) = Arc::clone(&turning_away).try_acquire_owned()
                    {
                        tasks.spawn(killed.clone().run_until_cancelled_owned(turn_away(stream, permit)));
                    }
                }
            }
            Err(error) if is_clients(&error) => {}
            Err(error) => {
                warn!(%error, "cannot accept connections; trying again");
                cancel.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE)).await;
            }
        }
    }
    // New connections are refused from here on.
    drop(listener);
    tasks.close();
    tokio::time::timeout(connections.limits.drain, tasks.wait()).await.is_ok()
}

/// Whether an error of `accept` is about the one connection only.
fn is_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// What a connection is served with.
#[derive(Clone)]
struct Server {
    http: http1::Builder,
    tls: Option<Arc<Tls>>,
    router: Router,
    connections: Connections,
    cancel: CancellationToken,
}

impl Server {
    fn new(tls: Option<Arc<Tls>>, router: Router, connections: Connections, cancel: CancellationToken) -> Self {
        let limits = &connections.limits;
        let mut http = http1::Builder::new();
        // hyper counts the time of a head from the end of the request before it: that is idle time here, and the
        // socket counts the time of the head.
        http.timer(TokioTimer::new()).header_read_timeout(limits.idle);
        // A buffer may have room for more than it is asked to hold, so the head has a bound of its own.
        http.max_buf_size(limits.head_bytes.max(8192)).max_header_size(limits.head_bytes);
        Self { http, tls, router, connections, cancel }
    }

    async fn connection(self, stream: TcpStream, peer: SocketAddr, _permit: OwnedSemaphorePermit) {
        // Answers are small and written at once: nothing is gained by waiting for more to send.
        drop(stream.set_nodelay(true));
        let Some(tls) = &self.tls else { return self.converse(stream, peer).await };
        let shaking = tokio::time::timeout(self.connections.limits.head, tls.accept(stream));
        match self.cancel.run_until_cancelled(shaking).await {
            Some(Ok(Ok(stream))) => self.converse(stream, peer).await,
            Some(Ok(Err(error))) => debug!(%peer, %error, "no TLS connection came about"),
            Some(Err(_)) => {
                self.connections.cut.inc();
            }
            // Nothing was asked for yet.
            None => {}
        }
    }

    async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: S, peer: SocketAddr) {
        let pace = Pace::new(&self.connections.limits);
        let socket = TokioIo::new(Socket::new(stream, pace.clone()));
        let service = service_fn(|request| Box::pin(answer(self.router.clone(), request, peer, pace.clone())));
        let mut connection = self.http.serve_connection(socket, service);
        let mut was_idle = false;
        let ended = tokio::select! {
            ended = poll_fn(|context| connection.poll_without_shutdown(context)) => ended,
            () = self.cancel.cancelled() => {
                was_idle = pace.is_idle();
                Pin::new(&mut connection).graceful_shutdown();
                poll_fn(|context| connection.poll_without_shutdown(context)).await
            }
        };
        if let Err(error) = ended {
            debug!(%peer, %error, "connection ended");
        }
        let socket = connection.into_parts().io.into_inner();
        if socket.is_cut() {
            self.connections.cut.inc();
        } else if was_idle {
            // TLS has an end of its own.
            drop(tokio::time::timeout(LINGER, socket.into_inner().shutdown()).await);
        } else {
            linger(socket.into_inner()).await;
        }
    }
}

async fn answer(
    router: Router,
    request: Request<Incoming>,
    peer: SocketAddr,
    pace: Pace,
) -> Result<http::Response<Timed>, Infallible> {
    pace.request_begins();
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = router.oneshot(request).await?;
    pace.answer_begins(response.body().size_hint().exact().is_some());
    Ok(response.map(|body| Timed::new(body, pace)))
}

async fn turn_away(stream: TcpStream, _permit: OwnedSemaphorePermit) {
    // Fits into the empty buffer of a new socket.
    if stream.try_write(TOO_MANY).is_ok() {
        linger(stream).await;
    }
}

/// Ends a connection so that the client can read its answer: where something that it sent is unread, closing makes
/// the kernel throw away what is on the way.
async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let discarding = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    drop(tokio::time::timeout(LINGER, discarding).await);
}
