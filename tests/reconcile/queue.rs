//! Namespaces in which not all batches may run at once.

use super::crash::crashes;
use super::leases::{replica_config, timing, until_held};
use super::retry::live_drivers;
use super::*;

fn limited(limit: u32) -> ControllerConfig {
    let limits = Limits { default: 0, by_namespace: [(NS.to_owned(), limit)].into() };
    ControllerConfig { limits, concurrency: 32, ..config(SignedDuration::from_secs(600)) }
}

fn start_limited(server: &ApiServer, limit: u32) -> Operator {
    start_config(server.client_as("operator"), limited(limit))
}

/// Submits a batch that was created so many seconds after the others.
fn submit_at(server: &ApiServer, name: &str, second: i64, spec: Value) {
    let created = server.now() + SignedDuration::from_secs(second - 100);
    let created = Timestamp::from_second(created.as_second()).unwrap().to_string();
    let metadata = json!({ "name": name, "namespace": NS, "creationTimestamp": created });
    server.insert("sparkbatches", json!({ "metadata": metadata, "spec": spec }));
}

fn phase(server: &ApiServer, name: &str) -> String {
    phase_reason(server, name).0
}

fn driver_of(server: &ApiServer, batch: &str) -> Option<String> {
    let is_of = |pod: &&Value| pod["metadata"]["labels"]["sparkbatch.dev/batch"] == batch;
    drivers(server).iter().find(is_of).map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
}

/// Plays the kubelet, one step of one pod at a time: each driver that has its Secret runs, and succeeds.
fn run_drivers(server: &ApiServer) {
    for driver in drivers(server) {
        let name = driver["metadata"]["name"].as_str().unwrap();
        let has_secret = server.get("secrets", NS, &name.replace("-driver", "-conf")).is_some();
        match driver["status"]["phase"].as_str() {
            None | Some("Pending") if has_secret => drop(server.set_pod_running(NS, name)),
            Some("Running") => drop(server.set_driver_terminated(NS, name, 0, "Completed")),
            _ => {}
        }
    }
}

/// The statuses of a batch that were written.
fn writes_of(server: &ApiServer, batch: &str) -> usize {
    let is_of = |call: &&common::apiserver::Call| {
        call.verb == "patch" && call.resource == "sparkbatches/status" && call.name.as_deref() == Some(batch)
    };
    server.calls().iter().filter(is_of).count()
}

#[tokio::test]
async fn many_at_once_never_pass_the_limit_and_all_run() {
    let server = server();
    for n in 0..25 {
        submit(&server, &format!("early-{n}"), pi());
    }
    let _operator = start_limited(&server, 3);
    for n in 0..25 {
        submit(&server, &format!("late-{n}"), pi());
    }
    server
        .until("all to succeed", |server| {
            assert!(live_drivers(server) <= 3);
            run_drivers(server);
            server.list("sparkbatches", NS).iter().all(|batch| batch["status"]["phase"] == "Succeeded")
        })
        .await;
    assert_eq!(created_pods(&server), 50);
}

#[tokio::test]
async fn batches_wait_in_the_order_of_their_creation_and_the_next_starts_when_one_ends() {
    let server = server();
    for (name, second) in [("c", 3), ("b", 2), ("d", 4), ("a", 1)] {
        submit_at(&server, name, second, pi());
    }
    let operator = start_limited(&server, 1);
    until_phase(&server, "a", "Starting", "DriverPending").await;
    for (name, position) in [("b", 1), ("c", 2), ("d", 3)] {
        until_phase(&server, name, "Pending", "Queued").await;
        let status = status(&server, name);
        assert_eq!(status["queuePosition"], position);
        let told = format!("position {position} of 3 in the queue of namespace jobs: at most 1 batches run at once");
        assert!(status["message"].as_str().unwrap().starts_with(&told), "{status}");
        assert!(status["id"].is_i64());
    }
    assert!(operator.metrics.text().unwrap().contains("sparkbatch_batches_queued 3\n"));
    let driver = driver_of(&server, "a").unwrap();
    server.set_driver_terminated(NS, &driver, 0, "Completed");
    until_phase(&server, "b", "Starting", "DriverPending").await;
    assert_eq!(status(&server, "b")["queuePosition"], Value::Null);
    assert!(driver_of(&server, "c").is_none());
    assert_eq!((writes_of(&server, "c"), writes_of(&server, "d")), (1, 1), "who only moves up is not told at once");
    server
        .until("the time in the queue", |_| {
            operator.metrics.text().unwrap().contains("sparkbatch_queue_duration_seconds_count 1\n")
        })
        .await;
}

