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
use std::pin::Pin;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use kube::client::ClientBuilder;
use kube::{Client, Config};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Readiness};
use crate::client::ClientError;
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

/// How long the parts of a process may take to end after one of them has failed: as long as a pod may after SIGTERM.
const END_WITHIN: std::time::Duration = std::time::Duration::from_secs(30);

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
    /// What kubectl asks for when its user presses Tab: the words behind the plugin's name.
    #[command(skip)]
    Candidates(Vec<String>),
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
    /// Comma-separated namespaces to serve; the operator then needs rights in these only. [default: all]
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
/// alone; as `kubectl_complete-sparkbatch` it completes them.
#[must_use]
pub fn parse() -> Cli {
    let name = std::env::args_os().next().map(std::path::PathBuf::from).unwrap_or_default();
    let name = name.file_name().unwrap_or_default().to_string_lossy();
    let command = if name.starts_with("kubectl_complete-") {
        Command::Candidates(std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect())
    } else if name.starts_with("kubectl-") {
        Command::Client(Plugin::parse().command)
    } else {
        return Cli::parse();
    };
    Cli { command }
}

/// Runs the command.
///
/// # Errors
/// What the command failed with, in words for the user.
pub async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command {
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
        // Boxed: the clients' commands are larger than all others together.
        command => return Box::pin(print(command)).await.or_else(unless_nobody_reads),
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a command that prints, and serves nothing.
async fn print(command: Command) -> Result<ExitCode, Failure> {
    let mut stdout = std::io::stdout();
    match command {
        Command::Client(command) => return command.run().await,
        Command::Convert(args) => return args.run(&mut stdout, &mut std::io::stderr()),
        Command::Completions(args) => args.print(&mut stdout)?,
        Command::Candidates(words) => stdout.write_all(client::candidates(&Plugin::command(), &words).as_bytes())?,
        Command::Render(args) => stdout.write_all(args.render()?.as_bytes())?,
        Command::Crd => stdout.write_all(serde_saphyr::to_string(&api::crd())?.as_bytes())?,
        Command::Openapi(args) => print_openapi(&args)?,
        Command::Run(_) | Command::Controller(_) | Command::Facade(_) => {}
    }
    // Whether it could be written is known only now.
    stdout.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// That nobody reads on, as of `| head`, is no failure.
fn unless_nobody_reads(failure: Failure) -> Result<ExitCode, Failure> {
    if nobody_reads(&failure) { Ok(ExitCode::SUCCESS) } else { Err(failure) }
}

/// Whether what was to be shown has no reader any more.
fn nobody_reads(failure: &Failure) -> bool {
    let io = match failure.downcast_ref::<ClientError>() {
        Some(ClientError::Output(error)) => Some(error),
        _ => failure.downcast_ref::<std::io::Error>(),
    };
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
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
    all_ended([Box::pin(controlling), Box::pin(facing), Box::pin(administrating)], &cancel).await?;
    tracing::info!("stopped");
    Ok(())
}

/// A part of the process, until its end.
type Part<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

/// Waits for the end of every part. One that fails has the others end, each in its own way: the controller lets go of
/// its Lease, so that another replica need not wait for it.
async fn all_ended(parts: [Part<'_>; 3], cancel: &CancellationToken) -> Result<(), Failure> {
    let failed = CancellationToken::new();
    let ending = futures::future::join_all(parts.map(|part| ended_together(part, cancel, &failed)));
    let too_late = async {
        failed.cancelled().await;
        tokio::time::sleep(END_WITHIN).await;
    };
    tokio::select! {
        ended = ending => ended.into_iter().collect(),
        () = too_late => Err("a part of the process failed, as logged, and another did not end after it".into()),
    }
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
    failed: &CancellationToken,
) -> Result<(), Failure> {
    let result = part.await;
    if let Err(error) = &result {
        tracing::error!(%error, "a part of the process failed, so the others end");
        failed.cancel();
        cancel.cancel();
    }
    result
}

#[cfg(test)]
mod tests {
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

    #[tokio::test]
    async fn a_part_that_fails_has_the_others_end_in_their_own_way() {
        let (cancel, mut has_let_go) = (CancellationToken::new(), false);
        let failing: Part<'_> = Box::pin(async { Err("the port is taken".into()) });
        let controlling: Part<'_> = Box::pin(async {
            cancel.cancelled().await;
            tokio::task::yield_now().await;
            has_let_go = true;
            Ok(())
        });
        let error = all_ended([controlling, failing, Box::pin(async { Ok(()) })], &cancel).await.unwrap_err();
        assert_eq!((error.to_string().as_str(), has_let_go), ("the port is taken", true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_does_not_end_holds_up_nobody_after_a_failure() {
        let failing: Part<'_> = Box::pin(async { Err("the port is taken".into()) });
        let endless: Part<'_> = Box::pin(std::future::pending());
        let ended = all_ended([endless, failing, Box::pin(async { Ok(()) })], &CancellationToken::new()).await;
        assert!(ended.unwrap_err().to_string().contains("did not end"));
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
