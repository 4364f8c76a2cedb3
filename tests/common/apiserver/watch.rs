//! Watches: each one reads the history from its own cursor whenever something happened.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use axum::body::{Body, Bytes};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    ApiServer,
    error::ApiError,
    kinds::Kind,
    reply::metadata_only,
    select::Selector,
    store::{State, meta},
};

/// How a watch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// As when its time is over.
    Cleanly,
    /// As when the connection breaks.
    Broken,
}

/// One open watch.
struct Open {
    client: usize,
    plural: &'static str,
    cursor: u64,
    cut: Option<Cut>,
    bookmark: bool,
}

/// All open watches, and the kinds whose events are held back.
#[derive(Default)]
pub(super) struct Watches {
    open: BTreeMap<u64, Open>,
    held: BTreeSet<String>,
    opened: u64,
}

impl Watches {
    pub(super) fn hold(&mut self, plural: &str, held: bool) {
        if held {
            self.held.insert(plural.to_owned());
        } else {
            self.held.remove(plural);
        }
    }

    /// Whether the events of a kind are held back from the clients with this label.
    fn holds(&self, label: &str, plural: &str) -> bool {
        !self.held.is_empty() && (self.held.contains(plural) || self.held.contains(&format!("{label}/{plural}")))
    }

    pub(super) fn cut(&mut self, plural: &str, cut: Cut) {
        let all = self.open.values_mut();
        all.filter(|open| open.plural == plural || plural == "*").for_each(|open| open.cut = Some(cut));
    }

    pub(super) fn cut_client(&mut self, client: usize) {
        let all = self.open.values_mut();
        all.filter(|open| open.client == client).for_each(|open| open.cut = Some(Cut::Broken));
    }

    pub(super) fn bookmark(&mut self, plural: &str) {
        let all = self.open.values_mut();
        all.filter(|open| open.plural == plural).for_each(|open| open.bookmark = true);
    }

    pub(super) fn count(&self, plural: &str) -> usize {
        self.open.values().filter(|open| open.plural == plural).count()
    }

    /// Whether a watch of the kind is open and all of them have been given everything.
    pub(super) fn caught_up(&self, plural: &str, newest: u64) -> bool {
        let mut of_kind = self.open.values().filter(|open| open.plural == plural).peekable();
        of_kind.peek().is_some() && of_kind.all(|open| open.cursor >= newest)
    }
}

/// What a watch asks for.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) client: usize,
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) selector: Selector,
    /// `None` starts with the present state.
    pub(super) from: Option<u64>,
    pub(super) bookmarks: bool,
    pub(super) initial_events: bool,
    pub(super) partial: bool,
    /// End the stream after this many events.
    pub(super) cut_after: Option<usize>,
}

struct Stream {
    server: ApiServer,
    id: u64,
    request: Request,
    /// Lines not sent yet, as made when the watch was opened.
    initial: Vec<Bytes>,
    wake: watch::Receiver<u64>,
    ended: Option<Cut>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.server.lock().watches.open.remove(&self.id);
        self.server.wake();
    }
}

/// Opens a watch; its events are the body.
pub(super) fn open(server: &ApiServer, state: &mut State, request: Request) -> Body {
    let wake = server.subscribe();
    let (mut initial, mut ended) = (Vec::new(), None);
    match request.from {
        Some(from) if from < state.oldest => {
            initial.push(error_line(&ApiError::too_old(from, state.oldest)));
            ended = Some(Cut::Cleanly);
        }
        Some(from) if from > state.version => {
            let why = format!("Too large resource version: {from}, current: {}", state.version);
            initial.push(error_line(&ApiError::new(504, why)));
            ended = Some(Cut::Cleanly);
        }
        Some(_) => {}
        None => {
            for object in state.of_kind(request.kind.plural, &request.namespace) {
                if request.selector.matches(&object) {
                    initial.push(line("ADDED", &object, request.partial));
                }
            }
            if request.initial_events {
                initial.push(bookmark(&request, state.version, true));
            }
        }
    }
    let id = state.watches.opened;
    state.watches.opened += 1;
    state.watches.open.insert(
        id,
        Open {
            client: request.client,
            plural: request.kind.plural,
            cursor: request.from.unwrap_or(state.version),
            cut: None,
            bookmark: false,
        },
    );
    let stream = Stream { server: server.clone(), id, request, initial, wake, ended };
    Body::from_stream(futures::stream::unfold(stream, next))
}

