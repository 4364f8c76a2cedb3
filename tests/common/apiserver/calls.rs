//! The record of requests, for assertions on who did what.

use std::{collections::HashMap, fmt};

use serde_json::Value;

use super::ApiServer;

/// A request the server received, for tests to look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Label of the client.
    pub client: String,
    /// The `Authorization` header, if there was one.
    pub authorization: Option<String>,
    /// Verb as in access rules: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`,
    /// `deletecollection`.
    pub verb: &'static str,
    /// Resource as in access rules (`pods`, `pods/log`), or the path of anything else.
    pub resource: String,
    /// Namespace, if the call was about one.
    pub namespace: Option<String>,
    /// Name, if the call was about one object.
    pub name: Option<String>,
    /// Status code of the answer; `None` if there was none (yet): pending, refused or lost.
    pub code: Option<u16>,
    /// Whether the request reached the state (and did not just fail on the way).
    pub applied: bool,
    /// Whether it was a dry run.
    pub dry_run: bool,
    /// The body, if it was JSON or YAML.
    pub body: Option<Value>,
    /// The query, decoded.
    pub query: HashMap<String, String>,
}

impl Call {
    /// Whether the call is of a writing kind.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch")
    }
}

impl fmt::Display for Call {
    /// `create pods jobs/driver 201`; instead of the code `lost` or `refused` without an answer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        match (&self.namespace, &self.name) {
            (Some(namespace), Some(name)) => write!(f, " {namespace}/{name}")?,
            (Some(namespace), None) => write!(f, " {namespace}/")?,
            (None, Some(name)) => write!(f, " {name}")?,
            (None, None) => {}
        }
        match self.code {
            Some(code) => write!(f, " {code}"),
            None if self.applied => write!(f, " lost"),
            None => write!(f, " refused"),
        }
    }
}

impl ApiServer {
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
        let counts =
            |call: &&Call| (verb == "*" || call.verb == verb) && (resource == "*" || call.resource == resource);
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
