//! After the end: nothing is left running, and the batch goes when its time is up.

use std::time::Duration;

use jiff::SignedDuration;
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt as _};

use super::apply::only_of;
use super::error::{During as _, Error, ignore_absent};
use super::step::Step;
use crate::api::{Phase, SparkBatch, SparkBatchStatus};

/// How long a driver that ended well is given to take its executors down itself, as it normally does.
const EXECUTORS_GRACE: SignedDuration = SignedDuration::from_secs(10);

/// Ends what a finished batch has left running, and deletes it when its time to live has passed.
pub(super) async fn settle(step: &Step<'_>, status: &SparkBatchStatus) -> Result<Action, Error> {
    let mut next = None;
    stop_drivers(step).await?;
    if step.context.pods.has_live_executors(&step.key()) {
        let ended = status.completion_time.unwrap_or_default();
        let left = EXECUTORS_GRACE - step.context.now().duration_since(ended);
        if status.phase == Phase::Succeeded && left > SignedDuration::ZERO {
            next = Some(left.unsigned_abs());
        } else {
            step.objects().delete_executors(&step.key(), None).await?;
        }
    }
    if let Some(ttl) = step.batch.spec.ttl_seconds_after_finished {
        let ended = status.completion_time.unwrap_or_default();
        let left = SignedDuration::from_secs(ttl.into()) - step.context.now().duration_since(ended);
        if left <= SignedDuration::ZERO {
            delete(step).await?;
            return Ok(Action::await_change());
        }
        next = Some(next.map_or(left.unsigned_abs(), |next: Duration| next.min(left.unsigned_abs())));
    }
    Ok(next.map_or_else(Action::await_change, |next| Action::requeue(next + Duration::from_millis(10))))
}

/// No driver outlives its batch: not one that did not start in time, nor one that an operator with an old cache
/// has made since.
async fn stop_drivers(step: &Step<'_>) -> Result<(), Error> {
    for driver in step.context.pods.live_drivers(&step.key(), &step.uid()) {
        step.objects().delete_driver(&driver.pod_name, &driver.pod_uid).await?;
    }
    Ok(())
}

/// RBAC needed: `sparkbatches` delete.
async fn delete(step: &Step<'_>) -> Result<(), Error> {
    let api: Api<SparkBatch> = Api::namespaced(step.context.client.clone(), &step.key().0);
    let deleted = api.delete(&step.batch.name_any(), &only_of(&step.uid())).await;
    ignore_absent(deleted).during("delete a batch whose time to live has passed")
}
