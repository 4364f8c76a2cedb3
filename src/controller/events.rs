//! Events: one when a driver is created, one at the end, and one for each new trouble between.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event as StoredEvent;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use kube::runtime::events::{Event, EventType};
use kube::{Api, Resource as _};

use super::context::Context;
use crate::api::{MANAGER, Phase, Reason, SparkBatch, SparkBatchStatus, text};

/// Longest note that the API takes, in bytes.
const MAX_NOTE: usize = 1024;
/// Reasons that no Event tells of: the driver's pod waits, as any does, and runs.
const UNTOLD: [Reason; 2] = [Reason::DriverPending, Reason::DriverRunning];
/// Reason of the Event of a driver pod that was created.
const DRIVER_CREATED: &str = "DriverCreated";
/// Reason of the Event of a batch that another version wrote.
pub(super) const UNREADABLE: &str = "Unreadable";
/// Longest part of an Event's name that is its batch's: with the time, it is a name that the API takes.
const MAX_BATCH_NAME: usize = 230;
/// How long a batch waits for its Event to be taken.
const PATIENCE: Duration = Duration::from_secs(5);

/// Every reason that an Event may have.
pub fn event_reasons() -> impl Iterator<Item = &'static str> {
    let of_batches = Reason::ALL.into_iter().filter(|reason| !UNTOLD.contains(reason)).map(Reason::as_str);
    of_batches.chain([DRIVER_CREATED, UNREADABLE])
}

/// Tells of the step from `before` to `after`. That an Event cannot be written never stops a batch.
///
/// # RBAC needed
/// `events` (events.k8s.io) create.
pub(super) async fn publish(
    context: &Context,
    batch: &SparkBatch,
    before: &SparkBatchStatus,
    after: &SparkBatchStatus,
) {
    let Some(event) = event_for(before, after) else { return };
    send(context, &batch.object_ref(&()), event).await;
}

/// Writes an Event: one call, and nothing is kept. kube's recorder keeps those of six minutes, to count what is told
/// again; each of ours is told once.
pub(super) async fn send(context: &Context, reference: &ObjectReference, event: Event) {
    let stored = stored(reference, event, Timestamp::now());
    let namespace = reference.namespace.as_deref().unwrap_or_default();
    let api: Api<StoredEvent> = Api::namespaced(context.client.clone(), namespace);
    match tokio::time::timeout(PATIENCE, api.create(&PostParams::default(), &stored)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(%error, "an Event could not be written"),
        Err(_) => tracing::warn!("an Event could not be written in time"),
    }
}

/// The Event about the batch of `reference`, named as client-go names its own.
fn stored(reference: &ObjectReference, event: Event, now: Timestamp) -> StoredEvent {
    let batch = text::cut(reference.name.as_deref().unwrap_or_default(), MAX_BATCH_NAME);
    let name = format!("{}.{:x}", batch.trim_end_matches(['-', '.']), now.as_nanosecond());
    let type_ = match event.type_ {
        EventType::Normal => "Normal",
        EventType::Warning => "Warning",
    };
    StoredEvent {
        metadata: ObjectMeta { name: Some(name), namespace: reference.namespace.clone(), ..ObjectMeta::default() },
        event_time: Some(MicroTime(now)),
        regarding: Some(reference.clone()),
        type_: Some(type_.to_owned()),
        reason: Some(event.reason),
        action: Some(event.action),
        note: event.note,
        related: event.secondary,
        reporting_controller: Some(MANAGER.to_owned()),
        reporting_instance: Some(MANAGER.to_owned()),
        ..StoredEvent::default()
    }
}

fn event_for(before: &SparkBatchStatus, after: &SparkBatchStatus) -> Option<Event> {
    let reason = after.reason?;
    if before.phase == after.phase && before.reason == after.reason {
        return None;
    }
    let is_created =
        after.phase == Phase::Starting && reason == Reason::DriverPending && before.phase == Phase::Pending;
    if UNTOLD.contains(&reason) && !is_created {
        return None;
    }
    let driver = after.driver.as_ref().map(|driver| driver.pod_name.as_str()).unwrap_or_default();
    let (type_, action, name, note) = match after.phase {
        // Told with its end.
        Phase::Pending | Phase::Starting if reason == Reason::Cancelled => return None,
        Phase::Starting if is_created => {
            (EventType::Normal, "Start", DRIVER_CREATED, format!("created driver pod {driver}"))
        }
        Phase::Running => return None,
        Phase::Succeeded => (EventType::Normal, "Finish", reason.as_str(), format!("driver pod {driver} succeeded")),
        Phase::Pending if reason == Reason::Suspended => {
            (EventType::Normal, "Suspend", reason.as_str(), "no pods while spec.suspend is true".to_owned())
        }
        // In the operator's own queue, and in one that holds the pod.
        Phase::Pending | Phase::Starting if matches!(reason, Reason::Queued | Reason::DriverGated) => {
            (EventType::Normal, "Queue", reason.as_str(), after.message.clone().unwrap_or_default())
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
    Some(event(type_, action, name, &note))
}

/// An Event whose reason is one of [`event_reasons`].
pub(super) fn event(type_: EventType, action: &str, reason: &'static str, note: &str) -> Event {
    let note = Some(note).filter(|note| !note.is_empty()).map(|note| text::cut(note, MAX_NOTE));
    Event { type_, reason: reason.to_owned(), note, action: action.to_owned(), secondary: None }
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
    fn no_step_has_an_event_of_another_reason() {
        let statuses = || Phase::ALL.into_iter().flat_map(|phase| Reason::ALL.map(|reason| status(phase, reason)));
        for (before, after) in statuses().flat_map(|before| statuses().map(move |after| (before.clone(), after))) {
            if let Some(event) = event_for(&before, &after) {
                assert!(event_reasons().any(|reason| reason == event.reason), "{before:?} {after:?}");
            }
        }
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
    fn an_event_of_the_longest_name_has_a_name_that_the_api_takes() {
        for (name, start) in [("b".repeat(253), "b".repeat(230)), (format!("{}.b", "a".repeat(229)), "a".repeat(229))] {
            let reference = ObjectReference { name: Some(name), ..ObjectReference::default() };
            let event = stored(&reference, event(EventType::Normal, "Read", UNREADABLE, "why"), Timestamp::MAX);
            let name = event.metadata.name.unwrap();
            assert!(name.len() <= 253, "{name}");
            let rest = name.strip_prefix(&start).unwrap().strip_prefix('.').unwrap();
            assert!(rest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
        }
    }

    #[test]
    fn a_note_fits_whatever_its_letters() {
        let event = event_for(&SparkBatchStatus::default(), &status(Phase::Failed, Reason::InvalidSpec)).unwrap();
        assert!(event.note.unwrap().len() <= MAX_NOTE);
    }
}
