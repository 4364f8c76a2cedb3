//! What nobody should have written, and what a cluster refuses: a clear word on the batch, an Event and a metric, no
//! hot loop, and no harm to the batch beside it.

use std::sync::atomic::AtomicUsize;

use rstest::rstest;
use sparkbatch::spark::AttemptNames;

use super::conf_from::bytes_of;
use super::*;

/// Longer than the longest pause between two looks, in the time that a test has stopped.
const AN_HOUR: Duration = Duration::from_secs(3600);

/// Puts a batch in place as somebody may have left it; its uid.
fn insert(server: &ApiServer, name: &str, spec: Value, status: Value) -> String {
    let object = json!({ "metadata": { "name": name, "namespace": NS }, "spec": spec, "status": status });
    server.insert("sparkbatches", object)["metadata"]["uid"].as_str().unwrap().to_owned()
}

fn message(server: &ApiServer, name: &str) -> String {
    status(server, name)["message"].as_str().unwrap_or_default().to_owned()
}

/// Waits for an Event about a batch, and gives its note.
async fn event(server: &ApiServer, name: &str, reason: &str) -> String {
    let find = |server: &ApiServer| {
        let is_it = |event: &Value| event["regarding"]["name"] == name && event["reason"] == reason;
        server.list("events", NS).into_iter().find(is_it)
    };
    server.until(&format!("the Event {reason} of {name}"), |server| find(server).is_some()).await;
    find(server).unwrap()["note"].as_str().unwrap_or_default().to_owned()
}

async fn metric(server: &ApiServer, operator: &Operator, line: &str) {
    let shows = |_: &ApiServer| operator.metrics.text().unwrap().lines().any(|shown| shown == line);
    server.until(line, shows).await;
}

/// The batch beside runs to its end.
async fn another_succeeds(server: &ApiServer) {
    let known: Vec<_> = drivers(server);
    submit(server, "other", pi());
    let new = |server: &ApiServer| drivers(server).into_iter().find(|driver| !known.contains(driver));
    let is_others = |driver: &Value| driver["metadata"]["labels"]["sparkbatch.dev/batch"] == "other";
    server.until("the other's driver", |server| new(server).is_some_and(|driver| is_others(&driver))).await;
    let name = new(server).unwrap()["metadata"]["name"].as_str().unwrap().to_owned();
    server.set_pod_running(NS, &name);
    server.set_driver_terminated(NS, &name, 0, "Completed");
    until_phase(server, "other", "Succeeded", "DriverSucceeded").await;
}

/// Writes in an hour.
async fn writes_in_an_hour(server: &ApiServer) -> Vec<String> {
    // What was begun is finished first.
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.clear_calls();
    pass(AN_HOUR).await;
    server.writes()
}

fn ended_metric(reason: &str) -> String {
    format!("sparkbatch_batches_finished_total{{phase=\"Failed\",reason=\"{reason}\"}} 1")
}

