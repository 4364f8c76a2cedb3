//! The access log: a line for each request, and nothing in it that a caller would not want to be read.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::ConnectInfo;

use super::*;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn requests(&self) -> Vec<Value> {
        let lines = self.text();
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["message"] == "request").collect()
    }
}

#[tokio::test]
async fn the_access_log_names_the_request_and_none_of_its_secrets() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(tracing::Level::TRACE)
        .with_writer({
            let log = log.clone();
            move || log.clone()
        })
        .finish();
    // Where there is one subscriber only, tracing takes it for the one of each thread, and other tests have none.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _logging = tracing::subscriber::set_default(subscriber);
    let api = api_server();
    let router = facade(&api).await;

    let with_secrets = |method: &str, path: &str, body: &str| {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", "Bearer c4nary-token")
            .header("cookie", "c4nary-cookie")
            .header("x-request-id", "id-1")
            .body(Body::from(body.to_owned()))
            .unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([10, 0, 0, 7], 1234))));
        request
    };
    let body = r#"{"file":"/c4nary.py","args":["c4nary"],"conf":{"spark.hadoop.fs.s3a.secret.key":"c4nary"}}"#;
    send(&router, with_secrets("POST", APACHE, body)).await;
    send(&router, with_secrets("POST", APACHE, r#"{"file":"c4nary"}"#)).await;
    send(&router, with_secrets("GET", "/batches?from=c4nary&token=c4nary", "c4nary")).await;
    send(&router, with_secrets("GET", "/c4nary", "")).await;
    let unasked = get(&router, "/version").await;

    let requests = log.requests();
    let seen = |line: &Value| {
        let field = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
        (field("method"), field("route"), line["status"].as_u64().unwrap(), field("peer"), field("request_id"))
    };
    let of = |method: &str, route: &str, status: u64| {
        (method.to_owned(), route.to_owned(), status, "10.0.0.7".to_owned(), "id-1".to_owned())
    };
    let route = "/namespaces/{namespace}/batches";
    assert_eq!(
        requests[..4].iter().map(seen).collect::<Vec<_>>(),
        [of("POST", route, 201), of("POST", route, 400), of("GET", "/batches", 400), of("GET", "", 404)]
    );
    assert_eq!(seen(&requests[4]).4, unasked.header("x-request-id"));
    assert_eq!(requests[4]["bytes"], unasked.text.len());
    assert!(requests.iter().all(|line| line["micros"].is_u64()));
    assert!(!log.text().contains("c4nary"), "{}", log.text());
}
