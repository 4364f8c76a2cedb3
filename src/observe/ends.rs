//! How a driver's container ended, and what takes a pod away.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod, PodStatus};

use crate::api::text;

/// Longest message that is taken from a pod, in bytes: a status stays small whatever happens.
pub(super) const MAX_MESSAGE: usize = 1024;

/// Reasons of a pod by which kubelets, and older controllers, tell that it was taken away.
const POD_REASONS: [&str; 6] = ["Evicted", "NodeShutdown", "NodeLost", "Terminated", "Preempting", "Shutdown"];

/// How a driver's container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverEnd {
    /// What ended it.
    pub cause: EndCause,
    /// Exit code, where the kubelet told one that it knows.
    pub exit_code: Option<i32>,
    /// The init container that ended, where the driver's own container never started for it.
    pub init_container: Option<String>,
    /// The kubelet's message: for a container that failed, the end of its log.
    pub message: String,
    /// When it started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
}

impl DriverEnd {
    /// The end of a container of which nothing is known but what took its pod away.
    pub(super) fn of_disruption(disruption: &Disruption, started: Option<Timestamp>) -> Self {
        Self {
            cause: disruption.cause,
            exit_code: None,
            init_container: None,
            message: disruption.told.clone(),
            started,
            finished: None,
        }
    }
}

/// What ended a driver's container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndCause {
    /// The application ended by itself, with the exit code.
    Exit,
    /// The kernel killed it for passing its memory limit.
    OutOfMemory,
    /// Kubernetes took the pod away, for a cause that is none of the following.
    Evicted,
    /// A pod of a higher priority took its place.
    Preempted,
    /// Its node was lost, shut down or restarted.
    NodeLost,
}

/// What takes a pod away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disruption {
    /// What kind of end that is.
    pub cause: EndCause,
    /// Kubernetes' reason.
    pub reason: String,
    /// Its reason and message.
    pub told: String,
}

/// Why Kubernetes takes a pod away, if it does: the reasons by which kubelets tell it, which say most, and else the
/// condition `DisruptionTarget`.
pub(super) fn disruption(status: &PodStatus) -> Option<Disruption> {
    let mut conditions = status.conditions.iter().flatten();
    let target = conditions.find(|condition| condition.type_ == "DisruptionTarget" && condition.status == "True");
    let of_target = target.and_then(|target| target.message.as_deref());
    let (reason, message) = match (status.reason.as_deref().filter(|reason| POD_REASONS.contains(reason)), target) {
        (Some(reason), _) => (reason, status.message.as_deref().or(of_target)),
        (None, Some(target)) => {
            (target.reason.as_deref().unwrap_or("Evicted"), of_target.or(status.message.as_deref()))
        }
        (None, None) => return None,
    };
    Some(Disruption { cause: cause_of(reason), reason: reason.to_owned(), told: in_words(Some(reason), message) })
}

fn cause_of(reason: &str) -> EndCause {
    match reason {
        "PreemptionByScheduler" | "Preempting" => EndCause::Preempted,
        "DeletionByTaintManager" | "DeletionByPodGC" | "NodeShutdown" | "Shutdown" | "Terminated" | "NodeLost" => {
            EndCause::NodeLost
        }
        _ => EndCause::Evicted,
    }
}

/// The end of a container of which the kubelet tells.
pub(super) fn container_end(status: &PodStatus, ended: &ContainerStateTerminated) -> DriverEnd {
    let reason = ended.reason.as_deref();
    let log = ended.message.as_deref().unwrap_or_default();
    let (cause, message) = match disruption(status) {
        _ if ended.exit_code == 0 => (EndCause::Exit, cut_front(log)),
        Some(disruption) => (disruption.cause, disruption.told),
        None if is_unknown(ended) => (EndCause::NodeLost, in_words(reason, ended.message.as_deref())),
        None if reason == Some("OOMKilled") => (EndCause::OutOfMemory, cut_front(log)),
        None => (EndCause::Exit, cut_front(log)),
    };
    DriverEnd {
        cause,
        exit_code: Some(ended.exit_code).filter(|_| !is_unknown(ended)),
        init_container: None,
        message,
        started: ended.started_at.as_ref().map(|time| time.0),
        finished: ended.finished_at.as_ref().map(|time| time.0),
    }
}

/// Whether the kubelet has lost the container, and made the exit code up: its node was restarted (`Unknown`, 255), or
/// its runtime knows nothing of it any more (`ContainerStatusUnknown`, 137).
fn is_unknown(ended: &ContainerStateTerminated) -> bool {
    match ended.reason.as_deref() {
        Some("ContainerStatusUnknown") => ended.exit_code != 0,
        Some("Unknown") => ended.exit_code == 255,
        _ => false,
    }
}

/// The end of a pod whose container the kubelet tells nothing of: it never started, or is not reported any more.
pub(super) fn pod_end(pod: &Pod, status: &PodStatus) -> DriverEnd {
    let ended = |cause, exit_code, message| DriverEnd {
        cause,
        exit_code,
        init_container: None,
        message,
        started: None,
        finished: None,
    };
    if status.phase.as_deref() == Some("Succeeded") {
        return ended(EndCause::Exit, Some(0), String::new());
    }
    if let Some(disruption) = disruption(status) {
        return DriverEnd::of_disruption(&disruption, None);
    }
    match failed_init_container(pod, status) {
        // The driver itself never started.
        Some((name, end)) => DriverEnd { init_container: Some(name), started: None, ..end },
        None => ended(EndCause::Evicted, None, in_words(status.reason.as_deref(), status.message.as_deref())),
    }
}

/// The first init container that failed, and its end. Sidecars are none: they end with the pod, whatever its cause.
fn failed_init_container(pod: &Pod, status: &PodStatus) -> Option<(String, DriverEnd)> {
    let specs = || pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let is_sidecar =
        |name: &str| specs().any(|spec| spec.name == name && spec.restart_policy.as_deref() == Some("Always"));
    let containers = status.init_container_statuses.iter().flatten();
    let mut ends = containers.filter(|container| !is_sidecar(&container.name)).filter_map(|container| {
        let ended = container.state.as_ref()?.terminated.as_ref()?;
        (ended.exit_code != 0).then(|| (container.name.clone(), container_end(status, ended)))
    });
    ends.next()
}

fn in_words(reason: Option<&str>, message: Option<&str>) -> String {
    let message = message.map(str::trim).filter(|message| !message.is_empty());
    let words = match (reason, message) {
        (Some(reason), Some(message)) => format!("{reason}: {message}"),
        (reason, message) => reason.or(message).unwrap_or_default().to_owned(),
    };
    text::cut(&words, MAX_MESSAGE)
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
