//! The REST facade against the fake API server: what a client of either dialect sees, and what reaches the
//! API server.

mod common;

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use common::apiserver::{ApiServer, Fault};
use http::{HeaderMap, Request, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use sparkbatch::facade::{Facade, FacadeConfig, Limits};
use sparkbatch::ids::{IdAllocator, IdError, SAFETY_MARGIN};
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
    FacadeConfig { default_namespace: NAMESPACE.into(), ..FacadeConfig::default() }
}

fn unsynced(api: &ApiServer, config: FacadeConfig) -> Facade {
    let client = api.client_as("facade");
    let facade = Facade::new(client.clone(), IdAllocator::new(client), config);
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
    assert_eq!(parts.headers["content-type"], "application/json;charset=utf-8");
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

    let sent = golden(include_str!("golden/seed/create-cos.json"));
    assert_eq!(api.get("sparkbatches", NAMESPACE, "batch-13").unwrap()["spec"], sent);
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

#[rstest]
#[case("", "the body is empty")]
#[case("abcde", "the body is not JSON")]
#[case("[]", "the body is a list")]
#[case("null", "the body is null")]
#[case("{}", "File is required.")]
#[case(r#"{"file":["/a.py"]}"#, "file: must be a string")]
#[case(r#"{"file":"x.py"}"#, "Path 'x.py' is not absolute.")]
#[case(r#"{"file":"file:///a.py"}"#, "file: the scheme 'file' is refused")]
#[case(r#"{"file":"/ cos://b.c/a.py"}"#, "file: has a blank")]
#[case(r#"{"file":"/a.py","bogus":1}"#, "Unrecognized field \"bogus\"")]
#[case(r#"{"file":"/a.py","args":"x"}"#, "args: must be a list")]
#[case(r#"{"file":"/a.py","driverCores":2.7}"#, "driverCores: must be a whole number")]
#[case(r#"{"file":"/a.py","executorCores":0}"#, "executorCores: must be from 1 to 1024")]
#[case(r#"{"file":"/a.py","driverMemory":"lots"}"#, "driverMemory: 'lots' is no JVM size")]
#[case(r#"{"file":"/a.py","conf":{"spark.master":"local"}}"#, "session config: spark.master")]
#[case(
    r#"{"file":"/a.py","conf":{"spark.kubernetes.authenticate.oauthToken":"s3cr3t"}}"#,
    "spark.kubernetes.authenticate.oauthToken"
)]
#[case(r#"{"file":"/a.py","name":"123"}"#, "Invalid session name: 123")]
#[case(r#"{"file":"/a.py","file":"/b.py"}"#, "file: is given twice")]
#[tokio::test]
async fn bad_input_creates_nothing_and_uses_no_id(#[case] body: &'static str, #[case] part: &str) {
    let api = api_server();
    let router = facade(&api).await;
    for path in [INSTANCE, "/batches"] {
        let answer = post(&router, path, body).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert!(answer.msg().contains(part), "{}", answer.text);
        assert!(!answer.text.contains("s3cr3t"));
    }
    assert_eq!(api.writes(), Vec::<String>::new());
    assert_eq!(post(&router, INSTANCE, JOB).await.id(), 1);
}

