//! Operators that die, and answers that are lost: one driver is made all the same.

use super::*;

/// Every moment before and after one of the first `writes`.
pub(super) fn crashes(writes: u64) -> impl Iterator<Item = Crash> {
    (1..=writes).flat_map(|n| [Crash::BeforeWrite(n), Crash::AfterWrite(n)])
}

/// A server, and an operator at it by the name `first`, whose process ends as `crash` says.
pub(super) fn start_doomed(crash: Crash) -> (ApiServer, Operator) {
    let server = server();
    let client = server.client_as("first");
    server.crash("first", crash);
    let operator = start(client);
    (server, operator)
}

/// A batch of `spec` whose first operator dies as `crash` says, and which its second, returned with the server, brings
/// to a good end. The server is shown to `prepare` before the batch comes, and to `at_work` if the second operator has
/// yet to see the end.
pub(super) async fn survive(
    crash: Crash,
    spec: Value,
    prepare: fn(&ApiServer),
    at_work: fn(&ApiServer),
) -> (ApiServer, Operator) {
    let (server, first) = start_doomed(crash);
    prepare(&server);
    submit(&server, "pi", spec);
    run_until_dead_or_done(&server).await;
    drop(first);
    let second = start(server.client_as("second"));
    let driver = driver_name(&server).await;
    server.until("the driver's Secret", |server| !server.list("secrets", NS).is_empty()).await;
    if drivers(&server)[0]["status"]["phase"] != "Succeeded" {
        at_work(&server);
        server.set_pod_running(NS, &driver);
        server.set_driver_terminated(NS, &driver, 0, "Completed");
    }
    until_phase(&server, "pi", "Succeeded", "DriverSucceeded").await;
    assert_eq!(created_pods(&server), 1, "{crash:?}");
    (server, second)
}

/// The guarantee: whatever write the operator dies before or after, the batch ends well and one driver was made.
#[tokio::test]
async fn a_crash_before_or_after_any_write_makes_one_driver_and_the_right_end() {
    for crash in crashes(8) {
        survive(crash, pi(), |_| {}, |_| {}).await;
    }
}

/// Plays the kubelet for the first operator for as long as it lives.
pub(super) async fn run_until_dead_or_done(server: &ApiServer) {
    server
        .until("the operator to die or the batch to end", |server| {
            if let (Some(driver), false) = (drivers(server).first(), server.list("secrets", NS).is_empty()) {
                let name = driver["metadata"]["name"].as_str().unwrap();
                match (driver["status"]["phase"].as_str(), phase_reason(server, "pi").0.as_str()) {
                    (None | Some("Pending"), "Starting") => drop(server.set_pod_running(NS, name)),
                    (Some("Running"), "Running") => drop(server.set_driver_terminated(NS, name, 0, "Completed")),
                    _ => {}
                }
            }
            server.is_dead("first") || phase_reason(server, "pi").0 == "Succeeded"
        })
        .await;
}

#[tokio::test]
async fn a_driver_that_vanished_while_no_operator_ran_is_lost_whatever_was_written_by_then() {
    // The operator dies after the Secret, before it could write a status; then the pod goes.
    let (server, first) = start_doomed(Crash::AfterWrite(2));
    submit(&server, "pi", pi());
    server.until("the operator to die", |server| server.is_dead("first")).await;
    drop(first);
    assert_eq!(server.list("secrets", NS).len(), 1);
    let driver = driver_name(&server).await;
    server.remove("pods", NS, &driver);
    let _second = start(server.client_as("second"));
    until_phase(&server, "pi", "Failed", "DriverLost").await;
    assert_eq!(created_pods(&server), 1);
}

#[tokio::test]
async fn a_lost_answer_to_any_create_makes_no_second_driver() {
    for resource in ["pods", "secrets"] {
        let server = server();
        server.inject(Fault::on("create", resource).lose_response().times(1));
        let _operator = start(server.client());
        submit(&server, "pi", pi());
        until_phase(&server, "pi", "Starting", "DriverPending").await;
        assert_eq!(created_pods(&server), 1, "{resource}");
    }
}

/// Seed 6177 of `make simulate`: the look that followed found no Secret yet, and made the pod again that had gone since.
#[tokio::test]
async fn a_secret_that_lands_after_its_create_was_given_up_bars_a_second_driver() {
    let server = server();
    let late = Fault::on("create", "secrets").land_late(Duration::from_millis(600)).lose_response();
    server.inject(late.times(1));
    let _operator = start(server.client());
    submit(&server, "pi", pi());
    let driver = driver_name(&server).await;
    server.inject(Fault::on("get", "sparkbatches").delay(Duration::from_millis(1200)).times(1));
    server.until("the Secret to land", |server| !server.list("secrets", NS).is_empty()).await;
    server.remove("pods", NS, &driver);
    until_phase(&server, "pi", "Failed", "DriverLost").await;
    assert_eq!(created_pods(&server), 1);
}

/// Seed 31168: the pod that the look after had made was gone by then.
#[tokio::test]
async fn a_pod_that_lands_after_its_create_was_given_up_is_no_second_driver() {
    let server = server();
    let late = Fault::on("create", "pods").land_late(Duration::from_millis(600)).lose_response();
    server.inject(late.times(1));
    let _operator = start(server.client());
    submit(&server, "pi", pi());
    server.until("the create", |server| server.count("create", "pods") > 0).await;
    server.update("sparkbatches", NS, "pi", |batch| batch["metadata"]["labels"] = json!({ "looked-at": "again" }));
    let driver = driver_name(&server).await;
    server.until("the Secret", |server| !server.list("secrets", NS).is_empty()).await;
    server.remove("pods", NS, &driver);
    until_phase(&server, "pi", "Failed", "DriverLost").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(created_pods(&server), 1);
}

#[tokio::test]
async fn two_operators_at_once_make_one_driver() {
    let server = server();
    let _one = start(server.client_as("one"));
    let _two = start(server.client_as("two"));
    for n in 0..10 {
        submit(&server, &format!("pi-{n}"), pi());
    }
    for n in 0..10 {
        until_phase(&server, &format!("pi-{n}"), "Starting", "DriverPending").await;
    }
    assert_eq!(created_pods(&server), 10);
    let ids: std::collections::BTreeSet<_> =
        server.list("sparkbatches", NS).iter().map(|batch| batch["status"]["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), 10);
}

#[tokio::test]
async fn errors_of_the_api_server_delay_a_batch_and_change_no_outcome() {
    let server = server();
    server.inject(Fault::on("create", "pods").answer(500).times(1));
    server.inject(Fault::on("get", "secrets").answer(500).times(1));
    server.inject(Fault::on("patch", "sparkbatches/status").answer(409).times(2));
    server.inject(Fault::on("watch", "pods").cut_after(1).times(2));
    let _operator = start(server.client());
    submit(&server, "pi", pi());
    let driver = driver_name(&server).await;
    until_phase(&server, "pi", "Starting", "DriverPending").await;
    server.set_pod_running(NS, &driver);
    server.expire_watches("pods");
    server.set_driver_terminated(NS, &driver, 0, "Completed");
    until_phase(&server, "pi", "Succeeded", "DriverSucceeded").await;
    assert_eq!(created_pods(&server), 1);
}
