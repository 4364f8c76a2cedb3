//! A batch under one look: what is known of it, and the writing of what comes of it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt as _};
use serde_json::json;
use tokio::time::Instant;

use super::apply::{Objects, Started};
use super::context::Context;
use super::error::{During as _, Error, api_status, is_refused};
use super::pods::BatchKey;
use crate::api::{ExecutorCounts, Phase, Reason, SparkBatch, SparkBatchStatus};
use crate::observe::{
    Deadlines, DriverFacts, DriverState, LACK_GRACE, Observation, Outcome, RetryPolicy, lack, look_again_at,
    may_still_run, mended, merge_patch, outcome, overdue_at, status_or_next_attempt,
};
use crate::spark::AttemptNames;

/// How often a batch is looked at though nothing was heard of it.
const RESYNC: Duration = Duration::from_secs(300);
/// How often a driver that is being ended is looked at though nothing was heard of it.
pub(super) const RECHECK: Duration = Duration::from_secs(5);
/// How often the counts of executors are written at the most.
const COUNTS_INTERVAL: Duration = Duration::from_secs(2);
/// How often a message of others is written at the most whose reason stays: a quota's tells how much is used, a
/// webhook's may tell the time.
const WORDS_INTERVAL: Duration = Duration::from_secs(60);

/// A batch under one look.
pub(super) struct Step<'a> {
    pub(super) context: &'a Context,
    pub(super) batch: &'a SparkBatch,
    /// The batch's status as it can be relied on.
    pub(super) status: SparkBatchStatus,
}

impl<'a> Step<'a> {
    pub(super) fn new(context: &'a Context, batch: &'a SparkBatch) -> Self {
        let policy = RetryPolicy::of(&batch.spec, context.config.infrastructure_retries);
        let status = mended(batch.status.clone().unwrap_or_default(), &policy, context.now());
        Self { context, batch, status }
    }

    /// The same look, at the attempt whose driver was found at work though the status names another.
    pub(super) fn of_attempt(&self, attempt: i32) -> Self {
        let status = SparkBatchStatus { attempt: Some(attempt), next_attempt_time: None, ..self.status.clone() };
        Self { context: self.context, batch: self.batch, status }
    }

    /// Writes what the driver's pod tells, with the executors `requested` at the start.
    pub(super) async fn follow(
        &self,
        status: &SparkBatchStatus,
        driver: &DriverFacts,
        requested: i32,
    ) -> Result<Action, Error> {
        let mut seen = outcome(status, driver, &self.deadlines(), self.context.now());
        let executors = self.context.pods.executors(&self.key(), self.attempt(), requested);
        let mut look_at = overdue_at(driver, self.context.config.overdue_after).filter(|at| *at > self.context.now());
        if self.is_overdue(driver) && !seen.phase.is_final() {
            seen.message = may_still_run(driver);
        } else if seen.phase == Phase::Running {
            let (message, at) = self.lack(status, driver, &executors);
            seen.message = message.unwrap_or_default();
            look_at = look_at.into_iter().chain(at).min();
        }
        let observation = Observation { executors: Some(executors), ..self.observation(seen, Some(driver)) };
        self.write_and_look_at(status, &observation, look_at).await
    }

    /// What there is to say of a driver that runs without executors, and when there may be.
    fn lack(
        &self,
        status: &SparkBatchStatus,
        driver: &DriverFacts,
        executors: &ExecutorCounts,
    ) -> (Option<String>, Option<Timestamp>) {
        let (now, uid, attempt) = (self.context.now(), self.uid(), self.attempt());
        let DriverState::Running { since } = driver.state else { return (None, None) };
        let since = since.unwrap_or(now);
        let says = status.phase == Phase::Running && status.message.is_some();
        let lacking = self.context.memory.saw_executors(&uid, attempt, executors, since, says, now);
        let wait = self.context.pods.executor_wait(&self.key(), attempt);
        let told = lack(executors, wait.as_ref(), lacking.since, lacking.had_any, now);
        let said = self.context.memory.say_of_executors(&uid, told, Instant::now());
        let due = lacking.since.checked_add(LACK_GRACE).ok();
        (said, due.filter(|due| executors.running == 0 && *due > now))
    }

    /// Writes how the driver ended whose pod is gone, with the executors `requested` at the start: what it told before
    /// that, else that it is lost.
    pub(super) async fn lost(&self, status: &SparkBatchStatus, requested: i32) -> Result<Action, Error> {
        self.leave_queue();
        if let Some(driver) = self.gone_driver(status) {
            return self.follow(status, &driver, requested).await;
        }
        let message = "the driver pod is gone without having reported an end: it was deleted, or its node was lost";
        let outcome = Outcome::new(Phase::Failed, Reason::DriverLost, message);
        self.write(status, &self.observation(outcome, None)).await
    }

