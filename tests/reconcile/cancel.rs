//! A batch that its owner cancels.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::DeleteParams;

use super::crash::{crashes, start_doomed};
use super::*;

fn set_cancel(server: &ApiServer) {
    server.update("sparkbatches", NS, "pi", |batch| batch["spec"]["cancel"] = json!(true));
}

#[tokio::test]
async fn a_cancelled_batch_is_killed_once_its_driver_has_ended() {
    let server = server();
    server.options(|options| options.graceful_pod_deletion = true);
    let _operator = start(server.client());
    let driver = running_pi(&server).await;
    add_executor(&server, &driver, "exec-1", "Running");
    set_cancel(&server);
    until_phase(&server, "pi", "Running", "Cancelled").await;
    server
        .until("the driver to be deleted", |server| drivers(server)[0]["metadata"]["deletionTimestamp"].is_string())
        .await;
    server.set_driver_terminated(NS, &driver, 143, "Error");
    until_phase(&server, "pi", "Killed", "Cancelled").await;
    assert_eq!(status(&server, "pi")["driver"]["exitCode"], 143);
    server
        .until("the executor to be deleted", |server| {
            server.get("pods", NS, "exec-1").is_none_or(|pod| pod["metadata"]["deletionTimestamp"].is_string())
        })
        .await;
    server.finish_pod_deletion(NS, &driver);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(phase_reason(&server, "pi").0, "Killed");
    assert_eq!(created_pods(&server), 1);
}

#[tokio::test]
async fn a_batch_that_is_cancelled_before_it_starts_never_has_a_pod() {
    let server = server();
    let _operator = start(server.client());
    for (name, spec) in [
        ("born", json!({ "file": "/a.py", "cancel": true })),
        ("suspended", json!({ "file": "/a.py", "suspend": true, "cancel": true })),
        ("invalid", json!({ "file": "a.py", "cancel": true })),
    ] {
        submit(&server, name, spec);
        until_phase(&server, name, "Killed", "Cancelled").await;
    }
    assert_eq!(created_pods(&server), 0);
}

#[tokio::test]
async fn a_driver_that_has_succeeded_is_not_killed() {
    let server = server();
    let operator = start(server.client());
    let driver = running_pi(&server).await;
    drop(operator);
    server.set_driver_terminated(NS, &driver, 0, "Completed");
    set_cancel(&server);
    let _again = start(server.client());
    until_phase(&server, "pi", "Succeeded", "DriverSucceeded").await;
    assert!(server.get("pods", NS, &driver).is_some());
}

#[tokio::test]
async fn a_suspended_driver_that_still_waits_to_start_is_ended_too() {
    let server = server();
    let _operator = start(server.client());
    submit(&server, "pi", pi());
    until_phase(&server, "pi", "Starting", "DriverPending").await;
    let app_id = status(&server, "pi")["appId"].clone();
    server.update("sparkbatches", NS, "pi", |batch| batch["spec"]["suspend"] = json!(true));
    until_phase(&server, "pi", "Pending", "Suspended").await;
    assert!(drivers(&server).is_empty());
    let status = status(&server, "pi");
    assert_eq!((&status["attempts"][0]["attempt"], &status["attempts"][0]["reason"]), (&json!(1), &json!("Suspended")));
    assert_eq!(status["attempts"][0]["appId"], app_id);
    assert_eq!(status["executors"], Value::Null);
}

/// Its creation was given up as the batch was suspended, and comes about after.
#[tokio::test]
async fn a_driver_that_lands_while_its_batch_is_suspended_is_ended() {
    let server = server();
    let _operator = start(server.client());
    submit(&server, "pi", pi());
    let driver = driver_name(&server).await;
    let mut late = server.get("pods", NS, &driver).unwrap();
    late["metadata"].as_object_mut().unwrap().retain(|key, _| key != "uid" && key != "resourceVersion");
    server.update("sparkbatches", NS, "pi", |batch| batch["spec"]["suspend"] = json!(true));
    until_phase(&server, "pi", "Pending", "Suspended").await;
    server.insert("pods", late);
    server.until("the driver to be ended", |server| drivers(server).is_empty()).await;
    assert_eq!(phase_reason(&server, "pi"), ("Pending".to_owned(), "Suspended".to_owned()));
}

