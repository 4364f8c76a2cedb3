//! Whole reconcile loops against the in-process API server: what becomes of a batch, and what no crash, fault or
//! stale cache changes.
#![allow(missing_docs, clippy::unwrap_used, clippy::needless_pass_by_value)]

#[path = "reconcile/bad_input.rs"]
mod bad_input;
#[path = "reconcile/cancel.rs"]
mod cancel;
mod common;
#[path = "reconcile/deadlines.rs"]
mod deadlines;
#[path = "reconcile/executors.rs"]
mod executors;
#[path = "reconcile/gone.rs"]
mod gone;
#[path = "reconcile/queue.rs"]
mod queue;
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

#[path = "reconcile/leases.rs"]
mod leases;
#[path = "reconcile/metrics.rs"]
mod metrics;
#[path = "reconcile/namespaces.rs"]
mod namespaces;

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
async fn an_invalid_batch_fails_with_every_problem_and_makes_nothing() {
    let server = server();
    let _operator = start(server.client());
    submit(&server, "bad", json!({ "file": "x.py", "driverMemory": "lots", "conf": { "spark.master": "local" } }));
    until_phase(&server, "bad", "Failed", "InvalidSpec").await;
    let message = status(&server, "bad")["message"].as_str().unwrap().to_owned();
    for field in ["file:", "driverMemory:", "spark.master"] {
        assert!(message.contains(field), "{message}");
    }
    assert_eq!(server.count("create", "pods") + server.count("create", "secrets"), 0);
}