#[tokio::test]
async fn a_running_batch_that_a_newer_operator_wrote_is_told_of_and_left_alone() {
    let server = server();
    for (name, status) in [
        ("phase", json!({ "phase": "Paused", "reason": "DriverRunning", "attempt": 1 })),
        ("reason", json!({ "phase": "Running", "reason": "NewReason", "attempt": 1 })),
    ] {
        insert(&server, name, pi(), status.clone());
    }
    let operator = start(server.client());
    for (name, field) in [("phase", "status.phase"), ("reason", "status.reason")] {
        let note = event(&server, name, "Unreadable").await;
        assert!(note.contains(field) && note.contains("Upgrade the operator"), "{note}");
    }
    metric(&server, &operator, "sparkbatch_unreadable_batches 2").await;
    another_succeeds(&server).await;
    assert_eq!(phase_reason(&server, "phase"), ("Paused".into(), "DriverRunning".into()));
    assert_eq!(phase_reason(&server, "reason"), ("Running".into(), "NewReason".into()));
    // Its own operator goes on writing to it.
    for n in 0..5 {
        server.update("sparkbatches", NS, "phase", |batch| batch["status"]["message"] = json!(n.to_string()));
    }
    assert_eq!(writes_in_an_hour(&server).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_spec_that_cannot_be_read_is_told_on_the_batch_which_starts_once_it_can() {
    let server = server();
    let operator = start(server.client());
    insert(&server, "new", json!({ "file": "/a.py", "conf": { "spark.a": ["hunter22"] } }), Value::Null);
    until_phase(&server, "new", "Pending", "InvalidSpec").await;
    let told = message(&server, "new");
    assert!(told.contains("cannot read spec.conf.spark.a") && !told.contains("hunter22"), "{told}");
    assert_eq!(event(&server, "new", "Unreadable").await, told);
    metric(&server, &operator, "sparkbatch_unreadable_batches 1").await;
    another_succeeds(&server).await;
    assert_eq!(writes_in_an_hour(&server).await, Vec::<String>::new());
    server.update("sparkbatches", NS, "new", |batch| batch["spec"]["conf"] = json!({}));
    until_phase(&server, "new", "Starting", "DriverPending").await;
}

#[tokio::test]
async fn unknown_fields_are_kept_and_do_not_matter() {
    let server = server();
    let spec = json!({ "file": "/a.py", "fromTheFuture": { "a": 1 }, "driver": { "alsoNew": true } });
    insert(&server, "pi", spec, json!({ "phase": "Pending", "fromTheFuture": "kept" }));
    let _operator = start(server.client());
    until_phase(&server, "pi", "Starting", "DriverPending").await;
    let batch = server.get("sparkbatches", NS, "pi").unwrap();
    assert_eq!(batch["status"]["fromTheFuture"], "kept");
    assert_eq!(batch["spec"]["fromTheFuture"]["a"], 1);
    another_succeeds(&server).await;
}

/// The driver of attempt 1 runs; somebody writes this into the status. Whatever comes of it, there is never a second
/// driver at work, the operator goes on, and the status stays small.
#[rstest]
#[case::attempt_zero(json!({ "attempt": 0 }))]
#[case::attempt_negative(json!({ "attempt": -5 }))]
#[case::attempt_huge(json!({ "attempt": i32::MAX }))]
#[case::another_attempt_and_no_driver(json!({ "attempt": 7, "driver": null }))]
#[case::a_last_attempt_and_no_driver(json!({ "attempt": i32::MAX, "driver": null, "phase": "Pending" }))]
#[case::another_attempt_that_is_due(json!({ "attempt": 7, "driver": null, "nextAttemptTime": "2000-01-01T00:00:00Z" }))]
#[case::no_driver(json!({ "driver": null }))]
#[case::pending(json!({ "phase": "Pending", "driver": null, "attempt": null }))]
#[case::succeeded(json!({ "phase": "Succeeded", "reason": "DriverSucceeded" }))]
#[case::negative_failures(json!({ "failures": { "infrastructure": i32::MIN, "application": -9 } }))]
#[case::far_future(json!({ "nextAttemptTime": "9999-01-01T00:00:00Z" }))]
#[case::far_future_and_no_driver(json!({ "nextAttemptTime": "9999-01-01T00:00:00Z", "driver": null }))]
#[case::far_past(json!({ "nextAttemptTime": "0001-01-01T00:00:00Z", "startTime": "0001-01-01T00:00:00Z" }))]
#[case::another_id(json!({ "id": 77 }))]
#[case::an_id_that_is_none(json!({ "id": -1 }))]
#[case::conditions(json!({ "conditions": [
    { "type": "Reconciling", "status": "True", "reason": "x", "message": "y".repeat(9000), "lastTransitionTime": "9999-01-01T00:00:00Z" },
    { "type": "Reconciling", "status": "Maybe", "reason": "", "message": "", "lastTransitionTime": "1970-01-01T00:00:00Z" },
] }))]
#[case::many_attempts(json!({ "attempts": (0..1000).map(|n| json!({ "attempt": n })).collect::<Vec<_>>() }))]
#[tokio::test]
async fn a_status_edited_by_hand_makes_no_second_driver(#[case] edit: Value) {
    let server = server();
    let operator = start(server.client());
    let spec = json!({ "file": "/opt/pi.py", "retry": { "infrastructureRetries": 1, "applicationRetries": 1, "backoffSeconds": 1 } });
    submit(&server, "pi", spec);
    let first = driver_name(&server).await;
    server.set_pod_running(NS, &first);
    until_phase(&server, "pi", "Running", "DriverRunning").await;
    for _ in 0..3 {
        server.update("sparkbatches", NS, "pi", |batch| {
            for (field, value) in edit.as_object().unwrap() {
                batch["status"][field] = value.clone();
            }
        });
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert!(at_work(&server) <= 1, "{:#?}", drivers(&server));
    }
    // Play it to its end: the driver fails, and what follows is bounded by the batch's own retries.
    if server.get("pods", NS, &first).is_some() {
        server.set_driver_terminated(NS, &first, 3, "Error");
    }
    server
        .until("the batch to end", |server| {
            assert!(at_work(server) <= 1, "{:#?}", drivers(server));
            for driver in drivers(server) {
                let name = driver["metadata"]["name"].as_str().unwrap();
                if is_at_work(&driver) && name != first {
                    server.set_driver_terminated(NS, name, 3, "Error");
                }
            }
            matches!(phase_reason(server, "pi").0.as_str(), "Failed" | "Succeeded")
        })
        .await;
    assert!(created_pods(&server) <= 3, "{}", created_pods(&server));
    if phase_reason(&server, "pi").0 == "Failed" {
        assert!(status(&server, "pi").to_string().len() < 8192);
    }
    assert!(!operator.task.is_finished());
    another_succeeds(&server).await;
}

