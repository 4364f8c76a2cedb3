//! What executor pods tell: their states, how they failed, and why a driver has none.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod, PodStatus};

use super::ends::disruption;
use super::facts::state_of;
use super::{DriverEnd, DriverState};
use crate::api::{EXECUTOR_CONTAINER, ExecutorCounts, ExecutorFailure, MAX_EXECUTOR_FAILURES, Reason, text};

/// Longest message of a failure, in bytes.
const MAX_MESSAGE: usize = 256;
/// For how long a driver may have no executor that runs without a word about it.
pub const LACK_GRACE: SignedDuration = SignedDuration::from_secs(30);

/// An executor pod, reduced to its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExecutorState {
    /// Not running yet.
    Pending,
    /// Running.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
}

/// The state of an executor pod.
#[must_use]
pub fn executor_state(pod: &Pod) -> ExecutorState {
    match pod.status.as_ref().and_then(|status| status.phase.as_deref()) {
        Some("Running") => ExecutorState::Running,
        Some("Succeeded") => ExecutorState::Succeeded,
        Some("Failed") => ExecutorState::Failed,
        _ => ExecutorState::Pending,
    }
}

/// Why an executor pod waits, where Kubernetes gives a cause that does not pass by itself, and its message.
#[must_use]
pub fn executor_wait(pod: &Pod) -> Option<(Reason, String)> {
    match state_of(pod, EXECUTOR_CONTAINER) {
        DriverState::Waiting { reason, message } if reason != Reason::DriverPending => Some((reason, message)),
        _ => None,
    }
}

/// How an executor failed, if it did: neither one that ended well nor one that was told to end has failed, unless it
/// was taken away or passed its memory limit.
#[must_use]
pub fn executor_failure(pod: &Pod) -> Option<ExecutorFailure> {
    let status = pod.status.as_ref()?;
    let containers = status.container_statuses.iter().flatten();
    let container = containers
        .filter(|container| container.name == EXECUTOR_CONTAINER)
        .find_map(|container| container.state.as_ref().and_then(|state| state.terminated.as_ref()));
    let ended = container.filter(|ended| ended.exit_code != 0);
    let disrupted = disruption(status).filter(|_| ended.is_some() || container.is_none());
    let reason = match (disrupted, ended) {
        (Some(why), _) => Some(why.reason),
        (None, Some(ended)) if !was_told_to_end(pod, ended) => ended.reason.clone(),
        (None, None) if container.is_none() && status.phase.as_deref() == Some("Failed") => status.reason.clone(),
        _ => return None,
    };
    let message = ended.and_then(|ended| ended.message.as_deref()).or(status.message.as_deref());
    Some(ExecutorFailure {
        pod_name: pod.metadata.name.clone().unwrap_or_default(),
        reason: reason.map(|reason| text::cut(&reason, 64)),
        exit_code: ended.map(|ended| ended.exit_code),
        message: message.map(|message| text::cut_front(message.trim(), MAX_MESSAGE)).filter(|text| !text.is_empty()),
        time: time_of(pod, status, ended),
    })
}

/// Whether the pod was deleted before its container ended. A kernel that kills it for its memory asks nobody.
fn was_told_to_end(pod: &Pod, ended: &ContainerStateTerminated) -> bool {
    let Some(by) = pod.metadata.deletion_timestamp.as_ref() else { return false };
    let grace = SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds.unwrap_or(0));
    let told = by.0.checked_sub(grace).unwrap_or(by.0);
    // Kubernetes tells both to the second.
    let came_first = ended.finished_at.as_ref().is_some_and(|finished| finished.0 < told);
    ended.reason.as_deref() != Some("OOMKilled") && !came_first
}

fn time_of(pod: &Pod, status: &PodStatus, ended: Option<&ContainerStateTerminated>) -> Option<Timestamp> {
    let finished = ended.and_then(|ended| ended.finished_at.as_ref());
    let deleted = pod.metadata.deletion_timestamp.as_ref();
    let last = status.conditions.iter().flatten().filter_map(|condition| condition.last_transition_time.as_ref()).max();
    finished.or(last).or(deleted).map(|time| time.0)
}

