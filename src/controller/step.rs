//! A batch under one look: what is known of it, and the writing of what comes of it.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::apply::{Objects, Started};
use super::context::Context;
use super::error::{During as _, Error, api_status};
use super::events;
use super::pods::BatchKey;
use crate::api::{CONDITION_RECONCILING, Phase, Reason, SparkBatch, SparkBatchStatus};
use crate::observe::{
    Deadlines, DriverFacts, Observation, Outcome, RetryPolicy, look_again_at, merge_patch, outcome,
    status_or_next_attempt,
};

/// How often a batch is looked at though nothing was heard of it.
const RESYNC: Duration = Duration::from_secs(300);
/// How often a driver that is being ended is looked at though nothing was heard of it.
pub(super) const RECHECK: Duration = Duration::from_secs(5);
/// How often the counts of executors are written at the most.
const COUNTS_INTERVAL: Duration = Duration::from_secs(2);

/// A batch under one look.
pub(super) struct Step<'a> {
    pub(super) context: &'a Context,
    pub(super) batch: &'a SparkBatch,
}

impl Step<'_> {
    /// Writes what the driver's pod tells, with the executors `requested` at the start.
    pub(super) async fn follow(
        &self,
        status: &SparkBatchStatus,
        driver: &DriverFacts,
        requested: i32,
    ) -> Result<Action, Error> {
        let seen = outcome(driver, &self.deadlines(), self.context.now());
        let mut observation = self.observation(seen, Some(driver));
        observation.executors = Some(self.context.pods.executors(&self.key(), self.attempt(), requested));
        self.write(status, &observation).await
    }

    pub(super) async fn lost(&self, status: &SparkBatchStatus) -> Result<Action, Error> {
        let message = "the driver pod is gone without having reported an end: it was deleted, or its node was lost";
        let outcome = Outcome::new(Phase::Failed, Reason::DriverLost, message);
        self.write(status, &self.observation(outcome, None)).await
    }

    /// Writes that the batch waits without a driver; past the deadline of Pending, that it failed for this.
    pub(super) async fn wait(
        &self,
        status: &SparkBatchStatus,
        reason: Reason,
        message: String,
    ) -> Result<Action, Error> {
        let now = self.context.now();
        let timeout = self.deadlines().pending();
        let left = waiting_since(status).map_or(timeout, |since| timeout - now.duration_since(since));
        if left <= SignedDuration::ZERO {
            let message = format!(
                "no driver within {} seconds (deadlines.pendingSeconds, else the operator's --pending-timeout): {message}",
                timeout.as_secs()
            );
            // A driver of before that may still run bars every further attempt.
            let reason = if reason == Reason::RetryBackoff { Reason::DeadlineExceeded } else { reason };
            return self.fail(status, reason, message).await;
        }
        let outcome = Outcome::new(Phase::Pending, reason, message);
        self.write(status, &self.observation(outcome, None)).await?;
        // What is waited for is not watched.
        let pause = Duration::from_secs(10).min(left.unsigned_abs()).max(Duration::from_millis(100));
        Ok(Action::requeue(pause))
    }

    pub(super) async fn fail(
        &self,
        status: &SparkBatchStatus,
        reason: Reason,
        message: String,
    ) -> Result<Action, Error> {
        let message = message.chars().take(1024).collect::<String>();
        self.write(status, &self.observation(Outcome::new(Phase::Failed, reason, message), None)).await
    }

    /// Ends the driver within its grace period. The reason is written first: a driver that is ended for it is never
    /// taken for one that was lost.
    pub(super) async fn end_driver(
        &self,
        status: &SparkBatchStatus,
        driver: &DriverFacts,
        reason: Reason,
    ) -> Result<Action, Error> {
        if status.reason != Some(reason) {
            let outcome = Outcome::new(status.phase, reason, "the driver is being ended");
            self.write(status, &self.observation(outcome, Some(driver))).await?;
        }
        if !driver.deleted {
            self.objects().delete_driver(&driver.pod_name, &driver.pod_uid).await?;
        }
        // The pod's end is heard of; this is for the case that it is not.
        Ok(Action::requeue(RECHECK))
    }

    /// The driver pod with this name and uid: as the cache has it, else as the API server has it. What a cache
    /// does not hold is never believed to be gone.
    pub(super) async fn find_driver(&self, name: &str, uid: &str) -> Result<Option<DriverFacts>, Error> {
        if let Some(driver) = self.context.pods.driver(&self.key(), name).filter(|driver| driver.pod_uid == uid) {
            return Ok(Some(driver));
        }
        Ok(match self.objects().driver(name, &self.uid()).await? {
            Started::Driver(driver) if driver.pod_uid == uid => Some(*driver),
            _ => None,
        })
    }

    pub(super) fn observation<'d>(&self, outcome: Outcome, driver: Option<&'d DriverFacts>) -> Observation<'d> {
        Observation {
            outcome,
            attempt: self.attempt(),
            app_id: driver.map(|_| crate::spark::app_id(&self.uid(), self.attempt())),
            driver,
            executors: None,
            generation: self.batch.metadata.generation.unwrap_or_default(),
        }
    }

    /// Writes the next status, if it differs, and says when to look again.
    pub(super) async fn write(&self, before: &SparkBatchStatus, seen: &Observation<'_>) -> Result<Action, Error> {
        let policy = RetryPolicy::of(&self.batch.spec, self.context.config.infrastructure_retries);
        let mut after = status_or_next_attempt(before, seen, &policy, &self.uid(), self.context.now());
        if after.id.is_none() {
            after.id = self.id().await;
        }
        if before.differs_only_in_executors(&after) {
            let passed = self.context.memory.since_write(&self.uid(), Instant::now()).unwrap_or(COUNTS_INTERVAL);
            if let Some(left) = COUNTS_INTERVAL.checked_sub(passed).filter(|left| !left.is_zero()) {
                return Ok(Action::requeue(left));
            }
        }
        self.patch_status(before, &after).await?;
        events::publish(self.context, self.batch, before, &after).await;
        Ok(self.look_again(&after))
    }

    /// RBAC needed: `sparkbatches/status` patch.
    async fn patch_status(&self, before: &SparkBatchStatus, after: &SparkBatchStatus) -> Result<(), Error> {
        let stored = match &self.batch.status {
            Some(_) => serde_json::to_value(before)?,
            None => json!({}),
        };
        let Some(patch) = merge_patch(&stored, &serde_json::to_value(after)?) else { return Ok(()) };
        // The precondition makes the write of a stale or second operator fail and change nothing.
        let patch = json!({ "metadata": { "resourceVersion": self.batch.resource_version() }, "status": patch });
        let api: Api<SparkBatch> = Api::namespaced(self.context.client.clone(), &self.key().0);
        let name = self.batch.name_any();
        let written = api.patch_status(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
        let written = match written {
            Err(error) if api_status(&error).is_some_and(|status| status.code == 404) => return Ok(()),
            written => written.during("write the status")?,
        };
        self.context.memory.wrote(&written, Instant::now());
        let created = self.batch.metadata.creation_timestamp.as_ref().map(|time| time.0);
        self.context.counters.wrote(created, before, after);
        if before.phase != after.phase {
            tracing::info!(
                namespace = self.key().0, name, phase = %after.phase, reason = after.reason.map(Reason::as_str),
                app_id = after.app_id, "batch changed its phase"
            );
        }
        Ok(())
    }

    /// The id under which the REST facade lists the batch. A batch runs without one rather than not at all.
    async fn id(&self) -> Option<i32> {
        if let Some(id) = self.batch.batch_id() {
            return Some(id);
        }
        let (namespace, _) = self.key();
        match self.context.ids.next(&namespace, self.context.highest_id(&namespace)).await {
            Ok(id) => Some(id),
            Err(error) => {
                tracing::warn!(namespace, name = self.batch.name_any(), %error, "no id for a batch yet");
                None
            }
        }
    }

    fn look_again(&self, status: &SparkBatchStatus) -> Action {
        match status.phase {
            Phase::Succeeded | Phase::Failed | Phase::Killed => Action::await_change(),
            Phase::Pending | Phase::Starting | Phase::Running => {
                let deadline = look_again_at(status, &self.deadlines());
                let left = deadline.map(|deadline| time_until(deadline, self.context.now()));
                Action::requeue(left.unwrap_or(RESYNC).min(RESYNC))
            }
        }
    }

    pub(super) fn status(&self) -> SparkBatchStatus {
        self.batch.status.clone().unwrap_or_default()
    }

    fn deadlines(&self) -> Deadlines {
        self.context.config.deadlines.of(&self.batch.spec)
    }

    pub(super) fn attempt(&self) -> i32 {
        self.batch.status.as_ref().and_then(|status| status.attempt).unwrap_or(1)
    }

    /// For how long the batch has been there, to the second.
    pub(super) fn age(&self) -> SignedDuration {
        let created = self.batch.metadata.creation_timestamp.as_ref().map(|time| time.0);
        created.map_or(SignedDuration::MAX, |created| self.context.now().duration_since(created))
    }

    pub(super) fn objects(&self) -> Objects<'_> {
        let namespace = self.batch.metadata.namespace.as_deref().unwrap_or_default();
        Objects::of(&self.context.client, &self.context.leadership, namespace)
    }

    pub(super) fn key(&self) -> BatchKey {
        (self.batch.namespace().unwrap_or_default(), self.batch.name_any())
    }

    pub(super) fn uid(&self) -> String {
        self.batch.uid().unwrap_or_default()
    }
}

/// Since when a batch waits to be started.
fn waiting_since(status: &SparkBatchStatus) -> Option<Timestamp> {
    let waits = status.conditions.iter().find(|condition| condition.type_ == CONDITION_RECONCILING)?;
    let since = waits.last_transition_time.0;
    (waits.status == "True").then(|| status.next_attempt_time.map_or(since, |at| at.max(since)))
}

/// The time until `later`, and a little more, so that `later` has passed by then.
pub(super) fn time_until(later: Timestamp, now: Timestamp) -> Duration {
    later.duration_since(now).max(SignedDuration::ZERO).unsigned_abs() + Duration::from_millis(10)
}

/// Executors that the batch asked for at its start, as an earlier look wrote them down.
pub(super) fn requested_before(status: &SparkBatchStatus) -> i32 {
    status.executors.map_or(0, |executors| executors.requested)
}
