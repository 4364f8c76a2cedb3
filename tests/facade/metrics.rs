//! What the facade counts, as who collects it reads it.

#![allow(clippy::float_cmp, reason = "what is counted is whole")]

use std::collections::BTreeMap;

use sparkbatch::admin::{self, Readiness};

use super::*;

/// Values by name and labels, from the text format of `OpenMetrics`.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let mut types = BTreeMap::new();
    let mut values = BTreeMap::new();
    let (body, end) = text.split_at(text.len() - "# EOF\n".len());
    assert_eq!(end, "# EOF\n");
    for line in body.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(types.insert(name.to_owned(), kind.to_owned()), None, "{name} is there twice");
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let is_of = |(family, kind): (&String, &String)| match kind.as_str() {
                "counter" => name == format!("{family}_total"),
                "histogram" => ["_bucket", "_sum", "_count"].iter().any(|end| name == format!("{family}{end}")),
                "info" => name == format!("{family}_info"),
                _ => name == family,
            };
            assert!(name.starts_with("sparkbatch_") && types.iter().any(is_of), "{line}");
            values.insert(series.to_owned(), value.parse().unwrap());
        }
    }
    values
}

async fn scrape(metrics: &Metrics) -> BTreeMap<String, f64> {
    let admin = admin::router(Readiness::default(), metrics.clone());
    let response = admin.oneshot(Request::get("/metrics").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    parse(std::str::from_utf8(&to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap())
}

async fn counted_facade(api: &ApiServer, limits: Limits) -> (Facade, Metrics) {
    let metrics = Metrics::default();
    let clients = clients(api);
    let config = FacadeConfig { limits, ..config() };
    let facade = Facade::new(clients.clone(), IdAllocator::new(clients.own), config, &metrics);
    let feeding = facade.clone();
    tokio::spawn(async move { feeding.feed().await });
    facade.synced().await;
    (facade, metrics)
}

#[tokio::test]
async fn requests_are_counted_by_template_and_never_by_what_callers_write() {
    let api = api_server();
    let (facade, metrics) = counted_facade(&api, Limits::default()).await;
    let router = facade.router();
    post(&router, APACHE, r#"{"file":"/a.py","name":"s3cr3t"}"#).await;
    post(&router, INSTANCE, "{").await;
    for path in ["/batches/1", "/batches/s3cr3t", "/batches/s3cr3t?s3cr3t=s3cr3t", "/s3cr3t", "/batches/77"] {
        let request = Request::get(path).header("authorization", "Bearer s3cr3t").body(Body::empty()).unwrap();
        send(&router, request).await;
    }
    call(&router, "S3CR3T", "/batches", "").await;

    let values = scrape(&metrics).await;
    let requests = |method: &str, route: &str, status: u16| {
        let series =
            format!(r#"sparkbatch_http_requests_total{{method="{method}",route="{route}",status="{status}"}}"#);
        values.get(&series).copied()
    };
    assert_eq!(requests("POST", "/namespaces/{namespace}/batches", 201), Some(1.0));
    assert_eq!(requests("POST", "/v3/analytics_engines/{instance_id}/livy/batches", 400), Some(1.0));
    assert_eq!(requests("GET", "/batches/{id}", 200), Some(3.0));
    assert_eq!(requests("GET", "/batches/{id}", 404), Some(1.0));
    assert_eq!(requests("GET", "", 404), Some(1.0));
    assert_eq!(requests("other", "/batches", 405), Some(1.0));
    let count = r#"sparkbatch_http_request_duration_seconds_count{method="GET",route="/batches/{id}"}"#;
    assert_eq!(values[count], 4.0);
    assert_eq!((values["sparkbatch_facade_batches"], values["sparkbatch_facade_namespaces"]), (1.0, 1.0));
    let build = format!("sparkbatch_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(values[&build], 1.0);
    for gauge in ["http_requests_in_flight", "http_streams_open", "http_connections_open"] {
        assert_eq!(values[&format!("sparkbatch_{gauge}")], 0.0, "{gauge}");
    }
    assert!(values.keys().all(|series| !series.to_lowercase().contains("s3cr3t")));
}

#[tokio::test]
async fn what_is_turned_away_and_what_fails_behind_is_counted() {
    let api = api_server();
    let limits = Limits { in_flight: 1, rate: 2, ..Limits::default() };
    let (facade, metrics) = counted_facade(&api, limits).await;
    let router = facade.router();
    api.inject(Fault::on("create", "sparkbatches").hold());
    let slow = tokio::spawn({
        let router = router.clone();
        async move { post(&router, APACHE, JOB).await }
    });
    api.until("the create to be held", |api| api.held() > 0).await;
    assert_eq!(scrape(&metrics).await["sparkbatch_http_requests_in_flight"], 1.0);
    assert_eq!(get(&router, "/version").await.status, 503);
    while get(&router, "/version").await.status != 429 {}
    api.release_held();
    assert_eq!(slow.await.unwrap().status, 201);
    api.break_watches("sparkbatches");

    let series = |name: &str, label: &str, value: &str| format!("sparkbatch_{name}_total{{{label}=\"{value}\"}}");
    let values = scrape(&metrics).await;
    assert!(values[&series("http_rejected", "reason", "concurrency")] >= 1.0);
    assert!(values[&series("http_rejected", "reason", "rate")] >= 1.0);
    assert_eq!(values["sparkbatch_http_requests_in_flight"], 0.0);
    let mut seen = BTreeMap::new();
    while !seen.contains_key(&series("watch_errors", "resource", "sparkbatches")) {
        tokio::time::sleep(Duration::from_millis(5)).await;
        seen = scrape(&metrics).await;
    }
}

#[tokio::test]
async fn a_caller_that_does_not_wait_is_counted_too() {
    let api = api_server();
    let (facade, metrics) = counted_facade(&api, Limits::default()).await;
    let router = facade.router();
    api.inject(Fault::on("create", "sparkbatches").hold());
    let gone = tokio::spawn(async move { post(&router, APACHE, JOB).await });
    api.until("the create to be held", |api| api.held() > 0).await;
    gone.abort();
    assert!(gone.await.is_err_and(|error| error.is_cancelled()));
    let series =
        r#"sparkbatch_http_requests_total{method="POST",route="/namespaces/{namespace}/batches",status="499"}"#;
    assert_eq!(scrape(&metrics).await[series], 1.0);
}

#[tokio::test]
async fn calls_to_the_api_server_are_counted_by_verb_and_resource() {
    let api = api_server();
    let metrics = Metrics::default();
    let calls = sparkbatch::metrics::ApiCalls::new(&metrics);
    let service = tower::Layer::layer(&calls, api.connection("counted"));
    let client = kube::Client::new(service, "default");
    let namespaces = kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(client);
    namespaces.get(NAMESPACE).await.unwrap();
    namespaces.get("nope").await.unwrap_err();
    api.inject(Fault::on("get", "namespaces").refuse());
    namespaces.get(NAMESPACE).await.unwrap_err();
    let values = scrape(&metrics).await;
    for status in ["200", "404", "none"] {
        let series = format!(r#"sparkbatch_api_calls_total{{verb="get",resource="namespaces",status="{status}"}}"#);
        assert_eq!(values.get(&series), Some(&1.0), "{status}");
    }
    assert_eq!(values[r#"sparkbatch_api_call_duration_seconds_count{verb="get",resource="namespaces"}"#], 3.0);
}

#[tokio::test]
async fn readiness_says_which_right_the_caches_want() {
    let api = api_server();
    api.inject(Fault::on("list", "namespaces").answer(403).always());
    let (metrics, readiness) = (Metrics::default(), Readiness::default());
    let _closed = readiness.gate("caches of the facade");
    let config = FacadeConfig { namespaces: vec!["team".into()], ..config() };
    let clients = clients(&api);
    let facade = Facade::new(clients.clone(), IdAllocator::new(clients.own), config, &metrics);
    tokio::spawn(async move { facade.feed().await });
    let refused = ["may not list namespaces named team: the service account needs list and watch"];
    api.until("the refusal to be known", |_| metrics.unlisted() == refused).await;
    let admin = admin::router(readiness, metrics);
    let answer = admin.oneshot(Request::get("/readyz").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    assert_eq!(body, format!("waiting for: caches of the facade\n- {}\n", refused[0]));
}
