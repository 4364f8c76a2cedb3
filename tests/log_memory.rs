//! What a log of a gigabyte costs the facade. On its own, since it measures the memory of its process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

use std::convert::Infallible;
use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use common::apiserver::ApiServer;
use futures::{StreamExt as _, stream};
use http::{Request, Response};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sparkbatch::facade::{AuthMode, Clients, Facade, FacadeConfig, Limits};
use sparkbatch::ids::IdAllocator;
use tower::{BoxError, Service as _, ServiceExt as _, service_fn};

const NAMESPACE: &str = "spark";
const GIGABYTE: usize = 1 << 30;
const MIB: usize = 1 << 20;
/// Bytes of a line, with its time and its end.
const LINE: usize = 2048;
/// Of which are its time.
const PREFIX: usize = "1970-01-01T00:00:00.000000000Z ".len();
/// Lines that are made at once.
const AT_ONCE: usize = 32;

/// Bytes of a log, made as they are read.
fn log(bytes: usize, made: Arc<AtomicUsize>) -> Body {
    let text = "quotes \" take two bytes in JSON, ".repeat(LINE / 32);
    Body::from_stream(stream::iter((0..bytes / LINE).step_by(AT_ONCE)).map(move |first| {
        let mut chunk = String::with_capacity(AT_ONCE * LINE);
        for n in first..first + AT_ONCE {
            let at = Timestamp::UNIX_EPOCH + SignedDuration::from_micros(i64::try_from(n).unwrap());
            let end = chunk.len() + LINE;
            write!(chunk, "{at:.9} line {n} ").unwrap();
            let room = end - chunk.len() - 1;
            writeln!(chunk, "{}", &text[..room]).unwrap();
        }
        made.fetch_add(chunk.len(), Ordering::Relaxed);
        Ok::<_, Infallible>(Bytes::from(chunk))
    }))
}

/// A field of this process's memory, in bytes.
fn memory(field: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<usize>().unwrap() * 1024
}

#[tokio::test]
async fn a_log_of_a_gigabyte_costs_no_more_than_eight_mebibytes() {
    let api = ApiServer::new();
    api.insert("namespaces", json!({ "metadata": { "name": NAMESPACE } }));
    api.insert(
        "sparkbatches",
        json!({ "metadata": { "namespace": NAMESPACE, "name": "batch-1", "labels": { "sparkbatch.dev/id": "1" } },
            "spec": { "file": "/a.py" },
            "status": { "phase": "Running", "driver": { "podName": "batch-1-driver", "podUid": "u" } } }),
    );
    let (size, made) = (Arc::new(AtomicUsize::new(MIB)), Arc::new(AtomicUsize::new(0)));
    let connection = api.connection("facade");
    let (length, counter) = (Arc::clone(&size), Arc::clone(&made));
    let service = service_fn(move |request: Request<kube::client::Body>| {
        let (mut connection, log_size, made) =
            (connection.clone(), length.load(Ordering::Relaxed), Arc::clone(&counter));
        async move {
            if request.uri().path().ends_with("/log") && !request.uri().query().unwrap().contains("tailLines=0") {
                return Ok::<_, BoxError>(Response::new(log(log_size, made)));
            }
            connection.call(request).await
        }
    });
    let client = kube::Client::new(service, "default");
    // The time is another matter: this is not built to be fast.
    let limits = Limits { request: Duration::from_secs(600), ..Limits::default() };
    let config =
        FacadeConfig { limits, auth: AuthMode::None, default_namespace: NAMESPACE.into(), ..FacadeConfig::default() };
    let facade = Facade::new(
        Clients { own: client.clone(), anonymous: client.clone() },
        IdAllocator::new(client),
        config,
        &sparkbatch::metrics::Metrics::default(),
    );
    let feeding = facade.clone();
    tokio::spawn(async move { feeding.feed().await });
    facade.synced().await;
    let router = facade.router();

    // What the first requests of a process cost is not the log's.
    for bytes in [MIB, GIGABYTE] {
        size.store(bytes, Ordering::Relaxed);
        for (path, read_to_its_end) in [("?from=0&size=-1", false), ("?size=-1", false), ("?follow=true&from=0", true)]
        {
            let before = memory("VmRSS:");
            // Makes the highest value from here on the one that is told.
            fs::write("/proc/self/clear_refs", "5").unwrap();
            made.store(0, Ordering::Relaxed);
            let request = Request::get(format!("/batches/1/log{path}")).body(Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), 200, "{path}");
            let (mut sent, mut body) = (0, response.into_body().into_data_stream());
            while let Some(chunk) = body.next().await {
                sent += chunk.unwrap().len();
                if read_to_its_end && sent >= bytes / LINE * (LINE - PREFIX) {
                    break;
                }
            }
            let cost = memory("VmHWM:").saturating_sub(before);
            assert!(made.load(Ordering::Relaxed) >= bytes, "{path} was not read");
            assert!(bytes == MIB || cost <= 8 * MIB, "{path} cost {cost} bytes");
            println!("{path} of {bytes} bytes: cost {cost}, sent {sent}");
        }
    }
}