fn is_at_work(driver: &Value) -> bool {
    !matches!(driver["status"]["phase"].as_str(), Some("Failed" | "Succeeded"))
}

fn at_work(server: &ApiServer) -> usize {
    let drivers = drivers(server);
    drivers
        .iter()
        .filter(|driver| is_at_work(driver) && driver["metadata"]["labels"]["sparkbatch.dev/batch"] == "pi")
        .count()
}

#[tokio::test]
async fn a_final_phase_taken_back_by_hand_runs_nothing_again() {
    let server = server();
    let operator = start(server.client());
    let driver = running_pi(&server).await;
    server.set_driver_terminated(NS, &driver, 0, "Completed");
    until_phase(&server, "pi", "Succeeded", "DriverSucceeded").await;
    for edit in [json!({ "phase": "Running" }), json!({ "phase": "Pending", "driver": null }), Value::Null] {
        server.update("sparkbatches", NS, "pi", |batch| match edit.as_object() {
            Some(fields) => fields.iter().for_each(|(field, value)| batch["status"][field] = value.clone()),
            None => batch["status"] = Value::Null,
        });
        until_phase(&server, "pi", "Succeeded", "DriverSucceeded").await;
    }
    assert_eq!(created_pods(&server), 1);
    assert!(!operator.task.is_finished());
}

/// Even one that wears our labels.
#[tokio::test]
async fn a_pod_of_somebody_else_that_a_status_names_is_neither_followed_nor_deleted() {
    let server = server();
    let _operator = start(server.client());
    submit(&server, "pi", pi());
    driver_name(&server).await;
    until_phase(&server, "pi", "Starting", "DriverPending").await;
    let labels = json!({ "spark-role": "driver", "sparkbatch.dev/batch": "pi", "sparkbatch.dev/attempt": "1" });
    let metadata = json!({ "name": "theirs", "namespace": NS, "labels": labels });
    let theirs = server.insert("pods", json!({ "metadata": metadata, "spec": { "containers": [] } }));
    let named = json!({ "podName": "theirs", "podUid": theirs["metadata"]["uid"] });
    server.update("sparkbatches", NS, "pi", |batch| {
        batch["status"]["driver"] = named;
        batch["spec"]["cancel"] = json!(true);
    });
    until_phase(&server, "pi", "Killed", "Cancelled").await;
    assert!(server.get("pods", NS, "theirs").is_some());

    submit(&server, "two", pi());
    until_phase(&server, "two", "Starting", "DriverPending").await;
    let named = json!({ "podName": "theirs", "podUid": theirs["metadata"]["uid"] });
    server.update("sparkbatches", NS, "two", |batch| batch["status"]["driver"] = named);
    until_phase(&server, "two", "Failed", "DriverLost").await;
    assert!(server.get("pods", NS, "theirs").is_some());
    server.until("our own driver to be ended", |server| drivers(server).len() == 1).await;
}