    pub(super) async fn fail(
        &self,
        status: &SparkBatchStatus,
        reason: Reason,
        message: String,
    ) -> Result<Action, Error> {
        self.leave_queue();
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
        let message = if self.is_overdue(driver) {
            format!("the batch waits for the end of its driver: {}", may_still_run(driver))
        } else {
            "the driver is being ended".to_owned()
        };
        if status.reason != Some(reason) || status.message.as_ref() != Some(&message) {
            // There is a driver, though an operator that died may not have come to write so: a batch that is suspended and
            // pending is taken to have none.
            let phase = if status.phase == Phase::Pending { Phase::Starting } else { status.phase };
            let outcome = Outcome::new(phase, reason, message);
            self.write(status, &self.observation(outcome, Some(driver))).await?;
        }
        if !driver.deleted {
            self.objects().delete_driver(&driver.pod_name, &driver.pod_uid).await?;
        }
        // The pod's end is heard of; this is for the case that it is not.
        Ok(Action::requeue(RECHECK))
    }

    /// Whether the driver pod should be gone for long, and is not: its node does not answer, or a finalizer holds it.
    pub(super) fn is_overdue(&self, driver: &DriverFacts) -> bool {
        overdue_at(driver, self.context.config.overdue_after).is_some_and(|at| self.context.now() >= at)
    }

    /// The driver pod with this name and uid: as the cache has it, else as the API server has it. What a cache
    /// does not hold is never believed to be gone.
    pub(super) async fn find_driver(&self, name: &str, uid: &str) -> Result<Option<DriverFacts>, Error> {
        let owner = self.uid();
        let is_it = |driver: &DriverFacts| driver.pod_uid == uid && driver.owner_uid.as_deref() == Some(&owner);
        if let Some(driver) = self.context.pods.driver(&self.key(), name).filter(is_it) {
            return Ok(Some(driver));
        }
        Ok(match self.objects().driver(name, &owner).await? {
            Started::Driver(driver) if driver.pod_uid == uid => Some(*driver),
            _ => None,
        })
    }

    /// What the attempt's driver told of its end before its pod went.
    pub(super) fn gone_driver(&self, status: &SparkBatchStatus) -> Option<DriverFacts> {
        let (owner, name) = (self.uid(), self.names(self.attempt()).driver_pod);
        self.context.pods.gone_driver(&self.key(), |driver| {
            driver.owner_uid.as_deref() == Some(&owner)
                && match &status.driver {
                    Some(known) => driver.pod_uid == known.pod_uid,
                    None => driver.pod_name == name,
                }
        })
    }

