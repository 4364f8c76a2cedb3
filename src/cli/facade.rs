//! Flags of the REST facade.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::Failure;
use super::redaction::RedactionArgs;
use crate::facade::{AuthMode, ExternalUrl, FacadeConfig, HistoryUrl, Limits, ProxyUsers};
use crate::plan::Defaults;
use crate::server::TlsFiles;

const HISTORY_HELP: &str = "URL of an application in a Spark history server, for batches that have ended. {app_id}, \
                            {namespace}, {id} and {name} in it stand for the batch's own";

/// Requests a second of one caller: many more than who polls a thousand batches needs, and few enough that one caller
/// leaves the service to others.
const RATE: u32 = 200;

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "they are flags")]
pub(super) struct FacadeArgs {
    /// Address of the REST API.
    #[arg(long, env = "SPARKBATCH_LISTEN", default_value = "127.0.0.1:8998")]
    listen: SocketAddr,
    /// File with the certificate of the REST API in PEM, followed by those that lead to its root: HTTPS in place of HTTP.
    /// Taken up anew when it changes.
    #[arg(long, env = "SPARKBATCH_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// File with the private key of that certificate, in PEM.
    #[arg(long, env = "SPARKBATCH_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Who may call.
    #[arg(long, env = "SPARKBATCH_AUTH", value_enum, default_value = "kubernetes")]
    auth: AuthMode,
    /// Who may have a batch run on behalf of another user (proxyUser, doAs).
    #[arg(long, env = "SPARKBATCH_PROXY_USER", value_enum, default_value = "refuse")]
    proxy_user: ProxyUsers,
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
    /// Put Livy's markers 'stdout: ' and 'stderr: ' into logs, for livy-submit.
    #[arg(long, env = "SPARKBATCH_LOG_MARKERS")]
    log_markers: bool,
    /// Give instances the rest of the API, too: logs, paging, filters, watches, and proxyUser, archives and queue.
    #[arg(long, env = "SPARKBATCH_INSTANCE_EXTENSIONS")]
    instance_extensions: bool,
    /// Refuse every request but GET, HEAD and OPTIONS that has no X-Requested-By header, as Livy's CSRF protection does.
    #[arg(long, env = "SPARKBATCH_REQUIRE_REQUESTED_BY")]
    require_requested_by: bool,
    #[command(flatten)]
    redaction: RedactionArgs,
    /// URL by which users reach the REST API, for the links in answers. May have a path, which whatever stands in
    /// front of the REST API takes away.
    #[arg(long, env = "SPARKBATCH_EXTERNAL_URL", value_name = "URL")]
    external_url: Option<ExternalUrl>,
    #[arg(long, env = "SPARKBATCH_HISTORY_URL_TEMPLATE", value_name = "URL", help = HISTORY_HELP)]
    history_url_template: Option<HistoryUrl>,
}

impl FacadeArgs {
    pub(super) fn config(self, defaults: Defaults) -> Result<FacadeConfig, Failure> {
        let rate = self.rate_limit.unwrap_or(if self.auth == AuthMode::None { 0 } else { RATE });
        Ok(FacadeConfig {
            listen: self.listen,
            tls: self.tls_cert.zip(self.tls_key).map(|(certificate, key)| TlsFiles { certificate, key }),
            default_namespace: self.default_namespace,
            instance_id_from_namespace_name: self.instance_id_from_namespace_name,
            log_markers: self.log_markers,
            instance_extensions: self.instance_extensions,
            require_requested_by: self.require_requested_by,
            auth: self.auth,
            proxy_users: self.proxy_user,
            redaction: self.redaction.redaction()?,
            defaults,
            external_url: self.external_url,
            history_url: self.history_url_template,
            limits: Limits { rate, ..Limits::default() },
            ..FacadeConfig::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        facade: FacadeArgs,
    }

    fn config(flags: &[&str]) -> FacadeConfig {
        Flags::try_parse_from([&["facade"], flags].concat()).unwrap().facade.config(Defaults::default()).unwrap()
    }

    #[test]
    fn what_is_not_said_is_the_default_and_lets_nobody_in_unknown() {
        let limits = Limits { rate: RATE, ..Limits::default() };
        assert_eq!(config(&[]), FacadeConfig { limits, ..FacadeConfig::default() });
        assert_eq!(config(&[]).auth, AuthMode::Kubernetes);
        // Callers that cannot be told apart are not held to the share of one.
        assert_eq!(config(&["--auth", "none"]).limits.rate, 0);
    }

    #[test]
    fn who_may_call_is_said_aloud() {
        let config = config(&["--auth", "none", "--proxy-user", "rbac"]);
        assert_eq!((config.auth, config.proxy_users), (AuthMode::None, ProxyUsers::Rbac));
    }

    #[test]
    fn a_certificate_comes_with_its_key() {
        let files = TlsFiles { certificate: "a.crt".into(), key: "a.key".into() };
        assert_eq!(config(&["--tls-cert", "a.crt", "--tls-key", "a.key"]).tls, Some(files));
        for (alone, missing) in [("--tls-cert", "--tls-key"), ("--tls-key", "--tls-cert")] {
            let error = Flags::try_parse_from(["facade", alone, "a"]).err().unwrap().to_string();
            assert!(error.contains(missing), "{error}");
        }
    }
}
