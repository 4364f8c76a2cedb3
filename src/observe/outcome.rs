//! What the facts of a driver mean for its batch.

use jiff::{SignedDuration, Timestamp};

use super::{Deadlines, DriverEnd, DriverFacts, DriverState, EndCause, startable_since};
use crate::api::{Phase, Reason, SparkBatchStatus};

/// A phase, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The phase.
    pub phase: Phase,
    /// Its reason.
    pub reason: Reason,
    /// The reason in words.
    pub message: String,
}

impl Outcome {
    /// An outcome.
    pub fn new(phase: Phase, reason: Reason, message: impl Into<String>) -> Self {
        Self { phase, reason, message: message.into() }
    }
}

/// What `driver` means at `now` for the batch whose status is `status`.
#[must_use]
pub fn outcome(status: &SparkBatchStatus, driver: &DriverFacts, deadlines: &Deadlines, now: Timestamp) -> Outcome {
    let past = |since: Timestamp, limit: SignedDuration| now.duration_since(since) >= limit;
    match &driver.state {
        DriverState::Waiting { reason: Reason::DriverGated, message } => match driver.created {
            Some(created) if past(created, deadlines.queued) => queued_too_long(message, deadlines.queued),
            _ => Outcome::new(Phase::Starting, Reason::DriverGated, message.as_str()),
        },
        DriverState::Waiting { reason, message } => match may_start_since(status, driver) {
            Some(since) if past(since, deadlines.driver_start) => timed_out(*reason, message, deadlines.driver_start),
            _ => Outcome::new(Phase::Starting, *reason, message.as_str()),
        },
        DriverState::Running { since } => match since {
            Some(since) if past(*since, deadlines.running) => ran_too_long(deadlines.running),
            _ => Outcome::new(Phase::Running, Reason::DriverRunning, ""),
        },
        DriverState::Ended(end) => ended(end, driver.deleted),
    }
}

/// `None` while that is not known: of a pod that was held when it was last looked at, the time counts from this look on.
fn may_start_since(status: &SparkBatchStatus, driver: &DriverFacts) -> Option<Timestamp> {
    let was_held = status.reason == Some(Reason::DriverGated);
    driver.created.filter(|_| !was_held).map(|created| startable_since(status, created))
}

/// A wait with a known cause ends for that cause.
fn timed_out(reason: Reason, message: &str, timeout: SignedDuration) -> Outcome {
    let reason = if reason == Reason::DriverPending { Reason::DriverStartTimeout } else { reason };
    let because = if message.is_empty() { String::new() } else { format!(": {message}") };
    let message = format!(
        "the driver did not start within {} seconds (deadlines.driverStartSeconds, else the operator's \
         --driver-start-timeout){because}",
        timeout.as_secs()
    );
    Outcome::new(Phase::Failed, reason, message)
}

/// As a batch fails whose turn does not come in the operator's own queue.
fn queued_too_long(message: &str, limit: SignedDuration) -> Outcome {
    let message = format!(
        "the driver pod was not let go within {} seconds (deadlines.queuedSeconds, else the operator's \
         --queue-timeout): {message}",
        limit.as_secs()
    );
    Outcome::new(Phase::Failed, Reason::DeadlineExceeded, message)
}

fn ran_too_long(limit: SignedDuration) -> Outcome {
    let message = format!(
        "the driver ran for {} seconds and was ended: raise deadlines.runningSeconds, or the operator's \
         --running-timeout if the batch sets none",
        limit.as_secs()
    );
    Outcome::new(Phase::Failed, Reason::DeadlineExceeded, message)
}