    pub(super) fn observation<'d>(&self, outcome: Outcome, driver: Option<&'d DriverFacts>) -> Observation<'d> {
        Observation {
            outcome,
            attempt: self.attempt(),
            app_id: driver.map(|_| crate::spark::app_id(&self.uid(), self.attempt())),
            driver,
            executors: None,
            executor_failures: self.context.pods.executor_failures(&self.key(), self.attempt()),
            queue_position: None,
            generation: self.batch.metadata.generation.unwrap_or_default(),
        }
    }

    /// Writes the next status, if it differs, and says when to look again.
    pub(super) async fn write(&self, before: &SparkBatchStatus, seen: &Observation<'_>) -> Result<Action, Error> {
        self.write_and_look_at(before, seen, None).await
    }

    /// The same, and looks again at that time at the latest.
    async fn write_and_look_at(
        &self,
        before: &SparkBatchStatus,
        seen: &Observation<'_>,
        at: Option<Timestamp>,
    ) -> Result<Action, Error> {
        let policy = RetryPolicy::of(&self.batch.spec, self.context.config.infrastructure_retries);
        let mut after = status_or_next_attempt(before, seen, &policy, &self.uid(), self.context.now());
        if after.id.is_none() {
            after.id = self.id(after.phase).await?;
        }
        let interval = if before.differs_only_in_executors(&after) {
            COUNTS_INTERVAL
        } else if before.differs_only_in_words(&after) && after.reason != Some(Reason::RetryBackoff) {
            // Of a driver that runs, the operator's own words.
            if after.phase == Phase::Running { COUNTS_INTERVAL } else { WORDS_INTERVAL }
        } else {
            Duration::ZERO
        };
        let next = self.look_again_in(&after, at);
        if !interval.is_zero() {
            let passed = self.context.memory.since_write(&self.uid(), Instant::now());
            if let Some(left) = interval.checked_sub(passed).filter(|left| !left.is_zero()) {
                return Ok(Action::requeue(next.map_or(left, |next| next.min(left))));
            }
        }
        if self.patch_status(before, &after).await? {
            self.tell(before, &after).await;
        }
        Ok(next.map_or_else(Action::await_change, Action::requeue))
    }

    /// Writes a status; whether there was something to write.
    ///
    /// RBAC needed: `sparkbatches/status` patch.
    async fn patch_status(&self, before: &SparkBatchStatus, after: &SparkBatchStatus) -> Result<bool, Error> {
        let stored = self.batch.status.as_ref().map_or_else(|| Ok(json!({})), serde_json::to_value)?;
        let Some(patch) = merge_patch(&stored, &serde_json::to_value(after)?) else { return Ok(false) };
        // The precondition makes the write of a stale or second operator fail and change nothing.
        let patch = json!({ "metadata": { "resourceVersion": self.batch.resource_version() }, "status": patch });
        let api: Api<SparkBatch> = Api::namespaced(self.context.client.clone(), &self.key().0);
        let memory = &self.context.memory;
        // Before it is sent: this look may end before the answer comes.
        memory.writes(&self.uid(), self.batch.resource_version(), before, after);
        let written = api.patch_status(&self.batch.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await;
        if written.as_ref().err().is_none_or(is_refused) {
            memory.answered(&self.uid());
        }
        let written = match written {
            Err(error) if api_status(&error).is_some_and(|status| status.code == 404) => return Ok(false),
            written => written.during("write the status")?,
        };
        memory.wrote(&written, Instant::now());
        Ok(true)
    }

    /// The id under which the REST facade lists the batch. A batch runs without one rather than not at all; one that
    /// has ended waits for it, since nothing is written after its end, unless there will be none.
    async fn id(&self, phase: Phase) -> Result<Option<i32>, Error> {
        if let Some(id) = self.batch.batch_id() {
            return Ok(Some(id));
        }
        let (namespace, _) = self.key();
        match self.context.ids.next(&namespace, self.context.highest_id(&namespace)).await {
            Ok(id) => Ok(Some(id)),
            Err(error) if phase.is_final() && error.is_transient() => Err(error.into()),
            Err(error) => {
                tracing::warn!(namespace, name = self.batch.name_any(), %error, "no id for a batch yet");
                Ok(None)
            }
        }
    }

    fn look_again_in(&self, status: &SparkBatchStatus, at: Option<Timestamp>) -> Option<Duration> {
        if status.phase.is_final() {
            return None;
        }
        let times = look_again_at(status, &self.deadlines()).into_iter().chain(at);
        let left = times.map(|time| time_until(time, self.context.now())).min();
        Some(left.unwrap_or(RESYNC).min(RESYNC))
    }

    pub(super) fn deadlines(&self) -> Deadlines {
        self.context.config.deadlines.of(&self.batch.spec)
    }

    pub(super) fn attempt(&self) -> i32 {
        self.status.attempt.unwrap_or(1)
    }

    /// Names of the objects of an attempt.
    pub(super) fn names(&self, attempt: i32) -> AttemptNames {
        AttemptNames::new(&self.key().1, &self.uid(), attempt)
    }

    /// For how long the batch has been there, to the second.
    pub(super) fn age(&self) -> SignedDuration {
        let created = self.batch.metadata.creation_timestamp.as_ref().map(|time| time.0);
        created.map_or(SignedDuration::MAX, |created| self.context.now().duration_since(created))
    }

    /// Whether Volcano schedules the batch's pods.
    pub(super) fn has_pod_group(&self) -> bool {
        self.batch.spec.scheduling.as_ref().is_some_and(|scheduling| scheduling.volcano_queue.is_some())
    }

    /// Deletes the `PodGroup` of an attempt whose pods have ended.
    pub(super) async fn delete_pod_group(&self, attempt: i32) -> Result<(), Error> {
        if !self.has_pod_group() {
            return Ok(());
        }
        self.objects().delete_pod_group(&self.names(attempt).pod_group, &self.uid()).await
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

/// The time until `later`, and a little more, so that `later` has passed by then.
pub(super) fn time_until(later: Timestamp, now: Timestamp) -> Duration {
    later.duration_since(now).max(SignedDuration::ZERO).unsigned_abs() + Duration::from_millis(10)
}

/// Executors that the batch asked for at its start, as an earlier look wrote them down.
pub(super) fn requested_before(status: &SparkBatchStatus) -> i32 {
    status.executors.map_or(0, |executors| executors.requested)
}
