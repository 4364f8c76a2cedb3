//! Flags of the controller.

use clap::Args;
use jiff::SignedDuration;

use super::Failure;
use crate::controller::ControllerConfig;
use crate::plan::Defaults;

#[derive(Debug, Args)]
pub(super) struct ControllerArgs {
    /// How long a batch may wait for its driver to run, as in '10m' or '90s'.
    #[arg(long, env = "SPARKBATCH_DRIVER_START_TIMEOUT", default_value = "10m")]
    driver_start_timeout: SignedDuration,
    /// Batches that are worked on at once.
    #[arg(long, env = "SPARKBATCH_CONCURRENCY", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
}

impl ControllerArgs {
    pub(super) fn config(self, defaults: Defaults) -> Result<ControllerConfig, Failure> {
        if self.driver_start_timeout <= SignedDuration::ZERO {
            return Err("--driver-start-timeout: must be longer than nothing".into());
        }
        Ok(ControllerConfig { defaults, start_timeout: self.driver_start_timeout, concurrency: self.concurrency })
    }
}
