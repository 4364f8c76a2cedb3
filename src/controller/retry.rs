//! From an attempt that failed to the next one. That there is a next one, and when, is in the status already: it was
//! written in one write with the failure.

use jiff::Timestamp;
use kube::runtime::controller::Action;

use super::apply::Started;
use super::error::Error;
use super::start;
use super::step::{Step, time_until};
use crate::api::{Reason, SparkBatchStatus};
use crate::spark::app_id;

/// Starts the attempt once its time has come and no driver of the one before can run any more.
pub(super) async fn start_at(step: &Step<'_>, status: &SparkBatchStatus, at: Timestamp) -> Result<Action, Error> {
    let is_over = is_previous_over(step).await?;
    let now = step.context.now();
    if now < at {
        return Ok(Action::requeue(time_until(at, now)));
    }
    if is_over {
        return start::start(step, status).await;
    }
    let (previous, attempt) = (step.attempt() - 1, step.attempt());
    let message =
        format!("attempt {attempt} waits until the driver pod of attempt {previous} is gone: it may still run");
    step.wait(status, Reason::RetryBackoff, message).await
}

/// Ends what the attempt before has left, until that was done: an attempt that waits would else delete it at each look.
async fn is_previous_over(step: &Step<'_>) -> Result<bool, Error> {
    let (memory, uid, attempt) = (&step.context.memory, step.uid(), step.attempt());
    if memory.is_cleared(&uid, attempt) {
        return Ok(true);
    }
    let is_over = end_previous(step).await?;
    if is_over {
        memory.cleared(&uid, attempt);
    }
    Ok(is_over)
}

/// Ends what the attempt before has left: its driver first, and once that has ended, what belonged to it. Whether it
/// is over. A pod on a node that does not answer may run until it is gone, though it is deleted.
pub(super) async fn end_previous(step: &Step<'_>) -> Result<bool, Error> {
    let (objects, uid, previous) = (step.objects(), step.uid(), step.attempt() - 1);
    let is_there = match objects.driver(&step.names(previous).driver_pod, &uid).await? {
        Started::Driver(driver) if !driver.has_ended() => {
            if !driver.deleted {
                objects.delete_driver(&driver.pod_name, &driver.pod_uid).await?;
            }
            return Ok(false);
        }
        Started::Driver(_) => true,
        _ => false,
    };
    objects.delete_executors(&[app_id(&uid, previous)]).await?;
    step.delete_pod_group(previous).await?;
    delete_secrets(step, previous, is_there).await?;
    Ok(true)
}

/// Deletes the Secrets that are not needed after `ended`, the last attempt that is over. Where its pod is gone, its Secret
/// bars an operator with an old cache from starting that attempt again, beside the look at the batch: it stays for one
/// attempt more.
pub(super) async fn delete_secrets(step: &Step<'_>, ended: i32, is_pod_there: bool) -> Result<(), Error> {
    for attempt in [Some(ended - 1), is_pod_there.then_some(ended)].into_iter().flatten().filter(|n| *n > 0) {
        step.objects().delete_secret(&step.names(attempt).conf_secret, &step.uid()).await?;
    }
    Ok(())
}