async fn next(mut stream: Stream) -> Option<(io::Result<Bytes>, Stream)> {
    loop {
        stream.wake.borrow_and_update();
        let mut lines = std::mem::take(&mut stream.initial);
        if stream.ended.is_none() {
            stream.poll(&mut lines);
        }
        if let Some(left) = &mut stream.request.cut_after {
            if lines.len() >= *left {
                stream.ended = stream.ended.or(Some(Cut::Cleanly));
                lines.truncate(*left);
            }
            *left -= lines.len();
        }
        if !lines.is_empty() {
            return Some((Ok(lines.concat().into()), stream));
        }
        match stream.ended {
            Some(Cut::Cleanly) => return None,
            Some(Cut::Broken) => {
                stream.ended = Some(Cut::Cleanly);
                return Some((Err(io::Error::from(io::ErrorKind::ConnectionReset)), stream));
            }
            None => {}
        }
        if stream.wake.changed().await.is_err() {
            return None;
        }
    }
}

impl Stream {
    /// Adds the lines of all changes since the cursor.
    fn poll(&mut self, lines: &mut Vec<Bytes>) {
        let server = self.server.clone();
        let mut state = server.lock();
        let state = &mut *state;
        let request = &self.request;
        let is_held = state.watches.holds(state.faults.label(request.client), request.kind.plural);
        let Some(open) = state.watches.open.get_mut(&self.id) else {
            self.ended = Some(Cut::Cleanly);
            return;
        };
        self.ended = open.cut;
        if open.cut == Some(Cut::Broken) || is_held {
            return;
        }
        if open.cursor < state.dropped {
            lines.push(error_line(&ApiError::too_old(open.cursor, state.oldest)));
            self.ended = Some(Cut::Cleanly);
            return;
        }
        let from = state.history.partition_point(|change| change.version <= open.cursor);
        for change in state.history.iter().skip(from) {
            if change.plural != request.kind.plural
                || !(request.namespace.is_empty() || request.namespace == meta(&change.new, "namespace"))
            {
                continue;
            }
            let before = change.old.as_ref().filter(|old| request.selector.matches(old));
            let after = !change.deleted && request.selector.matches(&change.new);
            match (before, after) {
                (None, true) => lines.push(line("ADDED", &change.new, request.partial)),
                (Some(_), true) => lines.push(line("MODIFIED", &change.new, request.partial)),
                (Some(_), false) if change.deleted => {
                    lines.push(line("DELETED", &change.new, request.partial));
                }
                (Some(old), false) => {
                    // Out of the selection: the state that was last in it, under the new version.
                    let mut old = (**old).clone();
                    old["metadata"]["resourceVersion"] = json!(change.version.to_string());
                    lines.push(line("DELETED", &Arc::new(old), request.partial));
                }
                (None, false) => {}
            }
        }
        let moved = open.cursor < state.version;
        open.cursor = open.cursor.max(state.version);
        if std::mem::take(&mut open.bookmark) && request.bookmarks {
            lines.push(bookmark(request, state.version, false));
        }
        if moved {
            // For those who wait until this watch has caught up.
            server.wake();
        }
    }
}

fn encode(value: &Value) -> Bytes {
    format!("{value}\n").into()
}

fn line(event: &str, object: &Arc<Value>, partial: bool) -> Bytes {
    if partial {
        encode(&json!({"type": event, "object": metadata_only(object)}))
    } else {
        encode(&json!({"type": event, "object": **object}))
    }
}

fn error_line(error: &ApiError) -> Bytes {
    encode(&json!({"type": "ERROR", "object": error.to_status()}))
}

fn bookmark(request: &Request, version: u64, initial_end: bool) -> Bytes {
    let mut object = if request.partial {
        json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"})
    } else {
        json!({"kind": request.kind.kind, "apiVersion": request.kind.api_version()})
    };
    object["metadata"] = json!({"resourceVersion": version.to_string()});
    if initial_end {
        object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    encode(&json!({"type": "BOOKMARK", "object": object}))
}
