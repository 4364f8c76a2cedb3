//! What the facade is told at its start.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::server::ConnectionLimits;

/// Who may call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthMode {
    /// Everyone who reaches the port, with the rights of the facade's own account.
    #[default]
    None,
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
    /// Requests a second of one caller, who may send two seconds' at once; 0 for any number.
    pub rate: u32,
    /// Bounds on connections, and on what clients take for their part.
    pub connections: ConnectionLimits,
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
            rate: 0,
            connections: ConnectionLimits::default(),
        }
    }
}

/// Configuration of the facade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FacadeConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Namespace of the Apache dialect's `/batches`.
    pub default_namespace: String,
    /// Namespaces to serve; all if empty.
    pub namespaces: Vec<String>,
    /// Whether a namespace's name serves as instance id where no namespace has the id as a label.
    pub instance_id_from_namespace_name: bool,
    /// Who may call.
    pub auth: AuthMode,
    /// Whether an address other than loopback may be served with [`AuthMode::None`].
    pub allow_unauthenticated: bool,
    /// Bounds.
    pub limits: Limits,
}

impl Default for FacadeConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8998),
            default_namespace: "default".to_owned(),
            namespaces: Vec::new(),
            instance_id_from_namespace_name: false,
            auth: AuthMode::None,
            allow_unauthenticated: false,
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

    /// Whether the address and who may call go together.
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        match self.auth {
            AuthMode::None => self.listen.ip().to_canonical().is_loopback() || self.allow_unauthenticated,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("127.0.0.1:8998", false, true)]
    #[case("[::1]:8998", false, true)]
    #[case("[::ffff:127.0.0.1]:8998", false, true)]
    #[case("0.0.0.0:8998", false, false)]
    #[case("[::]:8998", false, false)]
    #[case("0.0.0.0:8998", true, true)]
    fn only_loopback_is_served_to_everyone_unless_said_aloud(
        #[case] listen: SocketAddr,
        #[case] allow_unauthenticated: bool,
        #[case] guarded: bool,
    ) {
        let config = FacadeConfig { listen, allow_unauthenticated, ..FacadeConfig::default() };
        assert_eq!(config.is_guarded(), guarded);
    }
}