#[tokio::test]
async fn who_cannot_start_holds_up_nobody() {
    let server = server();
    submit_at(&server, "suspended", 1, json!({ "file": "/a.py", "suspend": true }));
    submit_at(&server, "invalid", 2, json!({ "file": "a.py" }));
    submit_at(
        &server,
        "unconfigured",
        3,
        json!({ "file": "/a.py", "confFrom": [{ "secretRef": { "name": "keys" } }] }),
    );
    submit_at(&server, "a", 4, pi());
    submit_at(&server, "b", 5, pi());
    let _operator = start_limited(&server, 1);
    until_phase(&server, "a", "Starting", "DriverPending").await;
    until_phase(&server, "b", "Pending", "Queued").await;
    // It was there before, and so it goes before.
    server.update("sparkbatches", NS, "suspended", |batch| batch["spec"]["suspend"] = json!(false));
    until_phase(&server, "suspended", "Pending", "Queued").await;
    assert_eq!(status(&server, "suspended")["queuePosition"], 1);
    let driver = driver_of(&server, "a").unwrap();
    server.set_driver_terminated(NS, &driver, 0, "Completed");
    until_phase(&server, "suspended", "Starting", "DriverPending").await;
    assert_eq!(phase(&server, "b"), "Pending");
}

#[tokio::test]
async fn a_refused_driver_gives_its_place_to_the_next() {
    let server = server();
    server.inject(Fault::on("create", "pods").answer_with(ApiError::new(403, "exceeded quota: jobs")).times(1));
    submit_at(&server, "a", 1, pi());
    submit_at(&server, "b", 2, pi());
    let _operator = start_limited(&server, 1);
    until_phase(&server, "a", "Pending", "DriverRefused").await;
    until_phase(&server, "b", "Starting", "DriverPending").await;
}

#[tokio::test]
async fn the_wait_in_the_queue_has_a_deadline_and_time_in_it_counts_for_no_other() {
    let server = server();
    let _operator = start_limited(&server, 1);
    submit_at(&server, "a", 1, pi());
    until_phase(&server, "a", "Starting", "DriverPending").await;
    submit_at(&server, "b", 2, json!({ "file": "/a.py", "deadlines": { "queuedSeconds": 1 } }));
    submit_at(&server, "c", 3, json!({ "file": "/a.py", "deadlines": { "pendingSeconds": 1 } }));
    until_phase(&server, "b", "Failed", "DeadlineExceeded").await;
    assert!(status(&server, "b")["message"].as_str().unwrap().contains("deadlines.queuedSeconds"));
    assert_eq!(phase_reason(&server, "c"), ("Pending".into(), "Queued".into()));
    assert_eq!(created_pods(&server), 1);
}

#[tokio::test]
async fn a_deleted_batch_makes_room_once_its_driver_is_gone() {
    let server = server();
    server.options(|options| options.graceful_pod_deletion = true);
    submit_at(&server, "a", 1, pi());
    submit_at(&server, "b", 2, pi());
    let _operator = start_limited(&server, 1);
    until_phase(&server, "a", "Starting", "DriverPending").await;
    until_phase(&server, "b", "Pending", "Queued").await;
    let driver = driver_of(&server, "a").unwrap();
    server.set_pod_running(NS, &driver);
    until_phase(&server, "a", "Running", "DriverRunning").await;
    server.remove("sparkbatches", NS, "a");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(created_pods(&server), 1);
    server.remove("pods", NS, &driver);
    until_phase(&server, "b", "Starting", "DriverPending").await;
}

#[tokio::test]
async fn a_crash_before_or_after_any_write_lets_no_more_run_than_may() {
    for crash in crashes(10) {
        let server = server();
        let client = server.client_as("first");
        server.crash("first", crash);
        for (name, second) in [("a", 1), ("b", 2), ("c", 3)] {
            submit_at(&server, name, second, pi());
        }
        let run = async |is_over: fn(&ApiServer) -> bool| {
            server
                .until("all to succeed, or the operator to die", |server| {
                    assert!(live_drivers(server) <= 1, "{crash:?}");
                    run_drivers(server);
                    let done = |name| phase(server, name) == "Succeeded";
                    is_over(server) || ["a", "b", "c"].into_iter().all(done)
                })
                .await;
        };
        let first = start_config(client, limited(1));
        run(|server| server.is_dead("first")).await;
        drop(first);
        let _second = start_config(server.client_as("second"), limited(1));
        run(|_| false).await;
        assert_eq!(created_pods(&server), 3, "{crash:?}");
    }
}

#[tokio::test]
async fn who_takes_over_reckons_with_drivers_that_its_watch_has_not_told_of() {
    let server = server();
    server.options(|options| options.collect_garbage = false);
    let replica = |identity: &str| {
        let config = ControllerConfig { limits: limited(1).limits, ..replica_config(identity, 1, timing()) };
        start_config(server.client_as(identity), config)
    };
    let one = replica("one");
    until_held(&server, "one").await;
    let two = replica("two");
    server.until("the follower to be ready", |_| two.is_ready()).await;
    server.hold_watches("pods");
    submit_at(&server, "a", 1, pi());
    until_phase(&server, "a", "Starting", "DriverPending").await;
    // As it is if the leader ends before it has written the status.
    server.update("sparkbatches", NS, "a", |batch| batch["status"] = Value::Null);
    one.cancel.cancel();
    drop(one);
    server.remove("sparkbatches", NS, "a");
    submit_at(&server, "b", 2, pi());
    until_held(&server, "two").await;
    until_phase(&server, "b", "Pending", "Queued").await;
}
