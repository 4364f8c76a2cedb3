//! The command line: flags, each of which is an environment variable too, and what each command starts.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;
use kube::{Client, Config};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Readiness};
use crate::controller::{self, ControllerConfig};
use crate::facade::{self, AuthMode, FacadeConfig};
use crate::ids::IdAllocator;
use crate::plan::Defaults;
use crate::telemetry::{self, LogFormat};
use crate::{api, shutdown};

/// What any command ends with if it fails.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Livy's batches API for Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "sparkbatch", version, about, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run controller and REST facade in one process.
    Run(Box<RunArgs>),
    /// Run the controller.
    Controller(Box<ControllerCommand>),
    /// Run the REST facade.
    Facade(Box<FacadeCommand>),
    /// Print the custom resource definition.
    Crd,
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    process: ProcessArgs,
    #[command(flatten)]
    controller: ControllerArgs,
    #[command(flatten)]
    facade: FacadeArgs,
}

#[derive(Debug, Args)]
struct ControllerCommand {
    #[command(flatten)]
    process: ProcessArgs,
    #[command(flatten)]
    controller: ControllerArgs,
}

#[derive(Debug, Args)]
struct FacadeCommand {
    #[command(flatten)]
    process: ProcessArgs,
    #[command(flatten)]
    facade: FacadeArgs,
}

/// What every long-running command takes.
#[derive(Debug, Args)]
struct ProcessArgs {
    /// Address of /livez and /readyz.
    #[arg(long, env = "SPARKBATCH_ADMIN_LISTEN", default_value = "127.0.0.1:8080")]
    admin_listen: SocketAddr,
    /// Log filter, as in 'info,kube=warn'.
    #[arg(long, env = "SPARKBATCH_LOG_FILTER", default_value = "info")]
    log_filter: String,
    /// Form of log lines.
    #[arg(long, env = "SPARKBATCH_LOG_FORMAT", value_enum, default_value = "plain")]
    log_format: LogFormat,
}

#[derive(Debug, Args)]
struct ControllerArgs {
    /// Image of driver and executors for batches that name none.
    #[arg(long, env = "SPARKBATCH_SPARK_IMAGE")]
    spark_image: Option<String>,
    /// Pull policy of that image.
    #[arg(long, env = "SPARKBATCH_SPARK_IMAGE_PULL_POLICY", value_parser = ["Always", "IfNotPresent", "Never"])]
    spark_image_pull_policy: Option<String>,
    /// Service account of drivers for batches that name none.
    #[arg(long, env = "SPARKBATCH_DRIVER_SERVICE_ACCOUNT", default_value = "spark")]
    driver_service_account: String,
    /// Spark conf of batches that do not set the key: 'key=value', any number of times, or commas between.
    #[arg(long, env = "SPARKBATCH_SPARK_CONF", value_delimiter = ',', value_parser = conf_pair)]
    spark_conf: Vec<(String, String)>,
    /// How long a batch may wait for its driver to run, as in '10m' or '90s'.
    #[arg(long, env = "SPARKBATCH_DRIVER_START_TIMEOUT", default_value = "10m")]
    driver_start_timeout: SignedDuration,
    /// Batches that are worked on at once.
    #[arg(long, env = "SPARKBATCH_CONCURRENCY", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
}

