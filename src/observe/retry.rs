//! Whether a batch that failed is tried again, and when.

use jiff::{SignedDuration, Timestamp};

use super::status::{MAX_MESSAGE, Observation, next_status};
use crate::api::{
    AttemptRecord, Cause, Failures, MAX_ATTEMPT_RECORDS, Phase, Reason, SparkBatchSpec, SparkBatchStatus,
    conditions_for, text,
};

/// Longest message of an earlier attempt, in bytes.
const MAX_RECORD_MESSAGE: usize = 256;

const BACKOFF: i32 = 10;
const MAX_BACKOFF: i32 = 300;

/// How often, and after which pause, a batch that failed is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Retries of failures that are not the application's.
    pub infrastructure: i32,
    /// Retries of the application's failures.
    pub application: i32,
    /// Pause before the first retry, doubled for each more.
    pub backoff: SignedDuration,
    /// Longest pause.
    pub max_backoff: SignedDuration,
    /// How long a driver runs until what failed before is forgotten; never where it is `None`.
    pub reset_after: Option<SignedDuration>,
}

impl RetryPolicy {
    /// What `spec` says, with the operator's `infrastructure` retries where it names none.
    #[must_use]
    pub fn of(spec: &SparkBatchSpec, infrastructure: i32) -> Self {
        let own = spec.retry.clone().unwrap_or_default();
        let seconds = |seconds: i32| SignedDuration::from_secs(seconds.into());
        Self {
            infrastructure: own.infrastructure_retries.unwrap_or(infrastructure),
            application: own.application_retries.unwrap_or(0),
            backoff: seconds(own.backoff_seconds.unwrap_or(BACKOFF)),
            max_backoff: seconds(own.max_backoff_seconds.unwrap_or(MAX_BACKOFF)),
            reset_after: own.reset_after_seconds.map(seconds),
        }
    }

    fn grants(&self, cause: Cause, failures: Failures) -> bool {
        match cause {
            Cause::Infrastructure => failures.infrastructure <= self.infrastructure,
            Cause::Application => failures.application <= self.application,
        }
    }

    /// The pause after so many failures: doubled for each, and shorter by its [`jitter`].
    fn pause(&self, failures: Failures, seed: &str) -> SignedDuration {
        let count = failures.infrastructure.saturating_add(failures.application);
        let doublings = u32::try_from(count.saturating_sub(1)).unwrap_or(0).min(31);
        let millis = |duration: SignedDuration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let longest = millis(self.backoff).saturating_mul(1 << doublings).min(millis(self.max_backoff));
        SignedDuration::from_millis(longest - longest / 1000 * i64::from(jitter(seed, count.unsigned_abs())))
    }
}

