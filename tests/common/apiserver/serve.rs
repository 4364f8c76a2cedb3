//! The way of a request through the server, and the ways to connect to it.

use std::{
    convert::Infallible,
    io,
    task::{Context, Poll},
};

use axum::{
    Router,
    body::{Body, Bytes},
};
use futures::future::BoxFuture;
use http::{Request, Response, request::Parts};
use serde_json::Value;
use tower::{BoxError, Service};

use super::{
    ApiServer,
    faults::Plan,
    http::{Call, Incoming, respond},
};

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
        Connection {
            server: self.clone(),
            client,
        }
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
                let served = server.handle(client, &parts, &body).await;
                let failed = |error| {
                    let failure = futures::stream::iter([Err::<Bytes, io::Error>(error)]);
                    Response::new(Body::from_stream(failure))
                };
                Ok::<_, Infallible>(served.unwrap_or_else(failed))
            }
        })
    }

    async fn handle(
        &self,
        client: usize,
        parts: &Parts,
        body: &Bytes,
    ) -> Result<Response<Body>, io::Error> {
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
            let outcome = match plan.answer {
                Some(error) => Err(error),
                None => {
                    state.applied_call(id);
                    incoming.apply(self, &mut state, client, plan.cut_after)
                }
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
        let response = respond(outcome);
        let lost = plan.lose || self.lock().faults.is_dead(client);
        if lost {
            return Err(broken());
        }
        self.change(|state| state.answered_call(id, response.status().as_u16()));
        Ok(response)
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

    /// All calls since the last [`ApiServer::clear_calls`], in order of their arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// The calls this client made.
    pub fn calls_of(&self, label: &str) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| call.client == label);
        calls
    }

    /// The writing calls, in words: `create pods jobs/driver 201`.
    pub fn writes(&self) -> Vec<String> {
        let calls = self.calls();
        calls.iter().filter(|call| call.is_write()).map(ToString::to_string).collect()
    }

    /// How many calls had this verb and resource (`*` for any).
    pub fn count(&self, verb: &str, resource: &str) -> usize {
        let state = self.lock();
        let counts = |call: &&Call| {
            (verb == "*" || call.verb == verb) && (resource == "*" || call.resource == resource)
        };
        state.calls.iter().filter(counts).count()
    }

    /// The bodies of calls with this verb and resource.
    pub fn bodies(&self, verb: &str, resource: &str) -> Vec<Value> {
        let mut calls = self.calls();
        calls.retain(|call| call.verb == verb && call.resource == resource);
        calls.into_iter().filter_map(|call| call.body).collect()
    }

    /// Forgets all calls.
    pub fn clear_calls(&self) {
        let mut state = self.lock();
        state.first_call += state.calls.len();
        state.calls.clear();
    }
}

struct Held<'a>(&'a ApiServer);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.change(|state| state.faults.holding -= 1);
    }
}
