//! Flags of the controller.

use clap::Args;
use jiff::SignedDuration;

use super::Failure;
use crate::controller::{ControllerConfig, Deadlines};
use crate::plan::Defaults;

#[derive(Debug, Args)]
pub(super) struct ControllerArgs {
    /// How long a batch may wait for its driver pod to be created. As --driver-start-timeout if not given.
    #[arg(long, env = "SPARKBATCH_PENDING_TIMEOUT")]
    pending_timeout: Option<SignedDuration>,
    /// How long a driver pod may wait to run, as in '10m' or '90s'.
    #[arg(long, env = "SPARKBATCH_DRIVER_START_TIMEOUT", default_value = "10m")]
    driver_start_timeout: SignedDuration,
    /// How long a driver may run. Without a limit if not given.
    #[arg(long, env = "SPARKBATCH_RUNNING_TIMEOUT")]
    running_timeout: Option<SignedDuration>,
    /// How often a batch without 'retry' is run again that failed for no fault of its application.
    #[arg(long, env = "SPARKBATCH_INFRASTRUCTURE_RETRIES", default_value_t = 0, value_parser = clap::value_parser!(i32).range(0..=100))]
    infrastructure_retries: i32,
    /// Batches that are worked on at once.
    #[arg(long, env = "SPARKBATCH_CONCURRENCY", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
}

impl ControllerArgs {
    pub(super) fn config(self, defaults: Defaults) -> Result<ControllerConfig, Failure> {
        let timeouts = [
            ("--pending-timeout", self.pending_timeout),
            ("--driver-start-timeout", Some(self.driver_start_timeout)),
            ("--running-timeout", self.running_timeout),
        ];
        if let Some((flag, _)) = timeouts.iter().find(|(_, time)| time.is_some_and(|time| time <= SignedDuration::ZERO))
        {
            return Err(format!("{flag}: must be longer than nothing").into());
        }
        let deadlines = Deadlines {
            pending: self.pending_timeout,
            driver_start: self.driver_start_timeout,
            running: self.running_timeout,
        };
        Ok(ControllerConfig {
            defaults,
            deadlines,
            infrastructure_retries: self.infrastructure_retries,
            concurrency: self.concurrency,
        })
    }
}
