//! Logs of containers, as a kubelet keeps and serves them.

use std::{collections::HashMap, io};

use axum::body::{Body, Bytes};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::watch;

use super::{
    ApiServer,
    error::ApiError,
    kinds::Kind,
    store::{Key, State, text},
};

/// Namespace, pod, container.
pub(super) type LogKey = (String, String, String);

/// What is left of a log.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: Vec<Entry>,
    /// Entries that were rotated away.
    dropped: usize,
    written: i64,
}

/// What a container wrote at once: a line, or a part of one.
#[derive(Debug)]
struct Entry {
    at: Timestamp,
    text: Vec<u8>,
    is_line: bool,
}

/// Followings of all logs.
#[derive(Debug, Default)]
pub(super) struct Follows {
    open: usize,
    breaks: usize,
    sent: usize,
}

/// How a log is asked for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    since: Option<Timestamp>,
    timestamps: bool,
}

impl Log {
    fn write(&mut self, now: Timestamp, text: &[u8]) {
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            // No two lines are written at the same nanosecond.
            let at = now + SignedDuration::from_nanos(self.written);
            self.written += 1;
            let text = line.strip_suffix(b"\n");
            self.entries.push(Entry { at, text: text.unwrap_or(line).to_vec(), is_line: text.is_some() });
        }
    }

    /// The entries from the one of this number on, as text.
    fn text(&self, from: usize, asked: Asked, is_new_line: &mut bool) -> Vec<u8> {
        let mut out = Vec::new();
        for entry in self.entries.iter().skip(from.saturating_sub(self.dropped)) {
            if asked.since.is_none_or(|since| entry.at >= since) {
                if asked.timestamps && *is_new_line {
                    out.extend(entry.at.strftime("%Y-%m-%dT%H:%M:%S.%9fZ ").to_string().bytes());
                }
                out.extend(&entry.text);
                out.extend(entry.is_line.then_some(b'\n'));
            }
            *is_new_line = entry.is_line;
        }
        out
    }

    fn end(&self) -> usize {
        self.dropped + self.entries.len()
    }
}

fn containers(pod: &Value) -> Vec<String> {
    let list = |field: &str| pod["spec"][field].as_array().into_iter().flatten();
    let names = list("containers").chain(list("initContainers"));
    let name = |c: &Value| c["name"].as_str().unwrap_or_default().to_owned();
    names.map(name).collect()
}

fn status<'a>(pod: &'a Value, container: &str) -> Option<&'a Value> {
    pod["status"]["containerStatuses"].as_array()?.iter().find(|status| status["name"] == container)
}

/// A pod's log, as the query wants it.
pub(super) fn read(
    server: &ApiServer,
    state: &mut State,
    kind: &Kind,
    key: &Key,
    query: &HashMap<String, String>,
) -> Result<Body, ApiError> {
    let bad = |why: String| Err(ApiError::new(400, why));
    let pod = state.existing(kind, key)?;
    let name = &key.2;
    let names = containers(&pod);
    let container = match query.get("container") {
        Some(asked) if names.contains(asked) => asked,
        Some(asked) => return bad(format!("container {asked} is not valid for pod {name}")),
        None if pod["spec"]["containers"].as_array().is_some_and(|c| c.len() > 1) => {
            let names = names.join(" ");
            return bad(format!("a container name must be specified for pod {name}, choose one of: [{names}]"));
        }
        None => names.first().map_or("", String::as_str),
    };
    if text(&pod, "/spec/nodeName").is_none_or(str::is_empty) {
        // Not scheduled: the real server has nowhere to ask, and answers with nothing.
        return Ok(Body::empty());
    }
    let status = status(&pod, container);
    let waiting = status.map_or(&Value::Null, |s| &s["state"]["waiting"]);
    if waiting.is_object() || (pod["status"]["phase"] == "Pending" && status.is_none()) {
        let why = waiting["reason"].as_str().unwrap_or("ContainerCreating");
        return bad(format!("container \"{container}\" in pod \"{name}\" is waiting to start: {why}"));
    }
    let flag = |field: &str| query.get(field).is_some_and(|v| v == "true" || v == "1");
    if flag("previous") {
        return bad(format!("previous terminated container \"{container}\" in pod \"{name}\" not found"));
    }
    let number = |field: &str| query.get(field).and_then(|v| v.parse::<i64>().ok());
    let since = query
        .get("sinceTime")
        .and_then(|v| v.parse().ok())
        .or_else(|| number("sinceSeconds").map(|seconds| state.clock - SignedDuration::from_secs(seconds)));
    let asked = Asked { since, timestamps: flag("timestamps") };
    let log_key = (key.1.clone(), name.clone(), container.to_owned());
    let log = state.logs.entry(log_key.clone()).or_default();
    let tail = number("tailLines").map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(0));
    let from = log.end() - tail.min(log.entries.len());
    if flag("follow") {
        state.follows.open += 1;
        let breaks = state.follows.breaks;
        let (wake, server) = (server.subscribe(), server.clone());
        let following =
            Following { server, pod: key.clone(), log: log_key, from, asked, is_new_line: true, breaks, wake };
        return Ok(Body::from_stream(futures::stream::unfold(following, Following::next)));
    }
    let mut out = log.text(from, asked, &mut true);
    if let Some(limit) = number("limitBytes") {
        out.truncate(usize::try_from(limit).unwrap_or(0));
    }
    Ok(Body::from(out))
}

