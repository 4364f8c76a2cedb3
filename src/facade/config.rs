//! What the facade is told at its start.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::ValueEnum;

use super::external::ExternalUrl;
use crate::api::redaction::Redaction;
use crate::livy::{HistoryUrl, Links};
use crate::plan::Defaults;
use crate::server::{ConnectionLimits, TlsFiles};

/// Who may call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum AuthMode {
    /// Those whose Kubernetes token is good, with the rights that Kubernetes gives them.
    #[default]
    Kubernetes,
    /// Everyone who reaches the port, with the rights of the facade's own account.
    None,
}

/// Who may have a batch run on behalf of another user (Livy's `proxyUser` and `doAs`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProxyUsers {
    /// Nobody.
    #[default]
    Refuse,
    /// Those with the verb `impersonate` on `users` of that name; everybody on their own behalf.
    Rbac,
    /// Everybody on behalf of anybody.
    Any,
}

/// Bounds on what callers can make the process hold or wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest request body, in bytes. etcd takes no object larger than 1.5 MiB.
    pub body_bytes: usize,
    /// Bytes of all request bodies that are held at once; what would be more is turned away. Parsed, they take
    /// several times as much.
    pub bodies_bytes: usize,
    /// How long a request may take from the end of its head to the head of its answer.
    pub request: Duration,
    /// How long the body of a request may take to arrive.
    pub body_time: Duration,
    /// How long one call to the API server may take.
    pub upstream: Duration,
    /// Requests in flight; more are turned away at once.
    pub in_flight: usize,
    /// Answers that go on at once: followed logs, watches, requests to Spark UIs.
    pub streams: usize,
    /// Bounds on requests to Spark UIs.
    pub ui: UiLimits,
    /// Requests a second of one caller, who may send two seconds' at once; 0 for any number.
    pub rate: u32,
    /// Bounds on connections, and on what clients take for their part.
    pub connections: ConnectionLimits,
}

/// Bounds on what a driver can make the process wait for: it runs what its submitter wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UiLimits {
    /// How long it may take to reach a driver. Spark lets few connections wait at its port, so that one of a
    /// browser's burst may have to be tried again, which TCP does after 1 and 3 s.
    pub connect: Duration,
    /// How long a driver may take to begin its answer; less than [`Limits::request`].
    pub head: Duration,
    /// How long an answer may take from its first byte to its last.
    pub answer: Duration,
}

impl Default for UiLimits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), head: Duration::from_secs(20), answer: Duration::from_secs(300) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1024 * 1024,
            bodies_bytes: 16 * 1024 * 1024,
            request: Duration::from_secs(30),
            body_time: Duration::from_secs(10),
            upstream: Duration::from_secs(10),
            in_flight: 512,
            streams: 256,
            ui: UiLimits::default(),
            rate: 0,
            connections: ConnectionLimits::default(),
        }
    }
}

/// Configuration of the facade.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct FacadeConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Where its certificate is, for HTTPS; HTTP without.
    pub tls: Option<TlsFiles>,
    /// Namespace of the Apache dialect's `/batches`.
    pub default_namespace: String,
    /// Namespaces to serve; all if empty.
    pub namespaces: Vec<String>,
    /// Whether a namespace's name serves as instance id where no namespace has the id as a label.
    pub instance_id_from_namespace_name: bool,
    /// Whether instances have logs, pages, filters and watches, and take `proxyUser`, `archives` and `queue`.
    pub instance_extensions: bool,
    /// Whether requests that change something have to bring the header `X-Requested-By`.
    pub require_requested_by: bool,
    /// Whether pages of logs hold Livy's markers of its streams, as livy-submit wants them.
    pub log_markers: bool,
    /// Who may call.
    pub auth: AuthMode,
    /// Who may have a batch run on behalf of another user.
    pub proxy_users: ProxyUsers,
    /// Which conf values are credentials.
    pub redaction: Redaction,
    /// What the operator gives batches that do not say otherwise, for dry runs.
    pub defaults: Defaults,
    /// URL of the REST API as its users reach it; without it, answers link to nothing that it serves.
    pub external_url: Option<ExternalUrl>,
    /// Where batches that have ended are shown.
    pub history_url: Option<HistoryUrl>,
    /// Whether drivers may be on this very machine: for tests. No flag sets it.
    pub ui_on_loopback: bool,
    /// Bounds.
    pub limits: Limits,
}

impl Default for FacadeConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8998),
            tls: None,
            default_namespace: "default".to_owned(),
            namespaces: Vec::new(),
            instance_id_from_namespace_name: false,
            log_markers: false,
            instance_extensions: false,
            require_requested_by: false,
            auth: AuthMode::default(),
            proxy_users: ProxyUsers::default(),
            redaction: Redaction::default(),
            defaults: Defaults::default(),
            external_url: None,
            history_url: None,
            ui_on_loopback: false,
            limits: Limits::default(),
        }
    }
}

impl FacadeConfig {
    /// Whether batches of `namespace` are served.
    #[must_use]
    pub fn serves(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.iter().any(|served| served == namespace)
    }

    /// What answers to a caller who addresses `namespace` by the path `base` link to.
    pub(super) fn links<'a>(&'a self, base: &'a str, namespace: &'a str) -> Links<'a> {
        let external = self.external_url.as_ref().map(ExternalUrl::as_str);
        Links { external, base, namespace, history: self.history_url.as_ref() }
    }
}
