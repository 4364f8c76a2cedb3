//! Logs that are followed, to the end of their driver or of their reader.

use std::sync::Arc;

use axum::body::BodyDataStream;
use futures::{FutureExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::*;

/// A log that is followed.
pub(super) struct Followed {
    body: BodyDataStream,
    read: String,
}

impl Followed {
    pub(super) async fn of(router: &Router, path: &str) -> Self {
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

    pub(super) async fn until(&mut self, text: &str) {
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
    pub(super) async fn end(mut self) -> (String, bool) {
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
