//! From an accepted batch to a driver pod, and back while a batch is suspended.

use std::time::Duration;

use jiff::SignedDuration;
use kube::runtime::controller::Action;
use tokio::time::Instant;

use super::apply::{Refusal, Started};
use super::dereference::conf_from;
use super::error::Error;
use super::finish::delete_drivers;
use super::retry::{delete_secrets, end_previous};
use super::step::{Step, requested_before};
use crate::api::validation::problems;
use crate::api::{Phase, Reason, SparkBatchStatus};
use crate::observe::{DriverFacts, Observation, Outcome, Turn, suspended_too_late};
use crate::plan::{build, validate};

/// How long a batch may be there before what its confFrom names, without a word about it.
const NEWBORN: SignedDuration = SignedDuration::from_secs(3);
/// How often it is looked for meanwhile.
const LOOK_FOR_CONF: Duration = Duration::from_millis(50);

/// Starts the batch's driver, or finds the one that an earlier look or an earlier operator started.
pub(super) async fn start(step: &Step<'_>, status: &SparkBatchStatus) -> Result<Action, Error> {
    // Who stands in line costs nothing until the turn comes.
    if status.reason == Some(Reason::Queued)
        && let Turn::Waits { position, of } = step.context.queues.ask(step.batch, step.context.now())
    {
        return step.stand_in_line(status, position, of).await;
    }
    if status.reason == Some(Reason::DriverRefused)
        && let Some(left) = step.context.memory.rests_for(&step.uid(), Instant::now())
    {
        return Ok(Action::requeue(left));
    }
    // What an invalid spec names is not asked for: `validate` refuses it for the same problems.
    let sources = if problems(&step.batch.spec).is_empty() { &step.batch.spec.conf_from[..] } else { &[] };
    let referenced = match conf_from(&step.context.client, &step.key().0, sources).await? {
        Ok(layers) => layers,
        // What a batch names is created next to it, a moment later: by the REST facade, or from the same file.
        Err(_) if step.age() < NEWBORN => return Ok(Action::requeue(LOOK_FOR_CONF)),
        Err(missing) => return step.wait(status, Reason::ConfUnavailable, missing).await,
    };
    let batch = match validate(step.batch, step.attempt(), &referenced, &step.context.config.defaults) {
        Ok(batch) => batch,
        Err(problems) => {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            return step.fail(status, Reason::InvalidSpec, problems.join("; ")).await;
        }
    };
    if let Turn::Waits { position, of } = step.context.queues.take(step.context, step.batch).await? {
        return step.stand_in_line(status, position, of).await;
    }
    match step.objects().start(&build(&batch), step.batch).await? {
        Started::Driver(driver) => {
            if driver.has_ended() {
                step.leave_queue();
            }
            step.follow(status, &driver, batch.requested_executors()).await
        }
        Started::Lost => step.lost(status, batch.requested_executors()).await,
        Started::NotOurs(object) => {
            let message =
                format!("{object} exists and belongs to something else; delete it, or name the batch differently");
            step.fail(status, Reason::NameConflict, message).await
        }
        Started::Refused(Refusal { permanent: true, message }) => {
            step.fail(status, Reason::InvalidSpec, format!("the API server refuses the driver: {message}")).await
        }
        Started::Refused(Refusal { permanent: false, message }) => step.refused(status, message).await,
    }
}

/// Keeps a suspended batch without pods. One that runs is ended by its pod's deletion; it starts anew, as the next
/// attempt, when it is not suspended any more.
pub(super) async fn hold(step: &Step<'_>, status: &SparkBatchStatus) -> Result<Action, Error> {
    let drivers = step.context.pods.drivers(&step.key(), &step.uid());
    let (own, earlier): (Vec<_>, Vec<_>) =
        drivers.into_iter().partition(|driver| driver.attempt == Some(step.attempt()));
    // Of a creation that was given up, and has come about since.
    delete_drivers(step, &earlier, true).await?;
    // A driver that the status knows nothing of, since the operator that made it died, is ended as any other: its attempt
    // is used up, and when the batch goes on, it is not to be taken for lost.
    if status.phase == Phase::Pending && status.reason == Some(Reason::Suspended) && own.is_empty() {
        return Ok(Action::await_change());
    }
    let names = step.names(step.attempt());
    let objects = step.objects();
    match objects.driver(&names.driver_pod, &step.uid()).await? {
        Started::Driver(driver) if driver.has_succeeded() => {
            step.follow(status, &driver, requested_before(status)).await
        }
        Started::Driver(driver) => end_for_suspension(step, status, &driver).await,
        _ => {
            if let Some(driver) = step.gone_driver(status).filter(DriverFacts::has_succeeded) {
                return step.follow(status, &driver, requested_before(status)).await;
            }
            if status.next_attempt_time.is_some() {
                end_previous(step).await?;
            }
            let used = status.driver.is_some() || objects.was_started(&names.conf_secret, &step.uid()).await?;
            let attempt = if used { step.attempt().saturating_add(1) } else { step.attempt() };
            step.delete_pod_group(step.attempt()).await?;
            let outcome = Outcome::new(Phase::Pending, Reason::Suspended, "");
            let action = step.write(status, &Observation { attempt, ..step.observation(outcome, None) }).await?;
            if used {
                delete_secrets(step, attempt - 1, false).await?;
            }
            Ok(action)
        }
    }
}

/// Ends the driver of a batch that is being suspended, and waits for its end, but not for ever.
async fn end_for_suspension(step: &Step<'_>, status: &SparkBatchStatus, driver: &DriverFacts) -> Result<Action, Error> {
    let overdue_after = step.context.config.overdue_after;
    match suspended_too_late(status, driver, &step.deadlines(), overdue_after, step.context.now()) {
        Some(end) => step.write(status, &step.observation(end, Some(driver))).await,
        None => step.end_driver(status, driver, Reason::Suspended).await,
    }
}
