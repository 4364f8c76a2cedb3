//! One request to a driver: a connection of its own, bounded in time, its answer passed on as it comes.

use std::net::SocketAddr;

use axum::body::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::config::UiLimits;
use super::super::error::ApiError;
use super::super::streams::Permit;

/// Most header lines of a driver's answer, and most bytes that all of them have.
const MAX_HEADERS: usize = 64;
const MAX_HEAD: usize = 64 * 1024;

/// Sends `request`, whose URI is a path, to `address`.
///
/// The connection holds `permit`, and ends with the answer, after `limits.answer`, when the process is about to end,
/// and when the caller goes.
pub(super) async fn send(
    address: SocketAddr,
    request: Request<Empty<Bytes>>,
    limits: UiLimits,
    permit: Permit,
) -> Result<Response<Incoming>, ApiError> {
    let connected = timeout(limits.connect, TcpStream::connect(address)).await.map_err(|_| silent())?;
    let stream = connected.map_err(|error| broken().because(error))?;
    let answer = timeout(limits.head, exchange(stream, request, limits, permit)).await.map_err(|_| silent())?;
    let answer = answer.map_err(|error| broken().because(error))?;
    // Nothing was asked for that another protocol could be the answer to.
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS { Err(broken()) } else { Ok(answer) }
}

async fn exchange(
    stream: TcpStream,
    request: Request<Empty<Bytes>>,
    limits: UiLimits,
    permit: Permit,
) -> hyper::Result<Response<Incoming>> {
    let mut http = http1::Builder::new();
    http.max_headers(MAX_HEADERS).max_buf_size(MAX_HEAD);
    let (mut sender, connection) = http.handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // Named as a whole: else the task would take the one field that it reads, and the place be free at once.
        let permit = permit;
        // What went wrong is told to whoever waits for the answer or its body.
        tokio::select! {
            _ = connection => {}
            () = tokio::time::sleep(limits.answer) => {}
            () = permit.closing.cancelled() => {}
        }
    });
    sender.send_request(request).await
}

fn silent() -> ApiError {
    let text = "the driver's Spark UI does not answer in time: it may be busy or about to end; try again";
    ApiError::new(StatusCode::GATEWAY_TIMEOUT, text)
}

fn broken() -> ApiError {
    let text = "the driver's Spark UI does not answer: it may be about to start or to end; try again";
    ApiError::new(StatusCode::BAD_GATEWAY, text)
}
