//! A batch that its owner cancels.

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
    server.update("sparkbatches", NS, "pi", |batch| batch["spec"]["suspend"] = json!(true));
    until_phase(&server, "pi", "Pending", "Suspended").await;
    assert!(drivers(&server).is_empty());
}

#[tokio::test]
async fn a_crash_before_or_after_any_write_leaves_a_cancelled_batch_killed_and_without_a_driver() {
    for n in 1..=8 {
        for crash in [Crash::BeforeWrite(n), Crash::AfterWrite(n)] {
            let server = server();
            let client = server.client_as("first");
            server.crash("first", crash);
            let first = start(client);
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
}
