//! Phases and the closed list of reasons.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a batch is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Phase {
    /// Accepted; no driver pod exists.
    #[default]
    Pending,
    /// The driver pod exists; its container does not run yet.
    Starting,
    /// The driver's container runs.
    Running,
    /// The driver ended with exit code 0. Final.
    Succeeded,
    /// The batch ended in any other way, or could not be started. Final.
    Failed,
    /// The batch was stopped at its owner's wish. Final.
    Killed,
}

impl Phase {
    /// Every phase, in the order of a batch's life.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Starting, Self::Running, Self::Succeeded, Self::Failed, Self::Killed];

    /// Whether the phase never changes again.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Pending | Self::Starting | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Killed => true,
        }
    }

    /// The phase's name as users see it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Starting => "Starting",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Killed => "Killed",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a batch is in its phase: a closed list, so that alerts and retries can be written against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Reason {
    /// `spec.suspend` is true; no driver exists.
    Suspended,
    /// As many batches run in the namespace as may at once.
    Queued,
    /// A Secret or `ConfigMap` of `spec.confFrom` does not exist, or holds a key that is no Spark conf key.
    ConfUnavailable,
    /// The API server refused the driver pod: a quota, Pod Security, or a missing service account.
    DriverRefused,
    /// The driver pod exists and waits to be scheduled or to start.
    DriverPending,
    /// Scheduling gates hold the driver pod, as those of Kueue's queues do.
    DriverGated,
    /// The scheduler finds no node for the driver pod.
    Unschedulable,
    /// The driver's image cannot be pulled.
    ImagePullFailed,
    /// The kubelet cannot create the driver's container, for a volume or an env source that is missing.
    ContainerCreateFailed,
    /// The driver's container runs.
    DriverRunning,
    /// The driver ended with exit code 0.
    DriverSucceeded,
    /// The driver ended with another exit code.
    DriverExitNonZero,
    /// The driver's container passed its memory limit.
    DriverOOMKilled,
    /// The driver pod was evicted.
    DriverEvicted,
    /// The driver pod made room for one of a higher priority.
    DriverPreempted,
    /// The driver pod's node was lost, shut down or restarted.
    NodeLost,
    /// The driver pod is gone without having reported an end.
    DriverLost,
    /// The driver did not start in time.
    DriverStartTimeout,
    /// The spec breaks a rule; the message lists every one.
    InvalidSpec,
    /// An object of the name that this batch needs belongs to somebody else.
    NameConflict,
    /// `spec.cancel` is true.
    Cancelled,
    /// A phase lasted longer than it may.
    DeadlineExceeded,
    /// An attempt failed, and the next one has not started yet.
    RetryBackoff,
}

/// What kind of thing made a batch fail: retries are granted by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// What the application stands on.
    Infrastructure,
    /// The application itself.
    Application,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 23] = [
        Self::Suspended,
        Self::Queued,
        Self::ConfUnavailable,
        Self::DriverRefused,
        Self::DriverPending,
        Self::DriverGated,
        Self::Unschedulable,
        Self::ImagePullFailed,
        Self::ContainerCreateFailed,
        Self::DriverRunning,
        Self::DriverSucceeded,
        Self::DriverExitNonZero,
        Self::DriverOOMKilled,
        Self::DriverEvicted,
        Self::DriverPreempted,
        Self::NodeLost,
        Self::DriverLost,
        Self::DriverStartTimeout,
        Self::InvalidSpec,
        Self::NameConflict,
        Self::Cancelled,
        Self::DeadlineExceeded,
        Self::RetryBackoff,
    ];

    /// Whose fault a failure for this reason is; `None` if another attempt could not change it, or it is no failure.
    #[must_use]
    pub fn cause(self) -> Option<Cause> {
        match self {
            Self::ConfUnavailable
            | Self::DriverRefused
            | Self::Unschedulable
            | Self::ImagePullFailed
            | Self::ContainerCreateFailed
            | Self::DriverEvicted
            | Self::DriverPreempted
            | Self::NodeLost
            | Self::DriverLost
            | Self::DriverStartTimeout => Some(Cause::Infrastructure),
            Self::DriverExitNonZero | Self::DriverOOMKilled => Some(Cause::Application),
            Self::Suspended
            | Self::Queued
            | Self::DriverPending
            | Self::DriverGated
            | Self::DriverRunning
            | Self::DriverSucceeded
            | Self::InvalidSpec
            | Self::NameConflict
            | Self::Cancelled
            | Self::DeadlineExceeded
            | Self::RetryBackoff => None,
        }
    }

    /// The reason's name as users see it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Suspended => "Suspended",
            Self::Queued => "Queued",
            Self::ConfUnavailable => "ConfUnavailable",
            Self::DriverRefused => "DriverRefused",
            Self::DriverPending => "DriverPending",
            Self::DriverGated => "DriverGated",
            Self::Unschedulable => "Unschedulable",
            Self::ImagePullFailed => "ImagePullFailed",
            Self::ContainerCreateFailed => "ContainerCreateFailed",
            Self::DriverRunning => "DriverRunning",
            Self::DriverSucceeded => "DriverSucceeded",
            Self::DriverExitNonZero => "DriverExitNonZero",
            Self::DriverOOMKilled => "DriverOOMKilled",
            Self::DriverEvicted => "DriverEvicted",
            Self::DriverPreempted => "DriverPreempted",
            Self::NodeLost => "NodeLost",
            Self::DriverLost => "DriverLost",
            Self::DriverStartTimeout => "DriverStartTimeout",
            Self::InvalidSpec => "InvalidSpec",
            Self::NameConflict => "NameConflict",
            Self::Cancelled => "Cancelled",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::RetryBackoff => "RetryBackoff",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_on_the_wire() {
        for phase in Phase::ALL {
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.as_str());
        }
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}
