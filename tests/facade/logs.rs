//! Logs of drivers and executors.

use std::ops::Range;
use std::sync::Arc;

use axum::body::BodyDataStream;
use futures::{FutureExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

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

/// A log that is followed.
struct Followed {
    body: BodyDataStream,
    read: String,
}

impl Followed {
    async fn of(router: &Router, path: &str) -> Self {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
        Self { body: response.into_body().into_data_stream(), read: String::new() }
    }

    async fn more(&mut self) -> Option<Result<(), axum::Error>> {
        let next = tokio::time::timeout(Duration::from_secs(20), self.body.next()).await;
        let next = next.unwrap_or_else(|_| panic!("nothing came after {:?}", self.read))?;
        Some(next.map(|bytes| self.read.push_str(std::str::from_utf8(&bytes).unwrap())))
    }

    async fn until(&mut self, text: &str) {
        while self.read.len() < text.len() {
            self.more().await.unwrap().unwrap();
        }
        assert!(
            self.read == text,
            "{} bytes, not {}: …{}",
            self.read.len(),
            text.len(),
            self.read[self.read.len().saturating_sub(500)..].escape_debug()
        );
    }

    /// All of it, and whether it ended rather than broke off.
    async fn end(mut self) -> (String, bool) {
        loop {
            match self.more().await {
                None => return (self.read, true),
                Some(Ok(())) => {}
                Some(Err(_)) => return (self.read, false),
            }
        }
    }
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

#[tokio::test]
async fn a_log_is_followed_to_the_end_of_its_driver() {
    let api = api_server();
    let router = running(&api, config(), &text(0..150)).await;
    let mut last = Followed::of(&router, "/batches/1/log?follow=true&size=2").await;
    let mut all = Followed::of(&router, "/batches/1/log?follow=true&from=0").await;
    let mut later = Followed::of(&router, "/batches/1/log?follow=true&from=152").await;
    last.until(&text(148..150)).await;
    all.until(&text(0..150)).await;
    append(&api, 150..153);
    last.until(&text(148..153)).await;
    all.until(&text(0..153)).await;
    later.until(&text(152..153)).await;
    append(&api, 153..160);
    end(&api);
    assert_eq!(last.end().await, (text(148..160), true));
    assert_eq!(all.end().await, (text(0..160), true));
    assert_eq!(later.end().await, (text(152..160), true));
    // A driver that has ended is followed to its end at once.
    let ended = Followed::of(&router, "/batches/1/log?follow=true").await;
    assert_eq!(ended.end().await, (text(60..160), true));
    api.until("nothing to be followed", |api| api.open_follows() == 0).await;
}

#[tokio::test]
async fn no_line_is_lost_between_what_is_sent_at_once() {
    let api = api_server();
    let router = running(&api, config(), &text(0..20_000)).await;
    let mut followed = Followed::of(&router, "/batches/1/log?follow=true&from=0").await;
    followed.until(&text(0..20_000)).await;
    append(&api, 20_000..40_000);
    followed.until(&text(0..40_000)).await;
    append(&api, 40_000..60_000);
    end(&api);
    assert!(followed.end().await == (text(0..60_000), true));
}

#[tokio::test]
async fn a_driver_that_starts_later_is_followed_from_its_first_line() {
    let api = api_server();
    let router = facade(&api).await;
    post(&router, APACHE, JOB).await;
    let followed = Followed::of(&router, "/batches/1/log?follow=true").await;
    let starts = async {
        starting(&api).await;
        api.until("a look at the pod", |api| api.count("get", "pods/log") > 0).await;
        api.set_pod_waiting(NAMESPACE, DRIVER, "ContainerCreating", "");
        let looks = api.count("get", "pods/log");
        api.until("another look", |api| api.count("get", "pods/log") > looks).await;
        api.set_pod_running(NAMESPACE, DRIVER);
        api.until("the log to be followed", |api| api.open_follows() == 1).await;
        append(&api, 0..3);
        end(&api);
    };
    let (end, ()) = tokio::join!(followed.end(), starts);
    assert_eq!(end, (text(0..3), true));
}

#[tokio::test]
async fn a_following_ends_with_a_batch_that_never_had_a_driver() {
    let api = api_server();
    let router = facade(&api).await;
    post(&router, APACHE, JOB).await;
    post(&router, APACHE, JOB).await;
    let failed = Followed::of(&router, "/batches/1/log?follow=true").await;
    let deleted = Followed::of(&router, "/batches/2/log?follow=true").await;
    set_status(&api, "batch-1", json!({ "phase": "Failed", "reason": "InvalidSpec" })).await;
    call(&router, "DELETE", "/batches/2", "").await;
    assert_eq!(failed.end().await, (String::new(), true));
    assert_eq!(deleted.end().await, (String::new(), true));
}

#[tokio::test]
async fn a_connection_that_breaks_loses_and_repeats_nothing() {
    let api = api_server();
    let router = running(&api, config(), &text(0..5)).await;
    let mut followed = Followed::of(&router, "/batches/1/log?follow=true").await;
    followed.until(&text(0..5)).await;
    for n in 1..4 {
        let broken = async {
            api.until("the log to be followed", |api| api.open_follows() == 1).await;
            api.break_follows();
            append(&api, 5 * n..5 * n + 5);
        };
        let expected = text(0..5 * n + 5);
        tokio::join!(followed.until(&expected), broken);
    }
    // Also where what was read is gone by then.
    let rotated = async {
        api.until("the log to be followed", |api| api.open_follows() == 1).await;
        api.break_follows();
        api.rotate_log(NAMESPACE, DRIVER, CONTAINER, 20);
        append(&api, 20..25);
    };
    let expected = text(0..25);
    tokio::join!(followed.until(&expected), rotated);
    end(&api);
    assert_eq!(followed.end().await, (expected, true));
}

#[tokio::test]
async fn a_client_that_goes_away_frees_what_it_followed() {
    let api = api_server();
    let limits = Limits { streams: 1, ..Limits::default() };
    let router = running(&api, FacadeConfig { limits, ..config() }, &text(0..5)).await;
    let path = "/batches/1/log?follow=true";
    let mut followed = Followed::of(&router, path).await;
    followed.until(&text(0..5)).await;
    drop(followed.body.next().now_or_never());
    assert_eq!(api.open_follows(), 1);
    let second = get(&router, path).await;
    assert_eq!((second.status, second.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    drop(followed);
    assert_eq!(api.open_follows(), 0);
    Followed::of(&router, path).await.until(&text(0..5)).await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_not_read_for() {
    let api = api_server();
    let router = running(&api, config(), &text(0..5)).await;
    let mut followed = Followed::of(&router, "/batches/1/log?follow=true").await;
    followed.until(&text(0..5)).await;
    drop(followed.body.next().now_or_never());
    let wide = format!("{}\n", "z".repeat(1000));
    for _ in 0..100 {
        append(&api, 0..1);
        api.append_log(NAMESPACE, DRIVER, CONTAINER, wide.repeat(1000));
    }
    tokio::task::yield_now().await;
    assert!(api.followed_bytes() < 1_000, "{}", api.followed_bytes());
    // What it did not take is still to come.
    followed.more().await.unwrap().unwrap();
    assert!(followed.read.starts_with(&format!("{}line 0\nzzz", text(0..5))));
}

#[tokio::test]
async fn a_head_of_a_followed_log_follows_nothing() {
    let api = api_server();
    let limits = Limits { streams: 0, ..Limits::default() };
    let router = running(&api, FacadeConfig { limits, ..config() }, &text(0..5)).await;
    let request = Request::builder().method("HEAD").uri("/batches/1/log?follow=true").body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(
        (response.status(), &response.headers()["content-type"]),
        (StatusCode::OK, &"text/plain; charset=utf-8".parse().unwrap())
    );
    assert!(to_bytes(response.into_body(), 1).await.unwrap().is_empty());
    assert_eq!(api.open_follows(), 0);
}

#[tokio::test]
async fn the_time_limit_of_requests_is_not_one_of_streams() {
    let api = api_server();
    let limits = Limits { request: Duration::from_millis(500), in_flight: 1, ..Limits::default() };
    let router = running(&api, FacadeConfig { limits, ..config() }, &text(0..5)).await;
    let mut followed = Followed::of(&router, "/batches/1/log?follow=true").await;
    followed.until(&text(0..5)).await;
    let quiet = tokio::time::timeout(2 * limits.request, followed.body.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    assert_eq!(get(&router, LOG).await.status, 200);
    append(&api, 5..6);
    followed.until(&text(0..6)).await;
}

#[tokio::test]
async fn a_stream_breaks_off_when_the_process_ends_and_is_freed_when_its_client_hangs_up() {
    let api = api_server();
    drop(running(&api, config(), &text(0..5)).await);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let clients = clients(&api);
    let (cancel, ready) = (CancellationToken::new(), Arc::new(Notify::new()));
    let tell = Arc::clone(&ready);
    let serving = tokio::spawn({
        let cancel = cancel.clone();
        async move {
            let (ids, config) = (IdAllocator::new(clients.own.clone()), FacadeConfig { listen: free, ..config() });
            sparkbatch::facade::serve(clients, ids, config, &Metrics::default(), cancel, move || tell.notify_one())
                .await
        }
    });
    ready.notified().await;
    let follow = async || {
        let mut connection = TcpStream::connect(free).await.unwrap();
        connection.write_all(b"GET /batches/1/log?follow=true HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut read = Vec::new();
        while !read.windows(7).any(|part| part == b"line 4\n") {
            assert!(connection.read_buf(&mut read).await.unwrap() > 0, "{}", String::from_utf8_lossy(&read));
        }
        connection
    };
    let leaves = follow().await;
    let mut stays = follow().await;
    api.until("both to be followed", |api| api.open_follows() == 2).await;
    drop(leaves);
    api.until("one to be followed", |api| api.open_follows() == 1).await;
    cancel.cancel();
    // Without the empty chunk that is the end of what ends well.
    let mut rest = Vec::new();
    stays.read_to_end(&mut rest).await.unwrap();
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&rest));
    assert!(tokio::time::timeout(Duration::from_secs(5), serving).await.unwrap().unwrap().is_ok());
}
