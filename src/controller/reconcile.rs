//! One look at one batch: which step is next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::ResourceExt as _;
use kube::runtime::controller::Action;
use tracing::{Instrument as _, Span};

use super::apply::Started;
use super::context::{Context, GuardedBatch};
use super::error::Error;
use super::step::{Step, requested_before};
use super::{cancel, finish, retry, start, unreadable};
use crate::api::{ANNOTATION_TRACEPARENT, Phase, Reason, SparkBatch};
use crate::observe::jitter;
use crate::traces::{self, TraceParent};

/// Longest time that one look may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Races in a row that are tried again at once; more of them are a cache that does not follow.
const QUICK_TRIES: u32 = 5;

pub(super) async fn reconcile(guard: Arc<GuardedBatch>, context: Arc<Context>) -> Result<Action, Error> {
    let looked = match &guard.0 {
        Ok(batch) => look(batch, &context).await,
        Err(invalid) => unreadable::tell(&context, &invalid.metadata).await,
    };
    if context.knows(&guard) {
        return looked;
    }
    // Deleted meanwhile: nothing will look at it again, and what was remembered since would be so for ever.
    guard.uid().iter().for_each(|uid| context.memory.forget(uid));
    if let Err(error) = looked {
        tracing::debug!(batch = guard.name_any(), %error, "reconciling a batch that was deleted meanwhile failed");
    }
    Ok(Action::await_change())
}

async fn look(batch: &SparkBatch, context: &Arc<Context>) -> Result<Action, Error> {
    tokio::select! {
        biased;
        _ = context.pods.wait_until_ready() => {}
        // Nothing fills the cache any more.
        () = context.cancel.cancelled() => return Ok(Action::await_change()),
    }
    let namespace = batch.metadata.namespace.as_deref().unwrap_or_default();
    // What another replica leads, and what this one leads no more, is looked at when this one begins to lead.
    let leads = context.leadership.time_left(namespace).is_some();
    if !leads || batch.metadata.deletion_timestamp.is_some() || context.memory.is_stale(batch) {
        return Ok(Action::await_change());
    }
    let step = Step::new(context, batch);
    context.queues.look_begins(batch, context.now());
    let (_looking, started) = (context.counters.looking(), Instant::now());
    let (name, span) = (step.key().1, look_span(&step));
    let lines = tracing::info_span!("reconcile", namespace, batch = name);
    let looked = tokio::select! {
        biased;
        // As a crash would end it, which may come at any time.
        () = context.leadership.lost(namespace) => Err(Error::NotLeading),
        looked = tokio::time::timeout(TIMEOUT, next(&step).instrument(span).instrument(lines)) => looked.unwrap_or(Err(Error::Timeout(TIMEOUT.as_secs()))),
    };
    context.queues.look_ends(batch, looked.is_ok(), context.now());
    context.counters.looked(looked.as_ref().err().map_or("ok", Error::category), started.elapsed());
    match looked {
        Err(Error::NotLeading) => Ok(Action::await_change()),
        Err(error) => {
            if let Err(untold) = step.tell_trouble(&error).await {
                tracing::debug!(namespace, name, error = %untold, "cannot say on the batch why it fails");
            }
            Err(error)
        }
        Ok(action) => {
            context.memory.succeeded(&batch.uid().unwrap_or_default());
            Ok(action)
        }
    }
}

/// The span of a look.
///
/// The looks that start a batch are part of the trace of the request that made it, as `OpenTelemetry` has it for one
/// message processed by one consumer. Those that follow its driver, for hours, are traces of their own that point
/// there: a trace that never ends is of no use.
fn look_span(step: &Step<'_>) -> Span {
    let span = tracing::trace_span!(
        target: traces::TARGET, "reconcile", otel.kind = "consumer", namespace = step.key().0, batch = step.key().1,
        uid = step.uid(), phase = step.status.phase.as_str(), attempt = step.attempt()
    );
    if span.is_disabled() {
        return span;
    }
    let annotation = step.batch.annotations().get(ANNOTATION_TRACEPARENT);
    if let Some(trace) = annotation.and_then(|text| TraceParent::parse(text)) {
        if step.status.driver.is_none() && step.attempt() == 1 {
            trace.adopt(&span);
        } else {
            trace.link(&span);
        }
    }
    span
}

/// 1 s, 2 s, 4 s, … up to 256 s, each by up to a fifth longer so that many batches do not come at once.
#[expect(clippy::needless_pass_by_value, reason = "the applier hands out its handles")]
pub(super) fn error_policy(guard: Arc<GuardedBatch>, error: &Error, context: Arc<Context>) -> Action {
    let uid = guard.uid().unwrap_or_default();
    let failures = context.memory.failed(&uid);
    if error.is_race() && failures <= QUICK_TRIES {
        return Action::requeue(Duration::from_millis(200));
    }
    let seconds = 1_u64 << failures.saturating_sub(1).min(8);
    Action::requeue(Duration::from_millis(seconds * u64::from(1000 + jitter(&uid, failures))))
}

async fn next(step: &Step<'_>) -> Result<Action, Error> {
    step.tell_of_unanswered().await?;
    let status = step.status.clone();
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
    if let Some(attempt) = stray_attempt(step).await? {
        let step = step.of_attempt(attempt);
        return start::start(&step, &step.status).await;
    }
    match &status.driver {
        None => match status.next_attempt_time {
            Some(at) => retry::start_at(step, &status, at).await,
            // Resumed: what was left of the attempt before, or could not be taken down as it ended, goes first.
            None if step.attempt() > 1 => retry::start_at(step, &status, step.context.now()).await,
            None => start::start(step, &status).await,
        },
        Some(known) => match step.find_driver(&known.pod_name, &known.pod_uid).await? {
            Some(driver) => step.follow(&status, &driver, requested_before(&status)).await,
            None => step.lost(&status, requested_before(&status)).await,
        },
    }
}

/// The attempt of a driver of this batch that is at work though its status, which somebody has edited, knows of none
/// and is at another attempt. A second driver is never started beside it.
async fn stray_attempt(step: &Step<'_>) -> Result<Option<i32>, Error> {
    if step.status.driver.is_some() {
        return Ok(None);
    }
    let (attempt, uid) = (step.attempt(), step.uid());
    // The driver before a retry is known to be ended first.
    let is_expected =
        |of: i32| of == attempt || (step.status.next_attempt_time.is_some() && of.saturating_add(1) == attempt);
    for driver in step.context.pods.drivers_at_work(&step.key(), &uid) {
        let Some(of) = driver.attempt.filter(|of| !is_expected(*of)) else { continue };
        if matches!(step.objects().driver(&driver.pod_name, &uid).await?, Started::Driver(found) if !found.has_ended())
        {
            tracing::warn!(
                pod = driver.pod_name,
                attempt,
                "the status knows nothing of a driver that runs; it is taken back"
            );
            return Ok(Some(of));
        }
    }
    Ok(None)
}
