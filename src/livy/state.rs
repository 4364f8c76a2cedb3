//! Phases as Livy's states.

use serde::Serialize;

use super::Dialect;
use crate::api::Phase;

/// A state on the wire. Of Livy's eleven, those that a batch on Kubernetes has: never `recovering`, which
/// Airflow's enumeration does not know and fails on.
///
/// Livy 0.9: `SessionState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LivyState {
    /// Accepted; nothing was started.
    NotStarted,
    /// On its way to a driver that runs.
    Starting,
    /// The driver runs.
    Running,
    /// Ended well. Final.
    Success,
    /// Ended badly. Final.
    Dead,
    /// Stopped at its owner's wish. Final.
    Killed,
}

impl LivyState {
    /// Every state that a batch here can be in.
    pub const ALL: [Self; 6] =
        [Self::NotStarted, Self::Starting, Self::Running, Self::Success, Self::Dead, Self::Killed];
    /// Livy's other states. No batch here is ever in one of them.
    pub const UNUSED: [&str; 5] = ["recovering", "idle", "busy", "shutting_down", "error"];

    /// The state's name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotStarted => "not_started",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Success => "success",
            Self::Dead => "dead",
            Self::Killed => "killed",
        }
    }

    /// The state of a batch in `phase`, as `dialect` names it.
    ///
    /// Livy's own batches start at `starting`; there `not_started` is for those that are told to wait. The
    /// managed services answer a POST with `not_started`.
    #[must_use]
    pub fn of(phase: Phase, is_held: bool, dialect: Dialect) -> Self {
        match (phase, dialect) {
            (Phase::Pending, Dialect::Apache) if !is_held => Self::Starting,
            (Phase::Pending, _) => Self::NotStarted,
            (Phase::Starting, _) => Self::Starting,
            (Phase::Running, _) => Self::Running,
            (Phase::Succeeded, _) => Self::Success,
            (Phase::Failed, _) => Self::Dead,
            (Phase::Killed, _) => Self::Killed,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Phase::Pending, "starting", "not_started")]
    #[case(Phase::Starting, "starting", "starting")]
    #[case(Phase::Running, "running", "running")]
    #[case(Phase::Succeeded, "success", "success")]
    #[case(Phase::Failed, "dead", "dead")]
    #[case(Phase::Killed, "killed", "killed")]
    fn every_phase_has_a_state_in_both_dialects(#[case] phase: Phase, #[case] apache: &str, #[case] instance: &str) {
        let name = |dialect| serde_json::to_value(LivyState::of(phase, false, dialect)).unwrap();
        assert_eq!(name(Dialect::Apache), apache);
        assert_eq!(name(Dialect::Instance), instance);
    }

    #[test]
    fn names_are_those_on_the_wire() {
        for state in LivyState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }

    #[test]
    fn a_batch_that_is_told_to_wait_is_not_started_in_both_dialects() {
        for dialect in Dialect::ALL {
            assert_eq!(LivyState::of(Phase::Pending, true, dialect), LivyState::NotStarted);
        }
    }
}
