//! Events: one when a driver is created, one at the end, and one for each new trouble between.

use std::time::Duration;

use kube::Resource as _;
use kube::runtime::events::{Event, EventType};

use super::context::Context;
use crate::api::{Phase, Reason, SparkBatch, SparkBatchStatus};

/// Longest note that the API takes, in bytes.
const MAX_NOTE: usize = 1024;
/// How long a batch waits for its Event to be taken.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tells of the step from `before` to `after`. That an Event cannot be written never stops a batch.
///
/// # RBAC needed
/// `events` (events.k8s.io) create, patch.
pub(super) async fn publish(
    context: &Context,
    batch: &SparkBatch,
    before: &SparkBatchStatus,
    after: &SparkBatchStatus,
) {
    let Some(event) = event_for(before, after) else { return };
    let reference = batch.object_ref(&());
    match tokio::time::timeout(PATIENCE, context.recorder.publish(&event, &reference)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "an Event could not be written"),
        Err(_) => tracing::warn!("an Event could not be written in time"),
    }
}

fn event_for(before: &SparkBatchStatus, after: &SparkBatchStatus) -> Option<Event> {
    let reason = after.reason?;
    if before.phase == after.phase && before.reason == after.reason {
        return None;
    }
    let driver = after.driver.as_ref().map(|driver| driver.pod_name.as_str()).unwrap_or_default();
    let (type_, action, name, note) = match after.phase {
        // Told with its end.
        Phase::Pending | Phase::Starting if reason == Reason::Cancelled => return None,
        Phase::Starting if reason == Reason::DriverPending && before.phase != Phase::Pending => return None,
        Phase::Starting if reason == Reason::DriverPending => {
            (EventType::Normal, "Start", "DriverCreated", format!("created driver pod {driver}"))
        }
        Phase::Running => return None,
        Phase::Succeeded => (EventType::Normal, "Finish", reason.as_str(), format!("driver pod {driver} succeeded")),
        Phase::Pending if reason == Reason::Suspended => {
            (EventType::Normal, "Suspend", reason.as_str(), "no pods while spec.suspend is true".to_owned())
        }
        Phase::Pending if reason == Reason::RetryBackoff => {
            (EventType::Warning, "Retry", reason.as_str(), after.message.clone().unwrap_or_default())
        }
        Phase::Pending | Phase::Starting => {
            (EventType::Warning, "Start", reason.as_str(), after.message.clone().unwrap_or_default())
        }
        Phase::Killed => (EventType::Normal, "Cancel", reason.as_str(), after.message.clone().unwrap_or_default()),
        Phase::Failed => (EventType::Warning, "Finish", reason.as_str(), after.message.clone().unwrap_or_default()),
    };
    let note = Some(note).filter(|note| !note.is_empty()).map(|note| cut(&note));
    Some(Event { type_, reason: name.to_owned(), note, action: action.to_owned(), secondary: None })
}

fn cut(note: &str) -> String {
    let end = (0..=note.len().min(MAX_NOTE)).rev().find(|&end| note.is_char_boundary(end)).unwrap_or(0);
    note[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(phase: Phase, reason: Reason) -> SparkBatchStatus {
        SparkBatchStatus { phase, reason: Some(reason), message: Some("é".repeat(900)), ..SparkBatchStatus::default() }
    }

    fn told(steps: &[(Phase, Reason)]) -> Vec<String> {
        let mut before = SparkBatchStatus::default();
        let mut reasons = Vec::new();
        for (phase, reason) in steps {
            let after = status(*phase, *reason);
            reasons.extend(event_for(&before, &after).map(|event| event.reason));
            before = after;
        }
        reasons
    }

    #[test]
    fn a_batch_that_runs_well_tells_of_its_start_and_its_end() {
        let steps = [
            (Phase::Starting, Reason::DriverPending),
            (Phase::Starting, Reason::DriverPending),
            (Phase::Running, Reason::DriverRunning),
            (Phase::Succeeded, Reason::DriverSucceeded),
        ];
        assert_eq!(told(&steps), ["DriverCreated", "DriverSucceeded"]);
    }

    #[test]
    fn a_cancelled_batch_tells_of_it_once() {
        let steps = [
            (Phase::Starting, Reason::DriverPending),
            (Phase::Starting, Reason::Cancelled),
            (Phase::Killed, Reason::Cancelled),
        ];
        assert_eq!(told(&steps), ["DriverCreated", "Cancelled"]);
    }

    #[test]
    fn each_new_trouble_is_told_once() {
        let steps = [
            (Phase::Starting, Reason::DriverPending),
            (Phase::Starting, Reason::Unschedulable),
            (Phase::Starting, Reason::Unschedulable),
            (Phase::Starting, Reason::DriverPending),
            (Phase::Starting, Reason::ImagePullFailed),
            (Phase::Failed, Reason::ImagePullFailed),
        ];
        assert_eq!(told(&steps), ["DriverCreated", "Unschedulable", "ImagePullFailed", "ImagePullFailed"]);
    }

    #[test]
    fn a_note_fits_whatever_its_letters() {
        let event = event_for(&SparkBatchStatus::default(), &status(Phase::Failed, Reason::InvalidSpec)).unwrap();
        assert!(event.note.unwrap().len() <= MAX_NOTE);
    }
}
