//! A driver pod that was deleted, and does not go: its node does not answer, or a finalizer holds it.

use jiff::{SignedDuration, Timestamp};

use super::{Deadlines, DriverFacts, DriverState, Outcome, outcome};
use crate::api::{Phase, Reason, SparkBatchStatus};

/// When `driver` should be gone for so long, `after` the end of its grace period, that it is told; `None` if nobody has
/// deleted it.
#[must_use]
pub fn overdue_at(driver: &DriverFacts, after: SignedDuration) -> Option<Timestamp> {
    driver.gone_by?.checked_add(after).ok()
}

/// What is known of a driver pod that is overdue.
#[must_use]
pub fn may_still_run(driver: &DriverFacts) -> String {
    format!(
        "the driver pod {} was deleted and may still run on a node that does not answer: if the node is lost, delete the \
         Node or force the pod's deletion",
        driver.pod_name
    )
}

/// The end of a batch whose driver is being ended, so that it can be suspended, and has not ended in time; `None` while
/// it may still be waited for. A driver that runs may do so no longer for that, and one that is overdue `after` then is
/// waited for as long as one that cannot be created.
#[must_use]
pub fn suspended_too_late(
    status: &SparkBatchStatus,
    driver: &DriverFacts,
    deadlines: &Deadlines,
    after: SignedDuration,
    now: Timestamp,
) -> Option<Outcome> {
    if matches!(driver.state, DriverState::Running { .. }) {
        let seen = outcome(status, driver, deadlines, now);
        if seen.phase.is_final() {
            return Some(seen);
        }
    }
    let limit = deadlines.pending().max(after);
    if overdue_at(driver, limit).is_none_or(|at| now < at) {
        return None;
    }
    let message = format!(
        "the batch could not be suspended within {} seconds (deadlines.pendingSeconds, else the operator's \
         --pending-timeout), and is not run again, as its driver may still run: {}; then submit the batch anew",
        limit.as_secs(),
        may_still_run(driver)
    );
    Some(Outcome::new(Phase::Failed, Reason::DeadlineExceeded, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Deadlines = Deadlines {
        queued: SignedDuration::from_secs(3600),
        pending: Some(SignedDuration::from_secs(400)),
        driver_start: SignedDuration::from_secs(10),
        running: SignedDuration::from_secs(1000),
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn driver(state: DriverState, gone_by: Option<i64>) -> DriverFacts {
        DriverFacts {
            pod_name: "d".into(),
            pod_uid: "u".into(),
            owner_uid: None,
            attempt: Some(1),
            created: Some(at(0)),
            deleted: gone_by.is_some(),
            gone_by: gone_by.map(at),
            ui_address: None,
            disruption: None,
            state,
        }
    }

    fn too_late(driver: &DriverFacts, after: i64, now: i64) -> Option<Outcome> {
        suspended_too_late(&SparkBatchStatus::default(), driver, &LIMITS, SignedDuration::from_secs(after), at(now))
    }

    #[test]
    fn only_a_driver_that_was_deleted_is_ever_overdue() {
        let overdue_at = |gone_by| {
            let driver = driver(DriverState::Running { since: None }, gone_by);
            overdue_at(&driver, SignedDuration::from_secs(300)).map(Timestamp::as_second)
        };
        assert_eq!((overdue_at(None), overdue_at(Some(30))), (None, Some(330)));
    }

    #[test]
    fn a_driver_that_is_being_suspended_may_run_no_longer_than_others() {
        let running = |gone_by| driver(DriverState::Running { since: Some(at(5)) }, gone_by);
        for gone_by in [None, Some(990)] {
            assert_eq!(too_late(&running(gone_by), 300, 1004), None);
            let outcome = too_late(&running(gone_by), 300, 1005).unwrap();
            assert_eq!((outcome.phase, outcome.reason), (Phase::Failed, Reason::DeadlineExceeded));
            assert!(outcome.message.contains("runningSeconds"), "{}", outcome.message);
        }
    }

    /// One that waits to start has no word of the deadline for that, since it is not to start any more.
    #[test]
    fn a_driver_that_does_not_go_is_waited_for_until_the_deadline_of_pending() {
        for state in [
            DriverState::Running { since: Some(at(5)) },
            DriverState::Waiting { reason: Reason::Unschedulable, message: String::new() },
        ] {
            assert_eq!(too_late(&driver(state.clone(), None), 300, 900), None, "nobody has deleted it");
            let driver = driver(state, Some(100));
            assert_eq!(too_late(&driver, 300, 499), None);
            assert_eq!(too_late(&driver, 450, 549), None, "it is not overdue yet");
            let outcome = too_late(&driver, 300, 500).unwrap();
            assert_eq!((outcome.phase, outcome.reason), (Phase::Failed, Reason::DeadlineExceeded));
            for words in ["deadlines.pendingSeconds", "may still run", "delete the Node", "submit the batch anew"] {
                assert!(outcome.message.contains(words), "{}", outcome.message);
            }
        }
    }
}