/// The last failures of those known `before` and those `seen`, each pod once.
///
/// Executors lose their driver when it ends, and fail for it. Whether that happened first is told by the `end`, and
/// known only then.
#[must_use]
pub fn last_failures(
    before: &[ExecutorFailure],
    seen: &[ExecutorFailure],
    end: Option<&DriverEnd>,
) -> Vec<ExecutorFailure> {
    let is_new = |failure: &&ExecutorFailure| before.iter().all(|known| known.pod_name != failure.pod_name);
    let mut failures: Vec<_> = before.iter().chain(seen.iter().filter(is_new)).cloned().collect();
    if let Some(finished) = end.and_then(|end| end.finished) {
        let has_own_cause = |failure: &ExecutorFailure| failure.reason.as_deref().is_some_and(|why| why != "Error");
        failures.retain(|failure| has_own_cause(failure) || failure.time.is_none_or(|time| time < finished));
    }
    failures.sort_by(|a, b| (a.time, &a.pod_name).cmp(&(b.time, &b.pod_name)));
    failures.drain(..failures.len().saturating_sub(MAX_EXECUTOR_FAILURES));
    failures
}

/// Why a driver that runs has no executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// The kind of cause.
    pub cause: LackCause,
    /// The cause in words, which may change with every node of the cluster.
    pub message: String,
}

/// The kind of cause for which a driver has no executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LackCause {
    /// Kubernetes keeps the pods from running.
    Kept(Reason),
    /// The pods are on their way.
    Pending,
    /// There are no pods.
    NotCreated,
}

