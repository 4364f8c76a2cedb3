//! What people do with batches: submit them, look at them, end them.

#![allow(clippy::doc_markdown, reason = "these comments become --help, where backticks are noise")]

mod completions;
mod output;
mod submit;
mod ui;
mod wait;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::{Args, Subcommand};

pub(super) use self::completions::{CompletionsArgs, candidates};
use self::output::{Output, Screen};
use self::submit::SubmitArgs;
use self::ui::UiArgs;
use super::Failure;
use crate::client::{ClusterClient, Killed, LivyClient, LogOptions, Target};

/// Commands that call a Livy or a cluster.
#[derive(Debug, Subcommand)]
pub(super) enum ClientCommand {
    /// Submit an application, as with spark-submit.
    Submit(Box<SubmitArgs>),
    /// List batches, the latest first.
    List(ListArgs),
    /// Show one batch.
    Status(StatusArgs),
    /// Print the driver's log.
    Logs(LogsArgs),
    /// End a batch: by kubeconfig it stays, as killed; a Livy forgets it.
    Kill(KillArgs),
    /// Print where the driver's Spark UI is; by kubeconfig on a port of this machine, until the batch ends or Ctrl-C.
    Ui(UiArgs),
}

/// Where the batches are.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Where")]
pub(super) struct TargetArgs {
    /// URL of a Livy: of this project's REST facade or any other, or of one collection of batches. Its token is read
    /// from SPARKBATCH_TOKEN, never from the command line. [default: the cluster of the kubeconfig]
    #[arg(long, env = "SPARKBATCH_URL", value_name = "URL")]
    livy_url: Option<String>,
    /// Context of the kubeconfig; goes before SPARKBATCH_URL
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Namespace of the batches. [default: the context's, or the Livy's default]
    #[arg(long, short, value_name = "NAME")]
    namespace: Option<String>,
}

impl TargetArgs {
    /// `elsewhere` is the namespace that something else than these flags wants.
    async fn target(&self, elsewhere: Option<&str>) -> Result<Target, Failure> {
        let namespace = self.namespace.as_deref().or(elsewhere);
        let url = self.livy_url.as_deref().filter(|url| !url.is_empty() && self.context.is_none());
        if let Some(url) = url {
            let token = std::env::var("SPARKBATCH_TOKEN").ok().filter(|token| !token.is_empty());
            return Ok(Target::Livy(Box::new(LivyClient::new(url, namespace, token.as_deref())?)));
        }
        let cluster = ClusterClient::connect(self.context.as_deref(), namespace).await?;
        Ok(Target::Cluster(Box::new(cluster)))
    }

    /// Where the batch is that spark-submit's `namespace:driver-pod` names, unless `--namespace` says it.
    async fn target_of(&self, batch: &str) -> Result<Target, Failure> {
        let elsewhere = batch.split_once(':').map(|(namespace, _)| namespace);
        match self.target(None).await? {
            Target::Cluster(_) if elsewhere.is_some() => self.target(elsewhere).await,
            Target::Livy(_) if elsewhere.is_some() => {
                Err(format!("'{batch}': a Livy knows no driver pods; give the batch's id, which 'list' shows").into())
            }
            target => Ok(target),
        }
    }

    /// The flags that name the same place, for a command that a message shows.
    fn flags(&self) -> String {
        let flags = [("--livy-url", &self.livy_url), ("--context", &self.context), ("--namespace", &self.namespace)];
        let given = flags.into_iter().filter_map(|(flag, value)| Some(format!(" {flag} {}", value.as_ref()?)));
        given.collect()
    }
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Most batches to show
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    limit: u16,
    /// How to show them
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Id or name
    #[arg(value_name = "ID|NAME")]
    batch: String,
    #[command(flatten)]
    target: TargetArgs,
    /// How to show it
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// Id or name
    #[arg(value_name = "ID|NAME")]
    batch: String,
    #[command(flatten)]
    target: TargetArgs,
    /// Go on until the batch has ended
    #[arg(long, short)]
    follow: bool,
    /// Begin with so many of the last lines
    #[arg(long, value_name = "LINES")]
    tail: Option<u32>,
}

#[derive(Debug, Args)]
pub(super) struct KillArgs {
    /// Id or name
    #[arg(value_name = "ID|NAME")]
    batch: String,
    #[command(flatten)]
    target: TargetArgs,
}

impl ClientCommand {
    /// Runs the command; its exit code is the batch's where it waited for one.
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let done = match self {
            Self::Submit(args) => return args.run().await,
            Self::List(args) => args.run().await,
            Self::Status(args) => status(&args.target, &args.batch, args.output).await,
            Self::Logs(args) => args.run().await,
            Self::Kill(args) => kill(&args.target, &args.batch).await,
            Self::Ui(args) => args.run().await,
        };
        done.map(|()| ExitCode::SUCCESS)
    }
}

impl ListArgs {
    async fn run(&self) -> Result<(), Failure> {
        let (batches, total) = self.target.target(None).await?.list(usize::from(self.limit)).await?;
        let text = output::list(&batches, self.output, &Screen::of_stdout())?;
        std::io::stdout().write_all(text.as_bytes())?;
        if total > batches.len() && std::io::stderr().is_terminal() {
            eprintln!("{} of {total} batches; --limit shows more", batches.len());
        }
        Ok(())
    }
}

async fn status(target: &TargetArgs, batch: &str, output: Output) -> Result<(), Failure> {
    let batch = target.target_of(batch).await?.get(batch).await?;
    let text = output::one(&batch, output, &Screen::of_stdout())?;
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

async fn kill(target: &TargetArgs, batch: &str) -> Result<(), Failure> {
    let done = match target.target_of(batch).await?.kill(batch).await? {
        Killed::Cancelled => "is being killed",
        Killed::Deleted => "killed, and forgotten by its Livy",
        Killed::HadEnded => "had ended before",
    };
    Ok(writeln!(std::io::stdout(), "batch {batch} {done}")?)
}

impl LogsArgs {
    async fn run(&self) -> Result<(), Failure> {
        let options = LogOptions { follow: self.follow, tail: self.tail };
        Ok(self.target.target_of(&self.batch).await?.log(&self.batch, options, &mut std::io::stdout()).await?)
    }
}
