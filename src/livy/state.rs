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
    /// The state of a batch in `phase`, as `dialect` names it.
    ///
    /// Livy's own batches start at `starting`; there `not_started` is for those that are told to wait. The
    /// managed services answer a POST with `not_started`.
    #[must_use]
    pub fn of(phase: Phase, suspended: bool, dialect: Dialect) -> Self {
        match (phase, dialect) {
            (Phase::Pending, Dialect::Apache) if !suspended => Self::Starting,
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
    fn a_suspended_batch_is_not_started_in_both_dialects() {
        for dialect in Dialect::ALL {
            assert_eq!(LivyState::of(Phase::Pending, true, dialect), LivyState::NotStarted);
        }
    }
}
