//! Pods as the watch tells of them, and what is known of their batches then.

use serde_json::json;

use super::*;
use crate::api::{DRIVER_CONTAINER, Phase};

fn pod(name: &str, role: &str, phase: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": "ns", "uid": name, "labels": {
            LABEL_BATCH: "b", LABEL_SPARK_ROLE: role, LABEL_ATTEMPT: "1" } },
        "status": { "phase": phase },
    }))
    .unwrap()
}

fn key() -> BatchKey {
    ("ns".into(), "b".into())
}

#[test]
fn executors_are_counted_by_state() {
    let index = PodIndex::default();
    for (name, phase) in [("e1", "Running"), ("e2", "Pending"), ("e3", "Failed")] {
        assert_eq!(index.apply(&Event::Apply(pod(name, ROLE_EXECUTOR, phase))), [key()]);
    }
    index.apply(&Event::Delete(pod("e2", ROLE_EXECUTOR, "Pending")));
    let expected = ExecutorCounts { requested: 3, running: 1, failed: 1, ..ExecutorCounts::default() };
    assert_eq!(index.executors(&key(), 1, 3), expected);
    assert_eq!(index.executors(&key(), 2, 0), ExecutorCounts::default());
    assert!(index.has_live_executors(&key()));
}

#[test]
fn a_driver_at_work_has_not_ended_and_is_its_owners() {
    let index = PodIndex::default();
    let owner = |uid| json!([{ "apiVersion": "v1", "kind": "k", "name": "b", "uid": uid, "controller": true }]);
    for (name, uid, phase) in [("d1", "u", "Running"), ("d2", "u", "Failed"), ("d3", "other", "Running")] {
        let mut driver = pod(name, ROLE_DRIVER, phase);
        driver.metadata.owner_references = serde_json::from_value(owner(uid)).unwrap();
        index.apply(&Event::Apply(driver));
    }
    let mut names: Vec<_> = index.drivers(&key(), "u").into_iter().map(|driver| driver.pod_name).collect();
    names.sort();
    assert_eq!(names, ["d1", "d2"]);
    assert_eq!(index.owners_at_work(&key()), HashSet::from(["u".into(), "other".into()]));
}

fn driver(state: &serde_json::Value) -> Pod {
    let mut driver = pod("d", ROLE_DRIVER, "Running");
    driver.status = serde_json::from_value(state.clone()).unwrap();
    driver
}

fn failed(name: &str, second: u32) -> Pod {
    let mut failed = pod(name, ROLE_EXECUTOR, "Failed");
    let state = json!({ "terminated": { "exitCode": 52, "finishedAt": format!("2026-01-01T00:00:{second:02}Z") } });
    failed.status = serde_json::from_value(json!({ "phase": "Failed", "containerStatuses": [{ "state": state,
        "name": "spark-kubernetes-executor", "ready": false, "restartCount": 0, "image": "", "imageID": "" }] }))
    .unwrap();
    failed
}

fn failures(index: &PodIndex) -> Vec<String> {
    index.executor_failures(&key(), 1).into_iter().map(|failure| failure.pod_name).collect()
}

#[test]
fn failures_of_executors_outlive_their_pods_and_a_listing_and_go_with_the_batch() {
    let index = PodIndex::default();
    index.apply(&Event::Apply(driver(&json!({ "phase": "Running" }))));
    for n in 0..7 {
        // Of the last, nothing but its deletion tells.
        let name = format!("e{n}");
        index.apply(&Event::Apply(if n == 6 { pod(&name, ROLE_EXECUTOR, "Running") } else { failed(&name, n) }));
        index.apply(&Event::Delete(failed(&name, n)));
    }
    assert_eq!(failures(&index), ["e2", "e3", "e4", "e5", "e6"]);
    index.apply(&Event::Init);
    index.apply(&Event::InitApply(driver(&json!({ "phase": "Running" }))));
    index.apply(&Event::InitApply(failed("e7", 7)));
    index.apply(&Event::InitDone);
    assert_eq!(failures(&index), ["e3", "e4", "e5", "e6", "e7"]);
    index.apply(&Event::Delete(failed("e7", 7)));
    index.apply(&Event::Delete(driver(&json!({ "phase": "Running" }))));
    assert!(index.read().current.is_empty());
}

#[test]
fn an_executor_that_fails_after_its_driver_is_none_that_failed() {
    let index = PodIndex::default();
    index.apply(&Event::Apply(driver(&json!({ "phase": "Failed" }))));
    index.apply(&Event::Apply(failed("e", 1)));
    assert!(failures(&index).is_empty());
}

#[test]
fn a_pod_that_vanished_between_two_listings_touches_its_batch() {
    let index = PodIndex::default();
    index.apply(&Event::Apply(pod("d", ROLE_DRIVER, "Running")));
    index.apply(&Event::Init);
    assert!(index.driver(&key(), "d").is_some(), "a listing under way hides nothing");
    assert_eq!(index.apply(&Event::InitDone), [key()]);
    assert!(index.driver(&key(), "d").is_none());
}

