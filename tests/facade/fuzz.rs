//! Whatever is sent, the answer is no failure of the service.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

fn paths() -> impl Strategy<Value = String> {
    let base = prop_oneof![
        3 => prop::sample::select(vec!["/batches", APACHE, INSTANCE]).prop_map(str::to_owned),
        1 => "/namespaces/[a-z%0-9./-]{0,12}/batches",
        1 => "/v3/analytics_engines/[a-z%0-9./-]{0,12}/livy/batches",
        1 => "/[ -~]{0,20}",
    ];
    let end = prop_oneof![
        6 => "/?",
        2 => "/[0-9]{1,12}",
        2 => "/1/(state|log|[a-z]{0,5})",
        1 => "/[a-z0-9%.+-]{0,12}",
        1 => "/(%[0-9a-fA-F]{2}){1,6}",
    ];
    let query = prop_oneof!["", "\\?(from|size)=-?[0-9]{0,12}(&(from|size)=[a-z0-9%+=&-]{0,12})?", "\\?[ -~]{0,20}"];
    (base, end, query).prop_map(|(base, end, query)| format!("{base}{end}{query}"))
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        Just("null".to_owned()),
        "-?[0-9]{1,20}(\\.[0-9]{1,3})?(e-?[0-9]{1,4})?",
        r#""[ -~]{0,12}""#,
        r#"\[("[a-z/.:]{0,8}",?){0,3}\]"#,
        r#"\{("[a-z.]{0,12}":("[a-z]{0,5}"|[0-9]|\{\}),?){0,3}\}"#,
    ];
    let key = prop_oneof![
        "file|className|args|jars|pyFiles|files|archives|driverMemory|driverCores|executorMemory",
        "executorCores|numExecutors|name|conf|queue|proxyUser",
        "[ -~]{0,8}",
    ];
    let right = prop_oneof![
        r#""name":"[a-z]{1,8}""#,
        r#""args":\["[ -~&&[^"\\]]{0,8}"\]"#,
        r#""numExecutors":[1-9]"#,
        r#""driverMemory":"[1-9]g""#,
        r#""conf":\{"spark\.[a-z]{1,8}":"[a-z0-9]{0,8}"\}"#,
    ];
    let wrong = (key, value).prop_map(|(key, value)| format!("\"{key}\":{value}"));
    let entry = prop_oneof![3 => right, 1 => wrong];
    let object = prop::collection::vec(entry, 0..4).prop_map(|mut entries| {
        entries.push(r#""file":"/a.py""#.to_owned());
        format!("{{{}}}", entries.join(",")).into_bytes()
    });
    prop_oneof![4 => object, 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

fn methods() -> impl Strategy<Value = String> {
    prop_oneof![8 => "POST", 8 => "GET|DELETE|HEAD", 1 => "PUT|PATCH|OPTIONS|TRACE|CONNECT", 1 => "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,40}"]
}

fn headers() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let name = prop::sample::select(vec![
        "authorization",
        "content-type",
        "content-length",
        "content-encoding",
        "transfer-encoding",
        "accept",
        "expect",
        "x-request-id",
        "x-http-method-override",
        "host",
        "range",
    ]);
    (name, prop::collection::vec(any::<u8>(), 0..40))
}

type Sent = (String, String, Vec<(&'static str, Vec<u8>)>, Vec<u8>);

/// The request, if there is such a one in HTTP.
fn request((method, path, headers, body): &Sent) -> Option<Request<Body>> {
    let request = Request::builder().method(method.as_str()).uri(path.as_str());
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value.as_slice()));
    request.body(Body::from(body.clone())).ok()
}

#[test]
fn whatever_is_asked_the_answer_is_no_failure() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let api = api_server();
    let router = runtime.block_on(facade(&api));
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(2000) });
    let sent = (methods(), paths(), prop::collection::vec(headers(), 0..3), bodies());
    let created = std::cell::Cell::new(0);
    let tested = runner.run(&sent, |sent| {
        let Some(request) = request(&sent) else { return Ok(()) };
        let response = runtime.block_on(router.clone().oneshot(request)).unwrap();
        let status = response.status();
        // The page is the only answer of success that is no JSON.
        let is_page = status == 200 && response.headers()["content-type"] == "text/html; charset=utf-8";
        let body = runtime.block_on(to_bytes(response.into_body(), usize::MAX)).unwrap();
        prop_assert!(!status.is_server_error(), "{status}: {}", String::from_utf8_lossy(&body));
        if !body.is_empty() && !is_page {
            let json: Value = serde_json::from_slice(&body).unwrap();
            prop_assert!(
                status.is_success() || json["msg"].as_str().is_some_and(|msg| !msg.is_empty() && msg.len() < 20_000)
            );
        }
        created.set(created.get() + usize::from(status == 201));
        Ok(())
    });
    tested.unwrap_or_else(|error| panic!("{error}"));
    // Some of it has to be right, or nothing behind the first check was tested.
    assert!(created.get() > 20, "{} were created", created.get());
}