#[rstest]
#[case::a_pod("pods", "pod '")]
#[case::a_secret("secrets", "Secret '")]
#[tokio::test]
async fn an_object_of_our_name_that_is_anothers_fails_the_batch_with_its_name(#[case] kind: &str, #[case] told: &str) {
    let server = server();
    let uid = insert(&server, "pi", pi(), Value::Null);
    let names = AttemptNames::new("pi", &uid, 1);
    let name = if kind == "pods" { &names.driver_pod } else { &names.conf_secret };
    let owners = json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "other", "controller": true }]);
    let metadata = json!({ "name": name, "namespace": NS, "ownerReferences": owners });
    server.options(|options| options.collect_garbage = false);
    server.insert(kind, json!({ "metadata": metadata, "spec": { "containers": [] } }));
    let operator = start(server.client());
    until_phase(&server, "pi", "Failed", "NameConflict").await;
    let message = message(&server, "pi");
    assert!(
        message.starts_with(&format!("{told}{name}' exists and belongs to something else; delete it")),
        "{message}"
    );
    assert_eq!(event(&server, "pi", "NameConflict").await, message);
    metric(&server, &operator, &ended_metric("NameConflict")).await;
    another_succeeds(&server).await;
    assert_eq!(writes_in_an_hour(&server).await, Vec::<String>::new());
    assert!(server.get(kind, NS, name).is_some());
}

/// Refusals that may pass, in the words of Kubernetes.
#[rstest]
#[case::quota("pods \"pi\" is forbidden: exceeded quota: jobs, requested: pods=1, used: pods=9, limited: pods=9")]
#[case::pod_security(
    "pods \"pi\" is forbidden: violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false"
)]
#[case::service_account(
    "pods \"pi\" is forbidden: error looking up service account jobs/spark: serviceaccount \"spark\" not found"
)]
#[case::namespace(
    "pods \"pi\" is forbidden: unable to create new content in namespace jobs because it is being terminated"
)]
#[tokio::test]
async fn a_driver_that_the_cluster_refuses_says_why_and_asks_less_than_once_a_minute(#[case] refusal: &str) {
    let server = server();
    let refused = Fault::on("create", "pods").answer_with(ApiError::new(403, refusal)).always();
    // It has waited for long; the batch beside must not be refused.
    let waiting = json!([{ "type": "Reconciling", "status": "True", "reason": "DriverRefused", "message": "",
        "lastTransitionTime": (Timestamp::now() - SignedDuration::from_mins(30)).to_string() }]);
    let spec = json!({ "file": "/opt/pi.py", "deadlines": { "pendingSeconds": 360_000 } });
    let uid = insert(&server, "pi", spec, json!({ "phase": "Pending", "conditions": waiting }));
    let driver = AttemptNames::new("pi", &uid, 1).driver_pod;
    server.inject(refused.named(&driver));
    let operator = start(server.client());
    until_phase(&server, "pi", "Pending", "DriverRefused").await;
    assert_eq!(message(&server, "pi"), refusal);
    assert_eq!(event(&server, "pi", "DriverRefused").await, refusal);
    metric(&server, &operator, "sparkbatch_waiting_batches{reason=\"DriverRefused\"} 1").await;
    another_succeeds(&server).await;
    let writes = writes_in_an_hour(&server).await;
    assert!((10..60).contains(&writes.len()), "{writes:#?}");

    server.clear_faults();
    pass(Duration::from_mins(5)).await;
    assert_eq!(phase_reason(&server, "pi"), ("Starting".into(), "DriverPending".into()));
}

#[tokio::test]
async fn a_refused_batch_whose_own_status_changes_is_not_asked_for_at_once_again() {
    let server = server();
    server.inject(Fault::on("create", "pods").answer_with(ApiError::new(403, "exceeded quota: jobs")).always());
    let _operator = start(server.client());
    submit(&server, "pi", pi());
    until_phase(&server, "pi", "Pending", "DriverRefused").await;
    server.update("sparkbatches", NS, "pi", |batch| batch["metadata"]["labels"] = json!({ "seen": "true" }));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(server.count("create", "pods"), 1);
}

/// A quota's numbers, the id of a webhook's request.
#[tokio::test]
async fn a_refusal_whose_words_change_costs_less_than_a_write_a_minute_too() {
    let server = server();
    let count = AtomicUsize::new(0);
    let waiting = json!([{ "type": "Reconciling", "status": "True", "reason": "DriverRefused", "message": "",
        "lastTransitionTime": (Timestamp::now() - SignedDuration::from_mins(30)).to_string() }]);
    let spec = json!({ "file": "/opt/pi.py", "deadlines": { "pendingSeconds": 360_000 } });
    insert(&server, "pi", spec, json!({ "phase": "Pending", "conditions": waiting }));
    server.admit("pods", move |old, _| match old {
        None => Err(ApiError::new(403, format!("exceeded quota: request {}", count.fetch_add(1, Ordering::SeqCst)))),
        Some(_) => Ok(()),
    });
    let _operator = start(server.client());
    until_phase(&server, "pi", "Pending", "DriverRefused").await;
    let before = message(&server, "pi");
    let writes = writes_in_an_hour(&server).await;
    assert!((20..60).contains(&writes.len()), "{writes:#?}");
    assert_ne!(message(&server, "pi"), before, "the words are told, if late");
    assert_eq!(server.list("events", NS).len(), 1);
}

