//! Executors that fail, and drivers that have none.

use super::*;

/// The server's clock so long ago: what happens on it now happened then.
fn set_back(server: &ApiServer, seconds: i64) {
    server.set_now(Timestamp::now() - SignedDuration::from_secs(seconds));
}

fn end_executor(server: &ApiServer, name: &str, code: i32, reason: &str) {
    let at = Timestamp::from_second(server.now().as_second()).unwrap().to_string();
    server.update("pods", NS, name, |pod| {
        pod["status"]["phase"] = json!("Failed");
        pod["status"]["containerStatuses"] = json!([{
            "name": "spark-kubernetes-executor", "ready": false, "restartCount": 0, "image": "", "imageID": "",
            "state": { "terminated": { "exitCode": code, "reason": reason, "finishedAt": at } },
        }]);
    });
}

fn failures(server: &ApiServer) -> Vec<(String, String)> {
    let status = status(server, "pi");
    let failures = status["executorFailures"].as_array().cloned().unwrap_or_default();
    let text = |failure: &Value, field: &str| failure[field].as_str().unwrap_or_default().to_owned();
    failures.iter().map(|failure| (text(failure, "podName"), text(failure, "reason"))).collect()
}

fn message(server: &ApiServer) -> String {
    status(server, "pi")["message"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_last_executors_that_failed_are_told_of_after_they_are_gone() {
    let server = server();
    let _operator = start(server.client());
    // So that they end before their driver does.
    set_back(&server, 60);
    let driver = running_pi(&server).await;
    server.clear_calls();
    for n in 0..20 {
        let name = format!("exec-{n:02}");
        add_executor(&server, &driver, &name, "Running");
        end_executor(&server, &name, 137, "OOMKilled");
        server.remove("pods", NS, &name);
    }
    add_executor(&server, &driver, "exec-99", "Running");
    server.update("pods", NS, "exec-99", |pod| {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:30Z");
        pod["metadata"]["deletionGracePeriodSeconds"] = json!(30);
    });
    end_executor(&server, "exec-99", 143, "Error");
    let expected: Vec<_> = (15..20).map(|n| (format!("exec-{n}"), "OOMKilled".to_owned())).collect();
    server.until("the failures to be told", |server| failures(server) == expected).await;
    assert_eq!(status(&server, "pi")["executorFailures"][0]["exitCode"], 137);
    let writes = server.count("patch", "sparkbatches/status");
    assert!(writes <= 3, "{writes} writes");
    server.set_driver_terminated(NS, &driver, 1, "Error");
    until_phase(&server, "pi", "Failed", "DriverExitNonZero").await;
    assert_eq!(failures(&server), expected);
}

#[tokio::test]
async fn a_final_status_takes_the_last_failure_along_and_none_that_the_drivers_end_made() {
    let server = server();
    let _operator = start(server.client());
    set_back(&server, 60);
    let driver = running_pi(&server).await;
    for name in ["exec-1", "exec-2"] {
        add_executor(&server, &driver, name, "Running");
    }
    end_executor(&server, "exec-1", 52, "Error");
    set_back(&server, 30);
    // Its driver ends, and the watch tells of the executor first.
    end_executor(&server, "exec-2", 1, "Error");
    server.set_driver_terminated(NS, &driver, 1, "Error");
    until_phase(&server, "pi", "Failed", "DriverExitNonZero").await;
    assert_eq!(failures(&server), [("exec-1".to_owned(), "Error".to_owned())]);
}

#[tokio::test]
async fn a_driver_that_gets_no_executors_says_why_until_it_has_one() {
    let server = server();
    let _operator = start(server.client());
    submit(&server, "pi", pi());
    let driver = driver_name(&server).await;
    set_back(&server, 29);
    server.set_pod_running(NS, &driver);
    until_phase(&server, "pi", "Running", "DriverRunning").await;
    server.until("that there are none", |server| message(server).contains("no executor pod was created")).await;
    assert_eq!(phase_reason(&server, "pi"), ("Running".into(), "DriverRunning".into()));

    add_executor(&server, &driver, "exec-1", "Pending");
    server.set_unschedulable(NS, "exec-1", "0/1 nodes are available");
    let why = "no executor runs: Unschedulable: 0/1 nodes are available";
    server.until("that they are unschedulable", |server| message(server) == why).await;
    server.clear_calls();
    for nodes in 2..20 {
        server.set_unschedulable(NS, "exec-1", &format!("0/{nodes} nodes are available"));
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    assert_eq!(server.count("patch", "sparkbatches/status"), 0, "numbers that change are not worth a write");
    server.set_pod_running(NS, "exec-1");
    server.until("that one runs", |server| message(server).is_empty()).await;
}

#[tokio::test]
async fn a_driver_that_has_had_its_executors_may_be_without() {
    let server = server();
    let _operator = start(server.client());
    submit(&server, "pi", pi());
    let driver = driver_name(&server).await;
    add_executor(&server, &driver, "exec-1", "Succeeded");
    set_back(&server, 29);
    server.set_pod_running(NS, &driver);
    until_phase(&server, "pi", "Running", "DriverRunning").await;
    server.remove("pods", NS, "exec-1");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(message(&server), "");
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
