//! What a pod tells of its driver or executor.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateWaiting, ContainerStatus, Pod, PodStatus};

use super::ends::{Disruption, DriverEnd, EndCause, MAX_MESSAGE, container_end, disruption, pod_end};
use crate::api::{DRIVER_CONTAINER, LABEL_ATTEMPT, Reason, UI_PORT_NAME, text};

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
    /// What takes the pod away, where Kubernetes has told: its container may run for its grace period yet.
    pub disruption: Option<Disruption>,
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

    /// What is to be remembered of a driver once its pod is gone: its end, or what took it away. `None` if it has told
    /// of neither.
    #[must_use]
    pub fn after_deletion(self) -> Option<Self> {
        let started = match &self.state {
            DriverState::Ended(_) => return Some(self),
            DriverState::Running { since } => *since,
            DriverState::Waiting { .. } => None,
        };
        let state = DriverState::Ended(DriverEnd::of_disruption(self.disruption.as_ref()?, started));
        Some(Self { state, ..self })
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
        disruption: pod.status.as_ref().and_then(disruption),
        state: state_of(pod, DRIVER_CONTAINER),
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
pub(super) fn state_of(pod: &Pod, container: &str) -> DriverState {
    let Some(status) = pod.status.as_ref() else { return unscheduled(pod, &PodStatus::default()) };
    let container = status.container_statuses.iter().flatten().find(|found| found.name == container);
    let state = container.and_then(|container| container.state.as_ref());
    if let Some(ended) = state.and_then(|state| state.terminated.as_ref()) {
        return DriverState::Ended(container_end(status, ended));
    }
    // An evicted pod may never have had a container, or the kubelet may not report it any more.
    if matches!(status.phase.as_deref(), Some("Failed" | "Succeeded")) {
        return DriverState::Ended(pod_end(pod, status));
    }
    if let Some(running) = state.and_then(|state| state.running.as_ref()) {
        return DriverState::Running { since: running.started_at.as_ref().map(|time| time.0) };
    }
    // While an init container waits, the driver's own says nothing but that it does.
    let own = state.and_then(|state| state.waiting.as_ref()).map(waiting_container);
    match own {
        Some(own) if !is_pending(&own) => own,
        own => init_failure(status).or(own).unwrap_or_else(|| unscheduled(pod, status)),
    }
}

fn is_pending(state: &DriverState) -> bool {
    matches!(state, DriverState::Waiting { reason: Reason::DriverPending, .. })
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
    reasons.map(|reason| waiting_container(&reason)).find(|state| !is_pending(state))
}

fn unscheduled(pod: &Pod, status: &PodStatus) -> DriverState {
    let gates = pod.spec.iter().flat_map(|spec| spec.scheduling_gates.iter().flatten());
    let gates: Vec<_> = gates.map(|gate| gate.name.as_str()).collect();
    if !gates.is_empty() {
        return waiting(Reason::DriverGated, &format!("held by scheduling gates: {}", gates.join(", ")));
    }
    let conditions = status.conditions.iter().flatten();
    let refused = conditions
        .filter(|condition| condition.type_ == "PodScheduled" && condition.status == "False")
        .find(|condition| condition.reason.as_deref() == Some("Unschedulable"));
    match refused {
        Some(condition) => waiting(Reason::Unschedulable, condition.message.as_deref().unwrap_or_default()),
        None => waiting(Reason::DriverPending, ""),
    }
}

fn cut(text: &str) -> String {
    text::cut(text, MAX_MESSAGE)
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
