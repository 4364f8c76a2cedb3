//! `?watch=true`: batches as they are and then as they change, as server-sent events.
//!
//! | event | data | when |
//! |---|---|---|
//! | `batch` | the batch, as a GET shows it | it is asked for and new to the client, or has changed |
//! | `left` | the batch, as a GET shows it | it is no longer one of those asked for, which the client was shown it as |
//! | `deleted` | `{"id":N}` | it was shown, and is gone |
//! | `synced` | `{}` | every batch was shown once; what follows are changes |
//!
//! Nothing is queued for a client. Each stream reads the changes from the store when its client has taken what came
//! before, and of a batch that changed twice meanwhile the client sees the latest state only. A client that takes
//! nothing for a while loses its place.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::stream::{StreamExt as _, poll_fn};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::AppState;
use super::batches::{Answer, links};
use super::streams::Permit;
use super::tenant::Tenant;
use crate::livy::{BatchBody, BatchFilter, BatchView};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Keeps a proxy from holding events back until it has more of them.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Silence after which a comment is sent, so that proxies leave the connection open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long clients are to wait before they connect again.
const RETRY: Duration = Duration::from_secs(2);
/// Id of the event with a batch's final state. A browser connects again when a stream ends, and names it then.
const FINAL: &str = "final";
/// Events that wait for the client to take them.
const QUEUE: usize = 16;

/// How long a stream may go on.
#[derive(Clone, Copy)]
struct Bounds {
    /// In all: then the client has to come again, and is authorised again.
    age: Duration,
    /// Without the client taking anything.
    patience: Duration,
}

const BOUNDS: Bounds = Bounds { age: Duration::from_secs(3600), patience: Duration::from_secs(60) };

/// The batches that `filter` takes, and what becomes of them, with `details` of each if they are asked for.
pub(super) fn many(state: &AppState, tenant: Tenant, filter: BatchFilter, details: bool) -> Answer {
    let state = Arc::clone(state);
    Ok(stream(state.streams.permit()?, BOUNDS, |events| {
        Watcher { state, tenant, filter, details, events, shown: Ids::default() }.run()
    }))
}

