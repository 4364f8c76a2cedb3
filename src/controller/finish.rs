//! After the end: nothing is left running, and the batch goes when its time is up.

use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt as _};

use super::apply::Started;
use super::error::{During as _, Error, ignore_absent};
use super::retry::delete_secrets;
use super::step::Step;
use crate::api::calls::only_of;
use crate::api::{Phase, PodRetention, SparkBatch, SparkBatchStatus};
use crate::observe::DriverFacts;
use crate::spark::app_id;

/// How long a driver that ended well is given to take its executors down itself, as it normally does.
const EXECUTORS_GRACE: SignedDuration = SignedDuration::from_secs(10);

/// Ends what a finished batch has left running, and deletes it when its time to live has passed.
pub(super) async fn settle(step: &Step<'_>, status: &SparkBatchStatus) -> Result<Action, Error> {
    let keeps = keeps_pod(step.batch.spec.pod_retention.unwrap_or(step.context.config.pod_retention), status.phase);
    delete_drivers(step, &step.context.pods.drivers(&step.key(), &step.uid()), keeps).await?;
    // The one before, too: a batch may end between two attempts, before that one was cleared up.
    let last = step.attempt().saturating_sub(1).max(1)..=step.attempt();
    let mut next = end_executors(step, status, last.clone()).await?;
    delete_pod_groups(step, last).await?;
    delete_secrets(step, step.attempt() - 1, false).await?;
    let own = step.batch.spec.ttl_seconds_after_finished.map(|seconds| SignedDuration::from_secs(seconds.into()));
    if let Some(ttl) = own.or(step.context.config.ttl_after_finished) {
        let left = ttl - step.context.now().duration_since(told_at(status));
        if left <= SignedDuration::ZERO {
            delete(step).await?;
            return Ok(Action::await_change());
        }
        next = Some(next.map_or(left.unsigned_abs(), |next: Duration| next.min(left.unsigned_abs())));
    }
    Ok(next.map_or_else(Action::await_change, |next| Action::requeue(next + Duration::from_millis(10))))
}

/// When the end was written, as Kubernetes' Jobs count their time to live: of a batch that ended while no operator ran,
/// its owner hears no earlier.
fn told_at(status: &SparkBatchStatus) -> Timestamp {
    let written = status.conditions.iter().map(|condition| condition.last_transition_time.0).max();
    written.max(status.completion_time).unwrap_or_default()
}

/// Ends the executors of these attempts that their drivers have left; or when to, where the driver may still do so.
async fn end_executors(
    step: &Step<'_>,
    status: &SparkBatchStatus,
    attempts: RangeInclusive<i32>,
) -> Result<Option<Duration>, Error> {
    if !step.context.pods.has_live_executors(&step.key()) {
        return Ok(None);
    }
    let ended = status.completion_time.unwrap_or_default();
    let left = EXECUTORS_GRACE - step.context.now().duration_since(ended);
    if status.phase == Phase::Succeeded && left > SignedDuration::ZERO {
        return Ok(Some(left.unsigned_abs()));
    }
    let applications: Vec<_> = attempts.map(|attempt| app_id(&step.uid(), attempt)).collect();
    step.objects().delete_executors(&applications).await?;
    Ok(None)
}

/// No driver outlives its batch: not one that did not start in time, nor one that an operator with an old cache
/// has made since. With `keeps_ended`, those that have ended stay for their logs. The Secrets stay in any case: where
/// the pod is gone, they bar such an operator from starting the batch again.
pub(super) async fn delete_drivers(step: &Step<'_>, drivers: &[DriverFacts], keeps_ended: bool) -> Result<(), Error> {
    for driver in drivers.iter().filter(|driver| !driver.deleted) {
        if !(keeps_ended && (driver.has_ended() || has_ended_by_now(step, driver).await?)) {
            step.objects().delete_driver(&driver.pod_name, &driver.pod_uid).await?;
        }
    }
    Ok(())
}

/// Whether the driver has ended of whose end the cache has not heard yet: another replica may have, and written it down.
async fn has_ended_by_now(step: &Step<'_>, driver: &DriverFacts) -> Result<bool, Error> {
    let found = step.objects().driver(&driver.pod_name, &step.uid()).await?;
    Ok(matches!(found, Started::Driver(found) if found.has_ended()))
}

/// No `PodGroup` outlives its batch, nor goes before a driver that no watch has told of yet.
async fn delete_pod_groups(step: &Step<'_>, attempts: RangeInclusive<i32>) -> Result<(), Error> {
    if !step.has_pod_group() {
        return Ok(());
    }
    for attempt in attempts {
        let found = step.objects().driver(&step.names(attempt).driver_pod, &step.uid()).await?;
        if let Started::Driver(driver) = found
            && !driver.has_ended()
            && !driver.deleted
        {
            step.objects().delete_driver(&driver.pod_name, &driver.pod_uid).await?;
        }
        step.delete_pod_group(attempt).await?;
    }
    Ok(())
}

fn keeps_pod(retention: PodRetention, phase: Phase) -> bool {
    match retention {
        PodRetention::Always => true,
        PodRetention::OnFailure => phase != Phase::Succeeded,
        PodRetention::Never => false,
    }
}

/// RBAC needed: `sparkbatches` delete.
async fn delete(step: &Step<'_>) -> Result<(), Error> {
    let api: Api<SparkBatch> = Api::namespaced(step.context.client.clone(), &step.key().0);
    let deleted = api.delete(&step.batch.name_any(), &only_of(&step.uid())).await;
    ignore_absent(deleted).during("delete a batch whose time to live has passed")
}
