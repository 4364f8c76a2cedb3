//! Who calls: tokens, and what is done in whose name.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::AUTHORIZATION;

use super::*;

pub(crate) const ALICE: &str = "t0k-alice";
pub(crate) const MALLORY: &str = "t0k-mallory";
const CHALLENGE: &str = r#"Bearer realm="sparkbatch", Basic realm="sparkbatch""#;

/// Tokens and rights as Kubernetes has them, for a test to change.
#[derive(Clone, Default)]
pub(crate) struct Cluster {
    users: Arc<Mutex<BTreeMap<String, String>>>,
    pub(crate) rights: Arc<Mutex<BTreeSet<String>>>,
}

impl Cluster {
    /// In which `alice` may do everything in the namespace, and `mallory` is somebody who may do nothing.
    pub(crate) fn of(api: &ApiServer) -> Self {
        let cluster = Self::default();
        cluster.user(ALICE, "alice");
        cluster.user(MALLORY, "mallory");
        for verb in ["create", "list", "get", "delete"] {
            cluster.allow(&format!("alice {verb} sparkbatches.sparkbatch.dev {NAMESPACE}"));
        }
        cluster.allow(&format!("alice get sparkbatches.sparkbatch.dev/log {NAMESPACE}"));
        let (tokens, accesses) = (cluster.clone(), cluster.clone());
        api.on_review("tokenreviews", move |review| Ok(tokens.authenticate(&review["spec"])));
        api.on_review("subjectaccessreviews", move |review| Ok(accesses.authorise(&review["spec"])));
        cluster
    }

    pub(crate) fn user(&self, token: &str, name: &str) {
        self.users.lock().unwrap().insert(token.to_owned(), name.to_owned());
    }

    pub(crate) fn revoke(&self, token: &str) {
        self.users.lock().unwrap().remove(token);
    }

    /// A right is a user, a verb, a resource, and a namespace or a name.
    pub(crate) fn allow(&self, right: &str) {
        self.rights.lock().unwrap().insert(right.to_owned());
    }

    pub(crate) fn forbid(&self, right: &str) {
        assert!(self.rights.lock().unwrap().remove(right), "{right}");
    }

    fn authenticate(&self, spec: &Value) -> Value {
        match self.users.lock().unwrap().get(spec["token"].as_str().unwrap()) {
            Some(name) => json!({ "authenticated": true, "user": {
                "username": name, "uid": format!("uid of {name}"), "groups": ["system:authenticated", "team"],
                "extra": { "scopes": ["a", "b"] } } }),
            None => json!({ "error": "[invalid bearer token, token lookup failed]" }),
        }
    }

    fn authorise(&self, spec: &Value) -> Value {
        let asked = &spec["resourceAttributes"];
        let text = |field: &str| asked[field].as_str().unwrap_or_default();
        let dotted = |before: &str, field: &str| match text(field) {
            "" => String::new(),
            part => format!("{before}{part}"),
        };
        let right = format!(
            "{} {} {}{}{} {}{}",
            spec["user"].as_str().unwrap(),
            text("verb"),
            text("resource"),
            dotted(".", "group"),
            dotted("/", "subresource"),
            text("namespace"),
            text("name"),
        );
        json!({ "allowed": self.rights.lock().unwrap().contains(&right) })
    }
}

pub(crate) fn guarded() -> FacadeConfig {
    FacadeConfig { auth: AuthMode::Kubernetes, ..config() }
}

pub(crate) async fn guarded_facade(api: &ApiServer) -> (Cluster, Router) {
    (Cluster::of(api), facade_with(api, guarded()).await)
}

async fn call_with(router: &Router, authorization: &[u8], method: &str, path: &str, body: &str) -> Answer {
    let header = HeaderValue::from_bytes(authorization).unwrap();
    let request = Request::builder().method(method).uri(path).header(AUTHORIZATION, header);
    send(router, request.body(Body::from(body.to_owned())).unwrap()).await
}

pub(crate) async fn call_as(router: &Router, token: &str, method: &str, path: &str, body: &str) -> Answer {
    call_with(router, format!("Bearer {token}").as_bytes(), method, path, body).await
}

pub(crate) async fn get_as(router: &Router, token: &str, path: &str) -> Answer {
    call_as(router, token, "GET", path, "").await
}

pub(crate) async fn post_as(router: &Router, token: &str, path: &str) -> Answer {
    call_as(router, token, "POST", path, JOB).await
}

pub(crate) fn reviews(api: &ApiServer) -> (usize, usize) {
    (api.count("create", "tokenreviews"), api.count("create", "subjectaccessreviews"))
}

