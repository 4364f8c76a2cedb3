//! What a pod tells of its driver or executor.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Pod, PodStatus};

use crate::api::{DRIVER_CONTAINER, LABEL_ATTEMPT, Reason, UI_PORT_NAME, text};

/// Longest message that is taken from a pod, in bytes: a status stays small whatever happens.
const MAX_MESSAGE: usize = 1024;

/// A driver pod, reduced to what decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverFacts {
    /// Name of the pod.
    pub pod_name: String,
    /// Uid of the pod.
    pub pod_uid: String,
    /// Uid of the pod's controller, which is the batch if the pod is the batch's.
    pub owner_uid: Option<String>,
    /// Attempt that the pod's label names.
    pub attempt: Option<i32>,
    /// When the pod was created.
    pub created: Option<Timestamp>,
    /// Whether somebody has deleted the pod; it may run on for its grace period.
    pub deleted: bool,
    /// When it should be gone, if it was deleted: at the end of its grace period.
    pub gone_by: Option<Timestamp>,
    /// Where the Spark UI listens, once it can: the pod's IP and the port.
    pub ui_address: Option<String>,
    /// How far the driver's container is.
    pub state: DriverState,
}

impl DriverFacts {
    /// Whether the driver has ended, in any way.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.state, DriverState::Ended(_))
    }

    /// Whether the application has ended by itself and well.
    #[must_use]
    pub fn has_succeeded(&self) -> bool {
        matches!(&self.state, DriverState::Ended(end) if end.cause == EndCause::Exit && end.exit_code == Some(0))
    }
}

/// How far a driver's container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriverState {
    /// It waits: why, and in Kubernetes' words.
    Waiting {
        /// One of the reasons for which a driver waits.
        reason: Reason,
        /// Kubernetes' message.
        message: String,
    },
    /// It runs.
    Running {
        /// Since when.
        since: Option<Timestamp>,
    },
    /// It ended.
    Ended(DriverEnd),
}

/// How a driver's container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverEnd {
    /// What ended it.
    pub cause: EndCause,
    /// Exit code, where the kubelet told one.
    pub exit_code: Option<i32>,
    /// The kubelet's message: for a container that failed, the end of its log.
    pub message: String,
    /// When it started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
}

/// What ended a driver's container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndCause {
    /// The application ended by itself, with the exit code.
    Exit,
    /// The kernel killed it for passing its memory limit.
    OutOfMemory,
    /// Kubernetes took the pod away: eviction, preemption, node shutdown.
    Evicted,
}

/// The facts of a driver pod.
#[must_use]
pub fn driver_facts(pod: &Pod) -> DriverFacts {
    let metadata = &pod.metadata;
    let owners = metadata.owner_references.iter().flatten();
    DriverFacts {
        pod_name: metadata.name.clone().unwrap_or_default(),
        pod_uid: metadata.uid.clone().unwrap_or_default(),
        owner_uid: owners.filter(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone()).next(),
        attempt: metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_ATTEMPT)).and_then(|n| n.parse().ok()),
        created: metadata.creation_timestamp.as_ref().map(|time| time.0),
        deleted: metadata.deletion_timestamp.is_some(),
        gone_by: metadata.deletion_timestamp.as_ref().map(|time| time.0),
        ui_address: ui_address(pod),
        state: state_of(pod.status.as_ref(), DRIVER_CONTAINER),
    }
}