#[test]
fn pods_of_others_touch_nothing() {
    let index = PodIndex::default();
    let mut other = pod("x", "web", "Running");
    assert!(index.apply(&Event::Apply(other.clone())).is_empty());
    other.metadata.labels = None;
    assert!(index.apply(&Event::Apply(other)).is_empty());
}

fn owned(mut driver: Pod) -> Pod {
    let owner = json!([{ "apiVersion": "v1", "kind": "k", "name": "b", "uid": "u", "controller": true }]);
    driver.metadata.owner_references = serde_json::from_value(owner).unwrap();
    driver
}

fn exited(code: i32) -> Pod {
    let state = json!({ "terminated": { "exitCode": code } });
    owned(driver(&json!({ "phase": "Failed", "containerStatuses": [{ "state": state,
        "name": DRIVER_CONTAINER, "ready": false, "restartCount": 0, "image": "", "imageID": "" }] })))
}

fn deleted(mut pod: Pod) -> Pod {
    pod.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:30Z")).unwrap();
    pod
}

fn runs() -> Pod {
    owned(driver(&json!({ "phase": "Running" })))
}

fn taken_away() -> Pod {
    owned(driver(&json!({ "phase": "Running", "conditions": [{ "type": "DisruptionTarget", "status": "True",
        "reason": "PreemptionByScheduler" }] })))
}

fn gone(index: &PodIndex) -> Option<DriverFacts> {
    index.gone_driver(&key(), |driver| driver.pod_uid == "d")
}

#[test]
fn what_a_driver_told_last_is_known_after_its_pod_and_it_is_no_driver_any_more() {
    for (told, last) in [
        (vec![Event::Apply(exited(0))], exited(0)),
        (vec![Event::Apply(runs()), Event::Apply(taken_away())], taken_away()),
        // Its deletion alone tells of it, or nothing has told of the pod before.
        (vec![Event::Apply(runs())], deleted(exited(0))),
        (vec![], exited(0)),
    ] {
        let index = PodIndex::default();
        for event in told {
            index.apply(&event);
        }
        assert_eq!(index.apply(&Event::Delete(last)), [key()]);
        assert!(gone(&index).unwrap().has_ended());
        assert!(index.read().current.is_empty());
        assert!(index.drivers(&key(), "u").is_empty() && index.owners_at_work(&key()).is_empty());
        assert!(index.driver(&key(), "d").is_none());
    }
}

#[test]
fn an_end_that_was_told_of_before_the_deletion_did_not_come_of_it() {
    let index = PodIndex::default();
    index.apply(&Event::Apply(exited(1)));
    index.apply(&Event::Delete(deleted(exited(1))));
    assert!(!gone(&index).unwrap().deleted);
}

#[test]
fn of_a_driver_that_vanished_between_two_listings_its_end_is_known() {
    for (last, is_known) in [(exited(0), true), (runs(), false)] {
        let index = PodIndex::default();
        index.apply(&Event::Apply(last));
        index.apply(&Event::Init);
        index.apply(&Event::InitDone);
        assert_eq!(gone(&index).is_some(), is_known);
    }
}

#[test]
fn an_end_is_remembered_until_its_batch_needs_it_no_more() {
    let status = |phase, attempt| SparkBatchStatus { phase, attempt: Some(attempt), ..SparkBatchStatus::default() };
    let is_kept = |known: Option<(&str, &SparkBatchStatus)>| {
        let index = PodIndex::default();
        index.apply(&Event::Delete(exited(0)));
        index.keep_needed(&key(), known);
        assert_eq!(index.with_gone_drivers().is_empty(), gone(&index).is_none());
        gone(&index).is_some()
    };
    assert!(is_kept(Some(("u", &SparkBatchStatus::default()))));
    assert!(is_kept(Some(("u", &status(Phase::Running, 1)))));
    assert!(!is_kept(Some(("u", &status(Phase::Succeeded, 1)))));
    assert!(!is_kept(Some(("u", &status(Phase::Pending, 2)))), "another attempt follows");
    assert!(!is_kept(Some(("other", &status(Phase::Running, 1)))), "another batch of the name");
    assert!(!is_kept(None));
}

#[test]
fn no_more_than_a_few_ends_are_remembered_of_a_batch() {
    let index = PodIndex::default();
    for n in 0..10 {
        let mut driver = exited(0);
        driver.metadata.uid = Some(format!("uid-{n}"));
        index.apply(&Event::Delete(driver));
    }
    let is_known = |n: i32| index.gone_driver(&key(), |driver| driver.pod_uid == format!("uid-{n}")).is_some();
    assert_eq!((0..10).filter(|n| is_known(*n)).collect::<Vec<_>>(), [7, 8, 9]);
}
