//! The way to a batch's Spark UI.

use std::io::Write as _;

use clap::Args;

use super::TargetArgs;
use crate::cli::Failure;
use crate::client::Ui;

#[derive(Debug, Args)]
pub(in crate::cli) struct UiArgs {
    /// Id or name
    #[arg(value_name = "ID|NAME")]
    batch: String,
    #[command(flatten)]
    target: TargetArgs,
    /// Port of this machine, by kubeconfig. [default: a free one]
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    port: u16,
}

impl UiArgs {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let forward = match self.target.target_of(&self.batch).await?.ui(&self.batch, self.port).await? {
            Ui::Url(url) => return Ok(writeln!(std::io::stdout(), "{url}")?),
            Ui::Forward(forward) => forward,
        };
        let mut stdout = std::io::stdout();
        writeln!(stdout, "{}", forward.url()?)?;
        stdout.flush()?;
        tokio::select! {
            ended = forward.serve() => {
                let how = ended?.map_or_else(|| "was deleted".to_owned(), |phase| format!("has ended: {phase}"));
                eprintln!("batch {} {how}", self.batch);
            }
            interrupted = tokio::signal::ctrl_c() => interrupted?,
        }
        Ok(())
    }
}
