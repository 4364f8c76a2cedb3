//! How long a batch may stay in each phase that is not final.

use jiff::{SignedDuration, Timestamp};

use crate::api::{CONDITION_RECONCILING, Phase, Reason, SparkBatchSpec, SparkBatchStatus};

/// How soon a batch is looked at again whose cause to wait is not watched.
const PAUSE: SignedDuration = SignedDuration::from_secs(10);
/// The same, where looking is a write and was in vain for long.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(5);

/// How long a batch may stay in each phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// In Pending, in the namespace's queue; in Starting, in another's, which holds the driver pod by scheduling gates.
    pub queued: SignedDuration,
    /// In Pending, for what keeps the driver pod from being created; as `driver_start` where it is `None`.
    pub pending: Option<SignedDuration>,
    /// In Starting: from the driver pod's creation, or from when no scheduling gate holds it any more, until its
    /// container runs.
    pub driver_start: SignedDuration,
    /// In Running.
    pub running: SignedDuration,
}

/// Those of an operator that was given none.
impl Default for Deadlines {
    fn default() -> Self {
        Self {
            queued: SignedDuration::from_hours(24),
            pending: None,
            driver_start: SignedDuration::from_mins(10),
            running: SignedDuration::from_hours(365 * 24),
        }
    }
}

impl Deadlines {
    /// What `spec` says, and these where it says nothing.
    #[must_use]
    pub fn of(&self, spec: &SparkBatchSpec) -> Self {
        let own = spec.deadlines.clone().unwrap_or_default();
        let seconds = |seconds: Option<i32>| seconds.map(|seconds| SignedDuration::from_secs(seconds.into()));
        Self {
            queued: seconds(own.queued_seconds).unwrap_or(self.queued),
            pending: seconds(own.pending_seconds).or(self.pending),
            driver_start: seconds(own.driver_start_seconds).unwrap_or(self.driver_start),
            running: seconds(own.running_seconds).unwrap_or(self.running),
        }
    }

    /// How long a batch may wait without a driver pod.
    #[must_use]
    pub fn pending(&self) -> SignedDuration {
        self.pending.unwrap_or(self.driver_start)
    }
}

/// How soon a batch without a driver is looked at again that has `waited` for what `reason` says. Each look at a driver
/// that was refused asks for it again, which is a write: after 10 s, 1 min and 6 min, and every 5 min then. What was
/// created a moment too late is met by the first of them, and quotas seldom change.
#[must_use]
pub fn pause_of(reason: Reason, waited: SignedDuration) -> SignedDuration {
    if reason != Reason::DriverRefused {
        return PAUSE;
    }
    waited.saturating_mul(5).clamp(PAUSE, LONGEST_PAUSE)
}

/// Since when a batch waits to be started, or may be: time in the queue and before the next attempt does not count.
#[must_use]
pub fn waiting_since(status: &SparkBatchStatus) -> Option<Timestamp> {
    let since = reconciling_since(status, "True")?;
    Some(status.next_attempt_time.map_or(since, |at| at.max(since)))
}

/// Since when a batch is in its namespace's queue.
#[must_use]
pub fn queued_since(status: &SparkBatchStatus) -> Option<Timestamp> {
    reconciling_since(status, "False").filter(|_| status.reason == Some(Reason::Queued))
}

/// Since when a driver that waits may start: its pod's creation, or when its batch was found to stand in no queue any
/// more, be it the operator's or one that held the pod by scheduling gates.
#[must_use]
pub fn startable_since(status: &SparkBatchStatus, created: Timestamp) -> Timestamp {
    reconciling_since(status, "True").map_or(created, |since| since.max(created))
}

fn reconciling_since(status: &SparkBatchStatus, value: &str) -> Option<Timestamp> {
    let condition = status.conditions.iter().find(|condition| condition.type_ == CONDITION_RECONCILING)?;
    (condition.status == value).then_some(condition.last_transition_time.0)
}

