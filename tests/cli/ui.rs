//! The way to a batch's Spark UI: by kubeconfig through a port of this machine, by a Livy where it says.

use std::collections::HashMap;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures::{SinkExt as _, StreamExt as _};
use hyper_util::rt::TokioIo;
use rstest::rstest;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;

/// A pod that may not be reached.
const FORBIDDEN: &str = "forbidden-driver";

/// An API server that forwards ports, too: to a page that tells of whom it is.
pub(super) fn with_port_forward(router: Router) -> Router {
    router.route("/api/v1/namespaces/{namespace}/pods/{pod}/portforward", get(port_forward))
}

async fn port_forward(
    Path((_, pod)): Path<(String, String)>,
    Query(query): Query<HashMap<String, String>>,
    mut request: Request,
) -> Response {
    if pod == FORBIDDEN {
        let message = format!("pods \"{pod}\" is forbidden: User \"me\" cannot get resource \"pods/portforward\"");
        let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message,
            "reason": "Forbidden", "code": 403 });
        return (StatusCode::FORBIDDEN, axum::Json(status)).into_response();
    }
    let port: u16 = query["ports"].parse().unwrap();
    let accept = derive_accept_key(request.headers()["sec-websocket-key"].as_bytes());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let socket = TokioIo::new(upgrade.await.unwrap());
        pump(WebSocketStream::from_raw_socket(socket, Role::Server, None).await, &pod, port).await;
    });
    let headers = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-accept", &accept),
        ("sec-websocket-protocol", "v4.channel.k8s.io"),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// As a kubelet: channel 0 has the bytes, channel 1 errors, and each begins with the port.
async fn pump(socket: WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>, pod: &str, port: u16) {
    let page = format!("the UI of {pod}:{port}");
    let url = listen(Router::new().fallback(move || async move { page })).await;
    let (mut from_driver, mut to_driver) =
        TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap().into_split();
    let (mut sink, mut stream) = socket.split();
    let [low, high] = port.to_le_bytes();
    for channel in [0, 1] {
        sink.send(Message::binary(vec![channel, low, high])).await.unwrap();
    }
    let answers = async {
        let mut bytes = vec![0; 4096];
        while let Ok(read @ 1..) = from_driver.read(&mut bytes[1..]).await {
            if sink.send(Message::binary(bytes[..=read].to_vec())).await.is_err() {
                return;
            }
        }
        let _ = sink.close().await;
    };
    let requests = async {
        while let Some(Ok(Message::Binary(bytes))) = stream.next().await {
            to_driver.write_all(&bytes[1..]).await.unwrap();
        }
        let _ = to_driver.shutdown().await;
    };
    tokio::join!(answers, requests);
}

async fn page(url: &str) -> String {
    let address = url.strip_prefix("http://").unwrap().trim_end_matches('/');
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    let read = socket.read_to_string(&mut answer);
    tokio::time::timeout(Duration::from_secs(20), read).await.unwrap().unwrap();
    answer
}