#[tokio::test]
async fn a_driver_that_no_status_tells_of_yet_is_ended_by_a_suspension_and_not_taken_for_lost_after_it() {
    let (server, first) = start_doomed(Crash::AfterWrite(2));
    submit(&server, "pi", pi());
    server.until("the operator to die", |server| server.is_dead("first")).await;
    drop(first);
    let suspend = |value: bool| {
        server.update("sparkbatches", NS, "pi", |batch| batch["spec"]["suspend"] = json!(value));
    };
    suspend(true);
    let _second = start(server.client_as("second"));
    server
        .until("the batch to be suspended and its driver to go", |server| {
            phase_reason(server, "pi") == ("Pending".into(), "Suspended".into()) && drivers(server).is_empty()
        })
        .await;
    suspend(false);
    until_phase(&server, "pi", "Starting", "DriverPending").await;
    assert_eq!(status(&server, "pi")["attempt"], 2);
}

/// Seed 1514 of `make simulate`: it was suspended before, too, and its status says so still.
#[tokio::test]
async fn a_driver_of_a_batch_that_is_suspended_again_before_it_is_told_of_is_not_taken_for_lost() {
    let (server, first) = start_doomed(Crash::AfterWrite(2));
    let status = json!({ "phase": "Pending", "reason": "Suspended", "attempt": 1, "id": 1 });
    let metadata = json!({ "name": "pi", "namespace": NS });
    server.insert("sparkbatches", json!({ "metadata": metadata, "spec": pi(), "status": status }));
    server.until("the operator to die", |server| server.is_dead("first")).await;
    drop(first);
    let suspend = |value: bool| {
        server.update("sparkbatches", NS, "pi", |batch| batch["spec"]["suspend"] = json!(value));
    };
    suspend(true);
    let _second = start(server.client_as("second"));
    server.until("its driver to go", |server| drivers(server).is_empty()).await;
    until_phase(&server, "pi", "Pending", "Suspended").await;
    suspend(false);
    until_phase(&server, "pi", "Starting", "DriverPending").await;
    assert_eq!(super::status(&server, "pi")["attempt"], 2);
}

#[tokio::test]
async fn a_crash_before_or_after_any_write_leaves_a_cancelled_batch_killed_and_without_a_driver() {
    for crash in crashes(8) {
        let (server, first) = start_doomed(crash);
        submit(&server, "pi", pi());
        server
            .until("the driver to be started, or the operator to die", |server| {
                server.is_dead("first") || phase_reason(server, "pi").0 == "Starting"
            })
            .await;
        set_cancel(&server);
        server
            .until("the batch to be killed, or the operator to die", |server| {
                server.is_dead("first") || phase_reason(server, "pi").0 == "Killed"
            })
            .await;
        drop(first);
        let _second = start(server.client_as("second"));
        until_phase(&server, "pi", "Killed", "Cancelled").await;
        server.until("no driver", |server| drivers(server).is_empty()).await;
        assert!(created_pods(&server) <= 1, "{crash:?}");
    }
}

/// A running batch whose driver is deleted for its owner's `wish`, and should be gone since half a minute, and is not.
async fn with_a_lost_node(server: &ApiServer, wish: Value) -> (Operator, String) {
    server.options(|options| options.graceful_pod_deletion = true);
    server.set_now(Timestamp::now() - SignedDuration::from_secs(60));
    let overdue_after = SignedDuration::from_secs(1);
    let config = ControllerConfig { overdue_after, ..config(SignedDuration::from_secs(600)) };
    let operator = start_config(server.client(), config);
    let driver = running_pi(server).await;
    server.update("sparkbatches", NS, "pi", |batch| {
        batch["spec"].as_object_mut().unwrap().extend(wish.as_object().unwrap().clone());
    });
    (operator, driver)
}

