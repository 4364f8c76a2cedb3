//! A cache that has not heard of it: what the operator looks at again before it starts a driver.

use super::*;
use rstest::rstest;

/// Starts an operator whose cache has the batch as it is submitted, and `meanwhile` happens before it looks for the Secret.
fn start_behind(server: &ApiServer, meanwhile: impl Fn(&ApiServer) + Send + Sync + 'static) -> Operator {
    server.hold_watches("sparkbatches");
    submit(server, "pi", pi());
    server.inject(Fault::on("get", "secrets").run_before(meanwhile));
    start(server.client())
}

fn delete(server: &ApiServer) {
    server.remove("sparkbatches", NS, "pi");
}

fn suspend(server: &ApiServer) {
    server.update("sparkbatches", NS, "pi", |batch| batch["spec"]["suspend"] = json!(true));
}

/// As an operator does that has led since, and has seen two attempts fail.
fn be_ahead(server: &ApiServer) {
    let status = json!({ "phase": "Pending", "reason": "RetryBackoff", "attempt": 3, "id": 1 });
    server.update("sparkbatches", NS, "pi", |batch| batch["status"] = status);
}

#[rstest]
#[case::was_deleted(delete)]
#[case::was_suspended(suspend)]
#[case::is_two_attempts_further(be_ahead)]
#[tokio::test]
async fn a_batch_is_not_started_as_a_stale_cache_has_it(#[case] meanwhile: fn(&ApiServer)) {
    let server = server();
    let _operator = start_behind(&server, meanwhile);
    server.until("the look at the batch", |server| server.count("get", "sparkbatches") > 0).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(created_pods(&server), 0);
}

#[tokio::test]
async fn another_batch_of_the_name_is_not_started_as_the_one_that_was_deleted() {
    let server = server();
    let _operator = start_behind(&server, |server| {
        delete(server);
        submit(server, "pi", pi());
    });
    server.until("the look at the batch", |server| server.count("get", "sparkbatches") > 0).await;
    server.release_watches("sparkbatches");
    until_phase(&server, "pi", "Starting", "DriverPending").await;
    let uid = server.get("sparkbatches", NS, "pi").unwrap()["metadata"]["uid"].clone();
    assert_eq!(created_pods(&server), 1);
    assert_eq!(drivers(&server)[0]["metadata"]["ownerReferences"][0]["uid"], uid);
}

/// Whoever annotates batches all the time keeps none from its start, for which the batch is read once.
#[tokio::test]
async fn a_batch_is_started_though_it_was_annotated_meanwhile() {
    let server = server();
    let _operator = start_behind(&server, |server| {
        let annotations = json!({ "example.com/seen": "now" });
        server.update("sparkbatches", NS, "pi", |batch| batch["metadata"]["annotations"] = annotations);
    });
    driver_name(&server).await;
    server.release_watches("sparkbatches");
    until_phase(&server, "pi", "Starting", "DriverPending").await;
    assert_eq!(server.count("get", "sparkbatches"), 1);
}

#[tokio::test]
async fn a_cache_that_has_not_seen_the_driver_never_takes_it_for_lost() {
    let server = server();
    let _operator = start(server.client());
    server.until("the watch of pods", |server| server.open_watches("pods") > 0).await;
    server.hold_watches("pods");
    submit(&server, "pi", pi());
    until_phase(&server, "pi", "Starting", "DriverPending").await;
    // Something makes the operator look again, while its cache knows of no pod.
    server.update("sparkbatches", NS, "pi", |batch| batch["metadata"]["annotations"] = json!({ "touched": "1" }));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(phase_reason(&server, "pi").0, "Starting");
    server.release_watches("pods");
    let driver = driver_name(&server).await;
    server.set_pod_running(NS, &driver);
    until_phase(&server, "pi", "Running", "DriverRunning").await;
    assert_eq!(created_pods(&server), 1);
}
