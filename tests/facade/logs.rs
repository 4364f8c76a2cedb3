//! Logs of drivers and executors.

#[path = "logs/follow.rs"]
mod follow;

use std::ops::Range;

use self::follow::Followed;
use super::*;

const DRIVER: &str = "batch-1-driver";
const CONTAINER: &str = "spark-kubernetes-driver";
const LOG: &str = "/batches/1/log";

fn insert_pod(api: &ApiServer, name: &str, container: &str) {
    api.insert(
        "pods",
        json!({ "metadata": { "namespace": NAMESPACE, "name": name },
        "spec": { "containers": [{ "name": container, "image": "spark" }] } }),
    );
}

async fn starting(api: &ApiServer) {
    let driver = json!({ "podName": DRIVER, "podUid": "u" });
    set_status(api, "batch-1", json!({ "phase": "Starting", "driver": driver })).await;
    insert_pod(api, DRIVER, CONTAINER);
}

/// A facade with batch 1, whose driver runs and has written this.
async fn running(api: &ApiServer, config: FacadeConfig, log: &str) -> Router {
    let router = facade_with(api, config).await;
    post(&router, APACHE, r#"{"file":"/a.py","name":"job-a"}"#).await;
    starting(api).await;
    api.set_pod_running(NAMESPACE, DRIVER);
    api.set_log(NAMESPACE, DRIVER, CONTAINER, log);
    router
}

/// The driver ends, and the operator has not seen it yet.
fn end(api: &ApiServer) {
    api.set_driver_terminated(NAMESPACE, DRIVER, 0, "Completed");
}

fn append(api: &ApiServer, lines: Range<usize>) {
    api.append_log(NAMESPACE, DRIVER, CONTAINER, text(lines));
}

fn text(lines: Range<usize>) -> String {
    lines.map(|n| format!("line {n}\n")).collect::<Vec<_>>().concat()
}

fn page(from: usize, total: usize, lines: Range<usize>) -> Value {
    json!({ "id": 1, "from": from, "total": total, "log": lines.map(|n| format!("line {n}")).collect::<Vec<_>>() })
}

#[tokio::test]
async fn a_log_is_empty_until_the_driver_writes() {
    let api = api_server();
    let router = facade(&api).await;
    post(&router, APACHE, JOB).await;
    let empty = r#"{"id":1,"from":0,"total":0,"log":[]}"#;
    assert_eq!(get(&router, LOG).await.text, empty);
    starting(&api).await;
    assert_eq!(get(&router, LOG).await.text, empty);
    api.set_pod_waiting(NAMESPACE, DRIVER, "ContainerCreating", "");
    assert_eq!(get(&router, LOG).await.text, empty);
    assert_eq!(get(&router, "/batches/1/log?from=abc").await.msg(), "For input string: \"abc\"");
}

#[tokio::test]
async fn logs_are_paged_as_livy_pages_them() {
    let api = api_server();
    let router = running(&api, config(), &text(1..154)).await;
    let cases = [
        ("", 53, 54..154),
        ("?size=3", 150, 151..154),
        ("?from=0&size=3", 0, 1..4),
        ("?from=150&size=100", 150, 151..154),
        ("?from=500&size=100", 500, 0..0),
        ("?from=-5&size=2", 151, 152..154),
        ("?from=1&size=-1", 1, 2..154),
        ("?size=0", 153, 0..0),
    ];
    for (query, from, lines) in cases {
        let shown = get(&router, &format!("/batches/job-a/log{query}")).await.json();
        assert_eq!(shown, page(from, 153, lines), "{query}");
    }
    assert_eq!(
        get(&router, "/batches/1/log?from=1&size=1").await.text,
        r#"{"id":1,"from":1,"total":153,"log":["line 2"]}"#
    );
    api.inject(Fault::on("get", "pods/log").answer(403));
    assert_eq!(get(&router, LOG).await.status, 403);
    let instance = get(&router, &format!("{INSTANCE}/1/log")).await;
    assert!(instance.msg().contains("kubectl logs --namespace spark batch-1-driver"), "{}", instance.text);
}

#[tokio::test]
async fn offsets_stay_while_a_log_grows_and_is_rotated() {
    let api = api_server();
    let router = running(&api, config(), &text(0..2000)).await;
    assert_eq!(get(&router, "/batches/1/log?from=0&size=2").await.json(), page(0, 2000, 0..2));
    append(&api, 2000..2090);
    assert_eq!(get(&router, "/batches/1/log?from=2000").await.json(), page(2000, 2090, 2000..2090));
    let tail = api.calls().into_iter().rfind(|call| call.resource == "pods/log").unwrap();
    assert!(tail.query["tailLines"].parse::<usize>().unwrap() <= 300, "{tail:?}");
    api.rotate_log(NAMESPACE, DRIVER, CONTAINER, 1950);
    append(&api, 2090..2105);
    assert_eq!(get(&router, "/batches/1/log?size=10").await.json(), page(2095, 2105, 2095..2105));
    assert_eq!(get(&router, "/batches/1/log?from=1960&size=5").await.json(), page(1960, 2105, 1960..1965));
    // The page begins with the first line that is left, and says so.
    assert_eq!(get(&router, "/batches/1/log?from=7&size=3").await.json(), page(1950, 2105, 1950..1953));
    // A process that did not see the log before knows of no lines before those that are left.
    let other = facade(&api).await;
    assert_eq!(get(&other, "/batches/1/log?size=10").await.json(), page(145, 155, 2095..2105));
}

#[tokio::test]
async fn the_pages_of_a_driver_that_ended_are_not_read_to_the_end_each() {
    let api = api_server();
    let router = running(&api, config(), &text(0..3000)).await;
    end(&api);
    let driver = json!({ "podName": DRIVER, "podUid": "u" });
    set_status(&api, "batch-1", json!({ "phase": "Succeeded", "driver": driver })).await;
    for from in (0..3000).step_by(100) {
        let shown = get(&router, &format!("/batches/1/log?from={from}&size=100")).await.json();
        assert_eq!(shown, page(from, 3000, from..from + 100));
    }
    assert_eq!(api.count("get", "pods/log"), 30);
    assert_eq!(get(&router, LOG).await.json(), page(2900, 3000, 2900..3000));
    // Its pod is gone, and the log with it: of what was remembered of it nothing is shown.
    api.remove("pods", NAMESPACE, DRIVER);
    assert!(!get(&router, LOG).await.text.contains("line "));
}

#[tokio::test]
async fn whatever_bytes_a_driver_writes_are_lines() {
    let api = api_server();
    let router = running(&api, config(), "").await;
    let mut log = b"a\r\n\xff\n\n".to_vec();
    log.extend("y".repeat(10_000_000).bytes());
    log.extend(b"\nlast");
    api.set_log(NAMESPACE, DRIVER, CONTAINER, &log);
    let cut = "y".repeat(64 * 1024);
    let expected = json!({ "id": 1, "from": 0, "total": 5, "log": ["a", "\u{fffd}", "", cut, "last"] });
    for _ in 0..2 {
        assert!(get(&router, "/batches/1/log?from=0").await.json() == expected);
    }
    // The last line is told once it is whole: it may still grow.
    let mut followed = Followed::of(&router, "/batches/1/log?follow=true&from=0").await;
    followed.until(&format!("a\n\u{fffd}\n\n{cut}\n")).await;
    api.append_log(NAMESPACE, DRIVER, CONTAINER, " words\n");
    followed.until(&format!("a\n\u{fffd}\n\n{cut}\nlast words\n")).await;
}

#[tokio::test]
async fn a_log_that_breaks_off_is_told() {
    let api = api_server();
    let router = running(&api, config(), &text(0..3)).await;
    api.inject(Fault::on("get", "pods/log").lose_response());
    let answer = get(&router, LOG).await;
    assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    assert_eq!(get(&router, LOG).await.json(), page(0, 3, 0..3));
}

#[tokio::test]
async fn markers_are_there_if_they_are_wished_for() {
    let api = api_server();
    let router = running(&api, FacadeConfig { log_markers: true, ..config() }, "").await;
    let log = |from, total, log: Value| json!({ "id": 1, "from": from, "total": total, "log": log });
    assert_eq!(get(&router, LOG).await.json(), log(0, 2, json!(["stdout: ", "\nstderr: "])));
    api.set_log(NAMESPACE, DRIVER, CONTAINER, "a\nb\n");
    assert_eq!(get(&router, LOG).await.json(), log(0, 4, json!(["stdout: ", "a", "b", "\nstderr: "])));
    assert_eq!(get(&router, "/batches/1/log?from=2&size=1").await.json(), log(2, 4, json!(["b"])));
    assert_eq!(get(&router, "/batches/1/log?size=2").await.json(), log(2, 4, json!(["b", "\nstderr: "])));
    end(&api);
    let (followed, _) = Followed::of(&router, "/batches/1/log?follow=true").await.end().await;
    assert_eq!(followed, "a\nb\n");
}

#[tokio::test]
async fn a_driver_without_a_log_is_told_of_by_its_status() {
    let api = api_server();
    for (config, before) in
        [(config(), json!([])), (FacadeConfig { log_markers: true, ..config() }, json!(["stdout: ", "\nstderr: "]))]
    {
        let router = facade_with(&api, config).await;
        let id = post(&router, APACHE, JOB).await.id();
        let name = format!("batch-{id}");
        let driver = json!({ "podName": format!("{name}-driver"), "podUid": "u" });
        let waiting = json!({ "phase": "Starting", "reason": "ImagePullFailed",
            "message": "ImagePullBackOff: no such image\nsecond line", "driver": driver });
        set_status(&api, &name, waiting).await;
        insert_pod(&api, &format!("{name}-driver"), CONTAINER);
        api.set_pod_waiting(NAMESPACE, &format!("{name}-driver"), "ImagePullBackOff", "no such image");
        let mut expected = before.as_array().unwrap().clone();
        expected.push(json!("\nKubernetes Diagnostics: "));
        expected.push(json!("ImagePullFailed: ImagePullBackOff: no such image"));
        expected.push(json!("second line"));
        let path = format!("/batches/{id}/log");
        let shown = get(&router, &path).await.json();
        assert_eq!(shown, json!({ "id": id, "from": 0, "total": expected.len(), "log": expected }));
        let last = get(&router, &format!("{path}?size=1")).await.json();
        assert_eq!((&last["from"], &last["log"]), (&json!(expected.len() - 1), &json!(["second line"])));

        // They go when the log comes, and come where a driver was killed before it wrote anything.
        api.set_pod_running(NAMESPACE, &format!("{name}-driver"));
        api.set_log(NAMESPACE, &format!("{name}-driver"), CONTAINER, "a\n");
        assert!(!get(&router, &path).await.text.contains("Diagnostics"));
        api.set_log(NAMESPACE, &format!("{name}-driver"), CONTAINER, "");
        let killed = json!({ "phase": "Failed", "reason": "DriverOOMKilled", "message": "raise it", "driver": driver });
        set_status(&api, &name, killed).await;
        let other = facade(&api).await;
        assert!(get(&other, &path).await.text.contains("DriverOOMKilled: raise it"));
    }
}

#[tokio::test]
async fn a_log_that_went_with_its_pod_is_told_of() {
    let api = api_server();
    let router = running(&api, config(), "driver\n").await;
    end(&api);
    let succeeded =
        json!({ "phase": "Succeeded", "reason": "DriverSucceeded", "driver": { "podName": DRIVER, "podUid": "u" } });
    set_status(&api, "batch-1", succeeded).await;
    api.remove("pods", NAMESPACE, DRIVER);
    let router_of_another_replica = facade(&api).await;
    for router in [router, router_of_another_replica] {
        let answer = get(&router, LOG).await;
        assert_eq!(answer.status, 200);
        let body = answer.json();
        assert_eq!((&body["total"], &body["log"][0]), (&json!(2), &json!("\nKubernetes Diagnostics: ")));
        assert!(body["log"][1].as_str().unwrap().contains("podRetention"), "{body}");
    }
}

#[tokio::test]
async fn executors_have_logs_of_their_own() {
    let api = api_server();
    let router = running(&api, config(), "driver\n").await;
    insert_pod(&api, "batch-1-exec-2", "spark-kubernetes-executor");
    assert_eq!(get(&router, "/batches/1/log?executor=2").await.json(), page(0, 0, 0..0));
    api.set_pod_running(NAMESPACE, "batch-1-exec-2");
    api.set_log(NAMESPACE, "batch-1-exec-2", "spark-kubernetes-executor", text(0..5));
    assert_eq!(get(&router, "/batches/1/log?executor=2&from=3").await.json(), page(3, 5, 3..5));
    let mut followed = Followed::of(&router, "/batches/1/log?executor=2&follow=true&size=1").await;
    followed.until("line 4\n").await;
    api.remove("pods", NAMESPACE, "batch-1-exec-2");
    assert_eq!(followed.end().await, ("line 4\n".into(), true));

    for follow in ["", "&follow=true"] {
        let unknown = get(&router, &format!("/batches/1/log?executor=2{follow}")).await;
        assert_eq!(unknown.status, 404);
        assert!(unknown.msg().contains("spark.kubernetes.executor.deleteOnTermination=false"), "{}", unknown.text);
    }
    for (bad, msg) in [
        ("executor=abc", "For input string: \"abc\""),
        ("executor=", "For input string: \"\""),
        ("executor=../x", "For input string: \"../x\""),
        ("executor=0", "executors are counted from 1: ask for executor=1"),
        ("executor=-1", "executors are counted from 1: ask for executor=1"),
        ("follow=yes", "follow: 'yes' is neither true nor false"),
    ] {
        let answer = get(&router, &format!("/batches/1/log?{bad}")).await;
        assert_eq!((answer.status, answer.msg().as_str()), (StatusCode::BAD_REQUEST, msg));
    }
}
