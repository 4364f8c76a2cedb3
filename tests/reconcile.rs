//! Whole reconcile loops against the in-process API server: what becomes of a batch, and what no crash, fault or
//! stale cache changes.
#![allow(missing_docs, clippy::unwrap_used, clippy::needless_pass_by_value)]

mod common;

#[path = "reconcile/bad_input.rs"]
mod bad_input;
#[path = "reconcile/cancel.rs"]
mod cancel;
#[path = "reconcile/conf_from.rs"]
mod conf_from;
#[path = "reconcile/crash.rs"]
mod crash;
#[path = "reconcile/deadlines.rs"]
mod deadlines;
#[path = "reconcile/executors.rs"]
mod executors;
#[path = "reconcile/gone.rs"]
mod gone;
#[path = "reconcile/leases.rs"]
mod leases;
#[path = "reconcile/metrics.rs"]
mod metrics;
#[path = "reconcile/namespaces.rs"]
mod namespaces;
#[path = "reconcile/queue.rs"]
mod queue;
#[path = "reconcile/refused.rs"]
mod refused;
#[path = "reconcile/retention.rs"]
mod retention;
#[path = "reconcile/retry.rs"]
mod retry;
#[path = "reconcile/stale.rs"]
mod stale;
#[path = "reconcile/stuck.rs"]
mod stuck;
#[path = "reconcile/trouble.rs"]
mod trouble;
#[path = "reconcile/volcano.rs"]
mod volcano;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::apiserver::{ApiError, ApiServer, Crash, Fault};
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use serde_json::{Value, json};
use sparkbatch::api::PodRetention;
use sparkbatch::controller::{self, ControllerConfig, Deadlines, Limits};
use sparkbatch::ids::IdAllocator;
use sparkbatch::metrics::Metrics;
use sparkbatch::plan::Defaults;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const NS: &str = "jobs";

fn server() -> ApiServer {
    let server = ApiServer::new();
    server.set_now(Timestamp::now());
    server.options(|options| options.clock_step = SignedDuration::ZERO);
    server
}

/// A controller as one process has it; aborted when dropped, as a killed process is.
struct Operator {
    task: JoinHandle<()>,
    cancel: CancellationToken,
    ready: Arc<AtomicBool>,
    metrics: Metrics,
}

impl Operator {
    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn config(driver_start: SignedDuration) -> ControllerConfig {
    let defaults = Defaults { image: Some("spark".into()), service_account: "spark".into(), ..Defaults::default() };
    let deadlines = Deadlines { driver_start, ..Deadlines::default() };
    ControllerConfig { defaults, deadlines, concurrency: 8, ..ControllerConfig::default() }
}

fn start_config(client: Client, config: ControllerConfig) -> Operator {
    let (cancel, ready) = (CancellationToken::new(), Arc::new(AtomicBool::new(false)));
    let ids = IdAllocator::new(client.clone());
    let is_ready = Arc::clone(&ready);
    let announce = move || is_ready.store(true, Ordering::SeqCst);
    let (metrics, cancelled) = (Metrics::default(), cancel.clone());
    let shown = metrics.clone();
    let task = tokio::spawn(async move {
        controller::run(client, ids, config, &shown, cancelled, announce).await;
    });
    Operator { task, cancel, ready, metrics }
}

fn start_with(client: Client, start_timeout: SignedDuration) -> Operator {
    start_config(client, config(start_timeout))
}

fn start(client: Client) -> Operator {
    start_with(client, SignedDuration::from_secs(600))
}

fn submit(server: &ApiServer, name: &str, spec: Value) {
    let object = json!({ "metadata": { "name": name, "namespace": NS }, "spec": spec });
    server.insert("sparkbatches", object);
}

/// The owner references of an object of the batch `pi` with this uid.
fn owned_by(uid: &Value) -> Value {
    json!([{ "apiVersion": "sparkbatch.dev/v1alpha1", "kind": "SparkBatch", "name": "pi", "uid": uid, "controller": true }])
}

fn pi() -> Value {
    json!({ "file": "/opt/pi.py", "numExecutors": 2 })
}

fn status(server: &ApiServer, name: &str) -> Value {
    server.get("sparkbatches", NS, name).map(|batch| batch["status"].clone()).unwrap_or_default()
}

fn phase_reason(server: &ApiServer, name: &str) -> (String, String) {
    let status = status(server, name);
    let text = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
    (text("phase"), text("reason"))
}

async fn until_phase(server: &ApiServer, name: &str, phase: &str, reason: &str) {
    let wanted = (phase.to_owned(), reason.to_owned());
    server.until(&format!("{name} to be {phase}, {reason}"), |server| phase_reason(server, name) == wanted).await;
}

/// Lets time pass as fast as the operator lets it: timers are all that it waits for.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::sleep(time).await;
    tokio::time::resume();
}