/// A log that is followed until its container ends.
struct Following {
    server: ApiServer,
    pod: Key,
    log: LogKey,
    from: usize,
    asked: Asked,
    is_new_line: bool,
    breaks: usize,
    wake: watch::Receiver<u64>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.server.change(|state| state.follows.open -= 1);
    }
}

impl Following {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        loop {
            self.wake.borrow_and_update();
            let (text, is_over, is_broken) = self.poll();
            if is_broken {
                // The next call ends it.
                self.breaks = usize::MAX;
                return Some((Err(io::Error::from(io::ErrorKind::ConnectionReset)), self));
            }
            if !text.is_empty() {
                return Some((Ok(text.into()), self));
            }
            if is_over || self.wake.changed().await.is_err() {
                return None;
            }
        }
    }

    fn poll(&mut self) -> (Vec<u8>, bool, bool) {
        let server = self.server.clone();
        let mut state = server.lock();
        if self.breaks != state.follows.breaks {
            return (Vec::new(), true, self.breaks != usize::MAX);
        }
        let pod = state.objects.get(&self.pod).cloned();
        let is_over = pod.is_none_or(|pod| {
            status(&pod, &self.log.2).is_some_and(|status| status["state"]["terminated"].is_object())
        });
        let Some(log) = state.logs.get(&self.log) else { return (Vec::new(), is_over, false) };
        let text = log.text(self.from, self.asked, &mut self.is_new_line);
        self.from = log.end();
        state.follows.sent += text.len();
        (text, is_over, false)
    }
}

impl ApiServer {
    /// Replaces the log of a pod's container; all lines are written now. A line without an end is a part of one.
    pub fn set_log(&self, namespace: &str, name: &str, container: &str, text: impl AsRef<[u8]>) {
        self.with_log(namespace, name, container, |log, now| {
            *log = Log::default();
            log.write(now, text.as_ref());
        });
    }

    /// Appends to the log of a pod's container; the new lines are written now.
    pub fn append_log(&self, namespace: &str, name: &str, container: &str, text: impl AsRef<[u8]>) {
        self.with_log(namespace, name, container, |log, now| log.write(now, text.as_ref()));
    }

    /// Drops the first entries of a log.
    pub fn rotate_log(&self, namespace: &str, name: &str, container: &str, entries: usize) {
        self.with_log(namespace, name, container, |log, _| {
            log.entries.drain(..entries);
            log.dropped += entries;
        });
    }

    fn with_log(&self, namespace: &str, name: &str, container: &str, change: impl FnOnce(&mut Log, Timestamp)) {
        let key = (namespace.to_owned(), name.to_owned(), container.to_owned());
        self.change(|state| {
            let now = state.clock;
            change(state.logs.entry(key).or_default(), now);
        });
    }

    /// How many logs are being followed.
    pub fn open_follows(&self) -> usize {
        self.lock().follows.open
    }

    /// How many bytes were handed to those who follow logs.
    pub fn followed_bytes(&self) -> usize {
        self.lock().follows.sent
    }

    /// Breaks the connections of all who follow logs.
    pub fn break_follows(&self) {
        self.change(|state| state.follows.breaks += 1);
    }
}
