//! What keeps a batch from its driver for long: it is said on the batch, costs less than a write a minute, and ends at the
//! deadline. The time of day goes with the timers here, which are stopped.

use rstest::rstest;
use sparkbatch::spark::AttemptNames;

use super::*;

/// The time of day, as far ahead as the timers are.
fn now() -> Timestamp {
    let ahead = tokio::time::Instant::now().into_std().saturating_duration_since(std::time::Instant::now());
    Timestamp::now() + SignedDuration::try_from(ahead).unwrap()
}

fn start(server: &ApiServer) -> Operator {
    let config = ControllerConfig { clock: now, ..config(SignedDuration::from_secs(600)) };
    start_config(server.client(), config)
}

#[rstest]
#[case::a_webhook_for_pods("create", "pods", 500, "failed calling webhook", "create the driver pod")]
#[case::a_webhook_for_secrets("create", "secrets", 500, "failed calling webhook", "create an object of the attempt")]
#[case::no_right_to_secrets("get", "secrets", 403, "secrets is forbidden", "look for the driver's Secret")]
#[case::no_right_to_batches("get", "sparkbatches", 403, "is forbidden", "look whether the batch is as before")]
#[tokio::test]
async fn what_a_look_fails_for_again_and_again_is_told_and_fails_the_batch_at_its_deadline(
    #[case] verb: &str,
    #[case] resource: &str,
    #[case] code: u16,
    #[case] said: &str,
    #[case] operation: &str,
) {
    let server = server();
    server.inject(Fault::on(verb, resource).answer_with(ApiError::new(code, said)).always());
    let operator = start(&server);
    submit(&server, "pi", pi());
    pass(Duration::from_secs(60)).await;
    assert_eq!(phase_reason(&server, "pi"), ("Pending".into(), "DriverRefused".into()));
    assert_eq!(status(&server, "pi")["message"], format!("{operation}: {said}"));
    let told = server.list("events", NS).iter().any(|event| event["reason"] == "DriverRefused");
    assert!(told, "{:#?}", server.list("events", NS));
    let waiting = "sparkbatch_waiting_batches{reason=\"DriverRefused\"} 1";
    assert!(operator.metrics.text().unwrap().contains(waiting));
    pass(Duration::from_mins(20)).await;
    assert_eq!(phase_reason(&server, "pi"), ("Failed".into(), "DriverRefused".into()));
    let message = status(&server, "pi")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("deadlines.pendingSeconds") && message.contains(said), "{message}");
    server.until("what came of it to go", |server| drivers(server).is_empty()).await;
}

#[tokio::test]
async fn a_batch_starts_once_what_kept_it_is_over() {
    let server = server();
    server.inject(Fault::on("create", "pods").answer(500).always());
    let _operator = start(&server);
    submit(&server, "pi", pi());
    pass(Duration::from_secs(60)).await;
    assert_eq!(phase_reason(&server, "pi").1, "DriverRefused");
    server.clear_faults();
    pass(Duration::from_mins(5)).await;
    assert_eq!(phase_reason(&server, "pi"), ("Starting".into(), "DriverPending".into()));
    assert_eq!(created_pods(&server), 1);
}

/// N batches that a webhook refuses must not hold the N places of their namespace.
#[tokio::test]
async fn what_cannot_start_holds_no_place_in_the_queue() {
    let server = server();
    let limits = Limits { default: 1, ..Limits::default() };
    let config = ControllerConfig { clock: now, limits, ..config(SignedDuration::from_secs(600)) };
    let _operator = start_config(server.client(), config);
    let object = json!({ "metadata": { "name": "stuck", "namespace": NS }, "spec": pi() });
    let uid = server.insert("sparkbatches", object)["metadata"]["uid"].as_str().unwrap().to_owned();
    let driver = AttemptNames::new("stuck", &uid, 1).driver_pod;
    server.inject(Fault::on("create", "pods").named(&driver).answer(500).always());
    pass(Duration::from_secs(60)).await;
    submit(&server, "next", pi());
    until_phase(&server, "next", "Starting", "DriverPending").await;
}

#[tokio::test]
async fn a_batch_that_is_refused_costs_less_than_a_write_a_minute_from_the_first_minutes_on() {
    let server = server();
    server.inject(Fault::on("create", "pods").answer_with(ApiError::new(403, "exceeded quota")).always());
    let _operator = start(&server);
    submit(&server, "pi", pi());
    pass(Duration::from_mins(10)).await;
    let writes = server.writes();
    assert!((5..=10).contains(&writes.len()), "{writes:#?}");
}

#[rstest]
#[case::for_its_conf(json!({ "confFrom": [{ "secretRef": { "name": "none" } }] }), "ConfUnavailable")]
#[case::for_its_driver(json!({}), "DriverRefused")]
#[tokio::test]
async fn what_an_attempt_has_left_is_cleared_away_once_however_long_the_next_one_waits(
    #[case] fields: Value,
    #[case] reason: &str,
) {
    let server = server();
    server.inject(Fault::on("create", "pods").answer_with(ApiError::new(403, "exceeded quota")).always());
    let mut spec = json!({ "file": "/a.py", "deadlines": { "pendingSeconds": 7200 } });
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let status = json!({ "phase": "Pending", "reason": "RetryBackoff", "attempt": 2, "nextAttemptTime": "2026-01-01T00:00:00Z" });
    let object = json!({ "metadata": { "name": "pi", "namespace": NS }, "spec": spec, "status": status });
    server.insert("sparkbatches", object);
    let _operator = start(&server);
    until_phase(&server, "pi", "Pending", reason).await;
    pass(Duration::from_mins(60)).await;
    assert_eq!(phase_reason(&server, "pi").1, reason);
    let cleared = server.writes().iter().filter(|write| write.contains("delete")).count();
    assert!((1..=3).contains(&cleared), "{:#?}", server.writes());
    assert!(server.writes().len() < 60, "{:#?}", server.writes());
}

/// A pod whose Secret was refused is deleted. While it goes, it is nobody's driver, and its end no loss.
#[tokio::test]
async fn a_pod_that_goes_for_want_of_its_secret_is_not_taken_for_the_driver() {
    let server = server();
    server.options(|options| options.graceful_pod_deletion = true);
    // The kubelet has it already, which takes its time to end it.
    let scheduled = |server: &ApiServer| {
        let name = drivers(server)[0]["metadata"]["name"].as_str().unwrap().to_owned();
        server.update("pods", NS, &name, |pod| pod["spec"]["nodeName"] = json!("node-1"));
    };
    let refused = Fault::on("create", "secrets").answer_with(ApiError::new(403, "exceeded quota"));
    server.inject(refused.run_before(scheduled).times(1));
    let _operator = start(&server);
    submit(&server, "pi", pi());
    until_phase(&server, "pi", "Pending", "DriverRefused").await;
    pass(Duration::from_mins(2)).await;
    assert!(server.list("secrets", NS).is_empty());
    let message = status(&server, "pi")["message"].clone();
    assert!(message.as_str().unwrap().contains("has not been deleted yet"), "{message}");
    let going = drivers(&server)[0]["metadata"]["name"].as_str().unwrap().to_owned();
    server.finish_pod_deletion(NS, &going);
    pass(Duration::from_mins(6)).await;
    assert_eq!(phase_reason(&server, "pi"), ("Starting".into(), "DriverPending".into()));
}
