//! Flags of the REST facade.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};

use crate::facade::{AuthMode, FacadeConfig, Limits};

/// Requests a second of one caller: many more than who polls a thousand batches needs, and few enough that one caller
/// leaves the service to others.
const RATE: u32 = 200;

#[derive(Debug, Args)]
pub(super) struct FacadeArgs {
    /// Address of the REST API.
    #[arg(long, env = "SPARKBATCH_LISTEN", default_value = "127.0.0.1:8998")]
    listen: SocketAddr,
    /// Who may call. 'none' has to be said for any address but loopback.
    #[arg(long, env = "SPARKBATCH_AUTH", value_enum)]
    auth: Option<Auth>,
    /// Requests a second of one caller, who is known by its token; 0 for any number. [default: 200; any number with
    /// --auth none, where callers cannot be told apart]
    #[arg(long, env = "SPARKBATCH_RATE_LIMIT")]
    rate_limit: Option<u32>,
    /// Namespace of /batches.
    #[arg(long, env = "SPARKBATCH_DEFAULT_NAMESPACE", default_value = "default")]
    default_namespace: String,
    /// Let a namespace's name serve as its instance id; else only the label sparkbatch.dev/instance-id does.
    #[arg(long, env = "SPARKBATCH_INSTANCE_ID_FROM_NAMESPACE_NAME")]
    instance_id_from_namespace_name: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Auth {
    /// Everybody who reaches the port.
    None,
}

impl FacadeArgs {
    pub(super) fn config(self) -> FacadeConfig {
        let auth = AuthMode::None;
        let rate = self.rate_limit.unwrap_or(if auth == AuthMode::None { 0 } else { RATE });
        FacadeConfig {
            listen: self.listen,
            default_namespace: self.default_namespace,
            instance_id_from_namespace_name: self.instance_id_from_namespace_name,
            auth,
            allow_unauthenticated: self.auth == Some(Auth::None),
            limits: Limits { rate, ..Limits::default() },
            ..FacadeConfig::default()
        }
    }
}