/// A running `sparkbatch ui`, and what it printed.
async fn open(world: &World) -> (Child, String) {
    let mut child = world.command(Way::Kubeconfig, ["ui", "7"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(Duration::from_secs(20), lines.next_line()).await.unwrap().unwrap();
    (child, line.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ui_is_on_a_port_of_this_machine_until_the_batch_has_ended() {
    let world = World::new().await;
    world.insert_running("etl", 7, "");
    let (child, url) = open(&world).await;
    assert!(url.starts_with("http://127.0.0.1:") && url.ends_with('/'), "{url}");
    for answer in [page(&url).await, page(&url).await] {
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("the UI of etl-driver:4040"), "{answer}");
    }
    let driver = json!({ "podName": "etl-driver-2", "podUid": "v", "uiAddress": "10.0.0.2:4041" });
    world.set_status("etl", &json!({ "id": 7, "phase": "Running", "attempt": 2, "driver": driver }));
    let followed = async {
        while !page(&url).await.ends_with("the UI of etl-driver-2:4041") {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), followed).await.unwrap();
    world.set_status("etl", &json!({ "id": 7, "phase": "Succeeded" }));
    let done = done(child).await;
    assert_eq!((done.code, done.err.as_str()), (0, "batch 7 has ended: Succeeded\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ui_is_closed_by_an_interrupt_and_the_batch_goes_on() {
    let world = World::new().await;
    world.insert_running("etl", 7, "");
    let (child, url) = open(&world).await;
    assert!(page(&url).await.contains("the UI of"));
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    let done = done(child).await;
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    assert!(TcpStream::connect(url.strip_prefix("http://").unwrap().trim_end_matches('/')).await.is_err());
    assert!(world.batches()[0]["spec"]["cancel"].is_null());
}

#[rstest]
#[case(json!({ "id": 7, "phase": "Pending", "reason": "Queued" }), "does not run yet, so it has no Spark UI")]
#[case(json!({ "id": 7, "phase": "Failed", "driver": { "podName": "p", "podUid": "u" } }), "has ended, and its Spark UI with it")]
#[case(json!({ "id": 7, "phase": "Running", "driver": { "podName": "p", "podUid": "u" } }), "spark.ui.enabled=false")]
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_without_a_ui_says_why(#[case] status: Value, #[case] text: &str) {
    let world = World::new().await;
    world.insert_running("etl", 7, "");
    world.set_status("etl", &status);
    world.caught_up().await;
    for way in [Way::Kubeconfig, Way::Livy] {
        let refused = world.run(way, ["ui", "7"]).await;
        assert_eq!((refused.code, refused.out.as_str()), (1, ""), "{way:?}: {}", refused.err);
        assert!(refused.err.contains(text), "{way:?}: {}", refused.err);
        let missing = world.run(way, ["ui", "8"]).await;
        assert!(missing.code == 1 && missing.err.contains("there is no batch '8'"), "{way:?}: {}", missing.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_told_before_a_url_is() {
    let world = World::new().await;
    world.insert_running("etl", 7, "");
    let driver = json!({ "podName": FORBIDDEN, "podUid": "u", "uiAddress": "10.0.0.1:4040" });
    world.set_status("etl", &json!({ "id": 7, "phase": "Running", "driver": driver }));
    let refused = world.run(Way::Kubeconfig, ["ui", "etl"]).await;
    assert_eq!((refused.code, refused.out.as_str()), (1, ""), "{}", refused.err);
    assert!(refused.err.contains("cannot get resource \"pods/portforward\""), "{}", refused.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named() {
    let world = World::new().await;
    world.insert_running("etl", 7, "");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let refused = world.run(Way::Kubeconfig, ["ui", "7", "--port", &port]).await;
    assert!(refused.code == 1 && refused.err.contains(&format!("--port {port}: ")), "{}", refused.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_livy_is_believed_where_it_says_the_ui_is_and_else_looked_at() {
    let world = World::new().await;
    world.insert_running("etl", 7, "");
    let driver = listen(Router::new().fallback(|| async { "jobs" })).await;
    let address = driver.strip_prefix("http://").unwrap();
    let driver = json!({ "podName": "p", "podUid": "u", "uiAddress": address });
    world.set_status("etl", &json!({ "id": 7, "phase": "Running", "driver": driver }));
    world.caught_up().await;
    assert_eq!(world.says(Way::Livy, ["ui", "7"]).await, format!("{}/batches/7/ui/\n", world.livy_url));

    let batch = json!({ "id": 7, "name": null, "owner": null, "proxyUser": null, "state": "running", "appId": "a",
        "appInfo": { "driverLogUrl": null, "sparkUiUrl": "http://yarn/proxy/a" }, "log": [] });
    let livy = listen(Router::new().fallback(move || async move { axum::Json(batch) })).await;
    assert_eq!(world.says(Way::Livy, ["ui", "7", "--livy-url", &livy]).await, "http://yarn/proxy/a\n");
}
