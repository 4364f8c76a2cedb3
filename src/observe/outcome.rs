//! What the facts of a driver mean for its batch.

use jiff::{SignedDuration, Timestamp};

use super::{Deadlines, DriverEnd, DriverFacts, DriverState, EndCause};
use crate::api::{Phase, Reason};

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

/// What `driver` means at `now`.
#[must_use]
pub fn outcome(driver: &DriverFacts, deadlines: &Deadlines, now: Timestamp) -> Outcome {
    let past = |since: Timestamp, limit: SignedDuration| now.duration_since(since) >= limit;
    match &driver.state {
        DriverState::Waiting { reason, message } => match driver.created {
            Some(created) if past(created, deadlines.driver_start) => {
                timed_out(*reason, message, deadlines.driver_start)
            }
            _ => Outcome::new(Phase::Starting, *reason, message.as_str()),
        },
        DriverState::Running { since } => match since {
            Some(since) if past(*since, deadlines.running) => ran_too_long(deadlines.running),
            _ => Outcome::new(Phase::Running, Reason::DriverRunning, ""),
        },
        DriverState::Ended(end) => ended(end, driver.deleted),
    }
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
    let log = if end.message.is_empty() { String::new() } else { format!(": {}", end.message) };
    match (end.cause, end.exit_code) {
        (EndCause::Exit, Some(0)) => Outcome::new(Phase::Succeeded, Reason::DriverSucceeded, ""),
        (EndCause::Evicted, _) => failed(Reason::DriverEvicted, format!("the driver pod was taken away{log}")),
        (EndCause::OutOfMemory, _) => failed(
            Reason::DriverOOMKilled,
            "the driver passed its memory limit: raise driverMemory or spark.driver.memoryOverhead".to_owned(),
        ),
        (EndCause::Exit, _) if deleted => {
            failed(Reason::DriverLost, "the driver pod was deleted while the driver ran".to_owned())
        }
        (EndCause::Exit, Some(code)) => failed(Reason::DriverExitNonZero, format!("exit code {code}{log}")),
        (EndCause::Exit, None) => failed(Reason::DriverLost, format!("the driver pod ended without an exit code{log}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            state,
        }
    }

    fn ended_with(cause: EndCause, exit_code: Option<i32>) -> DriverState {
        DriverState::Ended(DriverEnd { cause, exit_code, message: "log".into(), started: None, finished: None })
    }

    #[test]
    fn a_wait_becomes_a_failure_at_the_timeout_for_the_cause_of_the_wait() {
        let at = |reason, seconds| {
            let state = DriverState::Waiting { reason, message: "why".into() };
            outcome(&driver(state), &LIMITS, Timestamp::from_second(seconds).unwrap())
        };
        assert_eq!(at(Reason::Unschedulable, 599).phase, Phase::Starting);
        assert_eq!(at(Reason::Unschedulable, 600).reason, Reason::Unschedulable);
        assert_eq!(at(Reason::Unschedulable, 600).phase, Phase::Failed);
        assert_eq!(at(Reason::DriverPending, 600).reason, Reason::DriverStartTimeout);
        assert!(at(Reason::ImagePullFailed, 700).message.contains("why"));
    }

    #[test]
    fn a_driver_may_run_until_its_deadline() {
        let at = |seconds, limits: &Deadlines| {
            let state = DriverState::Running { since: Some(Timestamp::UNIX_EPOCH) };
            outcome(&driver(state), limits, Timestamp::from_second(seconds).unwrap())
        };
        assert_eq!(at(3599, &LIMITS).phase, Phase::Running);
        assert_eq!((at(3600, &LIMITS).phase, at(3600, &LIMITS).reason), (Phase::Failed, Reason::DeadlineExceeded));
        assert!(at(3600, &LIMITS).message.contains("runningSeconds"));
        assert_eq!(at(364 * 86_400, &Deadlines::default()).phase, Phase::Running);
        assert_eq!(at(365 * 86_400, &Deadlines::default()).reason, Reason::DeadlineExceeded);
    }

    #[test]
    fn an_end_has_its_own_reason_for_each_cause() {
        let of = |state| outcome(&driver(state), &LIMITS, Timestamp::UNIX_EPOCH);
        assert_eq!(of(ended_with(EndCause::Exit, Some(0))).phase, Phase::Succeeded);
        assert_eq!(of(ended_with(EndCause::Exit, Some(3))).message, "exit code 3: log");
        assert_eq!(of(ended_with(EndCause::OutOfMemory, Some(137))).reason, Reason::DriverOOMKilled);
        assert_eq!(of(ended_with(EndCause::Evicted, None)).reason, Reason::DriverEvicted);
        assert_eq!(of(ended_with(EndCause::Exit, None)).reason, Reason::DriverLost);
    }

    #[test]
    fn a_driver_that_was_deleted_is_lost_unless_it_had_succeeded() {
        let deleted = |state| outcome(&DriverFacts { deleted: true, ..driver(state) }, &LIMITS, Timestamp::UNIX_EPOCH);
        assert_eq!(deleted(ended_with(EndCause::Exit, Some(143))).reason, Reason::DriverLost);
        assert_eq!(deleted(ended_with(EndCause::Exit, Some(0))).reason, Reason::DriverSucceeded);
    }
}