fn message(server: &ApiServer) -> String {
    status(server, "pi")["message"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_cancelled_batch_does_not_wait_for_ever_for_a_lost_node() {
    let server = server();
    let (_operator, driver) = with_a_lost_node(&server, json!({ "cancel": true })).await;
    until_phase(&server, "pi", "Killed", "Cancelled").await;
    assert!(message(&server).contains("may still run"), "{}", message(&server));
    server.remove("pods", NS, &driver);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((phase_reason(&server, "pi").0.as_str(), created_pods(&server)), ("Killed", 1));
}

#[tokio::test]
async fn a_suspended_batch_waits_for_a_lost_node_and_says_so() {
    let server = server();
    let (_operator, driver) = with_a_lost_node(&server, json!({ "suspend": true })).await;
    server.until("to be told what is waited for", |server| message(server).contains("may still run")).await;
    server.update("sparkbatches", NS, "pi", |batch| batch["spec"]["suspend"] = json!(false));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(created_pods(&server), 1);
    server.remove("pods", NS, &driver);
    until_phase(&server, "pi", "Starting", "DriverPending").await;
    assert_eq!(status(&server, "pi")["attempt"], 2);
}

#[tokio::test]
async fn a_suspended_batch_waits_for_a_lost_node_until_its_deadline_and_is_never_run_beside_its_driver() {
    let server = server();
    let wish = json!({ "suspend": true, "deadlines": { "pendingSeconds": 5 } });
    let (_operator, driver) = with_a_lost_node(&server, wish).await;
    until_phase(&server, "pi", "Failed", "DeadlineExceeded").await;
    for words in ["deadlines.pendingSeconds", "may still run", "delete the Node", "submit the batch anew"] {
        assert!(message(&server).contains(words), "{}", message(&server));
    }
    assert_eq!(status(&server, "pi")["driver"]["podName"], driver);
    server.update("sparkbatches", NS, "pi", |batch| batch["spec"]["suspend"] = json!(false));
    server.remove("pods", NS, &driver);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((phase_reason(&server, "pi").0.as_str(), created_pods(&server)), ("Failed", 1));
}

/// Its grace period is a long one.
#[tokio::test]
async fn a_driver_that_is_being_suspended_may_run_no_longer_than_its_deadline() {
    let server = server();
    server.options(|options| options.graceful_pod_deletion = true);
    let _operator = start(server.client());
    submit(&server, "pi", json!({ "file": "/a.py", "deadlines": { "runningSeconds": 3 } }));
    let driver = driver_name(&server).await;
    server.set_pod_running(NS, &driver);
    until_phase(&server, "pi", "Running", "DriverRunning").await;
    server.update("sparkbatches", NS, "pi", |batch| batch["spec"]["suspend"] = json!(true));
    until_phase(&server, "pi", "Running", "Suspended").await;
    until_phase(&server, "pi", "Failed", "DeadlineExceeded").await;
    assert!(message(&server).contains("deadlines.runningSeconds"), "{}", message(&server));
}

/// Nothing is heard of the pod once it was deleted: the operator looks by itself, and says it once.
#[tokio::test]
async fn a_driver_on_a_node_that_is_lost_is_told_of_while_it_may_still_run() {
    let server = server();
    server.options(|options| options.graceful_pod_deletion = true);
    server.set_now(Timestamp::now() - SignedDuration::from_secs(60));
    // A grace period is 30 seconds: overdue in two.
    let overdue_after = SignedDuration::from_secs(32);
    let config = ControllerConfig { overdue_after, ..config(SignedDuration::from_secs(600)) };
    let _operator = start_config(server.client(), config);
    let driver = running_pi(&server).await;
    let pods = Api::<Pod>::namespaced(server.client_as("kubectl"), NS);
    pods.delete(&driver, &DeleteParams::default()).await.unwrap();
    server.until("to be told that the driver may still run", |server| message(server).contains("may still run")).await;
    assert_eq!(phase_reason(&server, "pi"), ("Running".to_owned(), "DriverRunning".to_owned()));
    let writes = server.count("patch", "sparkbatches/status");
    for n in 0..3 {
        server.update("pods", NS, &driver, |pod| pod["metadata"]["annotations"] = json!({ "seen": n.to_string() }));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(server.count("patch", "sparkbatches/status"), writes);
    server.remove("pods", NS, &driver);
    until_phase(&server, "pi", "Failed", "DriverLost").await;
}

/// The operator died between two attempts, before it came to the Secrets of those that were over.
#[tokio::test]
async fn a_batch_that_is_cancelled_between_attempts_leaves_no_more_secrets_than_others() {
    let server = server();
    let status = json!({ "phase": "Pending", "reason": "RetryBackoff", "attempt": 3, "id": 1,
                         "nextAttemptTime": "2000-01-01T00:00:00Z" });
    let spec = json!({ "file": "/a.py", "cancel": true });
    let batch = server.insert(
        "sparkbatches",
        json!({ "metadata": { "name": "pi", "namespace": NS }, "spec": spec, "status": status }),
    );
    let uid = &batch["metadata"]["uid"];
    let secret = |attempt| sparkbatch::spark::AttemptNames::new("pi", uid.as_str().unwrap(), attempt).conf_secret;
    for attempt in [1, 2] {
        let metadata = json!({ "name": secret(attempt), "namespace": NS, "ownerReferences": owned_by(uid) });
        server.insert("secrets", json!({ "metadata": metadata }));
    }
    let _operator = start(server.client());
    until_phase(&server, "pi", "Killed", "Cancelled").await;
    server.until("the first Secret to be gone", |server| server.get("secrets", NS, &secret(1)).is_none()).await;
    assert!(server.get("secrets", NS, &secret(2)).is_some(), "it bars an operator with an old cache");
}