#[tokio::test]
async fn a_batch_in_a_namespace_that_is_deleted_goes_with_it() {
    let server = server();
    let refusal = "unable to create new content in namespace jobs because it is being terminated";
    for kind in ["pods", "secrets", "events", "configmaps"] {
        server.inject(Fault::on("create", kind).within(NS).answer_with(ApiError::new(403, refusal)).always());
    }
    let operator = start(server.client());
    submit(&server, "pi", pi());
    until_phase(&server, "pi", "Pending", "DriverRefused").await;
    assert_eq!(message(&server, "pi"), refusal);
    let elsewhere = json!({ "metadata": { "name": "pi", "namespace": "elsewhere" }, "spec": pi() });
    server.insert("sparkbatches", elsewhere);
    server.until("a batch elsewhere to start", |server| !server.list("pods", "elsewhere").is_empty()).await;
    server.remove("sparkbatches", NS, "pi");
    assert_eq!(writes_in_an_hour(&server).await, Vec::<String>::new());
    metric(&server, &operator, "sparkbatch_batches{phase=\"Pending\"} 0").await;
    metric(&server, &operator, "sparkbatch_batches{phase=\"Failed\"} 0").await;
}

#[tokio::test]
async fn two_hundred_kilobytes_of_arguments_and_a_thousand_conf_keys_run() {
    let server = server();
    let _operator = start(server.client());
    let args: Vec<_> = (0..100).map(|n| format!("{n:02}{}", "x".repeat(2046))).collect();
    let conf: serde_json::Map<_, _> = (0..1000).map(|n| (format!("spark.k{n}"), json!("v".repeat(100)))).collect();
    submit(&server, "pi", json!({ "file": "/opt/pi.py", "args": args, "conf": conf }));
    let driver = driver_name(&server).await;
    until_phase(&server, "pi", "Starting", "DriverPending").await;
    let pod = server.get("pods", NS, &driver).unwrap();
    let given = pod["spec"]["containers"][0]["args"].as_array().unwrap();
    assert_eq!(given[given.len() - 100..], args.iter().map(|arg| json!(arg)).collect::<Vec<_>>());
    let secret = server.get("secrets", NS, &driver.replace("-driver", "-conf")).unwrap();
    let properties = String::from_utf8(bytes_of(&secret["data"]["spark.properties"])).unwrap();
    assert_eq!(
        properties.lines().filter(|line| line.starts_with("spark.k") && !line.starts_with("spark.kub")).count(),
        1000
    );
    server.set_pod_running(NS, &driver);
    server.set_driver_terminated(NS, &driver, 0, "Completed");
    until_phase(&server, "pi", "Succeeded", "DriverSucceeded").await;
    assert!(status(&server, "pi").to_string().len() < 8192);
}

#[rstest]
#[case::an_argument(json!({ "file": "/a.py", "args": ["x".repeat(131_072)] }), "args: has an entry longer than 131071 bytes")]
#[case::arguments(json!({ "file": "/a.py", "args": vec!["x".repeat(100_001); 10] }), "args: is longer than 1000000 bytes in all")]
#[case::conf(
    json!({ "file": "/a.py", "conf": (0..20).map(|n| (format!("spark.k{n}"), json!("v".repeat(60_000)))).collect::<serde_json::Map<_, _>>() }),
    "conf: is longer than 1000000 bytes"
)]
#[tokio::test]
async fn what_no_driver_could_be_started_with_is_refused_by_name(#[case] spec: Value, #[case] told: &str) {
    let server = server();
    let operator = start(server.client());
    submit(&server, "pi", spec);
    until_phase(&server, "pi", "Failed", "InvalidSpec").await;
    let message = message(&server, "pi");
    assert!(message.starts_with(told), "{message}");
    assert_eq!(event(&server, "pi", "InvalidSpec").await, message);
    metric(&server, &operator, &ended_metric("InvalidSpec")).await;
    assert!(drivers(&server).is_empty());
    another_succeeds(&server).await;
}
