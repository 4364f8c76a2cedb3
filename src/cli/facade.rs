//! Flags of the REST facade.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};

use crate::facade::{AuthMode, FacadeConfig};

#[derive(Debug, Args)]
pub(super) struct FacadeArgs {
    /// Address of the REST API.
    #[arg(long, env = "SPARKBATCH_LISTEN", default_value = "127.0.0.1:8998")]
    listen: SocketAddr,
    /// Who may call. 'none' has to be said for any address but loopback.
    #[arg(long, env = "SPARKBATCH_AUTH", value_enum)]
    auth: Option<Auth>,
    /// Namespace of /batches.
    #[arg(long, env = "SPARKBATCH_DEFAULT_NAMESPACE", default_value = "default")]
    default_namespace: String,
    /// Let a namespace's name serve as its instance id; else only the label sparkbatch.dev/instance-id does.
    #[arg(long, env = "SPARKBATCH_INSTANCE_ID_FROM_NAMESPACE_NAME")]
    instance_id_from_namespace_name: bool,
    /// Put Livy's markers 'stdout: ' and 'stderr: ' into logs, for livy-submit.
    #[arg(long, env = "SPARKBATCH_LOG_MARKERS")]
    log_markers: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Auth {
    /// Everybody who reaches the port.
    None,
}

impl FacadeArgs {
    pub(super) fn config(self) -> FacadeConfig {
        FacadeConfig {
            listen: self.listen,
            default_namespace: self.default_namespace,
            instance_id_from_namespace_name: self.instance_id_from_namespace_name,
            log_markers: self.log_markers,
            auth: AuthMode::None,
            allow_unauthenticated: self.auth == Some(Auth::None),
            ..FacadeConfig::default()
        }
    }
}
