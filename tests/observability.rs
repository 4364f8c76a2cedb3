//! What a process tells of itself: traces to a real receiver, lines of its log, metrics, and the reasons of Events.
//! Where the environment or the subscriber matter, a test runs this program once more, as a process of its own.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod common;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request};
use axum::routing::post;
use common::apiserver::ApiServer;
use jiff::{SignedDuration, Timestamp};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use regex::Regex;
use serde_json::{Value, json};
use sparkbatch::controller::{self, ControllerConfig};
use sparkbatch::facade::{AuthMode, Clients, Facade, FacadeConfig};
use sparkbatch::ids::IdAllocator;
use sparkbatch::metrics::{ApiCalls, Described, Metrics};
use sparkbatch::plan::Defaults;
use sparkbatch::telemetry::{self, LogFormat};
use tokio_util::sync::CancellationToken;
use tower::{Layer as _, ServiceExt as _};

const NS: &str = "jobs";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// What the process under test says at its end.
const FACTS: &str = "facts: ";

/// The process under test: one batch, posted and run to its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the other tests run it, each as a process of its own"]
async fn process() {
    let telemetry = telemetry::init("info", LogFormat::Json).unwrap();
    let server = ApiServer::new();
    server.set_now(Timestamp::now());
    server.options(|options| options.clock_step = SignedDuration::ZERO);
    server.insert("namespaces", json!({ "metadata": { "name": NS } }));
    let metrics = Metrics::default();
    let calls = ApiCalls::new(&metrics);
    let client = |label| kube::Client::new(calls.layer(server.connection(label)), "default");
    let ids = IdAllocator::new(client("ids"));

    let clients = Clients { own: client("facade"), anonymous: client("callers") };
    let config = FacadeConfig { default_namespace: NS.into(), auth: AuthMode::None, ..FacadeConfig::default() };
    let facade = Facade::new(clients, ids.clone(), config, &metrics);
    let feeding = facade.clone();
    tokio::spawn(async move { feeding.feed().await });
    facade.synced().await;
    let (cancel, operator) = (CancellationToken::new(), client("operator"));
    let cancelled = cancel.clone();
    let counted = metrics.clone();
    let controlling =
        tokio::spawn(
            async move { controller::run(operator, ids, controller_config(), &counted, cancelled, || ()).await },
        );

    let mut request = Request::post(format!("/namespaces/{NS}/batches?secret=s3cr3t"))
        .header("content-type", "application/json")
        .header("authorization", "Bearer s3cr3t");
    if let Ok(context) = std::env::var("TEST_TRACEPARENT") {
        request = request.header("traceparent", context);
    }
    let request = request.body(Body::from(r#"{"file":"/a.py"}"#)).unwrap();
    let answer = facade.router().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 201, "{:?}", to_bytes(answer.into_body(), usize::MAX).await);
    server.until("the driver", |server| !server.list("secrets", NS).is_empty()).await;
    let driver = server.list("pods", NS)[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let phase = |server: &ApiServer| server.get("sparkbatches", NS, "batch-1").unwrap()["status"]["phase"].clone();
    server.until("Starting", |server| phase(server) == "Starting").await;
    server.set_pod_running(NS, &driver);
    server.until("Running", |server| phase(server) == "Running").await;
    server.set_driver_terminated(NS, &driver, 0, "Completed");
    server.until("Succeeded", |server| phase(server) == "Succeeded").await;
    cancel.cancel();
    controlling.await.unwrap();
    let batch = server.get("sparkbatches", NS, "batch-1").unwrap();
    let facts = json!({
        "annotation": batch["metadata"]["annotations"]["sparkbatch.dev/traceparent"],
        "uid": batch["metadata"]["uid"],
        "threads": threads(),
        "metrics": metrics.text().unwrap(),
    });
    telemetry.end().await;
    println!("\n{FACTS}{facts}");
}

fn controller_config() -> ControllerConfig {
    let defaults = Defaults { image: Some("spark".into()), service_account: "spark".into(), ..Defaults::default() };
    ControllerConfig { defaults, concurrency: 4, ..ControllerConfig::default() }
}

fn threads() -> BTreeSet<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok()).collect()
}

