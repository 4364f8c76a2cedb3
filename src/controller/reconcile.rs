//! One look at one batch: which step is next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::ResourceExt as _;
use kube::runtime::controller::Action;

use super::context::{Context, GuardedBatch};
use super::error::Error;
use super::step::{Step, requested_before};
use super::{cancel, finish, retry, start};
use crate::api::{Phase, Reason};

/// Longest time that one look may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Races in a row that are tried again at once; more of them are a cache that does not follow.
const QUICK_TRIES: u32 = 5;

pub(super) async fn reconcile(guard: Arc<GuardedBatch>, context: Arc<Context>) -> Result<Action, Error> {
    let batch = match &guard.0 {
        Ok(batch) => batch,
        Err(invalid) => {
            tracing::warn!(batch = invalid.metadata.name, error = %invalid.error, "a batch cannot be read; it is left alone");
            return Ok(Action::await_change());
        }
    };
    context.pods.wait_until_ready().await;
    let namespace = batch.metadata.namespace.as_deref().unwrap_or_default();
    // What another replica leads, and what this one leads no more, is looked at when this one begins to lead.
    let leads = context.leadership.time_left(namespace).is_some();
    if !leads || batch.metadata.deletion_timestamp.is_some() || context.memory.is_stale(batch) {
        return Ok(Action::await_change());
    }
    let step = Step { context: &context, batch };
    let started = Instant::now();
    let looked = tokio::select! {
        biased;
        // As a crash would end it, which may come at any time.
        () = context.leadership.lost(namespace) => Err(Error::NotLeading),
        looked = tokio::time::timeout(TIMEOUT, next(&step)) => looked.unwrap_or(Err(Error::Timeout(TIMEOUT.as_secs()))),
    };
    context.counters.looked(looked.as_ref().err().map_or("ok", Error::category), started.elapsed());
    match looked {
        Err(Error::NotLeading) => Ok(Action::await_change()),
        Err(error) => Err(error),
        Ok(action) => {
            context.memory.succeeded(&batch.uid().unwrap_or_default());
            Ok(action)
        }
    }
}

/// 1 s, 2 s, 4 s, … up to 5 minutes, each by up to a fifth longer so that many batches do not come at once.
#[expect(clippy::needless_pass_by_value, reason = "the applier hands out its handles")]
pub(super) fn error_policy(guard: Arc<GuardedBatch>, error: &Error, context: Arc<Context>) -> Action {
    let uid = guard.uid().unwrap_or_default();
    let failures = context.memory.failed(&uid);
    if error.is_race() && failures <= QUICK_TRIES {
        return Action::requeue(Duration::from_millis(200));
    }
    let seconds = 1_u64 << failures.saturating_sub(1).min(8);
    let jitter =
        uid.bytes().fold(u64::from(failures), |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into())) % 200;
    Action::requeue(Duration::from_millis(seconds.min(300) * (1000 + jitter)))
}

async fn next(step: &Step<'_>) -> Result<Action, Error> {
    let status = step.status();
    if status.phase.is_final() {
        return finish::settle(step, &status).await;
    }
    if step.batch.spec.cancel == Some(true) || status.reason == Some(Reason::Cancelled) {
        return cancel::cancel(step, &status).await;
    }
    let is_being_suspended = status.reason == Some(Reason::Suspended) && status.phase != Phase::Pending;
    if step.batch.spec.suspend == Some(true) || is_being_suspended {
        return start::hold(step, &status).await;
    }
    match &status.driver {
        None => match status.next_attempt_time {
            Some(at) => retry::start_at(step, &status, at).await,
            None => start::start(step, &status).await,
        },
        Some(known) => match step.find_driver(&known.pod_name, &known.pod_uid).await? {
            Some(driver) => step.follow(&status, &driver, requested_before(&status)).await,
            None => step.lost(&status).await,
        },
    }
}
