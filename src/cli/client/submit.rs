//! `sparkbatch submit`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;

use super::output::{Output, Screen, one};
use super::wait::{Interrupts, wait};
use super::{TargetArgs, kill, status};
use crate::api::SparkBatchSpec;
use crate::api::redaction::Redaction;
use crate::bounded::read_bounded_text;
use crate::cli::{Failure, nobody_reads};
use crate::client::Batch;
use crate::spark::{Submission, SubmitOptions, parse_properties};

/// Longest properties file that is read: more than a batch may have.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

#[derive(Debug, Args)]
// As with spark-submit, the last of a flag counts.
#[command(version, args_override_self = true)]
pub(in crate::cli) struct SubmitArgs {
    #[command(flatten)]
    options: SubmitOptions,
    #[command(flatten)]
    target: TargetArgs,
    /// Wait for the batch to end, and end with its exit code: 0 if it succeeded, else the driver's if that is known, else
    /// 1; 143 if it was killed
    #[arg(long, help_heading = "Where")]
    wait: bool,
    /// Kill the batch if the wait for it is interrupted or terminated (SIGINT, SIGTERM), as when the pod that waits is
    /// deleted. The exit code is then 130 or 143
    #[arg(long, requires = "wait", help_heading = "Where")]
    cancel_on_exit: bool,
    /// How to show the new batch
    #[arg(long, short, value_enum, default_value_t, help_heading = "Where")]
    output: Output,
}

impl SubmitArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let (options, target) = (&self.options, &self.target);
        let done = match (&options.kill, &options.status) {
            (Some(batch), _) => kill(target, batch).await,
            (_, Some(batch)) => status(target, batch, self.output).await,
            (None, None) => return Box::pin(self.submit()).await,
        };
        done.map(|()| ExitCode::SUCCESS)
    }

    async fn submit(&self) -> Result<ExitCode, Failure> {
        // From the beginning, so that none is missed: one that comes early is answered once the batch is there.
        let interrupts = if self.cancel_on_exit { Some(Interrupts::listen()?) } else { None };
        let submission = self.options.submission(self.properties()?).map_err(|problems| problems.join("\n"))?;
        let Submission { spec, namespace, warnings } = submission;
        for warning in warnings {
            eprintln!("sparkbatch: {warning}");
        }
        if self.options.verbose {
            eprint!("{}", serde_saphyr::to_string(&without_credentials(&spec))?);
        }
        let target = self.target.target(namespace.as_deref()).await?;
        let batch = target.submit(spec, self.options.called()).await?;
        match self.tell(&batch) {
            // The exit code is the batch's, whoever reads its name.
            Err(failure) if self.wait && nobody_reads(&failure) => {}
            told => told?,
        }
        if !self.wait {
            return Ok(ExitCode::SUCCESS);
        }
        wait(&target, &batch, interrupts, &self.target.flags()).await
    }

    fn properties(&self) -> Result<BTreeMap<String, String>, Failure> {
        let Some(file) = &self.options.properties_file else { return Ok(BTreeMap::new()) };
        let failed = |error: &dyn std::fmt::Display| format!("--properties-file: {file}: {error}");
        let read = std::fs::File::open(file).and_then(|file| read_bounded_text(file, MAX_BYTES));
        let text = read.map_err(|error| failed(&error))?;
        let properties = parse_properties(&text).map_err(|error| failed(&error))?;
        Ok(properties.into_iter().map(|(key, value)| (key, value.trim().to_owned())).collect())
    }

    fn tell(&self, batch: &Batch) -> Result<(), Failure> {
        let mut stdout = std::io::stdout();
        if self.output == Output::Table {
            let id = batch.id.filter(|_| batch.resource.is_some()).map(|id| format!(" (id {id})")).unwrap_or_default();
            return Ok(writeln!(stdout, "batch {}{id} submitted", batch.handle())?);
        }
        Ok(stdout.write_all(one(batch, self.output, &Screen::of_stdout())?.as_bytes())?)
    }
}

fn without_credentials(spec: &SparkBatchSpec) -> SparkBatchSpec {
    let redaction = Redaction::default();
    let shown = |(key, value): (&String, &String)| (key.clone(), redaction.shown(key, value).to_owned());
    SparkBatchSpec { conf: spec.conf.iter().map(shown).collect(), ..spec.clone() }
}
