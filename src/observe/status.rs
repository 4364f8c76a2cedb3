//! A batch's next status.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{DriverFacts, DriverState, Outcome, last_failures};
use crate::api::{
    DriverStatus, ExecutorCounts, ExecutorFailure, Phase, Reason, SparkBatchStatus, conditions_for, text,
};

/// Longest message of a status, in bytes.
pub(super) const MAX_MESSAGE: usize = 1280;

/// All that is known of a batch at one moment.
#[derive(Clone, Debug)]
pub struct Observation<'a> {
    /// What it means.
    pub outcome: Outcome,
    /// The attempt.
    pub attempt: i32,
    /// The attempt's application id.
    pub app_id: Option<String>,
    /// The attempt's driver pod, where there is one.
    pub driver: Option<&'a DriverFacts>,
    /// The attempt's executors.
    pub executors: Option<ExecutorCounts>,
    /// Failures of the attempt's executors that are known.
    pub executor_failures: Vec<ExecutorFailure>,
    /// Its position in the queue, while it is in one.
    pub queue_position: Option<i32>,
    /// Generation of the spec that was looked at.
    pub generation: i64,
}

/// The status after `previous`. A final status stays as it is, whatever is observed after it.
#[must_use]
pub fn next_status(previous: &SparkBatchStatus, seen: &Observation<'_>, now: Timestamp) -> SparkBatchStatus {
    if previous.phase.is_final() {
        return previous.clone();
    }
    let Outcome { phase, reason, message } = &seen.outcome;
    let same_attempt = previous.attempt == Some(seen.attempt);
    let kept = |value| if same_attempt { value } else { None };
    let end = seen.driver.and_then(|driver| match &driver.state {
        DriverState::Ended(end) => Some(end),
        _ => None,
    });
    let is_running = seen.driver.is_some_and(|driver| matches!(driver.state, DriverState::Running { .. }));
    let running_since = seen.driver.and_then(|driver| match &driver.state {
        DriverState::Running { since } => *since,
        DriverState::Ended(end) => end.started,
        DriverState::Waiting { .. } => None,
    });
    let driver = seen.driver.map(|driver| DriverStatus {
        pod_name: driver.pod_name.clone(),
        pod_uid: driver.pod_uid.clone(),
        exit_code: end.and_then(|end| end.exit_code),
        // Told with the start of the driver and taken back with its end, neither of which costs a write of its own.
        ui_address: driver.ui_address.clone().filter(|_| is_running),
    });
    let message = (!message.is_empty()).then(|| text::cut(message, MAX_MESSAGE));
    SparkBatchStatus {
        id: previous.id,
        phase: *phase,
        reason: Some(*reason),
        queue_position: seen.queue_position,
        app_id: seen.app_id.clone().or_else(|| same_attempt.then(|| previous.app_id.clone()).flatten()),
        attempt: Some(seen.attempt),
        attempts: previous.attempts.clone(),
        failures: previous.failures,
        next_attempt_time: kept(previous.next_attempt_time).filter(|_| seen.driver.is_none() && !phase.is_final()),
        driver: driver.or_else(|| same_attempt.then(|| previous.driver.clone()).flatten()),
        executors: seen.executors.or(previous.executors.filter(|_| same_attempt)).map(|counts| at_end(counts, *phase)),
        executor_failures: last_failures(
            if same_attempt { &previous.executor_failures } else { &[] },
            &seen.executor_failures,
            end,
        ),
        start_time: kept(previous.start_time).or_else(|| seen.driver.and_then(|driver| driver.created)),
        running_time: kept(previous.running_time).or(running_since),
        completion_time: phase.is_final().then(|| end.and_then(|end| end.finished).unwrap_or(now)),
        conditions: conditions_for(
            *phase,
            *reason,
            message.as_deref().unwrap_or_default(),
            seen.generation,
            &previous.conditions,
            now,
        ),
        message,
        observed_generation: Some(seen.generation),
    }
}

/// A driver takes its executors with it: a final status shows none at work.
fn at_end(counts: ExecutorCounts, phase: Phase) -> ExecutorCounts {
    if phase.is_final() { ExecutorCounts { pending: 0, running: 0, ..counts } } else { counts }
}

/// The JSON merge patch (RFC 7386) that turns `old` into `new`; `None` if they are the same.
#[must_use]
pub fn merge_patch(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        return (old != new).then(|| new.clone());
    };
    let mut patch = Map::new();
    for (key, value) in new {
        let change = match old.get(key) {
            Some(before) => merge_patch(before, value),
            None => Some(value.clone()),
        };
        patch.extend(change.map(|change| (key.clone(), change)));
    }
    patch.extend(old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null)));
    (!patch.is_empty()).then_some(Value::Object(patch))
}

impl SparkBatchStatus {
    /// Whether `other` says the same but for executors, of which need not be written at once: their counts and failures,
    /// and while the driver runs, its words about them.
    #[must_use]
    pub fn differs_only_in_executors(&self, other: &Self) -> bool {
        let mut same =
            Self { executors: other.executors, executor_failures: other.executor_failures.clone(), ..self.clone() };
        if self.reason == Some(Reason::DriverRunning) && other.reason == self.reason {
            same.message.clone_from(&other.message);
            same.conditions.clone_from(&other.conditions);
        }
        self != other && same == *other
    }

    /// Whether `other` says the same in other words, which need not be written at once.
    #[must_use]
    pub fn differs_only_in_words(&self, other: &Self) -> bool {
        let worded = |status: &Self| {
            let mut conditions = status.conditions.clone();
            for (condition, words) in conditions.iter_mut().zip(&other.conditions) {
                condition.message.clone_from(&words.message);
            }
            Self { message: other.message.clone(), conditions, ..status.clone() }
        };
        self.message != other.message && worded(self) == *other
    }
}