/// Why a driver that runs has no executor; `None` if it asks for none, or has not been without one for long.
/// `had_any`: whether there ever was one in this attempt, since when none is there because none is needed.
#[must_use]
pub fn lack(
    counts: &ExecutorCounts,
    wait: Option<&(Reason, String)>,
    since: Timestamp,
    had_any: bool,
    now: Timestamp,
) -> Option<Lack> {
    let asks = counts.pending > 0 || (counts.requested > 0 && !had_any);
    if !asks || counts.running > 0 || now.duration_since(since) < LACK_GRACE {
        return None;
    }
    let (cause, message) = match wait {
        // Named for drivers.
        Some((reason @ Reason::DriverGated, message)) => {
            (LackCause::Kept(*reason), format!("no executor runs: {message}"))
        }
        Some((reason, message)) => (LackCause::Kept(*reason), format!("no executor runs: {reason}: {message}")),
        None if counts.pending > 0 => {
            (LackCause::Pending, "no executor runs: the executor pods wait to start".to_owned())
        }
        None => (
            LackCause::NotCreated,
            "no executor pod was created: a quota, Pod Security or missing rights of the driver's service account \
                 may refuse them; see the driver's log"
                .to_owned(),
        ),
    };
    Some(Lack { cause, message })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::observe::EndCause;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[expect(clippy::needless_pass_by_value, reason = "the callers write it on the spot")]
    fn executor(status: Value, deletion: Option<i64>) -> Pod {
        let deletion = deletion.map(|second| at(second + 30).to_string());
        let metadata = json!({ "name": "e", "deletionTimestamp": deletion, "deletionGracePeriodSeconds": deletion.as_ref().map(|_| 30) });
        serde_json::from_value(json!({ "metadata": metadata, "status": status })).unwrap()
    }

    fn ended(code: i32, reason: &str, second: i64) -> Value {
        json!({ "phase": "Failed", "containerStatuses": [{
            "name": EXECUTOR_CONTAINER, "ready": false, "restartCount": 0, "image": "", "imageID": "",
            "state": { "terminated": { "exitCode": code, "reason": reason, "finishedAt": at(second).to_string(), "message": "m" } },
        }] })
    }

    fn evicted(code: i32) -> Value {
        let mut status = ended(code, "Error", 200);
        status["conditions"] =
            json!([{ "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI" }]);
        status
    }

    #[rstest]
    #[case::failed(ended(52, "Error", 100), None, Some("Error"))]
    #[case::out_of_memory(ended(137, "OOMKilled", 100), None, Some("OOMKilled"))]
    #[case::ended_well(ended(0, "Completed", 100), None, None)]
    #[case::removed_by_spark_after_it_failed(ended(52, "Error", 100), Some(101), Some("Error"))]
    #[case::scaled_down(ended(143, "Error", 102), Some(100), None)]
    #[case::scaled_down_in_the_same_second(ended(143, "Error", 100), Some(100), None)]
    #[case::scaled_down_out_of_memory(ended(137, "OOMKilled", 102), Some(100), Some("OOMKilled"))]
    #[case::evicted_by_the_api(evicted(143), Some(190), Some("EvictionByEvictionAPI"))]
    #[case::evicted_though_it_ended_well(evicted(0), Some(190), None)]
    #[case::evicted_by_the_kubelet(json!({ "phase": "Failed", "reason": "Evicted", "message": "disk" }), None, Some("Evicted"))]
    #[case::running(json!({ "phase": "Running" }), Some(100), None)]
    fn what_ended_badly_and_unasked_has_failed(
        #[case] status: Value,
        #[case] deleted: Option<i64>,
        #[case] reason: Option<&str>,
    ) {
        let failure = executor_failure(&executor(status, deleted));
        assert_eq!(failure.and_then(|failure| failure.reason).as_deref(), reason);
    }

    fn failure(name: &str, second: i64, reason: &str) -> ExecutorFailure {
        ExecutorFailure {
            pod_name: name.into(),
            reason: Some(reason.into()),
            time: Some(at(second)),
            ..ExecutorFailure::default()
        }
    }

    #[test]
    fn the_last_failures_are_kept_each_once() {
        let all: Vec<_> = (0..9).map(|n| failure(&format!("e{n}"), n, "Error")).collect();
        assert_eq!(last_failures(&all[..7], &all[3..], None), all[4..]);
        assert_eq!(last_failures(&[], &[all[2].clone(), all[1].clone()], None), all[1..3]);
    }

    #[test]
    fn executors_that_lost_their_driver_have_not_failed() {
        let end = DriverEnd {
            cause: EndCause::Exit,
            exit_code: Some(1),
            init_container: None,
            message: String::new(),
            started: None,
            finished: Some(at(10)),
        };
        let failures = [failure("a", 9, "Error"), failure("b", 10, "Error"), failure("c", 11, "OOMKilled")];
        assert_eq!(last_failures(&failures, &[], Some(&end)), [failures[0].clone(), failures[2].clone()]);
    }

    #[test]
    fn a_message_is_cut_and_a_full_ring_is_small() {
        let mut status = ended(1, "Error", 1);
        status["containerStatuses"][0]["state"]["terminated"]["message"] = "\u{1}é".repeat(3000).into();
        let failure = executor_failure(&executor(status, None)).unwrap();
        assert!(serde_json::to_vec(&failure).unwrap().len() < 512);
    }

    #[rstest]
    #[case::asks_for_none((0, 0, 0), false, 100, None)]
    #[case::not_for_long((2, 0, 0), false, 29, None)]
    #[case::none_was_made((2, 0, 0), false, 30, Some("no executor pod was created"))]
    #[case::none_is_needed_any_more((2, 0, 0), true, 100, None)]
    #[case::one_runs((2, 1, 1), true, 100, None)]
    #[case::all_wait((2, 1, 0), true, 100, Some("wait to start"))]
    #[case::more_than_at_the_start((0, 1, 0), true, 100, Some("wait to start"))]
    fn a_driver_without_executors_says_so_if_it_needs_some(
        #[case] (requested, pending, running): (i32, i32, i32),
        #[case] had_any: bool,
        #[case] second: i64,
        #[case] told: Option<&str>,
    ) {
        let counts = ExecutorCounts { requested, pending, running, ..ExecutorCounts::default() };
        let message = lack(&counts, None, at(0), had_any, at(second));
        assert_eq!(message.is_some(), told.is_some(), "{message:?}");
        assert!(message.is_none_or(|lack| lack.message.contains(told.unwrap_or_default())));
    }

    #[test]
    fn the_cause_is_kubernetes_own() {
        let status = json!({ "phase": "Pending", "conditions": [{ "type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": "0/1 nodes are available" }] });
        let wait = executor_wait(&executor(status, None));
        let counts = ExecutorCounts { pending: 1, ..ExecutorCounts::default() };
        let told = |wait| lack(&counts, wait, at(0), true, at(30)).unwrap().message;
        assert_eq!(told(wait.as_ref()), "no executor runs: Unschedulable: 0/1 nodes are available");
        let gated = (Reason::DriverGated, "held by scheduling gates: g".to_owned());
        assert_eq!(told(Some(&gated)), "no executor runs: held by scheduling gates: g");
    }
}
