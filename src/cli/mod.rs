//! The command line: flags, each of which is an environment variable too, and what each command starts.

mod client;
mod controller;
mod convert;
mod defaults;
mod facade;
mod redaction;
mod render;

use std::collections::BTreeSet;
use std::error::Error;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use kube::client::ClientBuilder;
use kube::{Client, Config};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Readiness};
use crate::controller::ControllerConfig;
use crate::facade::{Clients, FacadeConfig};
use crate::ids::IdAllocator;
use crate::metrics::{ApiCalls, Metrics};
use crate::telemetry::{self, LogFormat};
use crate::{api, shutdown};

use self::client::{ClientCommand, CompletionsArgs};
use self::controller::ControllerArgs;
use self::convert::ConvertArgs;
use self::defaults::DefaultsArgs;
use self::facade::FacadeArgs;
use self::render::RenderArgs;

/// What any command ends with if it fails.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Livy's batches API for Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "sparkbatch", version, about, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Spark batches, submitted and looked after with the rights of your kubeconfig.
#[derive(Debug, Parser)]
#[command(name = "kubectl sparkbatch", bin_name = "kubectl sparkbatch", version, about, disable_help_subcommand = true)]
struct Plugin {
    #[command(subcommand)]
    command: ClientCommand,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Client(ClientCommand),
    /// Convert a manifest of kubeflow's `SparkApplication`, and report what has no counterpart.
    Convert(ConvertArgs),
    /// Print completions for a shell.
    Completions(CompletionsArgs),
    /// Run controller and REST facade in one process.
    Run(Box<RunArgs>),
    /// Run the controller.
    Controller(Box<ControllerCommand>),
    /// Run the REST facade.
    Facade(Box<FacadeCommand>),
    /// Print what a manifest of a `SparkBatch` would become, without a cluster.
    Render(Box<RenderArgs>),
    /// Print the custom resource definition.
    Crd,
    /// Print the REST API as `OpenAPI` 3.1.
    Openapi(OpenapiArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    process: ProcessArgs,
    #[command(flatten)]
    defaults: DefaultsArgs,
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
    defaults: DefaultsArgs,
    #[command(flatten)]
    controller: ControllerArgs,
}

#[derive(Debug, Args)]
struct FacadeCommand {
    #[command(flatten)]
    process: ProcessArgs,
    #[command(flatten)]
    defaults: DefaultsArgs,
    #[command(flatten)]
    facade: FacadeArgs,
}

#[derive(Debug, Args)]
struct OpenapiArgs {
    /// As of a server that gives instances the rest of the API, too.
    #[arg(long, env = "SPARKBATCH_INSTANCE_EXTENSIONS")]
    instance_extensions: bool,
}

/// What every long-running command takes.
#[derive(Debug, Args)]
struct ProcessArgs {
    /// Address of /livez, /readyz and /metrics.
    #[arg(long, env = "SPARKBATCH_ADMIN_LISTEN", default_value = "127.0.0.1:8080")]
    admin_listen: SocketAddr,
    /// Namespaces to serve, with commas between. Rights in these are enough then. [default: all]
    #[arg(long, env = "SPARKBATCH_NAMESPACES", value_delimiter = ',', value_name = "NAMESPACE")]
    namespaces: Vec<String>,
    /// Log filter, as in 'info,kube=warn'.
    #[arg(long, env = "SPARKBATCH_LOG_FILTER", default_value = "info")]
    log_filter: String,
    /// Form of log lines.
    #[arg(long, env = "SPARKBATCH_LOG_FORMAT", value_enum, default_value = "plain")]
    log_format: LogFormat,
}

impl ProcessArgs {
    /// Each namespace once; none for all.
    fn namespaces(&self) -> Vec<String> {
        let names = self.namespaces.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
        names.map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// Reads the command line of the process. As `kubectl-sparkbatch`, a plugin of kubectl, it has the clients' commands
/// alone.
#[must_use]
pub fn parse() -> Cli {
    let is_plugin = std::env::args_os().next().is_some_and(|name| {
        std::path::Path::new(&name).file_stem().is_some_and(|stem| stem.to_string_lossy().starts_with("kubectl-"))
    });
    if is_plugin { Cli { command: Command::Client(Plugin::parse().command) } } else { Cli::parse() }
}

/// Runs the command.
///
/// # Errors
/// What the command failed with, in words for the user.
pub async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command {
        // Boxed: it is larger than all others together.
        Command::Client(command) => return Box::pin(command.run()).await,
        Command::Convert(args) => return args.run(),
        Command::Completions(args) => args.print(&mut std::io::stdout())?,
        Command::Render(args) => std::io::stdout().write_all(args.render()?.as_bytes())?,
        Command::Crd => print_crd()?,
        Command::Openapi(args) => print_openapi(&args)?,
        Command::Run(args) => {
            let defaults = args.defaults.defaults()?;
            let controller = args.controller.config(defaults.clone())?;
            serve(args.process, Some(controller), Some(args.facade.config(defaults)?)).await?;
        }
        Command::Controller(args) => {
            let controller = args.controller.config(args.defaults.defaults()?)?;
            serve(args.process, Some(controller), None).await?;
        }
        Command::Facade(args) => {
            let facade = args.facade.config(args.defaults.defaults()?)?;
            serve(args.process, None, Some(facade)).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_crd() -> Result<(), Failure> {
    let yaml = serde_saphyr::to_string(&api::crd())?;
    Ok(std::io::stdout().write_all(yaml.as_bytes())?)
}

fn print_openapi(args: &OpenapiArgs) -> Result<(), Failure> {
    let document = crate::facade::document(args.instance_extensions, None)?;
    Ok(writeln!(std::io::stdout(), "{document:#}")?)
}

/// Runs the parts that have a configuration until a signal, or until one of them fails.
async fn serve(
    process: ProcessArgs,
    controller: Option<ControllerConfig>,
    facade: Option<FacadeConfig>,
) -> Result<(), Failure> {
    let telemetry = telemetry::init(&process.log_filter, process.log_format)?;
    // Boxed: it is most of what the process does.
    let served = Box::pin(serve_all(process, controller, facade)).await;
    telemetry.end().await;
    served
}

async fn serve_all(
    process: ProcessArgs,
    controller: Option<ControllerConfig>,
    facade: Option<FacadeConfig>,
) -> Result<(), Failure> {
    let cancel = shutdown::on_signal()?;
    let config = Config::infer().await?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), api_server = %config.cluster_url, "starting");
    let readiness = Readiness::default();
    let metrics = Metrics::default();
    let calls = ApiCalls::new(&metrics);
    let ids = IdAllocator::new(counted(once_only(&config), &calls)?);
    let controlling = async {
        if let Some(controller) = controller {
            let controller = ControllerConfig { namespaces: process.namespaces(), ..controller };
            let client = counted(config.clone(), &calls)?;
            let ready = readiness.gate("caches of the controller");
            let cancel = cancel.clone();
            Box::pin(crate::controller::run(client, ids.clone(), controller, &metrics, cancel, ready)).await;
        }
        Ok::<_, Failure>(())
    };
    let facing = async {
        if let Some(facade) = facade {
            let facade = FacadeConfig { namespaces: process.namespaces(), ..facade };
            let clients = Clients::build(&once_only(&config), |config| counted(config, &calls))?;
            let ready = readiness.gate("caches of the facade");
            crate::facade::serve(clients, ids.clone(), facade, &metrics, cancel.clone(), ready).await?;
        }
        Ok(())
    };
    let administrating = async {
        let served = admin::serve(process.admin_listen, readiness.clone(), metrics.clone(), cancel.clone()).await;
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

/// For clients that send a request once: what a caller sees must not be a blind repetition of a create that the
/// API server had already carried out.
fn once_only(config: &Config) -> Config {
    let mut config = config.clone();
    config.default_retry = false;
    config
}

/// A client whose calls are counted.
fn counted(config: Config, calls: &ApiCalls) -> Result<Client, kube::Error> {
    Ok(ClientBuilder::try_from(config)?.with_layer(calls).build())
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
    fn each_namespace_is_served_once() {
        let args = |flags: &[&str]| match Cli::parse_from([&["sparkbatch", "run"], flags].concat()).command {
            Command::Run(args) => args.process.namespaces(),
            other => panic!("{other:?}"),
        };
        assert_eq!(args(&["--namespaces", "b, a,b,"]), ["a", "b"]);
        assert!(args(&[]).is_empty());
    }

    #[test]
    fn the_command_line_is_valid() {
        Cli::command().debug_assert();
        Plugin::command().debug_assert();
    }

    /// Not those of people's commands, which scripts give as they give spark-submit's.
    #[test]
    fn every_flag_of_a_server_is_an_environment_variable_too() {
        let of_people = ["submit", "list", "status", "logs", "kill", "ui", "convert", "completions"];
        let command = Cli::command();
        for command in command.get_subcommands().filter(|command| !of_people.contains(&command.get_name())) {
            for flag in command.get_arguments().filter(|flag| flag.get_long().is_some_and(|long| long != "help")) {
                assert!(flag.get_env().is_some(), "{} of {}", flag.get_id(), command.get_name());
            }
        }
    }
}