fn ended(end: &DriverEnd, deleted: bool) -> Outcome {
    let failed = |reason, message: String| Outcome::new(Phase::Failed, reason, message);
    let told = if end.message.is_empty() { String::new() } else { format!(": {}", end.message) };
    match (end.cause, end.exit_code) {
        (EndCause::Exit, Some(0)) => Outcome::new(Phase::Succeeded, Reason::DriverSucceeded, ""),
        (EndCause::Evicted, _) => failed(Reason::DriverEvicted, format!("the driver pod was taken away{told}")),
        (EndCause::Preempted, _) => {
            failed(Reason::DriverPreempted, format!("the driver pod made room for one of a higher priority{told}"))
        }
        (EndCause::NodeLost, _) => {
            failed(Reason::NodeLost, format!("the driver pod's node was lost, shut down or restarted{told}"))
        }
        (EndCause::OutOfMemory, _) => failed(Reason::DriverOOMKilled, out_of_memory(end.init_container.as_deref())),
        (EndCause::Exit, _) if deleted => {
            failed(Reason::DriverLost, "the driver pod was deleted while the driver ran".to_owned())
        }
        (EndCause::Exit, Some(code)) => {
            let whose = end.init_container.as_ref().map(|name| format!("init container '{name}' ended with "));
            failed(Reason::DriverExitNonZero, format!("{}exit code {code}{told}", whose.unwrap_or_default()))
        }
        (EndCause::Exit, None) => {
            failed(Reason::DriverLost, format!("the driver pod ended without an exit code{told}"))
        }
    }
}

