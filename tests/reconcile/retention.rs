//! What stays of a batch after its end, and for how long.

use super::crash::{crashes, run_until_dead_or_done, start_doomed};
use super::*;

/// A batch of this spec that has ended with `code`.
async fn ended(server: &ApiServer, name: &str, spec: Value, code: i32) {
    submit(server, name, spec);
    let of = |server: &ApiServer| {
        drivers(server).into_iter().find(|pod| pod["metadata"]["labels"]["sparkbatch.dev/batch"] == name)
    };
    server.until("the driver", |server| of(server).is_some() && phase_reason(server, name).0 == "Starting").await;
    let driver = of(server).unwrap()["metadata"]["name"].as_str().unwrap().to_owned();
    server.set_pod_running(NS, &driver);
    server.set_driver_terminated(NS, &driver, code, "Ended");
    let (phase, reason) = if code == 0 { ("Succeeded", "DriverSucceeded") } else { ("Failed", "DriverExitNonZero") };
    until_phase(server, name, phase, reason).await;
}

fn kept(retention: &str) -> Value {
    json!({ "file": "/a.py", "podRetention": retention })
}

fn batches_with_pods(server: &ApiServer) -> Vec<String> {
    let of = |pod: &Value| pod["metadata"]["labels"]["sparkbatch.dev/batch"].as_str().unwrap().to_owned();
    let mut batches: Vec<_> = drivers(server).iter().map(of).collect();
    batches.sort();
    batches
}

#[tokio::test]
async fn driver_pods_stay_as_the_batch_says_and_else_as_the_operator_does() {
    let server = server();
    let never = ControllerConfig { pod_retention: PodRetention::Never, ..config(SignedDuration::from_secs(600)) };
    let _operator = start_config(server.client(), never);
    ended(&server, "always", kept("Always"), 0).await;
    ended(&server, "on-failure", kept("OnFailure"), 3).await;
    ended(&server, "not-on-success", kept("OnFailure"), 0).await;
    ended(&server, "never", kept("Never"), 3).await;
    ended(&server, "as-the-operator-says", json!({ "file": "/a.py" }), 3).await;
    server.until("the others to go", |server| batches_with_pods(server) == ["always", "on-failure"]).await;
    // A Secret without its pod is never taken for a driver that was lost, and bars a second one.
    assert_eq!(server.list("secrets", NS).len(), 5);
    server.update("sparkbatches", NS, "always", |batch| batch["spec"]["podRetention"] = json!("Never"));
    server.until("the last to go", |server| batches_with_pods(server) == ["on-failure"]).await;
    assert_eq!(phase_reason(&server, "always").0, "Succeeded");
    assert_eq!(created_pods(&server), 5);
}

#[tokio::test]
async fn a_batch_goes_after_the_operators_time_to_live_unless_it_has_its_own() {
    let server = server();
    let ttl_after_finished = Some(SignedDuration::from_secs(1));
    let operator = ControllerConfig { ttl_after_finished, ..config(SignedDuration::from_secs(600)) };
    let _operator = start_config(server.client(), operator);
    ended(&server, "own", json!({ "file": "/a.py", "ttlSecondsAfterFinished": 3600 }), 0).await;
    submit(&server, "operators", json!({ "file": "a.py" }));
    server
        .until("the batch to go", |server| {
            let names = server.list("sparkbatches", NS);
            names.len() == 1 && names[0]["metadata"]["name"] == "own"
        })
        .await;
    assert_eq!(batches_with_pods(&server), ["own"]);
}

#[tokio::test]
async fn a_crash_before_or_after_any_write_runs_no_batch_again_whose_pod_is_gone() {
    for crash in crashes(9) {
        let (server, first) = start_doomed(crash);
        submit(&server, "pi", kept("Never"));
        run_until_dead_or_done(&server).await;
        // The deletion of the pod is a write, too.
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(first);
        let _second = start(server.client_as("second"));
        server
            .until("the batch to succeed and its pod to go", |server| {
                for driver in drivers(server) {
                    let name = driver["metadata"]["name"].as_str().unwrap();
                    if driver["status"]["phase"] != "Succeeded" && !server.list("secrets", NS).is_empty() {
                        server.set_driver_terminated(NS, name, 0, "Completed");
                    }
                }
                phase_reason(server, "pi").0 == "Succeeded" && drivers(server).is_empty()
            })
            .await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(created_pods(&server), 1, "{crash:?}");
        assert_eq!(phase_reason(&server, "pi"), ("Succeeded".into(), "DriverSucceeded".into()), "{crash:?}");
    }
}

#[tokio::test]
async fn a_driver_whose_deletion_met_another_write_is_deleted_again() {
    let server = server();
    let conflict = ApiError::new(409, "Operation cannot be fulfilled on pods: the object has been modified");
    server.inject(Fault::on("delete", "pods").answer_with(conflict).times(1));
    let _operator = start(server.client());
    ended(&server, "pi", kept("Never"), 0).await;
    server.until("the driver to go", |server| drivers(server).is_empty()).await;
}

/// Seed 27960 of `make simulate`: another replica has led, seen the driver's end, and written it down.
#[tokio::test]
async fn a_driver_of_whose_end_the_cache_has_not_heard_stays_for_its_log() {
    let server = server();
    let _operator = start(server.client());
    let driver = running_pi(&server).await;
    server.hold_watches("pods");
    server.set_driver_terminated(NS, &driver, 0, "Completed");
    let ended = server.count("get", "pods");
    server.update("sparkbatches", NS, "pi", |batch| {
        batch["status"]["phase"] = json!("Succeeded");
        batch["status"]["reason"] = json!("DriverSucceeded");
    });
    server.until("the look at the pod", |server| server.count("get", "pods") > ended).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(server.count("delete", "pods"), 0);
    assert_eq!(batches_with_pods(&server), ["pi"]);
}

#[tokio::test]
async fn a_finished_batch_goes_when_its_time_to_live_has_passed() {
    let server = server();
    let _operator = start(server.client());
    submit(&server, "pi", json!({ "file": "/opt/pi.py", "ttlSecondsAfterFinished": 1 }));
    let driver = driver_name(&server).await;
    server.set_pod_running(NS, &driver);
    server.set_driver_terminated(NS, &driver, 0, "Completed");
    until_phase(&server, "pi", "Succeeded", "DriverSucceeded").await;
    server
        .until("the batch to be deleted with its pods", |server| {
            server.list("sparkbatches", NS).is_empty() && server.list("pods", NS).is_empty()
        })
        .await;
}
