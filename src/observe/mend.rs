//! A status that somebody has edited, made one that can be relied on.

use jiff::Timestamp;

use super::RetryPolicy;
use crate::api::{Failures, MAX_ATTEMPT_RECORDS, SparkBatchStatus};

/// `status` without values that the operator never writes. A final one stays as it is.
///
/// What is made good here decides how often a driver is started, and how large a status grows; anything else in a
/// status is only shown, and written anew.
#[must_use]
pub fn mended(status: SparkBatchStatus, policy: &RetryPolicy, now: Timestamp) -> SparkBatchStatus {
    if status.phase.is_final() {
        return status;
    }
    let mut attempts = status.attempts;
    attempts.drain(..attempts.len().saturating_sub(MAX_ATTEMPT_RECORDS));
    let latest = now.checked_add(policy.max_backoff).unwrap_or(Timestamp::MAX);
    SparkBatchStatus {
        attempt: status.attempt.map(|attempt| attempt.max(1)),
        attempts,
        failures: status.failures.map(|failures| Failures {
            infrastructure: failures.infrastructure.max(0),
            application: failures.application.max(0),
        }),
        // No pause is longer than that. Moved to the latest, it would be moved at each look.
        next_attempt_time: status.next_attempt_time.map(|at| if at > latest { now } else { at }),
        ..status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{AttemptRecord, Phase, SparkBatchSpec};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn mend(status: SparkBatchStatus) -> SparkBatchStatus {
        mended(status, &RetryPolicy::of(&SparkBatchSpec::default(), 0), at(1000))
    }

    #[test]
    fn what_nobody_but_an_editor_writes_is_made_good() {
        for (attempt, mended) in [(0, 1), (-5, 1), (i32::MIN, 1), (i32::MAX, i32::MAX), (3, 3)] {
            let status = mend(SparkBatchStatus { attempt: Some(attempt), ..SparkBatchStatus::default() });
            assert_eq!(status.attempt, Some(mended));
        }
        let records = (0..1000).map(|attempt| AttemptRecord { attempt, ..AttemptRecord::default() }).collect();
        let status = mend(SparkBatchStatus { attempts: records, ..SparkBatchStatus::default() });
        assert_eq!(status.attempts.iter().map(|record| record.attempt).collect::<Vec<_>>(), [995, 996, 997, 998, 999]);
        let failures = Some(Failures { infrastructure: -9, application: i32::MIN });
        let status = mend(SparkBatchStatus { failures, ..SparkBatchStatus::default() });
        assert_eq!(status.failures, Some(Failures::default()));
    }

    #[test]
    fn no_attempt_waits_longer_than_the_longest_pause() {
        let next = |second| {
            let status = SparkBatchStatus { next_attempt_time: Some(at(second)), ..SparkBatchStatus::default() };
            mend(status).next_attempt_time
        };
        assert_eq!(next(1300), Some(at(1300)));
        assert_eq!(next(1301), Some(at(1000)));
        assert_eq!(next(1), Some(at(1)));
    }

    #[test]
    fn a_final_status_stays_as_it_is() {
        let status = SparkBatchStatus { phase: Phase::Killed, attempt: Some(-1), ..SparkBatchStatus::default() };
        assert_eq!(mend(status.clone()), status);
    }
}
