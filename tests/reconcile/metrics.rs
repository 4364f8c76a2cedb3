//! What the controller counts.

use super::*;
use rstest::rstest;

/// What the operator tells of a batch's end, by Events and by its counter.
fn told_of_the_end(server: &ApiServer, operator: &Operator) -> (usize, bool) {
    let events = server.list("events", NS);
    let ended = "sparkbatch_batches_finished_total{phase=\"Succeeded\",reason=\"DriverSucceeded\"} 1";
    let is_counted = operator.metrics.text().unwrap().lines().any(|line| line == ended);
    (events.iter().filter(|event| event["reason"] == "DriverSucceeded").count(), is_counted)
}

#[rstest]
#[case::its_answer_is_lost(|fault: Fault| fault.lose_response())]
#[case::it_lands_after_it_was_given_up(|fault: Fault| fault.land_late(Duration::from_millis(300)).lose_response())]
#[case::it_lands_after_the_next_one(|fault: Fault| fault.land_late(Duration::from_millis(1500)).lose_response())]
#[case::it_is_done_and_answered_with_an_error(|fault: Fault| fault.land_late(Duration::ZERO).answer(504))]
#[case::it_is_refused(|fault: Fault| fault.answer(500))]
#[case::it_is_not_sent(|fault: Fault| fault.refuse())]
#[tokio::test]
async fn an_end_is_told_and_counted_once_whatever_becomes_of_its_write(#[case] fault: fn(Fault) -> Fault) {
    let server = server();
    let operator = start(server.client());
    let driver = running_pi(&server).await;
    server.inject(fault(Fault::on("patch", "sparkbatches/status").times(1)));
    server.set_driver_terminated(NS, &driver, 0, "Completed");
    until_phase(&server, "pi", "Succeeded", "DriverSucceeded").await;
    server.until("the end to be told of", |server| told_of_the_end(server, &operator) == (1, true)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.update("sparkbatches", NS, "pi", |batch| batch["metadata"]["annotations"] = json!({ "seen": "1" }));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(told_of_the_end(&server, &operator), (1, true));
}

fn assert_shows(operator: &Operator, lines: &[&str]) {
    let text = operator.metrics.text().unwrap();
    for line in lines {
        assert!(text.lines().any(|shown| shown == *line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn a_batch_that_ran_is_counted_by_its_end_and_timed_at_its_start() {
    let server = server();
    let operator = start(server.client());
    let driver = running_pi(&server).await;
    assert_shows(
        &operator,
        &[
            "sparkbatch_batches{phase=\"Running\"} 1",
            "sparkbatch_batches{phase=\"Failed\"} 0",
            "sparkbatch_leader{shard=\"0\"} 1",
            "sparkbatch_start_latency_seconds_count{until=\"created\"} 1",
            "sparkbatch_start_latency_seconds_count{until=\"running\"} 1",
            "sparkbatch_start_latency_seconds_bucket{le=\"3600.0\",until=\"running\"} 1",
        ],
    );
    server.set_driver_terminated(NS, &driver, 3, "Error");
    let ended = "sparkbatch_batches_finished_total{phase=\"Failed\",reason=\"DriverExitNonZero\"} 1";
    until_phase(&server, "pi", "Failed", "DriverExitNonZero").await;
    server.until("the end to be counted", |_| operator.metrics.text().unwrap().contains(ended)).await;
    server.until("the cache to follow", |_| operator.metrics.text().unwrap().contains("{phase=\"Failed\"} 1")).await;
    let text = operator.metrics.text().unwrap();
    assert!(text.contains("sparkbatch_reconcile_duration_seconds_bucket{le=\"60.0\",result=\"ok\"}"), "{text}");
    assert!(!text.contains("pi\""), "a batch is named:\n{text}");
}

#[tokio::test]
async fn what_fails_is_counted_by_its_kind() {
    let server = server();
    server.inject(Fault::on("list", "pods").answer(403).times(1));
    server.inject(Fault::on("create", "pods").answer(500).times(1));
    let operator = start(server.client());
    submit(&server, "pi", pi());
    until_phase(&server, "pi", "Starting", "DriverPending").await;
    assert_shows(
        &operator,
        &[
            "sparkbatch_controller_watch_errors_total{resource=\"pods\"} 1",
            "sparkbatch_reconcile_duration_seconds_count{result=\"api\"} 1",
        ],
    );
}

#[tokio::test]
async fn a_batch_that_is_deleted_during_a_look_that_fails_is_forgotten() {
    let server = server();
    server.inject(Fault::on("create", "pods").answer(500).hold());
    let operator = start(server.client());
    submit(&server, "pi", pi());
    server.until("a look", |server| server.held() == 1).await;
    server.remove("sparkbatches", NS, "pi");
    let shows = |line: &str| operator.metrics.text().unwrap().lines().any(|shown| shown == line);
    server.until("the cache to follow", |_| shows("sparkbatch_batches{phase=\"Pending\"} 0")).await;
    server.release_held();
    server.until("the look to fail", |_| shows("sparkbatch_reconcile_duration_seconds_count{result=\"api\"} 1")).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_shows(&operator, &["sparkbatch_failing_batches 0"]);
}

#[tokio::test]
async fn a_batch_that_is_deleted_while_no_watch_is_open_fails_no_more() {
    let server = server();
    server.inject(Fault::on("create", "pods").answer(500));
    let operator = start(server.client());
    submit(&server, "pi", pi());
    let failing = |count: usize| {
        let line = format!("sparkbatch_failing_batches {count}");
        operator.metrics.text().unwrap().lines().any(|shown| shown == line)
    };
    server.until("the batch to fail", |_| failing(1)).await;
    server.inject(Fault::on("watch", "sparkbatches").answer(500).times(1));
    server.break_watches("sparkbatches");
    server.remove("sparkbatches", NS, "pi");
    server.expire_watches("sparkbatches");
    server.until("the batch to be forgotten", |_| failing(0)).await;
}

#[tokio::test]
async fn what_keeps_the_caches_from_being_filled_is_told_until_they_are() {
    let server = server();
    server.inject(Fault::on("list", "sparkbatches").answer(404).always());
    server.inject(Fault::on("list", "pods").answer(403).always());
    let operator = start(server.client());
    let told = [
        "may not list pods in all namespaces: the service account needs list and watch",
        "the CRD sparkbatches.sparkbatch.dev is not installed",
    ];
    server.until("to be told what is missing", |_| operator.metrics.unlisted() == told).await;
    assert!(!operator.is_ready());
    server.clear_faults();
    server.until("the caches to be filled", |_| operator.is_ready()).await;
    assert_eq!(operator.metrics.unlisted(), Vec::<String>::new());
}