#[cfg(test)]
impl Observation<'_> {
    /// Nothing but `outcome` of an attempt that has no driver.
    pub(super) fn without_driver(attempt: i32, outcome: Outcome) -> Self {
        Self {
            outcome,
            attempt,
            app_id: None,
            driver: None,
            executors: None,
            executor_failures: Vec::new(),
            queue_position: None,
            generation: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::observe::{Deadlines, DriverEnd, EndCause, outcome};

    fn state() -> impl Strategy<Value = DriverState> {
        let waiting = prop::sample::select(vec![Reason::DriverPending, Reason::Unschedulable, Reason::ImagePullFailed])
            .prop_map(|reason| DriverState::Waiting { reason, message: String::new() });
        let ended = (any::<u8>(), prop::sample::select(vec![EndCause::Exit, EndCause::OutOfMemory, EndCause::Evicted]))
            .prop_map(|(code, cause)| {
                let exit_code = Some(i32::from(code));
                DriverState::Ended(DriverEnd {
                    cause,
                    exit_code,
                    init_container: None,
                    message: String::new(),
                    started: None,
                    finished: None,
                })
            });
        prop_oneof![waiting, Just(DriverState::Running { since: None }), ended]
    }

    fn facts(state: DriverState, deleted: bool) -> DriverFacts {
        let created = Some(Timestamp::UNIX_EPOCH);
        DriverFacts {
            pod_name: "d".into(),
            pod_uid: "u".into(),
            owner_uid: None,
            attempt: Some(1),
            created,
            deleted,
            gone_by: None,
            ui_address: Some("10.0.0.1:4040".into()),
            disruption: None,
            state,
        }
    }

    fn observe(previous: &SparkBatchStatus, driver: &DriverFacts, now: Timestamp) -> SparkBatchStatus {
        let driver_start = jiff::SignedDuration::from_secs(600);
        let outcome = outcome(previous, driver, &Deadlines { driver_start, ..Deadlines::default() }, now);
        let seen = Observation {
            app_id: Some("spark-1".into()),
            driver: Some(driver),
            executors: Some(ExecutorCounts::default()),
            ..Observation::without_driver(1, outcome)
        };
        next_status(previous, &seen, now)
    }

    proptest! {
        #[test]
        fn a_final_phase_never_changes(states in prop::collection::vec((state(), any::<bool>(), 0i64..2000), 1..20)) {
            let mut status = SparkBatchStatus::default();
            for (state, deleted, second) in states {
                let next = observe(&status, &facts(state, deleted), Timestamp::from_second(second).unwrap());
                if status.phase.is_final() {
                    prop_assert_eq!(&next, &status);
                }
                status = next;
            }
        }

        #[test]
        fn a_merge_patch_leads_from_one_status_to_the_next(states in prop::collection::vec((state(), any::<bool>(), 0i64..2000), 1..8)) {
            let mut status = SparkBatchStatus::default();
            for (state, deleted, second) in states {
                let next = observe(&status, &facts(state, deleted), Timestamp::from_second(second).unwrap());
                let (old, new) = (serde_json::to_value(&status).unwrap(), serde_json::to_value(&next).unwrap());
                let mut patched = old.clone();
                if let Some(patch) = merge_patch(&old, &new) {
                    apply(&mut patched, &patch);
                }
                prop_assert_eq!(patched, new);
                status = next;
            }
        }
    }

    /// RFC 7386, section 2.
    fn apply(target: &mut Value, patch: &Value) {
        let Value::Object(patch) = patch else {
            *target = patch.clone();
            return;
        };
        if !target.is_object() {
            *target = json!({});
        }
        for (key, value) in patch {
            let target = target.as_object_mut().unwrap();
            if value.is_null() {
                target.remove(key);
            } else {
                apply(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
    }

    #[test]
    fn an_unchanged_status_needs_no_patch() {
        let driver = facts(DriverState::Running { since: None }, false);
        let status = observe(&SparkBatchStatus::default(), &driver, Timestamp::UNIX_EPOCH);
        let again = observe(&status, &driver, Timestamp::from_second(100).unwrap());
        assert_eq!(merge_patch(&serde_json::to_value(&status).unwrap(), &serde_json::to_value(&again).unwrap()), None);
    }

    #[test]
    fn other_words_for_the_same_are_told_from_news() {
        let wait = |message: &str, reason| {
            let seen = Observation::without_driver(1, Outcome::new(Phase::Pending, reason, message));
            next_status(&SparkBatchStatus::default(), &seen, Timestamp::UNIX_EPOCH)
        };
        let before = wait("used: 3", Reason::DriverRefused);
        assert!(before.differs_only_in_words(&wait("used: 4", Reason::DriverRefused)));
        assert!(!before.differs_only_in_words(&before));
        assert!(!before.differs_only_in_words(&wait("used: 4", Reason::ConfUnavailable)));
    }

    #[test]
    fn a_status_stays_small_whatever_happens() {
        let message = "é".repeat(1024);
        let end = DriverEnd {
            cause: EndCause::Exit,
            exit_code: Some(1),
            init_container: None,
            message,
            started: None,
            finished: None,
        };
        let status =
            observe(&SparkBatchStatus::default(), &facts(DriverState::Ended(end), false), Timestamp::UNIX_EPOCH);
        assert!(serde_json::to_vec(&status).unwrap().len() < 8192);
    }
}
