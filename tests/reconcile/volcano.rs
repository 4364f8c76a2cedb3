//! Batches that Volcano places: their `PodGroup`.

use super::crash::{crashes, survive};
use super::*;
use common::apiserver::Kind;

const GROUPS: &str = "podgroups";

fn gang() -> Value {
    json!({ "file": "/opt/pi.py", "scheduling": { "volcanoQueue": "etl" } })
}

fn install(server: &ApiServer) {
    server.register(Kind::namespaced("scheduling.volcano.sh", "v1beta1", GROUPS, "PodGroup"));
}

fn position(server: &ApiServer, write: &str) -> Option<usize> {
    server.writes().iter().position(|done| done.starts_with(write))
}

#[tokio::test]
async fn the_group_is_there_before_the_pod_and_goes_when_the_batch_has_ended() {
    let server = server();
    install(&server);
    let _operator = start(server.client());
    submit(&server, "pi", gang());
    let driver = driver_name(&server).await;
    until_phase(&server, "pi", "Starting", "DriverPending").await;
    let group = server.list(GROUPS, NS)[0].clone();
    assert!(position(&server, "create podgroups") < position(&server, "create pods"));
    assert_eq!(
        drivers(&server)[0]["metadata"]["annotations"]["scheduling.k8s.io/group-name"],
        group["metadata"]["name"]
    );
    assert_eq!(drivers(&server)[0]["spec"]["schedulerName"], "volcano");
    assert_eq!(group["metadata"]["ownerReferences"][0]["name"], "pi");
    assert_eq!(group["spec"]["queue"], "etl");
    server.set_driver_terminated(NS, &driver, 0, "Completed");
    until_phase(&server, "pi", "Succeeded", "DriverSucceeded").await;
    server.until("the group to be deleted", |server| server.list(GROUPS, NS).is_empty()).await;
}

#[tokio::test]
async fn without_volcano_a_batch_waits_says_so_and_starts_once_it_is_there() {
    let server = server();
    let first = start(server.client());
    submit(&server, "pi", gang());
    until_phase(&server, "pi", "Pending", "DriverRefused").await;
    let message = status(&server, "pi")["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("PodGroup: ") && message.contains("is Volcano installed"), "{message}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(server.count("create", GROUPS) <= 2, "asked again and again");
    assert!(drivers(&server).is_empty());
    drop(first);
    install(&server);
    let _second = start(server.client());
    driver_name(&server).await;
    assert_eq!(server.list(GROUPS, NS).len(), 1);
}

#[tokio::test]
async fn a_group_of_the_name_that_is_anothers_is_never_taken_nor_deleted() {
    let server = server();
    install(&server);
    let batch = server.insert("sparkbatches", json!({ "metadata": { "name": "pi", "namespace": NS }, "spec": gang() }));
    let names = sparkbatch::spark::AttemptNames::new("pi", batch["metadata"]["uid"].as_str().unwrap(), 1);
    server.insert(GROUPS, json!({ "metadata": { "name": names.pod_group, "namespace": NS } }));
    let _operator = start(server.client());
    until_phase(&server, "pi", "Failed", "NameConflict").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(server.list(GROUPS, NS).len(), 1);
    assert_eq!(created_pods(&server), 0);
}

#[tokio::test]
async fn each_attempt_has_its_group_and_a_suspended_batch_none() {
    let server = server();
    install(&server);
    let _operator = start(server.client());
    let mut spec = gang();
    spec["retry"] = json!({ "applicationRetries": 1, "backoffSeconds": 1 });
    submit(&server, "pi", spec);
    let groups = |server: &ApiServer| {
        let groups = server.list(GROUPS, NS);
        groups.iter().map(|group| group["metadata"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let driver = driver_name(&server).await;
    let first = groups(&server);
    server.set_driver_terminated(NS, &driver, 3, "Error");
    server.until("the second group alone", |server| groups(server).len() == 1 && groups(server) != first).await;
    server.update("sparkbatches", NS, "pi", |batch| batch["spec"]["suspend"] = json!(true));
    until_phase(&server, "pi", "Pending", "Suspended").await;
    assert_eq!(groups(&server), [""; 0]);
}

#[tokio::test]
async fn a_crash_before_or_after_any_write_makes_one_driver_and_leaves_no_group() {
    for crash in crashes(10) {
        let has_group = |server: &ApiServer| assert_eq!(server.list(GROUPS, NS).len(), 1);
        let (server, _second) = survive(crash, gang(), install, has_group).await;
        server.until("the group to be deleted", |server| server.list(GROUPS, NS).is_empty()).await;
    }
}

/// Seed 8623 of `make simulate`: the API server failed to delete the group before the batch was cancelled.
#[tokio::test]
async fn a_batch_that_is_cancelled_between_attempts_leaves_no_group_of_the_one_before() {
    let server = server();
    install(&server);
    let mut spec = gang();
    spec["cancel"] = json!(true);
    let status = json!({ "phase": "Pending", "reason": "RetryBackoff", "attempt": 2, "id": 1,
                         "nextAttemptTime": "2000-01-01T00:00:00Z" });
    let batch = server.insert(
        "sparkbatches",
        json!({ "metadata": { "name": "pi", "namespace": NS }, "spec": spec, "status": status }),
    );
    let uid = &batch["metadata"]["uid"];
    let names = sparkbatch::spark::AttemptNames::new("pi", uid.as_str().unwrap(), 1);
    server.insert(
        GROUPS,
        json!({ "metadata": { "name": names.pod_group, "namespace": NS, "ownerReferences": owned_by(uid) } }),
    );
    let _operator = start(server.client());
    until_phase(&server, "pi", "Killed", "Cancelled").await;
    server.until("the group to be deleted", |server| server.list(GROUPS, NS).is_empty()).await;
}

/// Seed 27026 of `make simulate`: the watch of pods was held.
#[tokio::test]
async fn the_group_does_not_go_before_a_driver_that_no_watch_has_told_of() {
    let server = server();
    install(&server);
    let _operator = start(server.client());
    server.until("the watch", |server| server.count("watch", "pods") > 0).await;
    server.hold_watches("pods");
    let mut spec = gang();
    spec["deadlines"] = json!({ "driverStartSeconds": 1 });
    submit(&server, "pi", spec);
    server.until("the batch to fail", |server| phase_reason(server, "pi").0 == "Failed").await;
    server.until("the group to be deleted", |server| server.list(GROUPS, NS).is_empty()).await;
    assert!(position(&server, "delete pods") < position(&server, "delete podgroups"));
    assert!(position(&server, "delete pods").is_some());
}