#[tokio::test]
async fn the_instance_dialect_refuses_by_name_what_it_does_not_support() {
    let api = api_server();
    let router = facade(&api).await;
    let answer =
        post(&router, INSTANCE, r#"{"file":"/a.py","proxyUser":"bob","archives":["/z.zip"],"queue":"q"}"#).await;
    assert_eq!(answer.status, 400);
    for field in ["proxyUser", "archives", "queue"] {
        assert!(answer.msg().contains(&format!("{field}: is not supported by this API")), "{}", answer.text);
    }
    assert_eq!(api.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_body_of_two_megabytes_is_refused_whether_it_says_its_length_or_not() {
    let api = api_server();
    let router = facade(&api).await;
    let body = format!(r#"{{"file":"/a.py","args":["{}"]}}"#, "x".repeat(2 << 20));
    let declared = Request::post(APACHE).header("content-length", body.len()).body(Body::from(body.clone())).unwrap();
    let pieces: Vec<_> = body.as_bytes().chunks(1 << 16).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
    let chunked = Request::post(APACHE).body(Body::from_stream(futures::stream::iter(pieces))).unwrap();
    for request in [declared, chunked] {
        let answer = send(&router, request).await;
        assert_eq!((answer.status, answer.msg().contains("1048576 bytes")), (StatusCode::PAYLOAD_TOO_LARGE, true));
    }
    assert_eq!(api.writes(), Vec::<String>::new());
    // The largest that is allowed is read, and told what else is wrong with it.
    let largest = format!("{{\"file\":\"/a.py\",\"args\":[\"{}\"]}}", "x".repeat((1 << 20) - 28));
    assert_eq!(largest.len(), 1 << 20);
    assert_eq!(post(&router, APACHE, largest).await.status, 400);
}

#[rstest]
#[case("application/x-www-form-urlencoded", 400)]
#[case("multipart/form-data; boundary=x", 400)]
#[case("text/plain", 201)]
#[case("application/json", 201)]
#[tokio::test]
async fn content_types_are_not_looked_at_but_for_forms(#[case] content_type: &str, #[case] status: u16) {
    let api = api_server();
    let router = facade(&api).await;
    let request = Request::post(APACHE).header("content-type", content_type).body(Body::from(JOB)).unwrap();
    assert_eq!(send(&router, request).await.status, status);
}

#[rstest]
#[case("/batches/99999999999", 400, "For input string: \"99999999999\"")]
#[case("/batches/2147483648/state", 400, "For input string: \"2147483648\"")]
#[case("/batches/2147483647", 404, "Session '2147483647' not found.")]
#[case("/batches/0", 404, "Session '0' not found.")]
#[case("/batches/-1", 404, "Session '-1' not found.")]
#[case("/batches/+1", 404, "Session '+1' not found.")]
#[case("/batches/1e3", 404, "Session '1e3' not found.")]
#[case("/batches/0x1", 404, "Session '0x1' not found.")]
#[case("/batches/%D9%A3", 404, "Session '٣' not found.")]
#[case("/batches/%FF", 404, "Session '\u{fffd}' not found.")]
#[case("/batches/..%2f..%2fversion", 404, "Session '../../version' not found.")]
#[case("/batches/1%00", 404, "Session '1\u{0}' not found.")]
#[case("/batches/1/", 404, "There is nothing at '/batches/1/'.")]
#[case("/batches/1/nothing", 404, "There is nothing at '/batches/1/nothing'.")]
#[case("//batches", 404, "There is nothing at '//batches'.")]
#[case("/", 404, "There is nothing at '/'.")]
#[case("/namespaces/nope/batches", 404, "Namespace 'nope' not found.")]
#[case("/namespaces/..%2F..%2Fapi/batches", 404, "Namespace '../../api' not found.")]
#[case("/namespaces/UPPER/batches/1", 404, "Namespace 'UPPER' not found.")]
#[case("/v3/analytics_engines/nope/livy/batches", 404, "Instance 'nope' not found.")]
#[case("/v3/analytics_engines/a%2Cb%3Dc/livy/batches", 404, "Instance 'a,b=c' not found.")]
#[case("/v3/analytics_engines/spark/livy/batches", 404, "Instance 'spark' not found.")]
#[case("/batches?from=abc", 400, "For input string: \"abc\"")]
#[case("/batches?size=1.5", 400, "For input string: \"1.5\"")]
#[tokio::test]
async fn paths_and_parameters_are_answered_in_livys_words(#[case] path: &str, #[case] status: u16, #[case] msg: &str) {
    let router = facade(&api_server()).await;
    let answer = get(&router, path).await;
    assert_eq!((answer.status.as_u16(), answer.msg()), (status, msg.to_owned()));
}

#[tokio::test]
async fn names_are_no_ids_in_the_instance_dialect() {
    let api = api_server();
    let router = facade(&api).await;
    post(&router, INSTANCE, r#"{"file":"/a.py","name":"job-a"}"#).await;
    assert_eq!(get(&router, &format!("{INSTANCE}/job-a")).await.status, 404);
    let log = get(&router, &format!("{INSTANCE}/1/log")).await;
    assert_eq!(log.status, 404);
    assert!(log.msg().contains("GET /namespaces/spark/batches/1/log"), "{}", log.text);
}

#[tokio::test]
async fn a_namespaces_name_is_an_instance_id_where_that_is_allowed() {
    let api = api_server();
    let allowed = FacadeConfig { instance_id_from_namespace_name: true, ..config() };
    let router = facade_with(&api, allowed).await;
    assert_eq!(post(&router, "/v3/analytics_engines/spark/livy/batches", JOB).await.id(), 1);
    // A namespace that was made a moment ago is found, whether or not the watch has shown it.
    api.hold_watches("namespaces");
    api.insert(
        "namespaces",
        json!({ "metadata": { "name": "new", "labels": { "sparkbatch.dev/instance-id": "i-2" } } }),
    );
    for instance in ["new", "i-2"] {
        let path = format!("/v3/analytics_engines/{instance}/livy/batches");
        assert_eq!(get(&router, &path).await.status, 200);
    }
    assert_eq!(get(&router, "/v3/analytics_engines/other/livy/batches").await.status, 404);
}

#[tokio::test]
async fn an_instance_id_of_two_namespaces_is_nobodys() {
    let api = api_server();
    for name in ["a", "b"] {
        api.insert(
            "namespaces",
            json!({ "metadata": { "name": name, "labels": { "sparkbatch.dev/instance-id": "i" } } }),
        );
    }
    let router = facade(&api).await;
    let answer = post(&router, "/v3/analytics_engines/i/livy/batches", JOB).await;
    assert_eq!(answer.status, 409);
    assert!(answer.msg().contains("remove it from all but one"), "{}", answer.text);
}

#[tokio::test]
async fn only_the_namespaces_of_the_configuration_are_served() {
    let api = api_server();
    api.insert(
        "namespaces",
        json!({ "metadata": { "name": "other", "labels": { "sparkbatch.dev/instance-id": "o" } } }),
    );
    let router = facade_with(&api, FacadeConfig { namespaces: vec![NAMESPACE.into()], ..config() }).await;
    assert_eq!(get(&router, APACHE).await.status, 200);
    assert_eq!(get(&router, INSTANCE).await.status, 200);
    assert_eq!(get(&router, "/namespaces/other/batches").await.status, 404);
    assert_eq!(get(&router, "/v3/analytics_engines/o/livy/batches").await.status, 404);
}

#[rstest]
#[case("PUT", "/batches/1", &["GET", "HEAD", "DELETE"])]
#[case("POST", "/batches/1", &["GET", "HEAD", "DELETE"])]
#[case("PATCH", "/batches/1", &["GET", "HEAD", "DELETE"])]
#[case("OPTIONS", "/batches", &["GET", "HEAD", "POST"])]
#[case("DELETE", "/batches/", &["GET", "HEAD", "POST"])]
#[case("POST", "/batches/1/state", &["GET", "HEAD"])]
#[case("POST", "/version", &["GET", "HEAD"])]
#[tokio::test]
async fn other_methods_are_refused_with_those_that_are_allowed(
    #[case] method: &str,
    #[case] path: &str,
    #[case] allowed: &[&str],
) {
    let router = facade(&api_server()).await;
    let answer = call(&router, method, path, "").await;
    assert_eq!((answer.status, answer.msg().contains(method)), (StatusCode::METHOD_NOT_ALLOWED, true));
    let mut listed: Vec<_> = answer.header("allow").split(',').map(str::trim).collect();
    let mut allowed = allowed.to_vec();
    listed.sort_unstable();
    allowed.sort_unstable();
    assert_eq!(listed, allowed);
}

#[tokio::test]
async fn head_is_get_without_the_body_and_bodies_of_gets_are_ignored() {
    let api = api_server();
    let router = facade(&api).await;
    post(&router, APACHE, JOB).await;
    let full = get(&router, "/batches").await;
    let head = call(&router, "HEAD", "/batches", "").await;
    assert_eq!((head.status, head.text.as_str()), (StatusCode::OK, ""));
    assert_eq!(head.header("content-length"), full.text.len().to_string());
    let request = Request::get("/batches").body(Body::from(r#"{"from":5,"size":1}"#)).unwrap();
    assert_eq!(send(&router, request).await.text, full.text);
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

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_parallel_posts_over_three_replicas_get_a_hundred_ids() {
    let api = api_server();
    let routers = [facade(&api).await, facade(&api).await, facade(&api).await];
    let posts = (0..100).map(|n| {
        let router = routers[n % 3].clone();
        tokio::spawn(async move { post(&router, APACHE, JOB).await.id() })
    });
    let mut ids: Vec<i64> = futures::future::join_all(posts).await.into_iter().map(Result::unwrap).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=100).collect::<Vec<_>>());
    assert_eq!(api.list("sparkbatches", NAMESPACE).len(), 100);
    // One write of the counter served many.
    let swaps = api.writes().iter().filter(|write| write.contains(" configmaps ") && !write.ends_with("409")).count();
    assert!(swaps < 100, "{swaps}");
}

#[tokio::test]
async fn a_batch_of_another_replica_is_found_before_the_watch_shows_it() {
    let api = api_server();
    let (one, other) = (facade(&api).await, facade(&api).await);
    api.hold_watches("sparkbatches");
    assert_eq!(post(&one, APACHE, JOB).await.id(), 1);
    assert_eq!(get(&other, "/batches/1").await.status, 200);
    assert_eq!(call(&other, "DELETE", "/batches/1", "").await.status, 200);
    assert_eq!(get(&other, "/batches/1").await.status, 404);
}

#[tokio::test]
async fn a_deleted_batch_does_not_come_back_with_late_news_of_it() {
    let api = api_server();
    let router = facade(&api).await;
    post(&router, APACHE, JOB).await;
    caught_up(&api).await;
    api.hold_watches("sparkbatches");
    api.update("sparkbatches", NAMESPACE, "batch-1", |batch| batch["status"] = json!({ "phase": "Running" }));
    assert_eq!(call(&router, "DELETE", "/batches/1", "").await.status, 200);
    assert_eq!(get(&router, "/batches").await.json()["total"], 0);
    api.release_watches("sparkbatches");
    caught_up(&api).await;
    assert_eq!(get(&router, "/batches").await.json()["total"], 0);
}

#[tokio::test]
async fn delete_takes_only_the_batch_that_was_shown() {
    let api = api_server();
    let router = facade(&api).await;
    post(&router, APACHE, JOB).await;
    caught_up(&api).await;
    api.hold_watches("sparkbatches");
    api.remove("sparkbatches", NAMESPACE, "batch-1");
    api.insert(
        "sparkbatches",
        json!({ "metadata": { "namespace": NAMESPACE, "name": "batch-1" }, "spec": { "file": "/b.py" } }),
    );
    assert_eq!(call(&router, "DELETE", "/batches/1", "").await.status, 404);
    assert!(api.get("sparkbatches", NAMESPACE, "batch-1").is_some());
}

#[tokio::test]
async fn a_batch_applied_with_kubectl_shows_once_the_operator_gave_it_an_id() {
    let api = api_server();
    let router = facade(&api).await;
    api.insert(
        "sparkbatches",
        json!({ "metadata": { "namespace": NAMESPACE, "name": "pi" }, "spec": { "file": "/pi.py", "name": "pi" } }),
    );
    caught_up(&api).await;
    assert_eq!(get(&router, "/batches").await.json()["total"], 0);
    set_status(&api, "pi", json!({ "id": 7, "phase": "Running", "appId": "spark-7" })).await;
    assert_eq!(get(&router, "/batches/7").await.json()["state"], "running");
    assert_eq!(get(&router, INSTANCE).await.json()["sessions"][0]["id"], 7);
    // The id that is next is past it, with a margin, for the counter is not there.
    assert_eq!(post(&router, APACHE, JOB).await.id(), i64::from(8 + SAFETY_MARGIN));
    assert_eq!(call(&router, "DELETE", "/batches/7", "").await.status, 200);
    assert!(api.get("sparkbatches", NAMESPACE, "pi").is_none());
}

#[tokio::test]
async fn one_malformed_batch_does_not_hide_the_others() {
    let api = api_server();
    api.insert("sparkbatches", json!({ "metadata": { "namespace": NAMESPACE, "name": "bad" }, "spec": { "file": 7 }, "status": { "phase": "Odd" } }));
    let router = facade(&api).await;
    assert_eq!(post(&router, APACHE, JOB).await.id(), 1);
    api.insert("sparkbatches", json!({ "metadata": { "namespace": NAMESPACE, "name": "worse" }, "spec": [] }));
    set_status(&api, "batch-1", json!({ "phase": "Succeeded" })).await;
    assert_eq!(get(&router, "/batches/1/state").await.json()["state"], "success");
}

#[tokio::test]
async fn watches_that_break_or_expire_are_taken_up_again() {
    let api = api_server();
    let router = facade(&api).await;
    post(&router, APACHE, JOB).await;
    for expire in [false, true] {
        if expire {
            api.expire_watches("sparkbatches")
        } else {
            api.break_watches("sparkbatches")
        }
        assert_eq!(get(&router, "/batches/1").await.status, 200);
        api.until("the watch to be back", |api| api.open_watches("sparkbatches") > 0).await;
    }
    api.remove("sparkbatches", NAMESPACE, "batch-1");
    caught_up(&api).await;
    assert_eq!(get(&router, "/batches/1").await.status, 404);
}

#[tokio::test]
async fn before_the_caches_are_complete_callers_are_told_to_come_again() {
    let api = api_server();
    api.inject(Fault::on("list", "sparkbatches").hold());
    let router = unsynced(&api, config()).router();
    for (method, path) in [("GET", "/batches"), ("POST", INSTANCE), ("DELETE", "/batches/1")] {
        let answer = call(&router, method, path, JOB).await;
        assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    }
    assert_eq!(get(&router, "/version").await.status, 200);
    assert_eq!(api.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_is_acknowledged_once() {
    let api = api_server();
    let router = facade(&api).await;
    api.inject(Fault::on("create", "sparkbatches").lose_response());
    assert_eq!(post(&router, APACHE, JOB).await.id(), 1);
    assert_eq!(post(&router, APACHE, JOB).await.id(), 2);
    assert_eq!(api.list("sparkbatches", NAMESPACE).len(), 2);
}

#[tokio::test]
async fn a_create_of_which_nothing_is_known_says_where_to_look() {
    let api = api_server();
    let router = facade(&api).await;
    api.inject(Fault::on("create", "sparkbatches").lose_response());
    api.inject(Fault::on("get", "sparkbatches").refuse().times(2));
    let answer = post(&router, APACHE, JOB).await;
    assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    assert!(
        answer.msg().contains("Batch 1 may have been created")
            && answer.msg().contains("GET /namespaces/spark/batches/1"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn a_counter_whose_answer_was_lost_leaves_a_gap_and_gives_no_id_twice() {
    let api = api_server();
    let router = facade(&api).await;
    assert_eq!(post(&router, APACHE, JOB).await.id(), 1);
    api.inject(Fault::on("update", "configmaps").lose_response());
    assert_eq!(post(&router, APACHE, JOB).await.status, 503);
    assert_eq!(post(&router, APACHE, JOB).await.id(), 3);
    assert_eq!(api.list("sparkbatches", NAMESPACE).len(), 2);
}

#[tokio::test]
async fn a_name_that_is_taken_is_left_alone() {
    let api = api_server();
    let router = facade(&api).await;
    api.insert(
        "sparkbatches",
        json!({ "metadata": { "namespace": NAMESPACE, "name": "batch-1" }, "spec": { "file": "/theirs.py" } }),
    );
    assert_eq!(post(&router, APACHE, JOB).await.id(), 2);
    assert_eq!(api.get("sparkbatches", NAMESPACE, "batch-1").unwrap()["spec"]["file"], "/theirs.py");
}

#[rstest]
#[case("create", "sparkbatches")]
#[case("create", "configmaps")]
#[tokio::test]
async fn what_the_api_server_says_of_load_is_passed_on(#[case] verb: &str, #[case] resource: &str) {
    let api = api_server();
    let router = facade(&api).await;
    api.inject(Fault::on(verb, resource).answer_retry_after(429, 7));
    let answer = post(&router, APACHE, JOB).await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.header("retry-after"), "7");
    assert_eq!(api.list("sparkbatches", NAMESPACE).len(), 0);
}

#[rstest]
#[case(403, 403)]
#[case(500, 503)]
#[case(503, 503)]
#[case(401, 503)]
#[tokio::test]
async fn what_the_api_server_refuses_is_told_without_its_words(#[case] code: u16, #[case] status: u16) {
    let api = api_server();
    let router = facade(&api).await;
    api.inject(Fault::on("create", "sparkbatches").answer(code));
    let answer = post(&router, APACHE, JOB).await;
    assert_eq!(answer.status, status, "{}", answer.text);
    assert!(!answer.text.contains("injected"), "{}", answer.text);
}

#[tokio::test]
async fn with_the_api_server_down_reads_go_on_and_writes_are_told_to_come_again() {
    let api = api_server();
    let router = facade(&api).await;
    post(&router, APACHE, JOB).await;
    caught_up(&api).await;
    api.kill("facade");
    assert_eq!(get(&router, "/batches/1").await.status, 200);
    for (method, path) in [("POST", APACHE), ("DELETE", "/batches/1"), ("GET", "/batches/2")] {
        let answer = call(&router, method, path, JOB).await;
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (StatusCode::SERVICE_UNAVAILABLE, "1"),
            "{method} {path}"
        );
    }
    assert_eq!(get(&router, "/batches/1").await.status, 200);
}

#[tokio::test]
async fn a_namespace_that_is_being_deleted_takes_no_batches() {
    let api = api_server();
    let router = facade(&api).await;
    api.update("namespaces", "", NAMESPACE, |namespace| {
        namespace["metadata"]["finalizers"] = json!(["test/hold"]);
        namespace["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    });
    let answer = post(&router, APACHE, JOB).await;
    assert_eq!((answer.status, answer.msg()), (StatusCode::FORBIDDEN, "namespace 'spark' is being deleted".into()));
}

fn with_driver(api: &ApiServer) {
    api.insert(
        "pods",
        json!({ "metadata": { "namespace": NAMESPACE, "name": "batch-1-driver" },
        "spec": { "containers": [{ "name": "spark-kubernetes-driver", "image": "spark" }] } }),
    );
}

#[tokio::test]
async fn a_log_is_empty_until_the_driver_writes() {
    let api = api_server();
    let router = facade(&api).await;
    post(&router, APACHE, JOB).await;
    let empty = r#"{"id":1,"from":0,"total":0,"log":[]}"#;
    assert_eq!(get(&router, "/batches/1/log").await.text, empty);
    let driver = json!({ "podName": "batch-1-driver", "podUid": "u" });
    set_status(&api, "batch-1", json!({ "phase": "Starting", "driver": driver })).await;
    assert_eq!(get(&router, "/batches/1/log").await.text, empty);
    with_driver(&api);
    assert_eq!(get(&router, "/batches/1/log").await.text, empty);
    api.set_pod_waiting(NAMESPACE, "batch-1-driver", "ContainerCreating", "");
    assert_eq!(get(&router, "/batches/1/log").await.text, empty);
    assert_eq!(get(&router, "/batches/1/log?from=abc").await.msg(), "For input string: \"abc\"");
}

#[tokio::test]
async fn logs_are_paged_as_livy_pages_them() {
    let api = api_server();
    let router = facade(&api).await;
    post(&router, APACHE, r#"{"file":"/a.py","name":"job-a"}"#).await;
    with_driver(&api);
    api.set_pod_running(NAMESPACE, "batch-1-driver");
    let text: String = (1..=153).map(|n| format!("line {n}\n")).collect();
    api.set_log(NAMESPACE, "batch-1-driver", "spark-kubernetes-driver", &text);
    let driver = json!({ "podName": "batch-1-driver", "podUid": "u" });
    set_status(&api, "batch-1", json!({ "phase": "Running", "driver": driver })).await;
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
        let expected: Vec<_> = lines.map(|n| format!("line {n}")).collect();
        let page = get(&router, &format!("/batches/job-a/log{query}")).await.json();
        assert_eq!(page, json!({ "id": 1, "from": from, "total": 153, "log": expected }), "{query}");
    }
    assert_eq!(
        get(&router, "/batches/1/log?from=1&size=1").await.text,
        r#"{"id":1,"from":1,"total":153,"log":["line 2"]}"#
    );
    api.inject(Fault::on("get", "pods/log").answer(403));
    assert_eq!(get(&router, "/batches/1/log").await.status, 403);
    let instance = get(&router, &format!("{INSTANCE}/1/log")).await;
    assert!(instance.msg().contains("kubectl logs --namespace spark batch-1-driver"), "{}", instance.text);
}

#[tokio::test]
async fn a_request_has_an_id_and_a_caller_may_choose_it() {
    let router = facade(&api_server()).await;
    let with_id = |id: &str| Request::get("/version").header("x-request-id", id).body(Body::empty()).unwrap();
    assert_eq!(send(&router, with_id("abc-1")).await.header("x-request-id"), "abc-1");
    for forged in ["a b", "a\tb", &"x".repeat(500)] {
        assert_eq!(send(&router, with_id(forged)).await.header("x-request-id").len(), 32);
    }
    let answer = get(&router, "/nothing").await;
    assert_eq!((answer.header("x-request-id").len(), answer.header("x-content-type-options")), (32, "nosniff"));
}

#[tokio::test]
async fn too_many_requests_at_once_are_turned_away_and_slow_ones_ended() {
    let api = api_server();
    let limits = Limits { in_flight: 1, request: Duration::from_millis(300), ..Limits::default() };
    let router = facade_with(&api, FacadeConfig { limits, ..config() }).await;
    api.inject(Fault::on("create", "sparkbatches").hold());
    let slow = tokio::spawn({
        let router = router.clone();
        async move { post(&router, APACHE, JOB).await }
    });
    api.until("the create to be held", |api| api.held() > 0).await;
    let turned_away = get(&router, "/batches").await;
    assert_eq!((turned_away.status, turned_away.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    assert_eq!(slow.await.unwrap().status, 504);
    assert_eq!(get(&router, "/batches").await.status, 200);
}

#[tokio::test]
async fn ids_survive_the_counters_deletion_and_restoration() {
    let api = api_server();
    let router = facade(&api).await;
    for id in 1..=3 {
        assert_eq!(post(&router, APACHE, JOB).await.id(), id);
    }
    api.remove("configmaps", NAMESPACE, "sparkbatch-ids");
    let after_deletion = post(&router, APACHE, JOB).await.id();
    assert_eq!(after_deletion, i64::from(4 + SAFETY_MARGIN));
    api.update("configmaps", NAMESPACE, "sparkbatch-ids", |counter| counter["data"]["next"] = json!("2"));
    assert_eq!(post(&router, APACHE, JOB).await.id(), after_deletion + 1 + i64::from(SAFETY_MARGIN));
    // Batches that are deleted free no id.
    for batch in api.list("sparkbatches", NAMESPACE) {
        let id = &batch["metadata"]["labels"]["sparkbatch.dev/id"];
        assert_eq!(call(&router, "DELETE", &format!("/batches/{}", id.as_str().unwrap()), "").await.status, 200);
    }
    assert_eq!(post(&router, APACHE, JOB).await.id(), after_deletion + 2 + i64::from(SAFETY_MARGIN));
}

#[rstest]
#[case(json!({ "next": "2147483648" }), "no batch id left")]
#[case(json!({ "next": "many" }), "holds no id in 'next'")]
#[case(json!({}), "holds no id in 'next'")]
#[case(json!({ "next": "-5" }), "holds no id in 'next'")]
#[tokio::test]
async fn a_counter_that_cannot_go_on_says_so(#[case] data: Value, #[case] part: &str) {
    let api = api_server();
    api.insert("configmaps", json!({ "metadata": { "namespace": NAMESPACE, "name": "sparkbatch-ids" }, "data": data }));
    let router = facade(&api).await;
    let answer = post(&router, APACHE, JOB).await;
    assert_eq!(answer.status, 503);
    assert!(answer.msg().contains(part), "{}", answer.text);
    assert_eq!(api.list("sparkbatches", NAMESPACE).len(), 0);
}

#[tokio::test]
async fn a_caller_that_goes_away_holds_nobody_up() {
    let api = api_server();
    let ids = IdAllocator::new(api.client_as("ids"));
    api.inject(Fault::on("create", "configmaps").hold());
    let first = tokio::spawn({
        let ids = ids.clone();
        async move { ids.next(NAMESPACE, 0).await }
    });
    api.until("the swap to be held", |api| api.held() > 0).await;
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let ids = ids.clone();
            tokio::spawn(async move { ids.next(NAMESPACE, 0).await })
        })
        .collect();
    tokio::task::yield_now().await;
    first.abort();
    api.release_held();
    let mut given: Vec<i32> =
        futures::future::join_all(waiting).await.into_iter().map(|id| id.unwrap().unwrap()).collect();
    given.sort_unstable();
    given.dedup();
    assert_eq!(given.len(), 10);
    // Two writes for eleven callers.
    assert_eq!(api.writes().len(), 2);
}

#[tokio::test]
async fn the_allocator_tells_one_reason_from_another() {
    let api = api_server();
    let ids = IdAllocator::new(api.client_as("ids"));
    assert!(matches!(ids.next("nope", 0).await, Err(IdError::NamespaceNotFound(namespace)) if namespace == "nope"));
    api.inject(Fault::on("get", "configmaps").answer(403));
    assert!(matches!(ids.next(NAMESPACE, 0).await, Err(IdError::Forbidden(_))));
    api.inject(Fault::on("get", "configmaps").refuse());
    assert!(matches!(ids.next(NAMESPACE, 0).await, Err(IdError::Unavailable(_))));
    assert_eq!(ids.next(NAMESPACE, 0).await.unwrap(), 1);
    assert_eq!(ids.next(NAMESPACE, 0).await.unwrap(), 2);
}

#[tokio::test]
async fn only_loopback_is_served_without_authentication() {
    let config = FacadeConfig { listen: "0.0.0.0:0".parse().unwrap(), ..config() };
    let client = api_server().client_as("facade");
    let served = sparkbatch::facade::serve(
        client.clone(),
        IdAllocator::new(client),
        config,
        tokio_util::sync::CancellationToken::new(),
        || {},
    )
    .await;
    assert!(served.unwrap_err().to_string().contains("--auth none"));
}

#[tokio::test]
async fn the_server_says_when_it_is_ready_and_ends_when_told() {
    let client = api_server().client_as("facade");
    let config = FacadeConfig { listen: "127.0.0.1:0".parse().unwrap(), ..config() };
    let cancel = tokio_util::sync::CancellationToken::new();
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let serving = tokio::spawn(sparkbatch::facade::serve(
        client.clone(),
        IdAllocator::new(client),
        config,
        cancel.clone(),
        move || {
            let _ = ready.send(());
        },
    ));
    is_ready.await.unwrap();
    cancel.cancel();
    serving.await.unwrap().unwrap();
}
