//! A batch that waits without a driver: for what it names, for a quota, for its turn.

use std::time::Duration;

use jiff::SignedDuration;
use kube::runtime::controller::Action;
use tokio::time::Instant;

use super::apply::Started;
use super::error::Error;
use super::step::Step;
use crate::api::{Phase, Reason, SparkBatchStatus};
use crate::observe::{Observation, Outcome, jitter, pause_of, queued_since, waiting_since};

/// Failures in a row after which a batch says what keeps it: half a minute of them.
const TELLS_AFTER: u32 = 5;
/// How often a batch is told of its place in the queue at the most, but for a fifth.
const QUEUE_INTERVAL: Duration = Duration::from_secs(60);

/// How a batch waits for what is not watched.
struct Pause {
    /// How soon to look for it again.
    next_look: Duration,
    /// How long the batch may still wait.
    left: SignedDuration,
}

impl Step<'_> {
    /// The batch has no driver, and gets none in this look.
    pub(super) fn leave_queue(&self) {
        self.context.queues.step_aside(self.batch, self.context.now());
    }

    /// Writes that the batch waits without a driver; past the deadline of Pending, that it failed for this.
    pub(super) async fn wait(
        &self,
        status: &SparkBatchStatus,
        reason: Reason,
        message: String,
    ) -> Result<Action, Error> {
        self.leave_queue();
        self.wait_longer(status, reason, message, self.pause(status, reason)).await
    }

    /// Writes that the API server refused the driver, and lets the batch rest: that its own status has changed is no
    /// reason to ask again.
    pub(super) async fn refused(&self, status: &SparkBatchStatus, message: String) -> Result<Action, Error> {
        let pause = self.pause(status, Reason::DriverRefused);
        self.context.memory.rest(&self.uid(), Instant::now() + pause.next_look);
        self.leave_queue();
        self.wait_longer(status, Reason::DriverRefused, message, pause).await
    }

    /// Says on a batch without a driver what looking at it fails for, once that is no passing trouble: a webhook that is
    /// out of order, a right that the operator lacks. Past the deadline of Pending, that it failed for this.
    pub(super) async fn tell_trouble(&self, error: &Error) -> Result<(), Error> {
        let status = &self.status;
        let spec = &self.batch.spec;
        let is_barred = status.phase != Phase::Pending || spec.suspend == Some(true) || spec.cancel == Some(true);
        let fails = self.context.memory.failures(&self.uid()) + 1;
        let Some(message) = error.refused().filter(|_| fails >= TELLS_AFTER && !is_barred) else { return Ok(()) };
        // A create that the API server answered so may have come about.
        let driver = self.objects().driver(&self.names(self.attempt()).driver_pod, &self.uid()).await?;
        if !matches!(driver, Started::Driver(_)) {
            self.leave_queue();
        }
        // A driver of before may still run where this could not be looked after.
        let is_between = status.reason == Some(Reason::RetryBackoff);
        let reason = if is_between { Reason::RetryBackoff } else { Reason::DriverRefused };
        self.wait_longer(status, reason, message, self.pause(status, reason)).await.map(drop)
    }

    fn pause(&self, status: &SparkBatchStatus, reason: Reason) -> Pause {
        let now = self.context.now();
        let waited = waiting_since(status).map_or(SignedDuration::ZERO, |since| now.duration_since(since));
        let left = self.deadlines().pending().saturating_sub(waited);
        let next_look = pause_of(reason, waited).min(left).max(SignedDuration::from_millis(100)).unsigned_abs();
        Pause { next_look, left }
    }

    async fn wait_longer(
        &self,
        status: &SparkBatchStatus,
        reason: Reason,
        message: String,
        pause: Pause,
    ) -> Result<Action, Error> {
        if pause.left <= SignedDuration::ZERO {
            let message = format!(
                "no driver within {} seconds (deadlines.pendingSeconds, else the operator's --pending-timeout): {message}",
                self.deadlines().pending().as_secs()
            );
            // A driver of before that may still run bars every further attempt.
            let reason = if reason == Reason::RetryBackoff { Reason::DeadlineExceeded } else { reason };
            return self.fail(status, reason, message).await;
        }
        let outcome = Outcome::new(Phase::Pending, reason, message);
        self.write(status, &self.observation(outcome, None)).await?;
        // What is waited for is not watched.
        Ok(Action::requeue(pause.next_look))
    }

    /// Writes the batch's place in the queue; past the deadline, that it failed for this.
    pub(super) async fn stand_in_line(
        &self,
        status: &SparkBatchStatus,
        position: usize,
        of: usize,
    ) -> Result<Action, Error> {
        // It has had its turn and was refused: that is told, and has its own deadline.
        if let (Some(Reason::DriverRefused), Some(refused)) = (status.reason, &status.message) {
            let pause = self.pause(status, Reason::DriverRefused);
            return self.wait_longer(status, Reason::DriverRefused, refused.clone(), pause).await;
        }
        let now = self.context.now();
        let timeout = self.deadlines().queued;
        let left = queued_since(status).map_or(timeout, |since| timeout - now.duration_since(since));
        if left <= SignedDuration::ZERO {
            let message = format!(
                "the batch was still queued after {} seconds (deadlines.queuedSeconds, else the operator's \
                 --queue-timeout)",
                timeout.as_secs()
            );
            return self.fail(status, Reason::DeadlineExceeded, message).await;
        }
        let refresh = QUEUE_INTERVAL + QUEUE_INTERVAL * jitter(&self.uid(), 0) / 1000;
        let passed = self.context.memory.since_write(&self.uid(), Instant::now());
        let pause = match refresh.checked_sub(passed) {
            Some(pause) if status.reason == Some(Reason::Queued) => pause,
            _ => {
                let outcome = Outcome::new(Phase::Pending, Reason::Queued, self.place_in_words(position, of));
                let queue_position = i32::try_from(position).ok();
                self.write(status, &Observation { queue_position, ..self.observation(outcome, None) }).await?;
                refresh
            }
        };
        Ok(Action::requeue(pause.min(left.unsigned_abs()) + Duration::from_millis(10)))
    }

    fn place_in_words(&self, position: usize, of: usize) -> String {
        let (namespace, _) = self.key();
        let limit = self.context.config.limits.of(&namespace).unwrap_or_default();
        format!(
            "position {position} of {of} in the queue of namespace {namespace}: at most {limit} batches run at once \
             (the operator's --max-active-batches)"
        )
    }
}
