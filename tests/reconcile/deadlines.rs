//! How long a batch may stay in each phase.

use super::*;

fn message(server: &ApiServer) -> String {
    status(server, "pi")["message"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_driver_that_runs_past_its_deadline_is_ended_and_the_batch_fails() {
    let server = server();
    let _operator = start(server.client());
    submit(&server, "pi", json!({ "file": "/a.py", "deadlines": { "runningSeconds": 1 } }));
    let driver = driver_name(&server).await;
    server.set_pod_running(NS, &driver);
    until_phase(&server, "pi", "Failed", "DeadlineExceeded").await;
    assert!(message(&server).contains("deadlines.runningSeconds"));
    server.until("the driver to be deleted", |server| drivers(server).is_empty()).await;
    assert_eq!(created_pods(&server), 1);
}

#[tokio::test]
async fn a_batch_says_for_itself_how_long_it_waits() {
    let server = server();
    let _operator = start(server.client());
    submit(&server, "pi", json!({ "file": "/a.py", "deadlines": { "driverStartSeconds": 1 } }));
    until_phase(&server, "pi", "Failed", "DriverStartTimeout").await;
    assert!(message(&server).contains("deadlines.driverStartSeconds"));
}

#[tokio::test]
async fn a_batch_waits_for_a_quota_until_its_own_deadline_and_fails_for_the_quota() {
    let server = server();
    server.inject(Fault::on("create", "pods").answer_with(ApiError::new(403, "exceeded quota: jobs")).always());
    let _operator = start(server.client());
    submit(&server, "pi", json!({ "file": "/a.py", "deadlines": { "pendingSeconds": 1 } }));
    until_phase(&server, "pi", "Failed", "DriverRefused").await;
    let message = message(&server);
    assert!(message.contains("deadlines.pendingSeconds") && message.contains("exceeded quota"), "{message}");
}

#[tokio::test]
async fn time_in_suspension_does_not_count() {
    let server = server();
    let _operator = start(server.client());
    let spec =
        json!({ "file": "/a.py", "suspend": true, "deadlines": { "pendingSeconds": 1, "driverStartSeconds": 60 } });
    submit(&server, "pi", spec);
    until_phase(&server, "pi", "Pending", "Suspended").await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    server.update("sparkbatches", NS, "pi", |batch| batch["spec"]["suspend"] = json!(false));
    until_phase(&server, "pi", "Starting", "DriverPending").await;
}

fn gate(server: &ApiServer, driver: &str, gates: &Value) {
    server.update("pods", NS, driver, |pod| pod["spec"]["schedulingGates"] = gates.clone());
}

#[tokio::test]
async fn a_driver_behind_a_scheduling_gate_stands_in_a_queue_and_is_not_late() {
    let server = server();
    let _operator = start(server.client());
    submit(&server, "pi", json!({ "file": "/a.py", "deadlines": { "driverStartSeconds": 2 } }));
    let driver = driver_name(&server).await;
    gate(&server, &driver, &json!([{ "name": "kueue.x-k8s.io/admission" }]));
    until_phase(&server, "pi", "Starting", "DriverGated").await;
    assert_eq!(message(&server), "held by scheduling gates: kueue.x-k8s.io/admission");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(phase_reason(&server, "pi").1, "DriverGated");
    gate(&server, &driver, &Value::Null);
    until_phase(&server, "pi", "Starting", "DriverPending").await;
    until_phase(&server, "pi", "Failed", "DriverStartTimeout").await;
}

#[tokio::test]
async fn a_driver_that_no_queue_lets_go_fails_at_the_deadline_of_queues() {
    let server = server();
    let _operator = start(server.client());
    submit(&server, "pi", json!({ "file": "/a.py", "deadlines": { "queuedSeconds": 2 } }));
    gate(&server, &driver_name(&server).await, &json!([{ "name": "kueue.x-k8s.io/admission" }]));
    until_phase(&server, "pi", "Failed", "DeadlineExceeded").await;
    assert!(message(&server).contains("deadlines.queuedSeconds"), "{}", message(&server));
}