#[derive(Debug, Args)]
struct FacadeArgs {
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Auth {
    /// Everybody who reaches the port.
    None,
}

impl ControllerArgs {
    fn config(self) -> Result<ControllerConfig, Failure> {
        let conf: BTreeMap<_, _> = self.spark_conf.into_iter().collect();
        let mut problems = Vec::new();
        api::validation::check_conf(&conf, "--spark-conf", &mut problems);
        if let Some(problem) = problems.first() {
            return Err(problem.to_string().into());
        }
        if self.driver_start_timeout <= SignedDuration::ZERO {
            return Err("--driver-start-timeout: must be longer than nothing".into());
        }
        Ok(ControllerConfig {
            defaults: Defaults {
                image: self.spark_image,
                image_pull_policy: self.spark_image_pull_policy,
                service_account: self.driver_service_account,
                conf,
            },
            start_timeout: self.driver_start_timeout,
            concurrency: self.concurrency,
        })
    }
}

impl FacadeArgs {
    fn config(self) -> FacadeConfig {
        FacadeConfig {
            listen: self.listen,
            default_namespace: self.default_namespace,
            instance_id_from_namespace_name: self.instance_id_from_namespace_name,
            auth: AuthMode::None,
            allow_unauthenticated: self.auth == Some(Auth::None),
            ..FacadeConfig::default()
        }
    }
}

fn conf_pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write key=value")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// Runs the command.
///
/// # Errors
/// What the command failed with, in words for the user.
pub async fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Crd => print_crd(),
        Command::Run(args) => serve(args.process, Some(args.controller.config()?), Some(args.facade.config())).await,
        Command::Controller(args) => serve(args.process, Some(args.controller.config()?), None).await,
        Command::Facade(args) => serve(args.process, None, Some(args.facade.config())).await,
    }
}

fn print_crd() -> Result<(), Failure> {
    let yaml = serde_saphyr::to_string(&api::crd())?;
    Ok(std::io::stdout().write_all(yaml.as_bytes())?)
}

/// Runs the parts that have a configuration until a signal, or until one of them fails.
async fn serve(
    process: ProcessArgs,
    controller: Option<ControllerConfig>,
    facade: Option<FacadeConfig>,
) -> Result<(), Failure> {
    telemetry::init(&process.log_filter, process.log_format)?;
    let cancel = shutdown::on_signal()?;
    let config = Config::infer().await?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), api_server = %config.cluster_url, "starting");
    let readiness = Readiness::default();
    let ids = IdAllocator::new(once_only(config.clone())?);
    let controlling = async {
        if let Some(controller) = controller {
            let client = Client::try_from(config.clone())?;
            let ready = readiness.gate("controller");
            controller::run(client, ids.clone(), controller, cancel.clone(), ready).await;
        }
        Ok::<_, Failure>(())
    };
    let facing = async {
        if let Some(facade) = facade {
            let client = once_only(config.clone())?;
            let ready = readiness.gate("facade");
            facade::serve(client, ids.clone(), facade, cancel.clone(), ready).await?;
        }
        Ok(())
    };
    let administrating = async {
        let served = admin::serve(process.admin_listen, readiness.clone(), cancel.clone()).await;
        served.map_err(|error| format!("cannot serve {}: {error}", process.admin_listen).into())
    };
    tokio::try_join!(
        ended_together(controlling, &cancel),
        ended_together(facing, &cancel),
        ended_together(administrating, &cancel),
    )?;
    tracing::info!("stopped");
    Ok(())
}

/// A client that sends a request once: what a caller sees must not be a blind repetition of a create that the
/// API server had already carried out.
fn once_only(mut config: Config) -> Result<Client, kube::Error> {
    config.default_retry = false;
    Client::try_from(config)
}

/// A part that fails ends the process, so that it is started again whole.
async fn ended_together(
    part: impl Future<Output = Result<(), Failure>>,
    cancel: &CancellationToken,
) -> Result<(), Failure> {
    let result = part.await;
    if result.is_err() {
        cancel.cancel();
    }
    result
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_is_an_environment_variable_too() {
        for command in Cli::command().get_subcommands() {
            for flag in command.get_arguments().filter(|flag| flag.get_long() != Some("help")) {
                assert!(flag.get_env().is_some(), "{} of {}", flag.get_id(), command.get_name());
            }
        }
    }

    #[test]
    fn default_conf_is_held_against_the_rules_of_conf() {
        let parse =
            |conf: &str| match Cli::try_parse_from(["sparkbatch", "controller", "--spark-conf", conf]).unwrap().command
            {
                Command::Controller(args) => args.controller.config(),
                _ => unreachable!("not what was parsed"),
            };
        assert!(parse("spark.a=b,spark.c=d=e").is_ok());
        assert!(parse("spark.master=local").unwrap_err().to_string().contains("spark.master"));
    }
}