/// When the phase of `status` ends by itself, so that it is looked at again then.
#[must_use]
pub fn look_again_at(status: &SparkBatchStatus, deadlines: &Deadlines) -> Option<Timestamp> {
    let (since, limit) = match status.phase {
        Phase::Starting if status.reason == Some(Reason::DriverGated) => (status.start_time?, deadlines.queued),
        Phase::Starting => (startable_since(status, status.start_time?), deadlines.driver_start),
        Phase::Running => (status.running_time?, deadlines.running),
        Phase::Pending if status.reason == Some(Reason::RetryBackoff) => return status.next_attempt_time,
        // What waits without a driver looks for its cause more often than that.
        Phase::Pending | Phase::Succeeded | Phase::Failed | Phase::Killed => return None,
    };
    since.checked_add(limit).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::conditions_for;

    const OPERATORS: Deadlines = Deadlines {
        queued: SignedDuration::from_secs(3600),
        pending: None,
        driver_start: SignedDuration::from_secs(600),
        running: SignedDuration::from_secs(86_400),
    };

    fn of(deadlines: &serde_json::Value) -> Deadlines {
        OPERATORS.of(&serde_json::from_value(json!({ "file": "/a.py", "deadlines": deadlines })).unwrap())
    }

    #[test]
    fn a_batch_goes_before_the_operator_field_by_field() {
        assert_eq!(OPERATORS.of(&SparkBatchSpec::default()), OPERATORS);
        let own = of(&json!({ "runningSeconds": 5, "driverStartSeconds": 7 }));
        assert_eq!(own.running, SignedDuration::from_secs(5));
        assert_eq!((own.driver_start, own.pending()), (SignedDuration::from_secs(7), SignedDuration::from_secs(7)));
        assert_eq!(of(&json!({ "pendingSeconds": 9 })).pending(), SignedDuration::from_secs(9));
        assert_eq!(of(&json!({ "queuedSeconds": 3 })).queued, SignedDuration::from_secs(3));
    }

    #[test]
    fn a_refused_driver_is_asked_for_at_once_again_and_then_ever_more_rarely() {
        let (mut waited, mut looks) = (SignedDuration::ZERO, Vec::new());
        while waited < SignedDuration::from_mins(20) {
            looks.push(waited.as_secs());
            waited += pause_of(Reason::DriverRefused, waited);
        }
        assert_eq!(looks, [0, 10, 60, 360, 660, 960]);
        assert_eq!(pause_of(Reason::ConfUnavailable, waited), PAUSE);
        assert_eq!(pause_of(Reason::DriverRefused, -waited), PAUSE, "clocks differ");
    }

    #[test]
    fn a_phase_is_looked_at_again_at_its_deadline() {
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let of = |phase| SparkBatchStatus { phase, start_time: at(10), running_time: at(20), ..Default::default() };
        assert_eq!(look_again_at(&of(Phase::Starting), &OPERATORS), at(610));
        assert_eq!(look_again_at(&of(Phase::Running), &OPERATORS), at(86_420));
        assert_eq!(look_again_at(&of(Phase::Failed), &OPERATORS), None);
        let waits = |reason, second| SparkBatchStatus {
            conditions: conditions_for(Phase::Starting, reason, "", 1, &[], Timestamp::from_second(second).unwrap()),
            reason: Some(reason),
            ..of(Phase::Starting)
        };
        assert_eq!(look_again_at(&waits(Reason::DriverGated, 12), &OPERATORS), at(3610));
        assert_eq!(look_again_at(&waits(Reason::Unschedulable, 5000), &OPERATORS), at(5600), "a gate went by then");
        assert_eq!(look_again_at(&waits(Reason::Unschedulable, 5), &OPERATORS), at(610));
        let endless = Deadlines { driver_start: SignedDuration::MAX, ..OPERATORS };
        assert_eq!(look_again_at(&of(Phase::Starting), &endless), None);
    }
}