#[tokio::test]
async fn an_open_field_that_cannot_be_read_fails_its_batch_by_name() {
    let server = server();
    let _operator = start(server.client());
    let volumes = json!([{ "name": "data", "pvc": { "claimName": "data" } }]);
    let template = json!({ "spec": { "containers": "none" } });
    submit(&server, "typo", json!({ "file": "/a.py", "volumes": volumes, "executor": { "podTemplate": template } }));
    until_phase(&server, "typo", "Failed", "InvalidSpec").await;
    let message = status(&server, "typo")["message"].as_str().unwrap().to_owned();
    for part in ["volumes[0]: unknown field 'pvc'", "executor.podTemplate: spec.containers"] {
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn a_secret_of_another_namespace_is_never_asked_for() {
    let server = server();
    let _operator = start(server.client());
    submit(
        &server,
        "thief",
        json!({ "file": "/a.py", "confFrom": [{ "secretRef": { "name": "../../other/secrets/s" } }] }),
    );
    until_phase(&server, "thief", "Failed", "InvalidSpec").await;
    assert_eq!(server.count("get", "secrets"), 0);
}

#[tokio::test]
async fn a_batch_waits_for_its_conf_and_starts_with_it() {
    let server = server();
    let operator = start_with(server.client(), SignedDuration::from_secs(600));
    let spec = json!({ "file": "/a.py", "confFrom": [{ "secretRef": { "name": "keys" } }, { "configMapRef": { "name": "none", "optional": true } }] });
    submit(&server, "pi", spec);
    until_phase(&server, "pi", "Pending", "ConfUnavailable").await;
    assert!(drivers(&server).is_empty());
    drop(operator);
    // "spark.note: hush", in base64
    server.insert(
        "secrets",
        json!({ "metadata": { "name": "keys", "namespace": NS }, "data": { "spark.note": "aHVzaA==" } }),
    );
    let _again = start(server.client());
    let driver = driver_name(&server).await;
    until_phase(&server, "pi", "Starting", "DriverPending").await;
    let secret = server.get("secrets", NS, &driver.replace("-driver", "-conf")).unwrap();
    let properties = String::from_utf8(k8s_openapi_bytes(&secret["data"]["spark.properties"])).unwrap();
    assert!(properties.contains("spark.note=hush\n"), "{properties}");
    assert!(!server.list("sparkbatches", NS)[0].to_string().contains("hush"));
}

#[tokio::test]
async fn a_batch_whose_conf_must_not_be_read_says_which_right_is_missing() {
    let server = server();
    server.inject(Fault::on("get", "secrets").named("keys").answer(403).always());
    let _operator = start(server.client());
    submit(&server, "pi", json!({ "file": "/a.py", "confFrom": [{ "secretRef": { "name": "keys" } }] }));
    until_phase(&server, "pi", "Pending", "ConfUnavailable").await;
    let message = status(&server, "pi")["message"].clone();
    assert_eq!(
        message,
        "confFrom: the operator may not read Secret 'keys': grant its service account the right to get it"
    );
}

fn k8s_openapi_bytes(text: &Value) -> Vec<u8> {
    serde_json::from_value::<k8s_openapi::ByteString>(text.clone()).unwrap().0
}

#[tokio::test]
async fn a_pod_of_the_name_that_is_anothers_is_never_adopted() {
    let server = server();
    let uid = server.insert("sparkbatches", json!({ "metadata": { "name": "pi", "namespace": NS }, "spec": pi() }))["metadata"]["uid"].clone();
    let names = sparkbatch::spark::AttemptNames::new("pi", uid.as_str().unwrap(), 1);
    server.insert(
        "pods",
        json!({ "metadata": { "name": names.driver_pod, "namespace": NS }, "spec": { "containers": [] } }),
    );
    let _operator = start(server.client());
    until_phase(&server, "pi", "Failed", "NameConflict").await;
    assert!(server.get("pods", NS, &names.driver_pod).is_some());
    assert_eq!(server.count("create", "secrets"), 0);
}

#[tokio::test]
async fn a_secret_of_the_name_that_is_anothers_never_starts_a_driver() {
    let server = server();
    let uid = server.insert("sparkbatches", json!({ "metadata": { "name": "pi", "namespace": NS }, "spec": pi() }))["metadata"]["uid"].clone();
    let names = sparkbatch::spark::AttemptNames::new("pi", uid.as_str().unwrap(), 1);
    server.insert("secrets", json!({ "metadata": { "name": names.conf_secret, "namespace": NS } }));
    let _operator = start(server.client());
    until_phase(&server, "pi", "Failed", "NameConflict").await;
    assert!(drivers(&server).is_empty());
}

#[tokio::test]
async fn a_refused_driver_waits_and_a_wrong_one_fails() {
    let server = server();
    server.inject(Fault::on("create", "pods").answer_with(ApiError::new(403, "exceeded quota: jobs")).always());
    let _operator = start(server.client());
    submit(&server, "quota", pi());
    until_phase(&server, "quota", "Pending", "DriverRefused").await;
    assert!(status(&server, "quota")["message"].as_str().unwrap().contains("exceeded quota"));

    server.clear_faults();
    server.inject(
        Fault::on("create", "pods").answer_with(ApiError::new(422, "volumeMounts[0].name: Not found")).always(),
    );
    submit(&server, "wrong", pi());
    until_phase(&server, "wrong", "Failed", "InvalidSpec").await;
}

#[tokio::test]
async fn executors_are_counted_and_taken_down_when_a_driver_leaves_them() {
    let server = server();
    let _operator = start(server.client());
    let driver = running_pi(&server).await;
    add_executor(&server, &driver, "exec-1", "Running");
    add_executor(&server, &driver, "exec-2", "Pending");
    let expected = json!({ "requested": 2, "pending": 1, "running": 1, "succeeded": 0, "failed": 0 });
    server.until("the executors to be counted", |server| status(server, "pi")["executors"] == expected).await;
    server.set_driver_terminated(NS, &driver, 137, "Error");
    until_phase(&server, "pi", "Failed", "DriverExitNonZero").await;
    server.until("the executors to be deleted", |server| server.list("pods", NS).len() == 1).await;
    assert_eq!(status(&server, "pi")["executors"]["running"], 0);
}

#[tokio::test]
async fn executors_of_another_batch_of_the_name_stay() {
    let server = server();
    let _operator = start(server.client());
    let driver = running_pi(&server).await;
    add_executor(&server, &driver, "exec-1", "Running");
    add_executor(&server, &driver, "exec-2", "Running");
    let of_another = |pod: &mut Value| pod["metadata"]["labels"]["spark-app-selector"] = json!("spark-0123-1");
    server.update("pods", NS, "exec-2", of_another);
    server.set_driver_terminated(NS, &driver, 137, "Error");
    server.until("the executor to be deleted", |server| server.get("pods", NS, "exec-1").is_none()).await;
    assert!(server.get("pods", NS, "exec-2").is_some());
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

/// Every moment before and after one of the first `writes`.
fn crashes(writes: u64) -> impl Iterator<Item = Crash> {
    (1..=writes).flat_map(|n| [Crash::BeforeWrite(n), Crash::AfterWrite(n)])
}

/// A server, and an operator at it by the name `first`, whose process ends as `crash` says.
fn start_doomed(crash: Crash) -> (ApiServer, Operator) {
    let server = server();
    let client = server.client_as("first");
    server.crash("first", crash);
    let operator = start(client);
    (server, operator)
}

/// The guarantee: whatever write the operator dies before or after, the batch ends well and one driver was made.
#[tokio::test]
async fn a_crash_before_or_after_any_write_makes_one_driver_and_the_right_end() {
    for crash in crashes(8) {
        let (server, first) = start_doomed(crash);
        submit(&server, "pi", pi());
        run_until_dead_or_done(&server).await;
        drop(first);
        let _second = start(server.client_as("second"));
        let driver = driver_name(&server).await;
        server.until("the driver's Secret", |server| !server.list("secrets", NS).is_empty()).await;
        if drivers(&server)[0]["status"]["phase"] != "Succeeded" {
            server.set_pod_running(NS, &driver);
            server.set_driver_terminated(NS, &driver, 0, "Completed");
        }
        until_phase(&server, "pi", "Succeeded", "DriverSucceeded").await;
        assert_eq!(created_pods(&server), 1, "{crash:?}");
    }
}

/// Plays the kubelet for the first operator for as long as it lives.
async fn run_until_dead_or_done(server: &ApiServer) {
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
async fn a_cache_that_has_not_seen_the_driver_never_takes_it_for_lost() {
    let server = server();
    let _operator = start(server.client());
    server.until("the watch of pods", |server| server.open_watches("pods") > 0).await;
    server.hold_watches("pods");
    submit(&server, "pi", pi());
    until_phase(&server, "pi", "Starting", "DriverPending").await;
    // Something makes the operator look again, while its cache knows of no pod.
    server.update("sparkbatches", NS, "pi", |batch| batch["metadata"]["annotations"] = json!({ "touched": "1" }));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(phase_reason(&server, "pi").0, "Starting");
    server.release_watches("pods");
    let driver = driver_name(&server).await;
    server.set_pod_running(NS, &driver);
    until_phase(&server, "pi", "Running", "DriverRunning").await;
    assert_eq!(created_pods(&server), 1);
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

#[tokio::test]
async fn a_batch_that_cannot_be_read_stops_no_other() {
    let server = server();
    server.insert("sparkbatches", json!({ "metadata": { "name": "odd", "namespace": NS }, "spec": { "file": 7 } }));
    let _operator = start(server.client());
    submit(&server, "pi", pi());
    until_phase(&server, "pi", "Starting", "DriverPending").await;
    until_phase(&server, "odd", "Pending", "InvalidSpec").await;
}

#[tokio::test]
async fn names_of_the_rest_facade_are_refused_to_others() {
    let server = server();
    let _operator = start(server.client());
    submit(&server, "batch-7", pi());
    until_phase(&server, "batch-7", "Failed", "InvalidSpec").await;
    assert!(status(&server, "batch-7")["message"].as_str().unwrap().contains("batch-<number>"));
}