/// Runs [`process`] with these variables, and none of `OpenTelemetry`'s besides.
async fn run(variables: &[(&str, &str)]) -> (Value, Output) {
    let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
    command.args(["process", "--exact", "--ignored", "--nocapture"]).kill_on_drop(true);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OTEL_")) {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = tokio::time::timeout(Duration::from_secs(60), command.output()).await.unwrap().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let facts = stdout.lines().find_map(|line| line.strip_prefix(FACTS));
    let facts = facts.unwrap_or_else(|| panic!("{stdout}\n{}", String::from_utf8_lossy(&output.stderr)));
    (serde_json::from_str(facts).unwrap(), output)
}

/// A receiver of OTLP over HTTP on loopback.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Vec<(HeaderMap, ExportTraceServiceRequest)>>>);

impl Receiver {
    /// Its address.
    async fn listen(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::clone(&self.0);
        let take = async move |headers: HeaderMap, body: Bytes| {
            received.lock().unwrap().push((headers, ExportTraceServiceRequest::decode(body).unwrap()));
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/v1/traces", post(take))).await });
        format!("http://{address}")
    }

    fn spans(&self) -> Vec<Span> {
        let received = self.0.lock().unwrap();
        let resources = received.iter().flat_map(|(_, request)| &request.resource_spans);
        resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
    }

    fn resource(&self, name: &str) -> String {
        let received = self.0.lock().unwrap();
        text(&received[0].1.resource_spans[0].resource.as_ref().unwrap().attributes, name)
    }
}

fn text(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == name).and_then(|found| found.value.clone());
    match found.and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        other => panic!("{name}: {other:?} in {attributes:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

#[tokio::test]
async fn the_trace_of_a_request_goes_on_in_the_controller() {
    let receiver = Receiver::default();
    let endpoint = receiver.listen().await;
    let (facts, output) = run(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=hush"),
        ("OTEL_SERVICE_NAME", "sparkbatch-test"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ("TEST_TRACEPARENT", CALLER),
    ])
    .await;
    let spans = receiver.spans();
    let named = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();

    let [request] = named("POST /namespaces/{namespace}/batches")[..] else { panic!("{spans:#?}") };
    assert_eq!((hex(&request.trace_id), hex(&request.parent_span_id)), (TRACE.into(), "b7ad6b7169203331".into()));
    assert_eq!(text(&request.attributes, "http.request.method"), "POST");
    assert_eq!(text(&request.attributes, "http.route"), "/namespaces/{namespace}/batches");
    assert_eq!(text(&request.attributes, "http.response.status_code"), "201");
    assert_eq!(facts["annotation"], format!("00-{TRACE}-{}-01", hex(&request.span_id)));

    // The look that started the batch is part of the trace; those at its driver point to it.
    let looks = named("reconcile");
    let (starts, follows): (Vec<&Span>, Vec<&Span>) = looks.iter().partition(|span| hex(&span.trace_id) == TRACE);
    assert!(!starts.is_empty() && !follows.is_empty(), "{looks:#?}");
    for start in &starts {
        assert_eq!(start.parent_span_id, request.span_id);
        assert_eq!(text(&start.attributes, "phase"), "Pending");
    }
    for follow in &follows {
        assert_eq!((&follow.links[0].trace_id, &follow.links[0].span_id), (&request.trace_id, &request.span_id));
        assert!(follow.parent_span_id.is_empty());
    }
    for (name, value) in
        [("namespace", NS), ("batch", "batch-1"), ("uid", facts["uid"].as_str().unwrap()), ("attempt", "1")]
    {
        assert_eq!(text(&starts[0].attributes, name), value);
    }
    let parent_of =
        |name: &str| named(name).first().unwrap_or_else(|| panic!("{name}: {spans:#?}")).parent_span_id.clone();
    assert_eq!(parent_of("create sparkbatches"), request.span_id);
    for write in ["create pods", "create secrets", "patch sparkbatches/status"] {
        assert!(starts.iter().any(|start| start.span_id == parent_of(write)), "{write}");
    }
    assert!(!spans.iter().any(|span| span.name.starts_with("watch")), "a watch is part of no trace");

    assert_eq!(receiver.resource("service.name"), "sparkbatch-test");
    assert_eq!(receiver.resource("deployment.environment.name"), "test");
    assert_eq!(receiver.resource("service.version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(receiver.0.lock().unwrap()[0].0["x-key"], "hush");
    let all = format!("{spans:?}{}", String::from_utf8_lossy(&output.stderr));
    assert!(!all.contains("s3cr3t"), "{all}");
}

#[tokio::test]
async fn a_request_that_is_not_sampled_sends_nothing_and_neither_does_its_batch() {
    let receiver = Receiver::default();
    let endpoint = format!("{}/v1/traces", receiver.listen().await);
    let not_sampled = CALLER.replace("-01", "-00");
    let variables = [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint.as_str()),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_off"),
        ("TEST_TRACEPARENT", &not_sampled),
    ];
    let (facts, _) = run(&variables).await;
    assert_eq!(receiver.spans(), Vec::new());
    let annotation = facts["annotation"].as_str().unwrap();
    assert!(annotation.starts_with(&format!("00-{TRACE}-")) && annotation.ends_with("-00"), "{annotation}");
}

#[tokio::test]
async fn without_a_collector_nothing_is_started_and_a_callers_context_goes_on() {
    let (facts, _) = run(&[]).await;
    assert_eq!(facts["annotation"], Value::Null);
    let threads = facts["threads"].as_array().unwrap();
    assert!(!threads.iter().any(|name| name.as_str().unwrap().starts_with("OpenTelemetry")), "{threads:?}");

    let (facts, _) = run(&[("TEST_TRACEPARENT", CALLER)]).await;
    assert_eq!(facts["annotation"], CALLER);
    let (facts, _) = run(&[("TEST_TRACEPARENT", "00-s3cr3t")]).await;
    assert_eq!(facts["annotation"], Value::Null);
    let (facts, _) = run(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"), ("OTEL_SDK_DISABLED", "true")]).await;
    let threads = facts["threads"].as_array().unwrap();
    assert!(!threads.iter().any(|name| name.as_str().unwrap().starts_with("OpenTelemetry")), "{threads:?}");
}

#[tokio::test]
async fn a_collector_that_is_away_holds_nothing_up_and_is_told_of_once() {
    // Bound and not listened to: refused.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let started = Instant::now();
    let endpoint = format!("http://{gone}");
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "20")];
    let (facts, output) = run(&variables).await;
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    let threads = facts["threads"].as_array().unwrap();
    assert!(threads.iter().any(|name| name.as_str().unwrap().starts_with("OpenTelemetry")), "{threads:?}");
    let lines = String::from_utf8(output.stderr).unwrap();
    assert_eq!(lines.matches("this is told once a minute").count(), 1, "{lines}");
}

#[tokio::test]
async fn a_line_of_the_log_is_one_object_and_that_of_a_batch_has_its_name() {
    let (_, output) = run(&[]).await;
    let lines = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    for line in &lines {
        assert!(line["timestamp"].as_str().unwrap().parse::<Timestamp>().is_ok(), "{line}");
        for field in ["level", "message", "target"] {
            assert!(line[field].is_string(), "{field}: {line}");
        }
    }
    let phases: Vec<_> = lines.iter().filter(|line| line["message"] == "batch changed its phase").collect();
    assert_eq!(phases.len(), 3, "{lines:#?}");
    for line in phases {
        assert_eq!((&line["namespace"], &line["name"]), (&json!(NS), &json!("batch-1")));
        assert_eq!(line["span"], json!({ "name": "reconcile", "namespace": NS, "batch": "batch-1" }), "{line}");
    }
}

/// Rows of a table of docs, by their cells.
fn rows(page: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(format!("{}/docs/{page}.md", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
    text.lines().filter(|line| line.starts_with("| `")).map(cells).collect()
}

/// What a process registers, by the sections of docs/metrics.md.
async fn registered() -> [(&'static str, Vec<Described>); 3] {
    let (server, metrics) = (ApiServer::new(), Metrics::default());
    drop(ApiCalls::new(&metrics));
    let both = metrics.described();
    let ids = IdAllocator::new(server.client());
    let (cancel, own) = (CancellationToken::new(), metrics.clone());
    let (cancelled, ready) = (cancel.clone(), cancel.clone());
    controller::run(server.client(), ids.clone(), controller_config(), &own, cancelled, move || ready.cancel()).await;
    let controllers = metrics.described().split_off(both.len());
    let clients = Clients { own: server.client(), anonymous: server.client() };
    let _facade = Facade::new(clients, ids, FacadeConfig::default(), &metrics);
    let facades = metrics.described().split_off(both.len() + controllers.len());
    [("Both", both), ("Controller", controllers), ("REST API", facades)]
}

/// `page` with these metrics as the table of the section.
fn with_table(page: &str, section: &str, metrics: &[Described]) -> String {
    let row = |metric: &Described| {
        let Described { name, kind, labels, help } = metric;
        let labels = if labels.is_empty() { String::new() } else { format!(" {}", labels.join(", ")) };
        format!("| `{name}` | {kind} |{labels} | {help} |\n")
    };
    let rows: String = metrics.iter().map(row).collect();
    let table = Regex::new(&format!(r"(?m)(^## {section}\n\n)(\|.*\n)+")).unwrap();
    assert!(table.is_match(page), "docs/metrics.md has no table below '## {section}'");
    let made = format!("${{1}}| metric | type | labels | |\n|---|---|---|---|\n{rows}");
    table.replace(page, made).into_owned()
}

#[tokio::test]
async fn the_committed_reference_of_metrics_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let committed = std::fs::read_to_string(&path).unwrap();
    let sections = registered().await;
    let generated = sections.iter().fold(committed.clone(), |page, (section, all)| with_table(&page, section, all));
    if std::env::var_os("SPARKBATCH_GENERATE").is_some() {
        std::fs::write(path, generated).unwrap();
        return;
    }
    assert!(committed == generated, "docs/metrics.md is out of date: run `make generate`");
}

#[tokio::test]
async fn what_metrics_show_has_the_type_and_labels_that_are_described() {
    let (facts, _) = run(&[]).await;
    let (sample, label) = (Regex::new(r"^([a-z_]+)(?:\{(.*)\})? ").unwrap(), Regex::new(r#"([a-z_]+)=""#).unwrap());
    let mut seen = BTreeSet::new();
    let mut described: Vec<_> = registered().await.into_iter().flat_map(|(_, metrics)| metrics).collect();
    // The longest name first: it is the one that a sample's name begins with.
    described.sort_by_key(|metric| Reverse(metric.name.len()));
    for line in facts["metrics"].as_str().unwrap().lines().filter(|line| !line.starts_with('#')) {
        let [name, labels] =
            [1, 2].map(|part| sample.captures(line).unwrap().get(part).map_or("", |part| part.as_str()));
        let metric = described.iter().find(|metric| name.starts_with(&metric.name)).unwrap_or_else(|| panic!("{line}"));
        let labels = label.captures_iter(labels).map(|label| label[1].to_owned()).filter(|label| label != "le");
        assert_eq!(labels.collect::<Vec<_>>(), metric.labels, "{line}");
        let ends: &[&str] = if metric.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        assert!(ends.iter().any(|end| name[metric.name.len()..] == **end), "{line}");
        seen.insert(&metric.name);
    }
    assert!(seen.len() > 20, "{seen:?}");
}

#[test]
fn every_reason_is_documented_and_no_other() {
    let documented: Vec<_> = rows("observability").into_iter().map(|row| row[0].clone()).collect();
    let documented: BTreeSet<_> =
        documented.iter().map(String::as_str).filter(|name| !name.starts_with("OTEL_")).collect();
    assert_eq!(documented, controller::event_reasons().chain(["DriverPending", "DriverRunning"]).collect());
}