/// The batch of `view`, and what becomes of it until its final state.
pub(super) fn one(state: &AppState, tenant: Tenant, view: &BatchView, headers: &HeaderMap) -> Answer {
    if view.phase.is_final() && headers.get(LAST_EVENT_ID).is_some_and(|id| id == FINAL) {
        // This is what makes a browser stop.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let (state, id, uid) = (Arc::clone(state), view.id, view.uid.clone());
    Ok(stream(state.streams.permit()?, BOUNDS, move |events| follow(state, tenant, id, uid, events)))
}

/// The client is gone, or takes nothing.
#[derive(Debug)]
struct Gone;

/// Where events go to.
struct Events {
    sender: mpsc::Sender<Event>,
    patience: Duration,
}

impl Events {
    async fn send(&self, event: Event) -> Result<(), Gone> {
        self.sender.send_timeout(event, self.patience).await.map_err(|_| Gone)
    }
}

fn event(name: &str, data: &impl Serialize) -> Event {
    // What answers are made of can be serialised.
    Event::default().event(name).json_data(data).unwrap_or_default()
}

#[derive(Serialize)]
struct Deleted {
    id: i32,
}

#[derive(Serialize)]
struct Synced {}

/// The answer that `work` sends events for, in a task of its own: that ends in time however little the client
/// does, and gives the permit back.
fn stream<W>(permit: Permit, bounds: Bounds, work: impl FnOnce(Events) -> W) -> Response
where
    W: Future<Output = Result<(), Gone>> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel(QUEUE);
    let work = work(Events { sender: sender.clone(), patience: bounds.patience });
    tokio::spawn(async move {
        tokio::select! {
            _ = work => {}
            () = sender.closed() => {}
            () = permit.closing.cancelled() => {}
            () = sleep(bounds.age) => {}
        }
        drop(permit);
    });
    let events = poll_fn(move |context| receiver.poll_recv(context)).map(Ok::<_, Infallible>);
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

/// Sends the batch of an id until its final state was sent, or until it is gone.
async fn follow(state: AppState, tenant: Tenant, id: i32, uid: String, events: Events) -> Result<(), Gone> {
    let mut news = state.batches.subscribe(&tenant.namespace);
    let mut shown = String::new();
    events.send(Event::default().retry(RETRY)).await?;
    loop {
        let Some(view) = state.batches.by_id(&tenant.namespace, id).filter(|view| view.uid == uid) else {
            return events.send(event("deleted", &Deleted { id })).await;
        };
        let body =
            serde_json::to_string(&BatchBody::read(&view, tenant.dialect, &links(&state, &tenant))).unwrap_or_default();
        let next = Event::default().event("batch").data(&body);
        if view.phase.is_final() {
            return events.send(next.id(FINAL)).await;
        }
        if body != shown {
            events.send(next).await?;
            shown = body;
        }
        news.changed().await.map_err(|_| Gone)?;
    }
}

/// Sends batches of a list, and what becomes of them.
struct Watcher {
    state: AppState,
    tenant: Tenant,
    filter: BatchFilter,
    details: bool,
    events: Events,
    /// The batches that the client has been shown, and not been told to forget.
    shown: Ids,
}

impl Watcher {
    async fn run(mut self) -> Result<(), Gone> {
        let mut news = self.state.batches.subscribe(&self.tenant.namespace);
        let mut synced = false;
        self.events.send(Event::default().retry(RETRY)).await?;
        loop {
            let mut read = *news.borrow_and_update();
            self.show_all().await?;
            if !synced {
                synced = true;
                self.events.send(event("synced", &Synced {})).await?;
            }
            // A client so slow that changes are forgotten before it takes them is shown everything once more.
            while let Some(changes) = self.state.batches.changes(&self.tenant.namespace, read) {
                if changes.batches.is_empty() {
                    news.changed().await.map_err(|_| Gone)?;
                }
                for (id, view) in changes.batches {
                    self.show(id, view).await?;
                }
                read = changes.last;
            }
        }
    }

    /// Shows every batch, having told of those that are gone since they were shown.
    async fn show_all(&mut self) -> Result<(), Gone> {
        for id in self.shown.all() {
            let view = self.state.batches.by_id(&self.tenant.namespace, id);
            if !view.as_ref().is_some_and(|view| self.matches(view)) {
                self.show(id, view).await?;
            }
        }
        let mut at = None;
        loop {
            let mut found = Vec::new();
            at = self.state.batches.walk(&self.tenant.namespace, false, at, |view| {
                if self.matches(view) {
                    found.push(Arc::clone(view));
                }
            });
            for view in found {
                self.show(view.id, Some(view)).await?;
            }
            if at.is_none() {
                return Ok(());
            }
        }
    }

    /// Tells what there is to tell of a batch: `view` is what it is now, unless it is gone.
    async fn show(&mut self, id: i32, view: Option<Arc<BatchView>>) -> Result<(), Gone> {
        let links = links(&self.state, &self.tenant);
        let body = |view| BatchBody::read_with(view, self.details, self.tenant.dialect, &links);
        let told = match view {
            Some(view) if self.matches(&view) => {
                let told = event("batch", &body(&view));
                self.shown.insert(id);
                told
            }
            Some(view) if self.shown.remove(id) => event("left", &body(&view)),
            None if self.shown.remove(id) => event("deleted", &Deleted { id }),
            _ => return Ok(()),
        };
        self.events.send(told).await
    }

    fn matches(&self, view: &BatchView) -> bool {
        self.filter.matches(view, self.tenant.dialect)
    }
}

/// A set of ids. They are given without holes, so that a bit is the least that one takes: of a hundred thousand,
/// some forty kilobytes.
#[derive(Default)]
struct Ids {
    /// 64 ids each, by their number through 64.
    bits: BTreeMap<i32, u64>,
}

impl Ids {
    fn place(id: i32) -> (i32, u64) {
        (id.div_euclid(64), 1 << id.rem_euclid(64))
    }

    fn insert(&mut self, id: i32) {
        let (at, bit) = Self::place(id);
        *self.bits.entry(at).or_default() |= bit;
    }

    /// Whether `id` was in it.
    fn remove(&mut self, id: i32) -> bool {
        let (at, bit) = Self::place(id);
        let Some(bits) = self.bits.get_mut(&at) else { return false };
        let was_in = *bits & bit != 0;
        *bits &= !bit;
        if *bits == 0 {
            self.bits.remove(&at);
        }
        was_in
    }

    fn all(&self) -> Vec<i32> {
        let of =
            |(&at, &bits): (&i32, &u64)| (0..64).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| at * 64 + bit);
        self.bits.iter().flat_map(of).collect()
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