/// The driver pods that exist.
fn drivers(server: &ApiServer) -> Vec<Value> {
    let pods = server.list("pods", NS);
    pods.into_iter().filter(|pod| pod["metadata"]["labels"]["spark-role"] == "driver").collect()
}

async fn driver_name(server: &ApiServer) -> String {
    server.until("a driver pod", |server| !drivers(server).is_empty()).await;
    drivers(server)[0]["metadata"]["name"].as_str().unwrap().to_owned()
}

/// Submits a batch and has its driver run; the name of the driver pod.
async fn running_pi(server: &ApiServer) -> String {
    submit(server, "pi", pi());
    let driver = driver_name(server).await;
    server.set_pod_running(NS, &driver);
    until_phase(server, "pi", "Running", "DriverRunning").await;
    driver
}

/// Driver pods that were ever created, by the server's own record.
fn created_pods(server: &ApiServer) -> usize {
    server
        .calls()
        .iter()
        .filter(|call| {
            call.verb == "create" && call.resource == "pods" && call.code.is_none_or(|code| code == 201) && call.applied
        })
        .count()
}

fn add_executor(server: &ApiServer, driver: &str, name: &str, phase: &str) {
    let driver = server.get("pods", NS, driver).unwrap();
    let labels = &driver["metadata"]["labels"];
    server.insert(
        "pods",
        json!({
            "metadata": {
                "name": name, "namespace": NS,
                "labels": {
                    "spark-role": "executor",
                    "sparkbatch.dev/batch": labels["sparkbatch.dev/batch"],
                    "spark-app-selector": labels["spark-app-selector"],
                    "sparkbatch.dev/attempt": labels["sparkbatch.dev/attempt"],
                },
            },
            "status": { "phase": phase },
        }),
    );
}

#[tokio::test]
async fn a_batch_runs_to_success_in_six_writes() {
    let server = server();
    let _operator = start(server.client_as("operator"));
    submit(&server, "pi", pi());
    until_phase(&server, "pi", "Starting", "DriverPending").await;
    let driver = driver_name(&server).await;
    server.set_pod_running(NS, &driver);
    until_phase(&server, "pi", "Running", "DriverRunning").await;
    assert_eq!(status(&server, "pi")["driver"]["uiAddress"], "10.0.0.1:4040");
    server.set_driver_terminated(NS, &driver, 0, "Completed");
    until_phase(&server, "pi", "Succeeded", "DriverSucceeded").await;

    let status = status(&server, "pi");
    assert_eq!(status["id"], 1);
    assert_eq!(
        status["driver"],
        json!({ "podName": driver, "podUid": drivers(&server)[0]["metadata"]["uid"], "exitCode": 0 })
    );
    assert_eq!(status["appId"], drivers(&server)[0]["metadata"]["labels"]["spark-app-selector"]);
    assert_eq!(status["executors"]["requested"], 2);
    for time in ["startTime", "runningTime", "completionTime"] {
        assert!(status[time].is_string(), "{time}");
    }
    // Pod, Secret and three statuses; the sixth is the batch itself. The id's counter is shared by many.
    let writes: Vec<_> = server
        .writes()
        .into_iter()
        .filter(|write| !write.contains("events") && !write.contains("configmaps"))
        .collect();
    assert_eq!(writes.len(), 5, "{writes:#?}");
    assert!(writes[0].starts_with("create pods") && writes[1].starts_with("create secrets"), "{writes:#?}");
    server.until("two Events", |server| server.count("create", "events") == 2).await;
}

#[tokio::test]
async fn each_end_of_a_driver_has_its_phase_and_reason() {
    for (code, why, reason) in [(1, "Error", "DriverExitNonZero"), (137, "OOMKilled", "DriverOOMKilled")] {
        let server = server();
        let _operator = start(server.client());
        submit(&server, "pi", pi());
        let driver = driver_name(&server).await;
        server.set_pod_running(NS, &driver);
        server.set_driver_terminated(NS, &driver, code, why);
        until_phase(&server, "pi", "Failed", reason).await;
        assert_eq!(status(&server, "pi")["driver"]["exitCode"], code);
    }
}

