//! Flags of the REST facade.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};

use crate::facade::{AuthMode, ExternalUrl, FacadeConfig, HistoryUrl};

const HISTORY_HELP: &str = "URL of an application in a Spark history server, for batches that have ended. {app_id}, \
                            {namespace}, {id} and {name} in it stand for the batch's own";

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
    /// URL by which users reach the REST API, for the links in answers. May have a path, which whatever stands in
    /// front of the REST API takes away.
    #[arg(long, env = "SPARKBATCH_EXTERNAL_URL", value_name = "URL")]
    external_url: Option<ExternalUrl>,
    #[arg(long, env = "SPARKBATCH_HISTORY_URL_TEMPLATE", value_name = "URL", help = HISTORY_HELP)]
    history_url_template: Option<HistoryUrl>,
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
            auth: AuthMode::None,
            allow_unauthenticated: self.auth == Some(Auth::None),
            external_url: self.external_url,
            history_url: self.history_url_template,
            ..FacadeConfig::default()
        }
    }
}
