//! How long a batch may stay in each phase that is not final.

use jiff::{SignedDuration, Timestamp};

use crate::api::{Phase, Reason, SparkBatchSpec, SparkBatchStatus};

/// How long a batch may stay in each phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// In Pending, for what keeps the driver pod from being created; as `driver_start` where it is `None`.
    pub pending: Option<SignedDuration>,
    /// In Starting: from the driver pod's creation until its container runs.
    pub driver_start: SignedDuration,
    /// In Running; for ever where it is `None`.
    pub running: Option<SignedDuration>,
}

impl Deadlines {
    /// What `spec` says, and these where it says nothing.
    #[must_use]
    pub fn of(&self, spec: &SparkBatchSpec) -> Self {
        let own = spec.deadlines.clone().unwrap_or_default();
        let seconds = |seconds: Option<i32>| seconds.map(|seconds| SignedDuration::from_secs(seconds.into()));
        Self {
            pending: seconds(own.pending_seconds).or(self.pending),
            driver_start: seconds(own.driver_start_seconds).unwrap_or(self.driver_start),
            running: seconds(own.running_seconds).or(self.running),
        }
    }

    /// How long a batch may wait without a driver pod.
    #[must_use]
    pub fn pending(&self) -> SignedDuration {
        self.pending.unwrap_or(self.driver_start)
    }
}

/// When the phase of `status` ends by itself, so that it is looked at again then.
#[must_use]
pub fn look_again_at(status: &SparkBatchStatus, deadlines: &Deadlines) -> Option<Timestamp> {
    let (since, limit) = match status.phase {
        Phase::Starting => (status.start_time?, deadlines.driver_start),
        Phase::Running => (status.running_time?, deadlines.running?),
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

    const OPERATORS: Deadlines =
        Deadlines { pending: None, driver_start: SignedDuration::from_secs(600), running: None };

    fn of(deadlines: &serde_json::Value) -> Deadlines {
        OPERATORS.of(&serde_json::from_value(json!({ "file": "/a.py", "deadlines": deadlines })).unwrap())
    }

    #[test]
    fn a_batch_goes_before_the_operator_field_by_field() {
        assert_eq!(OPERATORS.of(&SparkBatchSpec::default()), OPERATORS);
        let own = of(&json!({ "runningSeconds": 5, "driverStartSeconds": 7 }));
        assert_eq!(own.running, Some(SignedDuration::from_secs(5)));
        assert_eq!((own.driver_start, own.pending()), (SignedDuration::from_secs(7), SignedDuration::from_secs(7)));
        assert_eq!(of(&json!({ "pendingSeconds": 9 })).pending(), SignedDuration::from_secs(9));
    }

    #[test]
    fn a_phase_is_looked_at_again_at_its_deadline() {
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let of = |phase| SparkBatchStatus { phase, start_time: at(10), running_time: at(20), ..Default::default() };
        assert_eq!(look_again_at(&of(Phase::Starting), &OPERATORS), at(610));
        assert_eq!(look_again_at(&of(Phase::Running), &OPERATORS), None);
        let limited = Deadlines { running: Some(SignedDuration::from_secs(5)), ..OPERATORS };
        assert_eq!(look_again_at(&of(Phase::Running), &limited), at(25));
        assert_eq!(look_again_at(&of(Phase::Failed), &limited), None);
        let endless = Deadlines { driver_start: SignedDuration::MAX, ..OPERATORS };
        assert_eq!(look_again_at(&of(Phase::Starting), &endless), None);
    }
}