fn out_of_memory(init_container: Option<&str>) -> String {
    match init_container {
        Some(name) => format!("init container '{name}' passed its memory limit: raise it in driver.podTemplate"),
        None => "the driver passed its memory limit: raise driverMemory or spark.driver.memoryOverhead".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{Observation, look_again_at, next_status};

    const LIMITS: Deadlines = Deadlines {
        queued: SignedDuration::from_secs(3600),
        pending: None,
        driver_start: SignedDuration::from_secs(600),
        running: SignedDuration::from_secs(3600),
    };

    fn driver(state: DriverState) -> DriverFacts {
        DriverFacts {
            pod_name: "d".into(),
            pod_uid: "u".into(),
            owner_uid: None,
            attempt: Some(1),
            created: Some(Timestamp::UNIX_EPOCH),
            deleted: false,
            gone_by: None,
            ui_address: None,
            disruption: None,
            state,
        }
    }

    fn ended_with(cause: EndCause, exit_code: Option<i32>) -> DriverState {
        DriverState::Ended(DriverEnd {
            cause,
            exit_code,
            init_container: None,
            message: "log".into(),
            started: None,
            finished: None,
        })
    }

    #[test]
    fn a_wait_becomes_a_failure_at_the_timeout_for_the_cause_of_the_wait() {
        let at = |reason, seconds| {
            let state = DriverState::Waiting { reason, message: "why".into() };
            outcome(&SparkBatchStatus::default(), &driver(state), &LIMITS, Timestamp::from_second(seconds).unwrap())
        };
        assert_eq!(at(Reason::Unschedulable, 599).phase, Phase::Starting);
        assert_eq!(at(Reason::Unschedulable, 600).reason, Reason::Unschedulable);
        assert_eq!(at(Reason::Unschedulable, 600).phase, Phase::Failed);
        assert_eq!(at(Reason::DriverPending, 600).reason, Reason::DriverStartTimeout);
        assert!(at(Reason::ImagePullFailed, 700).message.contains("why"));
    }

    #[test]
    fn time_behind_scheduling_gates_counts_as_time_in_a_queue_and_not_as_time_to_start() {
        let at = |status: &SparkBatchStatus, reason, seconds| {
            let driver = driver(DriverState::Waiting { reason, message: "held by scheduling gates: g".into() });
            let now = Timestamp::from_second(seconds).unwrap();
            let seen = Observation {
                driver: Some(&driver),
                ..Observation::without_driver(1, outcome(status, &driver, &LIMITS, now))
            };
            next_status(status, &seen, now)
        };
        let held = at(&SparkBatchStatus::default(), Reason::DriverGated, 1);
        assert_eq!((held.phase, held.reason), (Phase::Starting, Some(Reason::DriverGated)));
        assert_eq!(at(&held, Reason::DriverGated, 3599).phase, Phase::Starting);
        let over = at(&held, Reason::DriverGated, 3600);
        assert_eq!((over.phase, over.reason), (Phase::Failed, Some(Reason::DeadlineExceeded)));
        assert!(over.message.unwrap().contains("deadlines.queuedSeconds"));
        let let_go = at(&held, Reason::Unschedulable, 3000);
        assert_eq!((let_go.phase, let_go.reason), (Phase::Starting, Some(Reason::Unschedulable)));
        assert_eq!(look_again_at(&let_go, &LIMITS), Some(Timestamp::from_second(3600).unwrap()));
        assert_eq!(at(&let_go, Reason::Unschedulable, 3599).phase, Phase::Starting);
        assert_eq!(at(&let_go, Reason::Unschedulable, 3600).phase, Phase::Failed);
    }

    #[test]
    fn an_init_container_is_told_by_name() {
        let of = |cause| {
            let end = DriverEnd {
                cause,
                exit_code: Some(3),
                init_container: Some("fetch".into()),
                message: "no such file".into(),
                started: None,
                finished: None,
            };
            outcome(&SparkBatchStatus::default(), &driver(DriverState::Ended(end)), &LIMITS, Timestamp::UNIX_EPOCH)
        };
        let failed = of(EndCause::Exit);
        assert_eq!(failed.message, "init container 'fetch' ended with exit code 3: no such file");
        assert_eq!(failed.reason, Reason::DriverExitNonZero);
        let killed = of(EndCause::OutOfMemory);
        assert!(killed.message.contains("'fetch'") && killed.reason == Reason::DriverOOMKilled, "{killed:?}");
    }

    #[test]
    fn a_driver_may_run_until_its_deadline() {
        let at = |seconds, limits: &Deadlines| {
            let state = DriverState::Running { since: Some(Timestamp::UNIX_EPOCH) };
            outcome(&SparkBatchStatus::default(), &driver(state), limits, Timestamp::from_second(seconds).unwrap())
        };
        assert_eq!(at(3599, &LIMITS).phase, Phase::Running);
        assert_eq!((at(3600, &LIMITS).phase, at(3600, &LIMITS).reason), (Phase::Failed, Reason::DeadlineExceeded));
        assert!(at(3600, &LIMITS).message.contains("runningSeconds"));
        assert_eq!(at(364 * 86_400, &Deadlines::default()).phase, Phase::Running);
        assert_eq!(at(365 * 86_400, &Deadlines::default()).reason, Reason::DeadlineExceeded);
    }

    #[test]
    fn an_end_has_its_own_reason_for_each_cause() {
        let of = |state| outcome(&SparkBatchStatus::default(), &driver(state), &LIMITS, Timestamp::UNIX_EPOCH);
        assert_eq!(of(ended_with(EndCause::Exit, Some(0))).phase, Phase::Succeeded);
        assert_eq!(of(ended_with(EndCause::Exit, Some(3))).message, "exit code 3: log");
        assert_eq!(of(ended_with(EndCause::OutOfMemory, Some(137))).reason, Reason::DriverOOMKilled);
        assert_eq!(of(ended_with(EndCause::Evicted, None)).reason, Reason::DriverEvicted);
        assert_eq!(of(ended_with(EndCause::Preempted, Some(143))).reason, Reason::DriverPreempted);
        assert_eq!(of(ended_with(EndCause::NodeLost, None)).reason, Reason::NodeLost);
        assert_eq!(of(ended_with(EndCause::Exit, None)).reason, Reason::DriverLost);
    }

    #[test]
    fn a_driver_that_was_deleted_is_lost_unless_it_had_succeeded() {
        let deleted = |state| {
            let driver = DriverFacts { deleted: true, ..driver(state) };
            outcome(&SparkBatchStatus::default(), &driver, &LIMITS, Timestamp::UNIX_EPOCH)
        };
        assert_eq!(deleted(ended_with(EndCause::Exit, Some(143))).reason, Reason::DriverLost);
        assert_eq!(deleted(ended_with(EndCause::Exit, Some(0))).reason, Reason::DriverSucceeded);
    }
}
