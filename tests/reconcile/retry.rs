//! A batch that fails and is tried again.

use super::crash::{crashes, start_doomed};
use super::*;

fn retried() -> Value {
    json!({
        "file": "/opt/pi.py",
        "retry": { "infrastructureRetries": 1, "applicationRetries": 1, "backoffSeconds": 1, "resetAfterSeconds": 3600 },
    })
}

/// The driver pod of an attempt, once it is there.
async fn driver_of(server: &ApiServer, attempt: i32) -> String {
    let of = |server: &ApiServer| {
        let wanted = attempt.to_string();
        drivers(server).into_iter().find(|pod| pod["metadata"]["labels"]["sparkbatch.dev/attempt"] == wanted.as_str())
    };
    server.until("the attempt's driver", |server| of(server).is_some()).await;
    of(server).unwrap()["metadata"]["name"].as_str().unwrap().to_owned()
}

pub(super) fn live_drivers(server: &ApiServer) -> usize {
    drivers(server)
        .iter()
        .filter(|pod| !matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded")))
        .count()
}

#[tokio::test]
async fn a_batch_that_failed_is_tried_again_and_nothing_is_left_of_the_first_attempt() {
    let server = server();
    let _operator = start(server.client());
    submit(&server, "pi", retried());
    let first = driver_of(&server, 1).await;
    server.set_pod_running(NS, &first);
    until_phase(&server, "pi", "Running", "DriverRunning").await;
    add_executor(&server, &first, "exec-1", "Running");
    server.set_driver_terminated(NS, &first, 3, "Error");
    until_phase(&server, "pi", "Pending", "RetryBackoff").await;
    let waiting = status(&server, "pi");
    assert!(waiting["message"].as_str().unwrap().contains("attempt 1 failed for DriverExitNonZero"), "{waiting}");
    assert!(
        waiting["nextAttemptTime"].is_string() && waiting["driver"].is_null() && waiting["completionTime"].is_null()
    );

    let second = driver_of(&server, 2).await;
    assert!(server.get("pods", NS, "exec-1").is_none());
    assert!(server.get("secrets", NS, &first.replace("-driver", "-conf")).is_none());
    server.set_pod_running(NS, &second);
    server.set_driver_terminated(NS, &second, 4, "Error");
    until_phase(&server, "pi", "Failed", "DriverExitNonZero").await;
    let status = status(&server, "pi");
    assert_eq!((&status["attempt"], &status["driver"]["exitCode"]), (&json!(2), &json!(4)));
    assert_eq!(status["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(status["attempts"][0]["exitCode"], 3);
    assert_ne!(status["attempts"][0]["appId"], status["appId"]);
    assert_eq!(created_pods(&server), 2);
}

#[tokio::test]
async fn the_next_attempt_waits_until_the_driver_before_it_is_gone() {
    let server = server();
    server.options(|options| options.graceful_pod_deletion = true);
    let _operator = start_with(server.client(), SignedDuration::from_secs(1));
    let spec = json!({
        "file": "/a.py",
        "retry": { "infrastructureRetries": 1, "backoffSeconds": 1 },
        "deadlines": { "pendingSeconds": 60 },
    });
    submit(&server, "pi", spec);
    let first = driver_of(&server, 1).await;
    server.set_pod_waiting(NS, &first, "ContainerCreating", "");
    until_phase(&server, "pi", "Pending", "RetryBackoff").await;
    // It starts after all, on a node that does not answer then.
    server.set_pod_running(NS, &first);
    server
        .until("to be told that it waits", |server| {
            status(server, "pi")["message"].as_str().unwrap_or_default().contains("may still run")
        })
        .await;
    assert_eq!(drivers(&server).len(), 1);
    server.finish_pod_deletion(NS, &first);
    driver_of(&server, 2).await;
    assert_eq!(drivers(&server).len(), 1);
}

#[tokio::test]
async fn a_driver_that_never_goes_bars_every_further_attempt() {
    let server = server();
    server.options(|options| options.graceful_pod_deletion = true);
    let _operator = start_with(server.client(), SignedDuration::from_secs(1));
    submit(&server, "pi", json!({ "file": "/a.py", "retry": { "infrastructureRetries": 9, "backoffSeconds": 1 } }));
    let first = driver_of(&server, 1).await;
    server.set_pod_waiting(NS, &first, "ContainerCreating", "");
    until_phase(&server, "pi", "Failed", "DeadlineExceeded").await;
    assert_eq!(created_pods(&server), 1);
}

#[tokio::test]
async fn a_batch_cancelled_or_suspended_between_two_attempts_has_no_further_one() {
    for (field, phase, reason) in [("cancel", "Killed", "Cancelled"), ("suspend", "Pending", "Suspended")] {
        let server = server();
        let _operator = start(server.client());
        let spec = json!({ "file": "/a.py", "retry": { "applicationRetries": 1, "backoffSeconds": 2 } });
        submit(&server, "pi", spec);
        let first = driver_of(&server, 1).await;
        server.set_driver_terminated(NS, &first, 3, "Error");
        until_phase(&server, "pi", "Pending", "RetryBackoff").await;
        server.update("sparkbatches", NS, "pi", |batch| batch["spec"][field] = json!(true));
        until_phase(&server, "pi", phase, reason).await;
        tokio::time::sleep(Duration::from_millis(2200)).await;
        assert_eq!(phase_reason(&server, "pi"), (phase.to_owned(), reason.to_owned()));
        assert_eq!(created_pods(&server), 1, "{field}");
        assert_eq!(status(&server, "pi")["attempts"][0]["reason"], "DriverExitNonZero");
    }
}

#[tokio::test]
async fn a_crash_before_or_after_any_write_makes_one_driver_for_each_attempt_and_never_two_at_once() {
    for crash in crashes(12) {
        let (server, first) = start_doomed(crash);
        submit(&server, "pi", retried());
        run_retried(&server, |server| server.is_dead("first")).await;
        drop(first);
        let _second = start(server.client_as("second"));
        run_retried(&server, |_| false).await;
        until_phase(&server, "pi", "Succeeded", "DriverSucceeded").await;
        assert_eq!(created_pods(&server), 2, "{crash:?}");
        assert_eq!(status(&server, "pi")["attempt"], 2, "{crash:?}");
    }
}

/// Plays the kubelet: the first attempt fails, the second succeeds.
async fn run_retried(server: &ApiServer, is_over: impl Fn(&ApiServer) -> bool) {
    server
        .until("the batch to succeed", |server| {
            assert!(live_drivers(server) <= 1);
            for driver in drivers(server) {
                let name = driver["metadata"]["name"].as_str().unwrap();
                let has_secret = server.get("secrets", NS, &name.replace("-driver", "-conf")).is_some();
                if has_secret && matches!(driver["status"]["phase"].as_str(), None | Some("Pending")) {
                    let code = i32::from(driver["metadata"]["labels"]["sparkbatch.dev/attempt"] == "1");
                    server.set_driver_terminated(NS, name, code, "Ended");
                }
            }
            is_over(server) || phase_reason(server, "pi").0 == "Succeeded"
        })
        .await;
}

#[tokio::test]
async fn the_secret_of_an_earlier_attempt_goes_and_one_of_its_name_that_is_anothers_stays() {
    for is_ours in [true, false] {
        let server = server();
        let status = json!({ "phase": "Pending", "reason": "RetryBackoff", "attempt": 3, "id": 1,
                             "nextAttemptTime": "2000-01-01T00:00:00Z" });
        let metadata = json!({ "name": "pi", "namespace": NS });
        let batch = json!({ "metadata": metadata, "spec": retried(), "status": status });
        let uid = server.insert("sparkbatches", batch)["metadata"]["uid"].clone();
        let first = sparkbatch::spark::AttemptNames::new("pi", uid.as_str().unwrap(), 1).conf_secret;
        let owners = owned_by(&if is_ours { uid } else { json!("another") });
        let metadata = json!({ "name": first, "namespace": NS, "ownerReferences": owners });
        server.options(|options| options.collect_garbage = false);
        server.insert("secrets", json!({ "metadata": metadata }));
        let _operator = start(server.client());
        until_phase(&server, "pi", "Starting", "DriverPending").await;
        assert_eq!(server.get("secrets", NS, &first).is_none(), is_ours);
    }
}
