//! Drivers whose pods are gone before a look could see how they ended.

use super::*;

/// A batch whose driver does that, and whose pod goes, before the operator hears of either.
async fn unheard(server: &ApiServer, spec: Value, does: impl FnOnce(&str)) {
    submit(server, "pi", spec);
    let driver = driver_name(server).await;
    server.set_pod_running(NS, &driver);
    until_phase(server, "pi", "Running", "DriverRunning").await;
    server.hold_watches("pods");
    does(&driver);
    server.remove("pods", NS, &driver);
    server.release_watches("pods");
}

fn is_taken_away(pod: &mut Value) {
    let target = json!({ "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
        "message": "preempting to accommodate a higher priority pod" });
    pod["status"]["conditions"].as_array_mut().unwrap().push(target);
}

#[tokio::test]
async fn a_driver_that_ends_well_and_whose_pod_goes_at_once_has_succeeded() {
    let server = server();
    let _operator = start(server.client());
    unheard(&server, pi(), |driver| drop(server.set_driver_terminated(NS, driver, 0, "Completed"))).await;
    until_phase(&server, "pi", "Succeeded", "DriverSucceeded").await;
    assert_eq!(created_pods(&server), 1);
}

#[tokio::test]
async fn a_driver_that_fails_and_whose_pod_goes_at_once_has_failed_by_itself() {
    let server = server();
    let _operator = start(server.client());
    unheard(&server, pi(), |driver| drop(server.set_driver_terminated(NS, driver, 3, "Error"))).await;
    until_phase(&server, "pi", "Failed", "DriverExitNonZero").await;
    assert_eq!(status(&server, "pi")["driver"]["exitCode"], 3);
}

#[tokio::test]
async fn a_driver_that_was_preempted_while_it_ran_says_so_after_its_pod_and_is_run_again_for_it() {
    let server = server();
    let _operator = start(server.client());
    let spec = json!({ "file": "/a.py", "retry": { "infrastructureRetries": 1, "backoffSeconds": 1 } });
    unheard(&server, spec, |driver| drop(server.update("pods", NS, driver, is_taken_away))).await;
    server.until("the second driver", |server| created_pods(server) == 2).await;
    let attempt = &status(&server, "pi")["attempts"][0];
    assert_eq!(attempt["reason"], "DriverPreempted");
    let message = attempt["message"].as_str().unwrap();
    assert!(message.contains("PreemptionByScheduler: preempting to accommodate"), "{message}");
    // What is remembered of the first driver is nothing of the second's.
    let second = driver_name(&server).await;
    server.set_pod_running(NS, &second);
    until_phase(&server, "pi", "Running", "DriverRunning").await;
    server.remove("pods", NS, &second);
    until_phase(&server, "pi", "Failed", "DriverLost").await;
}

#[tokio::test]
async fn a_driver_that_ended_well_before_its_batch_was_cancelled_or_suspended_has_succeeded() {
    for wish in ["cancel", "suspend"] {
        let server = server();
        let _operator = start(server.client());
        let driver = running_pi(&server).await;
        server.hold_watches("sparkbatches");
        server.update("sparkbatches", NS, "pi", |batch| batch["spec"][wish] = json!(true));
        server.set_driver_terminated(NS, &driver, 0, "Completed");
        server.remove("pods", NS, &driver);
        server.release_watches("sparkbatches");
        until_phase(&server, "pi", "Succeeded", "DriverSucceeded").await;
    }
}
