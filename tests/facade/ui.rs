//! The Spark UI of a running batch, with drivers that are sockets on loopback and answer what they like.

#[path = "ui/driver.rs"]
mod driver;

use std::sync::atomic::Ordering;

use axum::body::Bytes;
use http::Response;
use http_body_util::BodyExt as _;
use sparkbatch::facade::UiLimits;
use tokio::net::TcpListener;

use self::driver::{Does, Driver};
use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello";

fn ui_config() -> FacadeConfig {
    FacadeConfig { ui_on_loopback: true, ..config() }
}

fn ui_limits(ui: UiLimits) -> FacadeConfig {
    FacadeConfig { limits: Limits { ui, ..Limits::default() }, ..ui_config() }
}

/// A facade with batch 1, named `job-a`, that runs with its UI at this address.
async fn running(api: &ApiServer, config: FacadeConfig, address: &str) -> Router {
    let router = facade_with(api, config).await;
    assert_eq!(post(&router, APACHE, r#"{"file":"/a.py","name":"job-a"}"#).await.id(), 1);
    let driver = json!({ "podName": "d", "podUid": "u", "uiAddress": address });
    set_status(api, "batch-1", json!({ "id": 1, "phase": "Running", "appId": "spark-1", "driver": driver })).await;
    router
}

async fn with(driver: &Driver, config: FacadeConfig) -> Router {
    running(&api_server(), config, &driver.address.to_string()).await
}

async fn ask(router: &Router, request: Request<Body>) -> Response<Body> {
    router.clone().oneshot(request).await.unwrap()
}

async fn page(router: &Router, path: &str) -> Response<Body> {
    ask(router, Request::get(path).header("host", "spark.example:8998").body(Body::empty()).unwrap()).await
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

#[tokio::test]
async fn a_page_is_fetched_with_the_path_that_its_links_are_to_start_with() {
    for (base, prefix) in [("/batches", ""), (APACHE, ""), (INSTANCE, ""), (INSTANCE, "/team-a/spark")] {
        let driver = Driver::saying(OK).await;
        let external_url = Some(format!("https://x.example{prefix}").parse().unwrap());
        let router = with(&driver, FacadeConfig { external_url, ..ui_config() }).await;
        let shown = page(&router, &format!("{base}/1/ui/jobs/job/?id=1&a=%2F..%2f&b=%20%27")).await;
        assert_eq!((shown.status(), shown.headers()["content-type"].to_str().unwrap()), (StatusCode::OK, "text/html"));
        assert_eq!(text(shown).await, "hello");
        let head = driver.head();
        assert!(head.starts_with("get /jobs/job/?id=1&a=%2f..%2f&b=%20%27 http/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("\r\nx-forwarded-context: {prefix}{base}/1/ui\r\n")), "{head}");
        assert!(head.contains(&format!("\r\nhost: {}\r\n", driver.address)), "{head}");
    }
}

#[tokio::test]
async fn a_driver_learns_nothing_of_its_caller_but_what_it_accepts() {
    let driver = Driver::saying(OK).await;
    let router = with(&driver, ui_config()).await;
    let mut request = Request::get("/batches/1/ui/");
    for (name, value) in [
        ("authorization", "Bearer secret"),
        ("proxy-authorization", "Basic secret"),
        ("cookie", "session=secret"),
        ("x-forwarded-context", "/evil"),
        ("x-forwarded-for", "secret"),
        ("forwarded", "for=secret"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("expect", "100-continue"),
        ("accept-encoding", "gzip"),
        ("host", "evil.example"),
    ] {
        request = request.header(name, value);
    }
    assert_eq!(ask(&router, request.body("body".into()).unwrap()).await.status(), 200);
    let head = driver.head();
    let names: std::collections::BTreeSet<_> =
        head.lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0)).collect();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["accept-encoding", "connection", "host", "x-forwarded-context"]);
    for part in ["secret", "evil", "upgrade"] {
        assert!(!head.contains(part), "{head}");
    }
}

#[tokio::test]
async fn a_driver_says_nothing_in_the_name_of_the_rest_api() {
    let answer = "HTTP/1.1 401 Unauthorized\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\
        Set-Cookie: a=b\r\nWWW-Authenticate: Basic realm=\"x\"\r\nServer: Jetty\r\nCache-Control: public, max-age=9\r\n\
        Content-Security-Policy: default-src *\r\nService-Worker-Allowed: /\r\nAccess-Control-Allow-Origin: *\r\n\
        Refresh: 0; url=https://evil.example/\r\nLink: </batches>; rel=preload\r\nClear-Site-Data: \"*\"\r\n\
        Keep-Alive: timeout=9\r\nX-Frame-Options: ALLOWALL\r\nX-Request-Id: theirs\r\nContent-Length: 0\r\n\r\n";
    let driver = Driver::saying(answer).await;
    let router = with(&driver, ui_config()).await;
    let shown = page(&router, "/batches/1/ui/").await;
    assert_eq!(shown.status(), 401);
    let headers = shown.headers();
    let names: std::collections::BTreeSet<_> = headers.keys().map(http::HeaderName::as_str).collect();
    assert_eq!(
        names.into_iter().collect::<Vec<_>>(),
        [
            "cache-control",
            "content-encoding",
            "content-length",
            "content-security-policy",
            "content-type",
            "cross-origin-opener-policy",
            "cross-origin-resource-policy",
            "referrer-policy",
            "x-content-type-options",
            "x-frame-options",
            "x-request-id",
        ]
    );
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["x-frame-options"], "SAMEORIGIN");
    assert_ne!(headers["x-request-id"], "theirs");
}

#[tokio::test]
async fn a_page_may_load_and_call_what_is_its_own_and_open_nothing() {
    let driver = Driver::saying(OK).await;
    let external_url = Some("https://x.example/spark".parse().unwrap());
    let router = with(&driver, FacadeConfig { external_url, ..ui_config() }).await;
    let shown = page(&router, "/batches/job-a/ui/").await;
    let policy = shown.headers()["content-security-policy"].to_str().unwrap();
    let own = "x.example/spark/batches/1/ui/ spark.example:8998/spark/batches/1/ui/";
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    assert!(policy.contains(&format!("; connect-src {own}; form-action {own};")), "{policy}");
    assert!(policy.contains("worker-src 'none'"), "{policy}");
    let sandbox = policy.split("sandbox ").nth(1).unwrap();
    assert!(!sandbox.contains("popups") && !sandbox.contains("navigation"), "{sandbox}");

    let injected = Request::get("/batches/1/ui/").header("host", "a; script-src *").body(Body::empty()).unwrap();
    let shown = ask(&router, injected).await;
    assert!(!shown.headers()["content-security-policy"].to_str().unwrap().contains("script-src *"));
    // What is no page cannot be made one by a page that opens it.
    let list = get(&router, "/batches").await;
    assert!(list.header("content-security-policy").ends_with("sandbox"), "{:?}", list.headers);
}

#[tokio::test]
async fn redirects_stay_below_the_batch() {
    let driver = Driver::start(|head| {
        let host = head.split("host: ").nth(1).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let to = match head.split(' ').nth(1).unwrap() {
            "/" => format!("http://{host}/jobs/"),
            "/relative" => "/stages/?a=b".to_owned(),
            "/evil" => "https://evil.example/".to_owned(),
            "/network" => "//evil.example/".to_owned(),
            "/port" => "http://127.0.0.1:22/".to_owned(),
            _ => "/../../2".to_owned(),
        };
        Does::Answer(format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").into())
    })
    .await;
    let router = with(&driver, ui_config()).await;
    for (from, to) in [("", "jobs/"), ("relative", "stages/?a=b")] {
        let answer = page(&router, &format!("{APACHE}/1/ui/{from}")).await;
        assert_eq!(answer.status(), 302);
        assert_eq!(answer.headers()["location"], format!("{APACHE}/1/ui/{to}"));
    }
    for from in ["evil", "network", "port", "up"] {
        let answer = get(&router, &format!("{APACHE}/1/ui/{from}")).await;
        assert_eq!((answer.status, answer.header("location")), (StatusCode::BAD_GATEWAY, ""), "{from}");
    }
}

#[tokio::test]
async fn the_ui_without_a_slash_is_where_the_ui_with_one_is() {
    let driver = Driver::saying(OK).await;
    let router = with(&driver, ui_config()).await;
    for base in ["/batches/1", "/batches/job-a", &format!("{INSTANCE}/1")] {
        let answer = page(&router, &format!("{base}/ui")).await;
        assert_eq!((answer.status(), &answer.headers()["location"]), (StatusCode::FOUND, &"ui/".parse().unwrap()));
    }
    for path in ["/batches/2/ui", "/batches/2/ui/", "/batches/..%2f1/ui/", "/batches/%2e%2e/ui/", "/batches/1%00/ui/"] {
        assert_eq!(get(&router, path).await.status, 404, "{path}");
    }
    assert_eq!(get(&router, &format!("{INSTANCE}/job-a/ui/")).await.status, 404);
    assert_eq!(driver.heads(), [""; 0]);
}

#[rstest]
#[case("../../2", 400)]
#[case("..", 400)]
#[case("%2e%2e/%2E%2E/2", 400)]
#[case("..%2f..%2f2", 400)]
#[case("jobs%5c..", 400)]
#[case("..;/jobs", 400)]
#[case("a%00", 400)]
#[case("a%0d%0aX-Injected:%20y", 400)]
#[case("/evil.example/", 400)]
#[case("jobs/job/kill/?id=0", 403)]
#[tokio::test]
async fn paths_that_lead_elsewhere_reach_no_driver(#[case] path: &str, #[case] status: u16) {
    let driver = Driver::saying(OK).await;
    let router = with(&driver, ui_config()).await;
    for base in ["/batches", APACHE, INSTANCE] {
        let answer = get(&router, &format!("{base}/1/ui/{path}")).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert!(!answer.msg().is_empty());
    }
    assert_eq!(driver.heads(), [""; 0]);
}

#[tokio::test]
async fn a_ui_is_read_and_not_written_to() {
    let driver = Driver::saying("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await;
    let router = with(&driver, ui_config()).await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"] {
        let answer = call(&router, method, "/batches/1/ui/jobs/", "").await;
        assert_eq!(answer.status, 405, "{method}");
    }
    let head = ask(&router, Request::head("/batches/1/ui/jobs/").body(Body::empty()).unwrap()).await;
    assert_eq!(head.status(), 200);
    assert_eq!(text(head).await, "");
    assert!(driver.head().starts_with("head /jobs/ http/1.1\r\n"), "{}", driver.head());
}

#[rstest]
#[case("garbage\r\n\r\n")]
#[case("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n")]
#[case("HTTP/1.1 200 OK\r\nA: b\x01\r\n\r\n")]
#[case("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")]
#[case("")]
#[tokio::test]
async fn a_driver_that_speaks_no_http_is_a_bad_gateway(#[case] answer: &str) {
    let driver = Driver::saying(answer).await;
    let answer = get(&with(&driver, ui_config()).await, "/batches/1/ui/").await;
    assert_eq!(answer.status, 502, "{}", answer.text);
}

#[tokio::test]
async fn a_driver_with_too_much_in_its_headers_is_a_bad_gateway() {
    let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(200_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(100));
    for answer in [long, many] {
        let driver = Driver::saying(answer).await;
        assert_eq!(get(&with(&driver, ui_config()).await, "/batches/1/ui/").await.status, 502);
        driver.until_left().await;
    }
}

#[tokio::test]
async fn a_driver_that_is_gone_is_a_bad_gateway_and_one_that_hangs_a_timeout() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let router = running(&api_server(), ui_config(), &gone.to_string()).await;
    let answer = get(&router, "/batches/1/ui/").await;
    assert_eq!(answer.status, 502);
    assert!(answer.msg().contains("try again"), "{}", answer.text);

    let driver = Driver::start(|_| Does::Nothing).await;
    let limits = UiLimits { head: Duration::from_millis(100), ..UiLimits::default() };
    assert_eq!(get(&with(&driver, ui_limits(limits)).await, "/batches/1/ui/").await.status, 504);
    driver.until_left().await;
}

#[tokio::test]
async fn an_answer_without_an_end_is_ended_and_its_place_given_back() {
    let driver = Driver::start(|_| Does::Endless("HTTP/1.1 200 OK\r\n\r\n")).await;
    let ui = UiLimits { answer: Duration::from_millis(300), ..UiLimits::default() };
    let limits = Limits { streams: 1, ui, ..Limits::default() };
    let router = with(&driver, FacadeConfig { limits, ..ui_config() }).await;
    let endless = page(&router, "/batches/1/ui/").await;
    assert_eq!(endless.status(), 200);
    let turned_away = get(&router, "/batches/1/ui/").await;
    assert_eq!((turned_away.status, turned_away.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    // Other requests are not in its way.
    assert_eq!(get(&router, "/batches/1").await.status, 200);
    assert!(endless.into_body().collect().await.is_err());
    driver.until_left().await;
    assert_eq!(page(&router, "/batches/1/ui/").await.status(), 200);
}

#[tokio::test]
async fn a_huge_answer_is_held_back_to_the_pace_of_its_reader_and_ends_with_him() {
    let driver = Driver::start(|_| Does::Endless("HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n")).await;
    let limits = Limits { streams: 1, ..Limits::default() };
    let router = with(&driver, FacadeConfig { limits, ..ui_config() }).await;
    let mut body = page(&router, "/batches/1/ui/").await.into_body();
    let first: Bytes = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(!first.is_empty());
    // The sockets' buffers fill, and then nothing more is taken.
    let mut before = usize::MAX;
    while before != driver.sent.load(Ordering::SeqCst) {
        before = driver.sent.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(before < 32 * 1024 * 1024, "{before} bytes were taken for nobody");
    drop(body);
    driver.until_left().await;
    assert_eq!(page(&router, "/batches/1/ui/").await.status(), 200);
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off() {
    let driver = Driver::saying("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
    let cut = page(&with(&driver, ui_config()).await, "/batches/1/ui/").await;
    assert!(cut.into_body().collect().await.is_err());
}

#[rstest]
#[case("127.0.0.1:6443")]
#[case("169.254.169.254:80")]
#[case("[::ffff:127.0.0.1]:6443")]
#[case("0.0.0.0:4040")]
#[case("kubernetes.default.svc:443")]
#[tokio::test]
async fn a_status_that_somebody_forged_leads_nowhere(#[case] address: &str) {
    let router = running(&api_server(), config(), address).await;
    let answer = get(&router, "/batches/1/ui/").await;
    assert_eq!(
        (answer.status, answer.msg()),
        (StatusCode::BAD_GATEWAY, "the driver's address is not one of a pod".into())
    );
}

#[tokio::test]
async fn a_ui_that_is_not_up_says_why_and_what_to_do() {
    let api = api_server();
    let history_url = Some("https://history.example/{app_id}/".parse().unwrap());
    let router = facade_with(&api, FacadeConfig { history_url, ..ui_config() }).await;
    post(&router, APACHE, JOB).await;
    let pending = get(&router, "/batches/1/ui/").await;
    assert_eq!((pending.status, pending.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "5"));
    let driver = json!({ "podName": "d", "podUid": "u", "uiAddress": "10.0.0.1:4040" });
    for (phase, status, part) in [
        ("Starting", 503, "try again"),
        ("Running", 404, "spark.ui.enabled=false"),
        ("Succeeded", 404, "https://history.example/spark-1/"),
    ] {
        let mut driver = driver.clone();
        if phase == "Running" {
            driver.as_object_mut().unwrap().remove("uiAddress");
        }
        set_status(&api, "batch-1", json!({ "id": 1, "phase": phase, "appId": "spark-1", "driver": driver })).await;
        let answer = get(&router, "/batches/1/ui/jobs/").await;
        assert_eq!(answer.status, status, "{phase}");
        assert!(answer.msg().contains(part), "{}", answer.text);
    }
}

#[tokio::test]
async fn batches_link_to_their_log_and_their_ui_and_then_to_the_history_server() {
    let api = api_server();
    let config = FacadeConfig {
        external_url: Some("https://x.example/spark/".parse().unwrap()),
        history_url: Some("https://history.example/{namespace}/{app_id}".parse().unwrap()),
        ..ui_config()
    };
    let router = running(&api, config, "10.0.0.1:4040").await;
    for base in ["/batches", APACHE] {
        let info = get(&router, &format!("{base}/1")).await.json()["appInfo"].clone();
        assert_eq!(info["sparkUiUrl"], format!("https://x.example/spark{base}/1/ui/"));
        assert_eq!(info["driverLogUrl"], format!("https://x.example/spark{base}/1/log"));
        let list = get(&router, base).await.json();
        assert_eq!(list["sessions"][0]["appInfo"], info);
    }
    let info = get(&router, &format!("{INSTANCE}/1")).await.json()["appInfo"].clone();
    assert_eq!(info, json!({ "sparkUiUrl": format!("https://x.example/spark{INSTANCE}/1/ui/") }));

    set_status(&api, "batch-1", json!({ "id": 1, "phase": "Succeeded", "appId": "spark-1" })).await;
    let info = get(&router, &format!("{INSTANCE}/1")).await.json()["appInfo"].clone();
    assert_eq!(info, json!({ "sparkUiUrl": "https://history.example/spark/spark-1" }));
}
