//! Conditions, in the vocabulary of Kubernetes Jobs and of kstatus.
//!
//! A failed Spark job is a finished reconciliation, not a stalled one: tools that wait for rollouts
//! (Helm, Flux, Argo CD) must not hang on it. `Stalled` is only for what the operator cannot act on.
//!
//! | phase | Ready | Reconciling | Stalled | Complete | Failed |
//! |---|---|---|---|---|---|
//! | Pending, Starting | False | True | – | – | – |
//! | Pending (queued), Starting (`DriverGated`: in another's queue) | False | False | – | – | – |
//! | Pending (suspended) | True | – | – | – | – |
//! | Pending (`InvalidSpec`: written for another version) | False | – | True | – | – |
//! | Running | True | – | – | – | – |
//! | Succeeded | True | – | – | True | – |
//! | Failed, Killed | False | – | – | – | True |
//! | Failed (`InvalidSpec`, `NameConflict`) | False | – | True | – | True |

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{Phase, Reason, text};

/// The batch succeeded, as a Job's `Complete`.
pub const CONDITION_COMPLETE: &str = "Complete";
/// The batch failed or was killed, as a Job's `Failed`.
pub const CONDITION_FAILED: &str = "Failed";
/// kstatus: nothing is left for the operator to do, or the driver runs.
pub const CONDITION_READY: &str = "Ready";
/// kstatus: the operator is at work on the batch.
pub const CONDITION_RECONCILING: &str = "Reconciling";
/// kstatus: the operator cannot act on the batch as it is.
pub const CONDITION_STALLED: &str = "Stalled";

/// Longest message of a condition, in bytes; the whole message is the status'.
const MAX_MESSAGE: usize = 512;

/// The conditions of a batch in `phase` for `reason`. A condition whose status did not change keeps
/// the transition time that it has in `previous`.
#[must_use]
pub fn conditions_for(
    phase: Phase,
    reason: Reason,
    message: &str,
    generation: i64,
    previous: &[Condition],
    now: Timestamp,
) -> Vec<Condition> {
    let message = text::cut(message, MAX_MESSAGE);
    statuses(phase, reason)
        .into_iter()
        .map(|(type_, status)| {
            let status = if status { "True" } else { "False" };
            let since = previous
                .iter()
                .find(|condition| condition.type_ == type_ && condition.status == status)
                .map_or_else(|| Time(now), |condition| condition.last_transition_time.clone());
            Condition {
                type_: type_.to_owned(),
                status: status.to_owned(),
                reason: reason.to_string(),
                message: message.clone(),
                observed_generation: Some(generation),
                last_transition_time: since,
            }
        })
        .collect()
}

fn statuses(phase: Phase, reason: Reason) -> Vec<(&'static str, bool)> {
    match phase {
        Phase::Pending if reason == Reason::Suspended => vec![(CONDITION_READY, true)],
        Phase::Pending if reason == Reason::InvalidSpec => vec![(CONDITION_READY, false), (CONDITION_STALLED, true)],
        // The time of its transition tells since when the batch is in the queue, and since when it is not any more.
        Phase::Pending if reason == Reason::Queued => vec![(CONDITION_READY, false), (CONDITION_RECONCILING, false)],
        Phase::Starting if reason == Reason::DriverGated => {
            vec![(CONDITION_READY, false), (CONDITION_RECONCILING, false)]
        }
        Phase::Pending | Phase::Starting => vec![(CONDITION_READY, false), (CONDITION_RECONCILING, true)],
        Phase::Running => vec![(CONDITION_READY, true)],
        Phase::Succeeded => vec![(CONDITION_READY, true), (CONDITION_COMPLETE, true)],
        Phase::Failed | Phase::Killed => {
            let mut statuses = vec![(CONDITION_READY, false), (CONDITION_FAILED, true)];
            if matches!(reason, Reason::InvalidSpec | Reason::NameConflict) {
                statuses.push((CONDITION_STALLED, true));
            }
            statuses
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_unchanged_condition_keeps_its_transition_time() {
        let starting = conditions_for(Phase::Starting, Reason::DriverPending, "", 1, &[], at(1));
        let later = conditions_for(Phase::Starting, Reason::Unschedulable, "no node", 1, &starting, at(2));
        assert!(later.iter().all(|condition| condition.last_transition_time.0 == at(1)));
        let running = conditions_for(Phase::Running, Reason::DriverRunning, "", 1, &later, at(3));
        assert_eq!(running.len(), 1);
        assert_eq!(running[0].last_transition_time.0, at(3));
    }

    #[test]
    fn a_failed_job_is_not_stalled_and_an_invalid_one_is() {
        let types = |reason| -> Vec<String> {
            conditions_for(Phase::Failed, reason, "", 1, &[], at(1)).into_iter().map(|c| c.type_).collect()
        };
        assert!(!types(Reason::DriverExitNonZero).contains(&CONDITION_STALLED.to_owned()));
        assert!(types(Reason::InvalidSpec).contains(&CONDITION_STALLED.to_owned()));
    }

    #[test]
    fn no_phase_is_both_ready_and_reconciling() {
        for phase in Phase::ALL {
            for reason in Reason::ALL {
                let statuses = statuses(phase, reason);
                let reconciling = statuses.contains(&(CONDITION_RECONCILING, true));
                assert!(!(reconciling && statuses.contains(&(CONDITION_READY, true))), "{phase} {reason}");
            }
        }
    }
}
