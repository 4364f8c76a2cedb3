//! Flags of the REST facade.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};

use super::Failure;
use crate::api::redaction::{self, Redaction};
use crate::facade::{AuthMode, FacadeConfig};
use crate::plan::Defaults;

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
    /// Regular expression: conf values whose key or text it matches are credentials. They are kept in Secrets and shown
    /// nowhere.
    #[arg(long, env = "SPARKBATCH_SECRET_CONF_PATTERN", default_value = redaction::DEFAULT_PATTERN)]
    secret_conf_pattern: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Auth {
    /// Everybody who reaches the port.
    None,
}

impl FacadeArgs {
    pub(super) fn config(self, defaults: Defaults) -> Result<FacadeConfig, Failure> {
        let redaction = Redaction::new(&self.secret_conf_pattern);
        Ok(FacadeConfig {
            listen: self.listen,
            default_namespace: self.default_namespace,
            instance_id_from_namespace_name: self.instance_id_from_namespace_name,
            auth: AuthMode::None,
            allow_unauthenticated: self.auth == Some(Auth::None),
            redaction: redaction.map_err(|error| format!("--secret-conf-pattern: {error}"))?,
            defaults,
            ..FacadeConfig::default()
        })
    }
}
