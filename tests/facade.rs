//! The REST facade against the fake API server: what a client of either dialect sees, and what reaches the
//! API server.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

#[path = "facade/access.rs"]
mod access;
#[path = "facade/auth.rs"]
mod auth;
#[path = "facade/auth_cache.rs"]
mod auth_cache;
#[path = "facade/caches.rs"]
mod caches;
#[path = "facade/failures.rs"]
mod failures;
#[path = "facade/fuzz.rs"]
mod fuzz;
#[path = "facade/ids.rs"]
mod ids;
#[path = "facade/input.rs"]
mod input;
#[path = "facade/logs.rs"]
mod logs;
#[path = "facade/metrics.rs"]
mod metrics;
#[path = "facade/openapi.rs"]
mod openapi;
#[path = "facade/page.rs"]
mod page;
#[path = "facade/proxy_users.rs"]
mod proxy_users;
#[path = "facade/reads.rs"]
mod reads;
#[path = "facade/rights.rs"]
mod rights;
#[path = "facade/server.rs"]
mod server;
#[path = "facade/submit.rs"]
mod submit;
#[path = "facade/tenants.rs"]
mod tenants;
#[path = "facade/ui.rs"]
mod ui;
#[path = "facade/watch.rs"]
mod watch;

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use common::apiserver::{ApiServer, Fault};
use http::{HeaderMap, Request, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use sparkbatch::facade::{AuthMode, Clients, Facade, FacadeConfig, Limits};
use sparkbatch::ids::{IdAllocator, IdError, SAFETY_MARGIN};
use sparkbatch::metrics::Metrics;
use tower::ServiceExt as _;

const NAMESPACE: &str = "spark";
const INSTANCE: &str = "/v3/analytics_engines/43f79a18-768c-44c9-b9c2-b19ec78771bf/livy/batches";
const APACHE: &str = "/namespaces/spark/batches";
const JOB: &str = r#"{"file":"/a.py"}"#;

/// An API server with one namespace, which is also an instance.
fn api_server() -> ApiServer {
    let api = ApiServer::new();
    api.options(|options| options.enforce_namespaces = true);
    api.insert(
        "namespaces",
        json!({ "metadata": { "name": NAMESPACE,
            "labels": { "sparkbatch.dev/instance-id": "43f79a18-768c-44c9-b9c2-b19ec78771bf" } } }),
    );
    api
}

fn config() -> FacadeConfig {
    FacadeConfig { default_namespace: NAMESPACE.into(), auth: AuthMode::None, ..FacadeConfig::default() }
}

/// The facade's own client, and the one that callers' tokens travel by.
fn clients(api: &ApiServer) -> Clients {
    Clients { own: api.client_as("facade"), anonymous: api.client_as("callers") }
}

fn unsynced(api: &ApiServer, config: FacadeConfig) -> Facade {
    let clients = clients(api);
    let facade = Facade::new(clients.clone(), IdAllocator::new(clients.own), config, &Metrics::default());
    let feeding = facade.clone();
    tokio::spawn(async move { feeding.feed().await });
    facade
}

async fn facade_with(api: &ApiServer, config: FacadeConfig) -> Router {
    let facade = unsynced(api, config);
    facade.synced().await;
    facade.router()
}

async fn facade(api: &ApiServer) -> Router {
    facade_with(api, config()).await
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    fn msg(&self) -> String {
        self.json()["msg"].as_str().unwrap_or_else(|| panic!("no msg: {}", self.text)).to_owned()
    }

    fn id(&self) -> i64 {
        assert_eq!(self.status, 201, "{}", self.text);
        self.json()["id"].as_i64().unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let text = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().into()).unwrap();
    if parts.status != StatusCode::NOT_MODIFIED {
        assert_eq!(parts.headers["content-type"], "application/json;charset=utf-8");
    }
    Answer { status: parts.status, headers: parts.headers, text }
}

async fn call(router: &Router, method: &str, path: &str, body: impl Into<Body>) -> Answer {
    send(router, Request::builder().method(method).uri(path).body(body.into()).unwrap()).await
}

async fn get(router: &Router, path: &str) -> Answer {
    call(router, "GET", path, "").await
}

async fn post(router: &Router, path: &str, body: impl Into<Body>) -> Answer {
    call(router, "POST", path, body).await
}

/// Until the facade's watch has shown everything, and a moment for it to be taken in.
async fn caught_up(api: &ApiServer) {
    api.until("the watch to catch up", |api| api.watches_caught_up("sparkbatches")).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
}

/// What the operator would write.
async fn set_status(api: &ApiServer, name: &str, status: Value) {
    api.update("sparkbatches", NAMESPACE, name, |batch| batch["status"] = status);
    caught_up(api).await;
}

fn golden(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn the_seeds_samples_are_answered_as_its_documents_say() {
    let api = api_server();
    api.insert(
        "configmaps",
        json!({ "metadata": { "namespace": NAMESPACE, "name": "sparkbatch-ids" }, "data": { "next": "13" } }),
    );
    let router = facade(&api).await;

    let created = post(&router, INSTANCE, include_str!("golden/seed/create-cos.json")).await;
    assert_eq!(created.id(), 13);
    assert_eq!(created.header("location"), format!("{INSTANCE}/13"));
    assert_eq!(
        created.text,
        r#"{"id":13,"appId":null,"appInfo":{"sparkUiUrl":null},"app_info":{},"state":"not_started"}"#
    );
    for (key, value) in golden(include_str!("golden/seed/created.json")).as_object().unwrap() {
        assert_eq!(&created.json()[key], value);
    }
    assert_eq!(post(&router, INSTANCE, include_str!("golden/seed/create-local.json")).await.id(), 14);

    // As it was sent, but that the keys are in a Secret.
    let mut spec = api.get("sparkbatches", NAMESPACE, "batch-13").unwrap()["spec"].clone();
    assert_eq!(spec.as_object_mut().unwrap().remove("confFrom").unwrap().as_array().unwrap().len(), 1);
    let mut sent = golden(include_str!("golden/seed/create-cos.json"));
    for key in ["access", "secret"] {
        sent["conf"].as_object_mut().unwrap().remove(&format!("spark.hadoop.fs.cos.mycos.{key}.key")).unwrap();
    }
    assert_eq!(spec, sent);
    let stored = api.get("sparkbatches", NAMESPACE, "batch-14").unwrap();
    assert_eq!(stored["spec"], golden(include_str!("golden/seed/create-local.json")));
    assert_eq!(stored["metadata"]["labels"]["sparkbatch.dev/id"], "14");

    for (id, app_id) in [(13, "app-20201203115111-0000"), (14, "app-20201213175030-0000")] {
        set_status(&api, &format!("batch-{id}"), json!({ "id": id, "phase": "Succeeded", "appId": app_id })).await;
    }
    assert_eq!(get(&router, &format!("{INSTANCE}/14")).await.json(), golden(include_str!("golden/seed/read.json")));
    let state = get(&router, &format!("{INSTANCE}/14/state")).await;
    assert_eq!(state.json(), golden(include_str!("golden/seed/state.json")));
    // from and size are not supported: they are ignored, whatever they are.
    for query in ["", "/", "?from=1&size=1", "?from=abc"] {
        let list = get(&router, &format!("{INSTANCE}{query}")).await;
        assert_eq!(list.json(), golden(include_str!("golden/seed/list.json")));
    }
    let deleted = call(&router, "DELETE", &format!("{INSTANCE}/14"), "").await;
    assert_eq!((deleted.status, deleted.json()), (StatusCode::OK, golden(include_str!("golden/seed/deleted.json"))));
    assert_eq!(get(&router, &format!("{INSTANCE}/14")).await.msg(), "Session '14' not found.");
}

#[tokio::test]
async fn a_batch_lives_and_goes_in_the_apache_dialect() {
    let api = api_server();
    let router = facade(&api).await;
    assert_eq!(get(&router, "/batches").await.text, r#"{"from":0,"total":0,"sessions":[]}"#);

    let created = post(&router, "/batches", r#"{"file":"/a.py","name":"job-a"}"#).await;
    assert_eq!((created.id(), created.header("location")), (1, "/batches/1"));
    let body = |state: &str, app_id: &str| {
        format!(
            r#"{{"id":1,"name":"job-a","owner":null,"proxyUser":null,"state":"{state}","appId":{app_id},"appInfo":{{"driverLogUrl":null,"sparkUiUrl":null,"executorLogUrls":null}},"log":[]}}"#
        )
    };
    assert_eq!(created.text, body("starting", "null"));
    // A caller reads what it wrote at once, by id and by name, under each of its addresses.
    for path in ["/batches/1", "/batches/job-a", "/namespaces/spark/batches/1", "/batches/001"] {
        assert_eq!(get(&router, path).await.text, body("starting", "null"), "{path}");
    }
    set_status(&api, "batch-1", json!({ "phase": "Running", "appId": "spark-1" })).await;
    assert_eq!(get(&router, "/batches/1").await.text, body("running", "\"spark-1\""));
    assert_eq!(get(&router, "/batches/job-a/state").await.text, r#"{"id":1,"state":"running"}"#);
    let list = format!(r#"{{"from":0,"total":1,"sessions":[{}]}}"#, body("running", "\"spark-1\""));
    assert_eq!(get(&router, "/batches/").await.text, list);

    assert_eq!(call(&router, "DELETE", "/batches/job-a", "").await.text, r#"{"msg":"deleted"}"#);
    assert!(api.get("sparkbatches", NAMESPACE, "batch-1").is_none());
    for path in ["/batches/1", "/batches/1/state", "/batches/1/log", "/batches/job-a"] {
        let answer = get(&router, path).await;
        let asked = path.split('/').nth(2).unwrap();
        assert_eq!((answer.status, answer.msg()), (StatusCode::NOT_FOUND, format!("Session '{asked}' not found.")));
    }
    let again = call(&router, "DELETE", "/batches/1", "").await;
    assert_eq!((again.status, again.msg()), (StatusCode::NOT_FOUND, "Session '1' not found.".into()));
    // Its id is not given again; its name is free.
    assert_eq!(post(&router, "/batches", r#"{"file":"/a.py","name":"job-a"}"#).await.id(), 2);
}

#[tokio::test]
async fn a_name_is_used_once_at_a_time_in_the_apache_dialect() {
    let api = api_server();
    let router = facade(&api).await;
    let named = r#"{"file":"/a.py","name":"job-a"}"#;
    assert_eq!(post(&router, APACHE, named).await.id(), 1);
    let second = post(&router, APACHE, named).await;
    assert_eq!(second.status, 400);
    assert_eq!(second.msg(), "Rejected, Reason: Duplicate session name: Some(job-a) for session 1");
    assert_eq!(post(&router, INSTANCE, named).await.id(), 2);
}

#[tokio::test]
async fn the_version_is_one_that_pylivy_reads() {
    let version = get(&facade(&api_server()).await, "/version").await.json();
    let text = version["version"].as_str().unwrap();
    assert!(text.starts_with("0.9.0-sparkbatch.") && !text.contains(' '), "{text}");
    for key in ["url", "branch", "revision", "date", "user"] {
        assert!(version[key].is_string(), "{key}");
    }
}

#[tokio::test]
async fn lists_are_paged_as_livy_pages_them() {
    let api = api_server();
    let router = facade(&api).await;
    for _ in 0..15 {
        post(&router, APACHE, JOB).await;
    }
    let cases = [
        ("", 0, 1..16),
        ("?from=1&size=1", 1, 2..3),
        ("?size=0", 0, 0..0),
        ("?size=-1", 0, 0..0),
        ("?from=-3&size=4", -3, 1..2),
        ("?from=20", 20, 0..0),
    ];
    for (query, from, ids) in cases {
        let list = get(&router, &format!("/batches{query}")).await.json();
        assert_eq!((&list["from"], &list["total"]), (&json!(from), &json!(15)), "{query}");
        let listed: Vec<_> =
            list["sessions"].as_array().unwrap().iter().map(|batch| batch["id"].as_i64().unwrap()).collect();
        assert_eq!(listed, ids.collect::<Vec<i64>>(), "{query}");
    }
}