#[tokio::test]
async fn a_driver_deleted_by_hand_is_lost_and_not_run_again() {
    let server = server();
    let _operator = start(server.client());
    let driver = running_pi(&server).await;
    server.remove("pods", NS, &driver);
    until_phase(&server, "pi", "Failed", "DriverLost").await;
    assert_eq!(created_pods(&server), 1);
}

#[tokio::test]
async fn a_driver_that_cannot_start_says_why_and_fails_for_it_at_the_timeout() {
    for (reason, set) in [
        (
            "ImagePullFailed",
            (|server, driver| drop(server.set_pod_waiting(NS, driver, "ImagePullBackOff", "no such image")))
                as fn(&ApiServer, &str),
        ),
        ("Unschedulable", |server, driver| drop(server.set_unschedulable(NS, driver, "0/1 nodes are available"))),
        ("ContainerCreateFailed", |server, driver| {
            drop(server.set_pod_waiting(NS, driver, "CreateContainerConfigError", "no secret"));
        }),
    ] {
        let server = server();
        let _operator = start_with(server.client(), SignedDuration::from_secs(2));
        submit(&server, "pi", pi());
        let driver = driver_name(&server).await;
        set(&server, &driver);
        until_phase(&server, "pi", "Starting", reason).await;
        until_phase(&server, "pi", "Failed", reason).await;
        server.until("the driver pod to be deleted", |server| drivers(server).is_empty()).await;
    }
}

#[tokio::test]
async fn a_suspended_batch_has_no_pods_and_starts_anew_when_resumed() {
    let server = server();
    server.options(|options| options.graceful_pod_deletion = true);
    let _operator = start(server.client());
    let suspend =
        |value: bool| drop(server.update("sparkbatches", NS, "pi", |batch| batch["spec"]["suspend"] = json!(value)));
    submit(&server, "pi", json!({ "file": "/opt/pi.py", "suspend": true }));
    until_phase(&server, "pi", "Pending", "Suspended").await;
    assert!(drivers(&server).is_empty());

    suspend(false);
    let first = driver_name(&server).await;
    server.set_pod_running(NS, &first);
    until_phase(&server, "pi", "Running", "DriverRunning").await;

    // Suspended, and resumed before the driver is gone: it is still not taken for one that was lost.
    suspend(true);
    server
        .until("the driver to be deleted", |server| drivers(server)[0]["metadata"]["deletionTimestamp"].is_string())
        .await;
    suspend(false);
    server.set_driver_terminated(NS, &first, 143, "Error");
    server.finish_pod_deletion(NS, &first);
    server
        .until("a second driver", |server| drivers(server).iter().any(|pod| pod["metadata"]["name"] != first.as_str()))
        .await;
    until_phase(&server, "pi", "Starting", "DriverPending").await;
    let status = status(&server, "pi");
    assert_eq!(status["attempt"], 2);
    assert!(status["appId"].as_str().unwrap().ends_with("-2"));
    // It bars an operator with an old cache from starting the first attempt again, for one attempt more.
    assert!(server.get("secrets", NS, &first.replace("-driver", "-conf")).is_some());
    suspend(true);
    until_phase(&server, "pi", "Pending", "Suspended").await;
    server.until("the first Secret to go", |server| server.list("secrets", NS).len() == 1).await;
}

#[tokio::test]
async fn a_finished_batch_is_left_alone_by_every_later_operator() {
    let server = server();
    let first = start(server.client());
    submit(&server, "pi", pi());
    let driver = driver_name(&server).await;
    server.set_driver_terminated(NS, &driver, 0, "Completed");
    until_phase(&server, "pi", "Succeeded", "DriverSucceeded").await;
    first.cancel.cancel();
    drop(first);
    server.remove("pods", NS, &driver);
    server.clear_calls();
    let _second = start(server.client_as("second"));
    server
        .until("the second operator to watch", |server| {
            server.open_watches("sparkbatches") > 0 && server.watches_caught_up("sparkbatches")
        })
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(server.writes(), Vec::<String>::new());
    assert_eq!(phase_reason(&server, "pi").0, "Succeeded");
}

#[tokio::test]
async fn a_batch_that_cannot_be_read_stops_no_other() {
    let server = server();
    server.insert("sparkbatches", json!({ "metadata": { "name": "odd", "namespace": NS }, "spec": { "file": 7 } }));
    let _operator = start(server.client());
    submit(&server, "pi", pi());
    until_phase(&server, "pi", "Starting", "DriverPending").await;
    until_phase(&server, "odd", "Pending", "InvalidSpec").await;
}