/// Up to a fifth, in thousandths: by this much the pauses of batches that failed at once differ. A function of `seed`
/// and `count`, and not of chance, so that it can be tested.
#[must_use]
pub fn jitter(seed: &str, count: u32) -> u32 {
    let hash = seed.bytes().fold(u64::from(count), |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    u32::try_from(hash % 200).unwrap_or_default()
}

/// The status after `previous`; where that would be a failure for which `policy` grants another attempt, the status
/// that this attempt starts from. A final status stays as it is.
#[must_use]
pub fn status_or_next_attempt(
    previous: &SparkBatchStatus,
    seen: &Observation<'_>,
    policy: &RetryPolicy,
    uid: &str,
    now: Timestamp,
) -> SparkBatchStatus {
    let mut after = next_status(previous, seen, now);
    if after.reason == Some(Reason::Suspended) && previous.attempt.is_some_and(|attempt| attempt < seen.attempt) {
        after.attempts = suspended(previous.clone(), seen.attempt - 1, now);
    }
    if previous.phase.is_final() || after.phase != Phase::Failed {
        return after;
    }
    let Some((reason, cause)) = after.reason.and_then(|reason| Some((reason, reason.cause()?))) else { return after };
    let failures = counted(&after, cause, policy);
    if !policy.grants(cause, failures) {
        return after;
    }
    let at = now.checked_add(policy.pause(failures, uid)).unwrap_or(now);
    let attempt = seen.attempt.saturating_add(1);
    let message = told(seen.attempt, reason, after.message.as_deref(), attempt, at);
    SparkBatchStatus {
        id: after.id,
        phase: Phase::Pending,
        reason: Some(Reason::RetryBackoff),
        attempt: Some(attempt),
        failures: Some(failures),
        next_attempt_time: Some(at),
        conditions: conditions_for(
            Phase::Pending,
            Reason::RetryBackoff,
            &message,
            seen.generation,
            &previous.conditions,
            now,
        ),
        message: Some(message),
        observed_generation: after.observed_generation,
        attempts: remembered(after, seen.attempt),
        ..SparkBatchStatus::default()
    }
}

/// The failures up to this one, of which those before a healthy run are forgotten.
fn counted(failed: &SparkBatchStatus, cause: Cause, policy: &RetryPolicy) -> Failures {
    let ran = failed.running_time.zip(failed.completion_time).map(|(since, until)| until.duration_since(since));
    let was_healthy = policy.reset_after.zip(ran).is_some_and(|(enough, ran)| ran >= enough);
    let mut failures = failed.failures.filter(|_| !was_healthy).unwrap_or_default();
    let count = match cause {
        Cause::Infrastructure => &mut failures.infrastructure,
        Cause::Application => &mut failures.application,
    };
    *count = count.saturating_add(1);
    failures
}

fn told(failed: i32, reason: Reason, why: Option<&str>, next: i32, at: Timestamp) -> String {
    let at = Timestamp::from_second(at.as_second()).unwrap_or(at);
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    text::cut(&format!("attempt {next} starts at {at}; attempt {failed} failed for {reason}{why}"), MAX_MESSAGE)
}

/// The attempts with the one that a suspension has ended, if it had a driver.
fn suspended(running: SparkBatchStatus, attempt: i32, now: Timestamp) -> Vec<AttemptRecord> {
    if running.driver.is_none() {
        return running.attempts;
    }
    let (reason, completion_time) = (Some(Reason::Suspended), Some(now));
    remembered(SparkBatchStatus { reason, completion_time, message: None, ..running }, attempt)
}

fn remembered(failed: SparkBatchStatus, attempt: i32) -> Vec<AttemptRecord> {
    let mut attempts = failed.attempts;
    attempts.push(AttemptRecord {
        attempt,
        reason: failed.reason,
        exit_code: failed.driver.and_then(|driver| driver.exit_code),
        message: failed.message.map(|message| text::cut(&message, MAX_RECORD_MESSAGE)),
        start_time: failed.start_time,
        completion_time: failed.completion_time,
        app_id: failed.app_id,
    });
    attempts.drain(..attempts.len().saturating_sub(MAX_ATTEMPT_RECORDS));
    attempts
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::observe::Outcome;

    fn policy(retry: &serde_json::Value) -> RetryPolicy {
        RetryPolicy::of(&serde_json::from_value(json!({ "file": "/a.py", "retry": retry })).unwrap(), 0)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn fail(status: &SparkBatchStatus, reason: Reason, policy: &RetryPolicy, now: i64) -> SparkBatchStatus {
        let outcome = Outcome::new(Phase::Failed, reason, "\u{1}é".repeat(2000));
        let seen = Observation::without_driver(status.attempt.unwrap_or(1), outcome);
        status_or_next_attempt(status, &seen, policy, "uid", at(now))
    }

    #[rstest]
    #[case(Reason::DriverEvicted, 2, 0)]
    #[case(Reason::DriverPreempted, 2, 0)]
    #[case(Reason::NodeLost, 2, 0)]
    #[case(Reason::DriverExitNonZero, 0, 1)]
    #[case(Reason::InvalidSpec, 0, 0)]
    #[case(Reason::NameConflict, 0, 0)]
    #[case(Reason::DeadlineExceeded, 0, 0)]
    fn each_cause_has_its_own_budget(#[case] reason: Reason, #[case] infrastructure: i32, #[case] application: i32) {
        let policy = policy(&json!({ "infrastructureRetries": 2, "applicationRetries": 1 }));
        let mut status = SparkBatchStatus::default();
        for n in 1..=infrastructure + application {
            status = fail(&status, reason, &policy, 0);
            assert_eq!((status.phase, status.attempt), (Phase::Pending, Some(n + 1)));
            assert_eq!(status.reason, Some(Reason::RetryBackoff));
        }
        status = fail(&status, reason, &policy, 0);
        assert_eq!((status.phase, status.reason), (Phase::Failed, Some(reason)));
        assert_eq!(fail(&status, reason, &policy, 0), status, "a final status never changes");
    }

    #[test]
    fn nothing_is_run_again_that_nobody_asked_for() {
        for reason in Reason::ALL {
            let none = RetryPolicy::of(&SparkBatchSpec::default(), 0);
            assert_eq!(fail(&SparkBatchStatus::default(), reason, &none, 0).phase, Phase::Failed, "{reason}");
        }
        let operators = RetryPolicy::of(&SparkBatchSpec::default(), 1);
        assert_eq!(fail(&SparkBatchStatus::default(), Reason::DriverLost, &operators, 0).phase, Phase::Pending);
        assert_eq!(fail(&SparkBatchStatus::default(), Reason::DriverOOMKilled, &operators, 0).phase, Phase::Failed);
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_are_never_longer() {
        let policy = policy(&json!({ "infrastructureRetries": 100, "backoffSeconds": 10, "maxBackoffSeconds": 60 }));
        let mut status = SparkBatchStatus::default();
        for longest in [10, 20, 40, 60, 60] {
            status = fail(&status, Reason::DriverLost, &policy, 1000);
            let pause = status.next_attempt_time.unwrap().duration_since(at(1000));
            assert!(pause <= SignedDuration::from_secs(longest), "{pause:?}");
            assert!(pause >= SignedDuration::from_millis(longest * 800), "{pause:?}");
        }
        let many = Failures { infrastructure: i32::MAX, application: 1 };
        assert!(policy.pause(many, "uid") <= SignedDuration::from_secs(60));
    }

    #[test]
    fn a_healthy_run_gives_all_retries_back() {
        let policy = policy(&json!({ "applicationRetries": 1, "resetAfterSeconds": 100 }));
        let failed = fail(&SparkBatchStatus::default(), Reason::DriverExitNonZero, &policy, 0);
        let running = |since| SparkBatchStatus { running_time: Some(at(since)), ..failed.clone() };
        assert_eq!(fail(&running(1), Reason::DriverExitNonZero, &policy, 100).phase, Phase::Failed);
        let again = fail(&running(1), Reason::DriverExitNonZero, &policy, 101);
        assert_eq!((again.phase, again.failures), (Phase::Pending, failed.failures));
    }

    #[test]
    fn the_last_attempts_are_remembered_and_the_status_stays_small() {
        let policy = policy(&json!({ "infrastructureRetries": 7 }));
        let mut status = SparkBatchStatus::default();
        for _ in 0..7 {
            status = fail(&status, Reason::DriverLost, &policy, 0);
        }
        let attempts: Vec<_> = status.attempts.iter().map(|record| record.attempt).collect();
        assert_eq!(attempts, [3, 4, 5, 6, 7]);
        assert!(status.message.as_deref().unwrap().starts_with("attempt 8 starts at 1970-01-01T0"));
        let last = fail(&status, Reason::DriverLost, &policy, 0);
        assert_eq!((last.phase, last.attempt), (Phase::Failed, Some(8)));
        for status in [status, last] {
            assert!(serde_json::to_vec(&status).unwrap().len() < 8192);
        }
    }
}