fn ui_address(pod: &Pod) -> Option<String> {
    let container = pod.spec.as_ref()?.containers.iter().find(|container| container.name == DRIVER_CONTAINER)?;
    let mut ports = container.ports.iter().flatten();
    let port = ports.find(|port| port.name.as_deref() == Some(UI_PORT_NAME))?.container_port;
    let ip = pod.status.as_ref()?.pod_ip.as_deref().filter(|ip| !ip.is_empty())?;
    Some(if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") })
}

/// Spark's container decides, and not the pod's phase: a pod with a sidecar runs on after its driver.
pub(super) fn state_of(status: Option<&PodStatus>, container: &str) -> DriverState {
    let Some(status) = status else { return waiting(Reason::DriverPending, "") };
    let container = status.container_statuses.iter().flatten().find(|found| found.name == container);
    let state = container.and_then(|container| container.state.as_ref());
    if let Some(ended) = state.and_then(|state| state.terminated.as_ref()) {
        return DriverState::Ended(container_end(status, ended));
    }
    // An evicted pod may never have had a container, or the kubelet may not report it any more.
    if matches!(status.phase.as_deref(), Some("Failed" | "Succeeded")) {
        return DriverState::Ended(pod_end(status));
    }
    if let Some(running) = state.and_then(|state| state.running.as_ref()) {
        return DriverState::Running { since: running.started_at.as_ref().map(|time| time.0) };
    }
    match state.and_then(|state| state.waiting.as_ref()) {
        Some(reason) => waiting_container(reason),
        None => init_failure(status).unwrap_or_else(|| unscheduled(status)),
    }
}

fn waiting(reason: Reason, message: &str) -> DriverState {
    DriverState::Waiting { reason, message: cut(message) }
}

fn waiting_container(state: &ContainerStateWaiting) -> DriverState {
    let name = state.reason.as_deref().unwrap_or_default();
    let reason = match name {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "RegistryUnavailable"
        | "ImageInspectError"
        | "SignatureValidationFailed" => Reason::ImagePullFailed,
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => Reason::ContainerCreateFailed,
        _ => Reason::DriverPending,
    };
    match (reason, state.message.as_deref()) {
        (Reason::DriverPending, None) => waiting(reason, ""),
        (_, message) => waiting(reason, &format!("{name}: {}", message.unwrap_or("no further message"))),
    }
}

fn init_failure(status: &PodStatus) -> Option<DriverState> {
    let waits = |container: &ContainerStatus| container.state.as_ref().and_then(|state| state.waiting.clone());
    let reasons = status.init_container_statuses.iter().flatten().filter_map(waits);
    reasons
        .map(|reason| waiting_container(&reason))
        .find(|state| !matches!(state, DriverState::Waiting { reason: Reason::DriverPending, .. }))
}

fn unscheduled(status: &PodStatus) -> DriverState {
    let conditions = status.conditions.iter().flatten();
    let refused = conditions
        .filter(|condition| condition.type_ == "PodScheduled" && condition.status == "False")
        .find(|condition| condition.reason.as_deref() == Some("Unschedulable"));
    match refused {
        Some(condition) => waiting(Reason::Unschedulable, condition.message.as_deref().unwrap_or_default()),
        None => waiting(Reason::DriverPending, ""),
    }
}

fn container_end(status: &PodStatus, ended: &ContainerStateTerminated) -> DriverEnd {
    let cause = if ended.exit_code == 0 {
        EndCause::Exit
    } else if was_disrupted(status) {
        EndCause::Evicted
    } else if ended.reason.as_deref() == Some("OOMKilled") {
        EndCause::OutOfMemory
    } else {
        EndCause::Exit
    };
    let message = if cause == EndCause::Evicted { status.message.as_deref() } else { ended.message.as_deref() };
    DriverEnd {
        cause,
        exit_code: Some(ended.exit_code),
        message: cut_front(message.unwrap_or_default()),
        started: ended.started_at.as_ref().map(|time| time.0),
        finished: ended.finished_at.as_ref().map(|time| time.0),
    }
}

fn pod_end(status: &PodStatus) -> DriverEnd {
    let cause = if was_disrupted(status) || status.phase.as_deref() == Some("Failed") {
        EndCause::Evicted
    } else {
        EndCause::Exit
    };
    let message = match (status.reason.as_deref(), status.message.as_deref()) {
        (Some(reason), Some(message)) => format!("{reason}: {message}"),
        (reason, message) => reason.or(message).unwrap_or_default().to_owned(),
    };
    let exit_code = (status.phase.as_deref() == Some("Succeeded")).then_some(0);
    DriverEnd { cause, exit_code, message: cut(&message), started: None, finished: None }
}

fn was_disrupted(status: &PodStatus) -> bool {
    disruption(status).is_some()
}

/// Why Kubernetes took a pod away, if it did: the condition `DisruptionTarget`, and the reasons by which older kubelets
/// tell the same.
pub(super) fn disruption(status: &PodStatus) -> Option<String> {
    let reasons = ["Evicted", "NodeShutdown", "NodeLost", "Terminated", "Preempting", "Shutdown"];
    let told = status.reason.as_deref().filter(|reason| reasons.contains(reason));
    let mut conditions = status.conditions.iter().flatten();
    let disrupted = conditions.find(|condition| condition.type_ == "DisruptionTarget" && condition.status == "True");
    let why = |reason: Option<&str>| reason.unwrap_or("Evicted").to_owned();
    told.map(str::to_owned).or_else(|| disrupted.map(|condition| why(condition.reason.as_deref())))
}

fn cut(text: &str) -> String {
    text::cut(text, MAX_MESSAGE)
}

/// Keeps the end, since a log says last what went wrong; without what Spark tells of its orderly shutdown after
/// that, unless there is nothing else.
fn cut_front(text: &str) -> String {
    let told: Vec<_> = text.lines().filter(|line| !is_chatter(line)).collect();
    let told = told.join("\n");
    let text = if told.trim().is_empty() { text.trim() } else { told.trim() };
    text::cut_front(text, MAX_MESSAGE)
}

/// A line of Spark's own log below the level of warnings: `26/01/02 03:04:05 INFO SparkContext: …`.
fn is_chatter(line: &str) -> bool {
    line.split_whitespace().nth(2).is_some_and(|level| matches!(level, "INFO" | "DEBUG" | "TRACE"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "the callers write it on the spot")]
    fn state_of(status: serde_json::Value) -> DriverState {
        driver_facts(&serde_json::from_value(json!({ "metadata": { "name": "d" }, "status": status })).unwrap()).state
    }

    #[expect(clippy::needless_pass_by_value, reason = "the callers write it on the spot")]
    fn container(state: serde_json::Value) -> serde_json::Value {
        json!([
            { "name": "sidecar", "ready": true, "restartCount": 0, "image": "", "imageID": "", "state": { "running": {} } },
            { "name": DRIVER_CONTAINER, "ready": false, "restartCount": 0, "image": "", "imageID": "", "state": state },
        ])
    }

    fn end_of(status: serde_json::Value) -> DriverEnd {
        match state_of(status) {
            DriverState::Ended(end) => end,
            other => panic!("not ended: {other:?}"),
        }
    }

    #[test]
    fn a_driver_that_ended_beside_a_running_sidecar_has_ended() {
        let ended = container(json!({ "terminated": { "exitCode": 0, "reason": "Completed" } }));
        let end = end_of(json!({ "phase": "Running", "containerStatuses": ended }));
        assert_eq!((end.cause, end.exit_code), (EndCause::Exit, Some(0)));
    }

    #[test]
    fn the_ui_listens_at_the_pods_address_on_the_port_that_the_pod_names() {
        let address = |ip: serde_json::Value, ports: serde_json::Value| {
            let container = json!({ "name": DRIVER_CONTAINER, "ports": ports });
            let sidecar = json!({ "name": "s", "ports": [{ "name": UI_PORT_NAME, "containerPort": 1 }] });
            let pod =
                json!({ "metadata": {}, "spec": { "containers": [sidecar, container] }, "status": { "podIP": ip } });
            driver_facts(&serde_json::from_value(pod).unwrap()).ui_address
        };
        let ui = json!([{ "containerPort": 7078 }, { "name": UI_PORT_NAME, "containerPort": 4041 }]);
        assert_eq!(address(json!("10.0.0.1"), ui.clone()).as_deref(), Some("10.0.0.1:4041"));
        assert_eq!(address(json!("fd00::1"), ui.clone()).as_deref(), Some("[fd00::1]:4041"));
        assert_eq!(address(json!(null), ui), None);
        assert_eq!(address(json!("10.0.0.1"), json!([])), None);
    }

    #[test]
    fn a_driver_over_its_memory_limit_is_told_from_one_that_failed() {
        let oom = container(json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } }));
        assert_eq!(end_of(json!({ "containerStatuses": oom })).cause, EndCause::OutOfMemory);
        let killed = container(json!({ "terminated": { "exitCode": 137, "reason": "Error" } }));
        assert_eq!(end_of(json!({ "containerStatuses": killed })).cause, EndCause::Exit);
    }

    #[test]
    fn an_eviction_is_no_failure_of_the_application() {
        let end = end_of(json!({ "phase": "Failed", "reason": "Evicted", "message": "node was low on memory" }));
        assert_eq!((end.cause, end.exit_code), (EndCause::Evicted, None));
        assert_eq!(end.message, "Evicted: node was low on memory");
        let killed = container(json!({ "terminated": { "exitCode": 143, "reason": "Error" } }));
        let target = json!([{ "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler" }]);
        assert_eq!(end_of(json!({ "conditions": target, "containerStatuses": killed })).cause, EndCause::Evicted);
    }

    #[test]
    fn a_waiting_driver_says_why() {
        let pull = container(json!({ "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } }));
        let expected = waiting(Reason::ImagePullFailed, "ImagePullBackOff: no such image");
        assert_eq!(state_of(json!({ "phase": "Pending", "containerStatuses": pull })), expected);
        let creating = container(json!({ "waiting": { "reason": "ContainerCreating" } }));
        assert_eq!(state_of(json!({ "containerStatuses": creating })), waiting(Reason::DriverPending, ""));
        let condition =
            json!([{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes" }]);
        assert_eq!(state_of(json!({ "conditions": condition })), waiting(Reason::Unschedulable, "0/1 nodes"));
        assert_eq!(state_of(json!({})), waiting(Reason::DriverPending, ""));
    }

    #[test]
    fn what_went_wrong_is_not_hidden_behind_an_orderly_shutdown() {
        let told = |message: &str| {
            let failed = container(json!({ "terminated": { "exitCode": 1, "message": message } }));
            end_of(json!({ "containerStatuses": failed })).message
        };
        let chatter = "26/11/23 10:13:23 INFO SparkUI: Stopped Spark web UI";
        assert_eq!(told(&format!("ValueError: no\n{chatter}\n{chatter}\n")), "ValueError: no");
        assert_eq!(told(chatter), chatter);
    }

    #[test]
    fn the_end_of_a_long_message_is_kept() {
        let message = format!("{}the cause", "x".repeat(5000));
        let failed = container(json!({ "terminated": { "exitCode": 1, "message": message } }));
        let end = end_of(json!({ "containerStatuses": failed }));
        assert_eq!(end.message.chars().count(), MAX_MESSAGE);
        assert!(end.message.ends_with("the cause"));
    }
}
