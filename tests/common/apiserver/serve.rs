//! The way of a request through the server, and the ways to connect to it.

use std::{
    convert::Infallible,
    io,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
};
use futures::future::BoxFuture;
use http::{Request, Response, request::Parts};
use tower::{BoxError, Service};

use super::{ApiServer, error::ApiError, faults::Plan, http::Incoming, reply::respond};

/// A client's connection: what a `kube::Client` sends its requests through.
#[derive(Clone)]
pub struct Connection {
    server: ApiServer,
    client: usize,
}

impl Service<Request<kube::client::Body>> for Connection {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        let Self { server, client } = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            Ok(server.handle(client, &parts, &body).await?)
        })
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "connection reset by the fake API server")
}

impl ApiServer {
    /// A new connection with this label, to make a client of.
    pub fn connection(&self, label: &str) -> Connection {
        let client = self.lock().faults.connect(label);
        Connection { server: self.clone(), client }
    }

    /// A router with this label, to be served on a real socket. A broken connection becomes a
    /// response whose body fails at once.
    pub fn router(&self, label: &str) -> Router {
        let Connection { server, client } = self.connection(label);
        Router::new().fallback(move |request: axum::extract::Request| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
                let answer = server.handle(client, &parts, &body).await;
                let failed = |error| {
                    let failure = futures::stream::iter([Err::<Bytes, io::Error>(error)]);
                    Response::new(Body::from_stream(failure))
                };
                Ok::<_, Infallible>(answer.unwrap_or_else(failed))
            }
        })
    }

    async fn handle(&self, client: usize, parts: &Parts, body: &Bytes) -> Result<Response<Body>, io::Error> {
        let (incoming, id, plan) = self.receive(client, parts, body);
        self.wake();
        if let Some(time) = plan.delay {
            tokio::time::sleep(time).await;
        }
        if plan.hold {
            self.held_back().await;
        }
        for hook in &plan.before {
            hook(self);
        }
        let outcome = {
            let mut state = self.lock();
            if plan.refuse || state.faults.is_dead(client) {
                drop(state);
                self.wake();
                return Err(broken());
            }
            let outcome = if let Some(time) = plan.late {
                self.apply_late(time, incoming, client, id);
                Err(plan.answer.unwrap_or_else(|| ApiError::new(504, "the request timed out")))
            } else if let Some(error) = plan.answer {
                Err(error)
            } else {
                state.applied_call(id);
                state.acting = Some(client);
                let applied = incoming.apply(self, &mut state, client, plan.cut_after);
                state.acting = None;
                applied
            };
            if plan.die {
                state.faults.die(client);
                state.watches.cut_client(client);
            }
            outcome
        };
        self.wake();
        for hook in &plan.after {
            hook(self);
        }
        if let Some(time) = plan.linger {
            tokio::time::sleep(time).await;
        }
        let response = respond(outcome);
        let lost = plan.lose || self.lock().faults.is_dead(client);
        if lost {
            return Err(broken());
        }
        self.change(|state| state.answered_call(id, response.status().as_u16()));
        Ok(response)
    }

    /// Applies a request that nobody waits for any more.
    fn apply_late(&self, time: Duration, incoming: Incoming, client: usize, id: usize) {
        let server = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            {
                let mut state = server.lock();
                state.applied_call(id);
                state.acting = Some(client);
                // Refused or not: nobody hears of it.
                drop(incoming.apply(&server, &mut state, client, None));
                state.acting = None;
            }
            server.wake();
        });
    }

    fn receive(&self, client: usize, parts: &Parts, body: &Bytes) -> (Incoming, usize, Plan) {
        let mut state = self.lock();
        let incoming = Incoming::read(&state.kinds, state.faults.label(client), parts, body);
        let was_dead = state.faults.is_dead(client);
        let plan = state.faults.plan(client, &incoming.call);
        if !was_dead && state.faults.is_dead(client) {
            state.watches.cut_client(client);
        }
        state.calls.push(incoming.call.clone());
        let id = state.first_call + state.calls.len() - 1;
        (incoming, id, plan)
    }

    async fn held_back(&self) {
        let mut signal = self.subscribe();
        let before = {
            let mut state = self.lock();
            state.faults.holding += 1;
            state.faults.releases
        };
        // Also when the caller gives up and drops the request.
        let _guard = Held(self);
        self.wake();
        while self.lock().faults.releases == before && signal.changed().await.is_ok() {}
    }
}

struct Held<'a>(&'a ApiServer);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.change(|state| state.faults.holding -= 1);
    }
}
