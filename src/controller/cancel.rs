//! The end of a batch at its owner's wish.

use kube::runtime::controller::Action;

use super::apply::Started;
use super::error::Error;
use super::step::{Step, requested_before};
use crate::api::{Phase, Reason, SparkBatchStatus};
use crate::observe::{DriverFacts, Outcome, may_still_run};

/// Ends the driver, if there is one, and writes that the batch was killed. A driver that has succeeded has succeeded.
pub(super) async fn cancel(step: &Step<'_>, status: &SparkBatchStatus) -> Result<Action, Error> {
    let names = step.names(step.attempt());
    match step.objects().driver(&names.driver_pod, &step.uid()).await? {
        Started::Driver(driver) if driver.has_succeeded() => {
            step.follow(status, &driver, requested_before(status)).await
        }
        Started::Driver(driver) if driver.has_ended() => killed(step, status, Some(&driver)).await,
        Started::Driver(driver) if step.is_overdue(&driver) => {
            let message = format!("cancelled by spec.cancel; {}", may_still_run(&driver));
            let outcome = Outcome::new(Phase::Killed, Reason::Cancelled, message);
            step.write(status, &step.observation(outcome, Some(&driver))).await
        }
        Started::Driver(driver) => step.end_driver(status, &driver, Reason::Cancelled).await,
        _ => match step.gone_driver(status) {
            Some(driver) if driver.has_succeeded() => step.follow(status, &driver, requested_before(status)).await,
            driver => killed(step, status, driver.as_ref()).await,
        },
    }
}

async fn killed(step: &Step<'_>, status: &SparkBatchStatus, driver: Option<&DriverFacts>) -> Result<Action, Error> {
    let outcome = Outcome::new(Phase::Killed, Reason::Cancelled, "cancelled by spec.cancel");
    step.write(status, &step.observation(outcome, driver)).await
}
