//! What simulation has found: an API server that refuses some kind of request for a while.

use super::*;
use rstest::rstest;

/// A final status never changes: it waits for the id by which the REST API lists the batch.
#[tokio::test]
async fn a_batch_has_its_id_before_its_end_is_written() {
    let server = server();
    server.inject(Fault::on("*", "configmaps").answer(500).always());
    let _operator = start(server.client());
    submit(&server, "bad", json!({ "file": "/a.py", "driverMemory": "lots" }));
    server
        .until("an id to be asked for", |server| server.calls().iter().any(|call| call.resource == "configmaps"))
        .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(status(&server, "bad")["phase"], Value::Null);
    server.clear_faults();
    until_phase(&server, "bad", "Failed", "InvalidSpec").await;
    assert_eq!(status(&server, "bad")["id"], 1);
}

#[rstest]
#[tokio::test]
async fn an_operator_ends_though_it_could_never_list(#[values("pods", "sparkbatches")] kind: &str) {
    let server = server();
    server.inject(Fault::on("list", kind).answer(500).always());
    let mut operator = start(server.client());
    submit(&server, "pi", pi());
    let asked = |call: &common::apiserver::Call| call.verb == "list" && call.resource == kind;
    server.until("it to list", |server| server.calls().iter().any(asked)).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    operator.cancel.cancel();
    tokio::time::timeout(Duration::from_secs(5), &mut operator.task).await.unwrap().unwrap();
}

/// The Secret that a retry has kept is to go with a suspension. Where its deletion fails, it goes before the next attempt.
#[tokio::test]
async fn a_secret_that_a_suspension_could_not_delete_goes_before_the_next_attempt() {
    let server = server();
    let _operator = start(server.client());
    submit(&server, "pi", json!({ "file": "/a.py", "retry": { "infrastructureRetries": 1, "backoffSeconds": 1 } }));
    let first = driver_name(&server).await;
    until_phase(&server, "pi", "Starting", "DriverPending").await;
    server.remove("pods", NS, &first);
    let of = |attempt: &'static str| {
        move |server: &ApiServer| {
            drivers(server).iter().any(|pod| pod["metadata"]["labels"]["sparkbatch.dev/attempt"] == attempt)
                && phase_reason(server, "pi").0 == "Starting"
        }
    };
    server.until("the second attempt", of("2")).await;
    let kept = first.replace("-driver", "-conf");
    assert!(server.get("secrets", NS, &kept).is_some());

    server.inject(Fault::on("delete", "secrets").answer(500));
    server.update("sparkbatches", NS, "pi", |batch| batch["spec"]["suspend"] = json!(true));
    until_phase(&server, "pi", "Pending", "Suspended").await;
    server.until("the deletion to fail", |server| server.count("delete", "secrets") == 1).await;
    assert!(server.get("secrets", NS, &kept).is_some());
    server.update("sparkbatches", NS, "pi", |batch| batch["spec"]["suspend"] = json!(false));
    server.until("the third attempt", of("3")).await;
    assert!(server.get("secrets", NS, &kept).is_none());
}