/// Lets time pass for whoever goes by tokio's clock.
pub(crate) async fn pass(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

pub(crate) fn assert_unauthorized(answer: &Answer) {
    assert_eq!((answer.status.as_u16(), answer.header("www-authenticate")), (401, CHALLENGE), "{}", answer.text);
    assert!(!answer.msg().is_empty());
}

fn long() -> Vec<u8> {
    format!("Bearer {}", "x".repeat(1 << 20)).into_bytes()
}

#[rstest]
#[case::a_megabyte(long())]
#[case::no_scheme(ALICE.into())]
#[case::another_scheme("Negotiate YII=".into())]
#[case::no_token("Bearer".into())]
#[case::two_words(format!("Bearer {ALICE} x").into())]
#[case::not_ascii(b"Bearer t\xc3\xb6k\xff".to_vec())]
#[case::no_base64("Basic ?".into())]
#[case::no_password(format!("Basic {}", STANDARD.encode("alice")).into())]
#[case::a_header_in_the_password(format!("Basic {}", STANDARD.encode("u:t0k-alice\r\nImpersonate-User: root")).into())]
#[tokio::test]
async fn a_header_that_holds_no_token_is_401_and_nobody_is_asked(#[case] header: Vec<u8>) {
    let api = api_server();
    let (_, router) = guarded_facade(&api).await;
    for (method, path) in [("GET", "/batches"), ("POST", APACHE), ("DELETE", "/batches/1"), ("GET", INSTANCE)] {
        assert_unauthorized(&call_with(&router, &header, method, path, JOB).await);
    }
    assert_eq!((reviews(&api), api.writes()), ((0, 0), vec![]));
}

#[tokio::test]
async fn no_credentials_and_too_many_are_401() {
    let api = api_server();
    let (_, router) = guarded_facade(&api).await;
    let none = get(&router, "/batches").await;
    assert_unauthorized(&none);
    assert!(none.msg().contains("Authorization: Bearer <token>"), "{}", none.text);
    let bearer = format!("Bearer {ALICE}");
    let twice = Request::get("/batches").header(AUTHORIZATION, &bearer).header(AUTHORIZATION, &bearer);
    assert_unauthorized(&send(&router, twice.body(Body::empty()).unwrap()).await);
    assert_eq!(reviews(&api), (0, 0));
}

#[rstest]
#[case::nobody(json!({ "authenticated": false, "user": { "username": "alice" } }))]
#[case::nameless(json!({ "authenticated": true, "user": { "username": "" } }))]
#[case::unnamed(json!({ "authenticated": true }))]
#[tokio::test]
async fn an_answer_that_names_nobody_lets_nobody_in(#[case] status: Value) {
    let api = api_server();
    let (_, router) = guarded_facade(&api).await;
    api.on_review("tokenreviews", move |_| Ok(status.clone()));
    assert_unauthorized(&get_as(&router, ALICE, "/batches").await);
}

#[tokio::test]
async fn the_batch_is_written_as_the_caller_and_the_counter_as_the_facade() {
    let api = api_server();
    let (_, router) = guarded_facade(&api).await;
    assert_eq!(post_as(&router, ALICE, APACHE).await.json()["owner"], "alice");
    let stored = api.get("sparkbatches", NAMESPACE, "batch-1").unwrap();
    assert_eq!(stored["metadata"]["annotations"]["sparkbatch.dev/owner"], "alice");
    assert_eq!(call_as(&router, ALICE, "DELETE", "/batches/1", "").await.status, 200);

    let bearer = Some(format!("Bearer {ALICE}"));
    let as_callers: Vec<_> = api.calls_of("callers").into_iter().map(|call| (call.verb, call.authorization)).collect();
    assert_eq!(as_callers, [("create", bearer.clone()), ("delete", bearer)]);
    let own = api.calls_of("facade");
    assert!(own.iter().all(|call| call.authorization.is_none()));
    assert!(own.iter().any(|call| call.is_write() && call.resource == "configmaps"));
    assert!(!own.iter().any(|call| call.is_write() && call.resource == "sparkbatches"));
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_is_looked_for_as_the_facade() {
    let api = api_server();
    let (_, router) = guarded_facade(&api).await;
    api.inject(Fault::on("create", "sparkbatches").lose_response());
    assert_eq!(post_as(&router, ALICE, APACHE).await.id(), 1);
    assert!(api.calls_of("facade").iter().any(|call| call.verb == "get" && call.resource == "sparkbatches"));
}

#[tokio::test]
async fn basic_authentication_is_a_token_with_any_user_name() {
    let api = api_server();
    let (_, router) = guarded_facade(&api).await;
    for user in ["airflow", "", "mallory", "ünï"] {
        let header = format!("basic {}", STANDARD.encode(format!("{user}:{ALICE}")));
        let answer = call_with(&router, header.as_bytes(), "POST", APACHE, JOB).await;
        assert_eq!(answer.json()["owner"], "alice");
    }
    let bearer = Some(format!("Bearer {ALICE}"));
    assert!(api.calls_of("callers").iter().all(|call| call.authorization == bearer));
    // The same token is the same caller, however it was sent.
    assert_eq!(reviews(&api), (1, 1));
    let wrong = format!("Basic {}", STANDARD.encode("alice:t0k-wrong"));
    assert_unauthorized(&call_with(&router, wrong.as_bytes(), "GET", "/batches", "").await);
}

#[tokio::test]
async fn without_authentication_nobody_is_asked_for_and_nobody_owns() {
    let api = api_server();
    let router = facade(&api).await;
    assert_eq!(post_as(&router, "whatever", APACHE).await.json()["owner"], Value::Null);
    assert!(api.get("sparkbatches", NAMESPACE, "batch-1").unwrap()["metadata"]["annotations"].is_null());
    assert_eq!(call(&router, "DELETE", "/batches/1", "").await.status, 200);
    assert_eq!((reviews(&api), api.calls_of("callers").len()), ((0, 0), 0));
}

#[tokio::test]
async fn a_body_is_not_read_before_it_is_known_whose_it_is() {
    let api = api_server();
    let (_, router) = guarded_facade(&api).await;
    let never = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, io::Error>>());
    assert_unauthorized(&post(&router, APACHE, never).await);
}

/// What is logged while it lives, on this thread.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Logged {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

#[tokio::test]
async fn the_log_names_users_and_never_their_tokens() {
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
    let _guard = tracing::subscriber::set_default(subscriber.with_writer(move || writer.clone()).finish());
    let api = api_server();
    let (cluster, router) = guarded_facade(&api).await;
    cluster.user("t0k-eve", "eve\nforged");
    let mut answers = vec![
        post_as(&router, ALICE, APACHE).await,
        post_as(&router, MALLORY, APACHE).await,
        get_as(&router, "t0k-eve", "/batches").await,
        get_as(&router, "t0k-unknown", "/batches").await,
        get_as(&router, "t0k-mal formed", "/batches").await,
    ];
    for fault in [
        Fault::on("create", "tokenreviews").answer(500),
        Fault::on("create", "tokenreviews").refuse(),
        Fault::on("create", "sparkbatches").answer(401),
        Fault::on("create", "sparkbatches").answer(403),
        Fault::on("create", "sparkbatches").answer(500),
    ] {
        pass(60).await;
        api.inject(fault);
        answers.push(post_as(&router, ALICE, APACHE).await);
    }
    // An answer that cannot be read repeats the token, too.
    pass(60).await;
    api.on_review("tokenreviews", |_| Ok(json!([ALICE])));
    answers.push(post_as(&router, ALICE, APACHE).await);
    assert_eq!(answers.last().unwrap().status, 503);

    let log = logged.text();
    for line in ["user=\"alice\"", "user=\"mallory\"", "user=\"eve\\\\nforged\""] {
        assert!(log.contains(line), "{line} is not in\n{log}");
    }
    for text in answers.iter().map(|answer| answer.text.as_str()).chain([log.as_str()]) {
        assert!(!text.contains("t0k-"), "{text}");
    }
}

#[tokio::test]
async fn of_the_facades_own_account_callers_get_nothing() {
    let api = api_server();
    Cluster::of(&api);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = api.clone();
    tokio::spawn(async move { axum::serve(listener, served.router("socket")).await });
    let mut config = kube::Config::new(url.parse().unwrap());
    config.auth_info.token = Some("t0k-facade".to_owned().into());
    let clients = Clients::build(&config, kube::Client::try_from).unwrap();
    let facade = Facade::new(clients.clone(), IdAllocator::new(clients.own.clone()), guarded(), &Metrics::default());
    let feeding = facade.clone();
    tokio::spawn(async move { feeding.feed().await });
    facade.synced().await;
    assert_eq!(post_as(&facade.router(), ALICE, APACHE).await.id(), 1);
    clients.anonymous.apiserver_version().await.unwrap();

    let calls = api.calls();
    let by = |verb: &str, resource: &str| {
        let call = calls.iter().find(|call| call.verb == verb && call.resource == resource);
        call.unwrap_or_else(|| panic!("no {verb} of {resource}")).authorization.clone().unwrap_or_default()
    };
    assert_eq!(by("create", "sparkbatches"), "Bearer t0k-alice");
    for own in ["configmaps", "tokenreviews", "subjectaccessreviews"] {
        assert_eq!(by("create", own), "Bearer t0k-facade");
    }
    assert_eq!(by("get", "/version"), "");
}
