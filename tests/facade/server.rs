//! The server on real sockets: clients that are slow, rude, many or gone, and its end.

use std::net::SocketAddr;
use std::time::Instant;

use sparkbatch::server::{self, ConnectionLimits, Connections};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);
const VERSION: &str = "GET /version HTTP/1.1\r\nhost: a\r\n\r\n";
const SHORT: Duration = Duration::from_millis(150);

struct Served {
    address: SocketAddr,
    connections: Connections,
    cancel: CancellationToken,
    /// Whether all requests ended in time.
    ended: JoinHandle<bool>,
}

async fn serve_router(router: Router, limits: ConnectionLimits) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (connections, cancel) = (Connections::new(limits), CancellationToken::new());
    let ended = tokio::spawn({
        let (connections, cancel) = (connections.clone(), cancel.clone());
        async move { server::serve(listener, None, router, &connections, cancel).await }
    });
    Served { address, connections, cancel, ended }
}

async fn serve_with(api: &ApiServer, limits: Limits) -> Served {
    serve_router(facade_with(api, FacadeConfig { limits, ..config() }).await, limits.connections).await
}

async fn serve(connections: ConnectionLimits) -> Served {
    serve_with(&api_server(), Limits { connections, ..Limits::default() }).await
}

impl Served {
    async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    /// What a client that sends this gets until the connection is closed.
    async fn answer(&self, request: impl AsRef<[u8]>) -> String {
        let mut client = self.connect().await;
        client.send(request).await;
        client.rest().await
    }
}

struct Client(TcpStream);

impl Client {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // A server that has had enough may close before it has read all.
        let _ = self.0.write_all(bytes.as_ref()).await;
    }

    /// What comes until the connection is closed.
    async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        let reading = async { while matches!(self.0.read_buf(&mut bytes).await, Ok(n) if n > 0) {} };
        tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("the connection stays open"));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// One answer, of which the connection stays open.
    async fn one(&mut self) -> String {
        let mut bytes = Vec::new();
        let reading = async {
            loop {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                if let Some((head, body)) = text.split_once("\r\n\r\n")
                    && body.len() >= length(head)
                {
                    return text;
                }
                assert!(self.0.read_buf(&mut bytes).await.unwrap() > 0, "closed after {text}");
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("no answer"))
    }
}

fn length(head: &str) -> usize {
    head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |text| text.parse().unwrap())
}

fn statuses(answers: &str) -> Vec<&str> {
    answers.split("HTTP/1.").skip(1).filter_map(|answer| answer.get(2..5)).collect()
}

/// A POST of `body`, which need not be as long as it says.
fn posting(length: usize, body: &str) -> String {
    format!("POST {APACHE} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn a_connection_is_used_again_and_closed_when_idle_for_long() {
    let served = serve(ConnectionLimits { idle: SHORT, ..ConnectionLimits::default() }).await;
    let mut client = served.connect().await;
    for _ in 0..2 {
        client.send(VERSION).await;
        assert_eq!(statuses(&client.one().await), ["200"]);
    }
    client.send(format!("{VERSION}{VERSION}")).await;
    assert_eq!(statuses(&client.rest().await), ["200", "200"]);
    // That was no fault of the client.
    assert_eq!(served.connections.cut.get(), 0);
}

#[tokio::test]
async fn a_head_that_trickles_in_loses_its_connection() {
    let served = serve(ConnectionLimits { head: SHORT, ..ConnectionLimits::default() }).await;
    let mut client = served.connect().await;
    // The second request of a connection is held to it, too.
    client.send(VERSION).await;
    client.one().await;
    let (mut reading, mut writing) = client.0.into_split();
    let trickling = tokio::spawn(async move {
        while writing.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, reading.read_to_end(&mut rest))
        .await
        .unwrap_or_else(|_| panic!("the connection stays open"));
    assert_eq!((rest.len(), served.connections.cut.get()), (0, 1));
    trickling.abort();
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_with_408_and_closed() {
    let api = api_server();
    let served = serve_with(&api, Limits { body_time: SHORT, ..Limits::default() }).await;
    let answer = served.answer(posting(100, "{")).await;
    assert_eq!(statuses(&answer), ["408"]);
    assert!(answer.contains("connection: close") && answer.contains("did not arrive in time"), "{answer}");
    // Nor is it waited for where nobody reads it.
    let unread = served.answer("GET /version HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n").await;
    assert_eq!(statuses(&unread), ["200"]);
    assert_eq!(api.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_body_that_is_too_large_is_told_so_before_it_is_read() {
    let served = serve(ConnectionLimits::default()).await;
    let body = "x".repeat(2 << 20);
    for request in [
        posting(body.len(), &body),
        format!("POST {APACHE} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n200000\r\n{body}\r\n0\r\n\r\n"),
    ] {
        let answer = served.answer(request).await;
        assert_eq!(statuses(&answer), ["413"]);
        assert!(answer.contains("1048576 bytes") && answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn bodies_that_are_too_large_together_are_turned_away() {
    let api = api_server();
    let served = serve_with(&api, Limits { bodies_bytes: 100, ..Limits::default() }).await;
    let mut waiting = served.connect().await;
    waiting.send(posting(90, &" ".repeat(80))).await;
    let padded = format!("{JOB}{}", " ".repeat(40));
    let turned_away = loop {
        // Until the server has read what the first sent.
        let mut client = served.connect().await;
        client.send(posting(padded.len(), &padded)).await;
        let answer = client.one().await;
        if statuses(&answer) != ["201"] {
            break answer;
        }
    };
    assert_eq!(statuses(&turned_away), ["503"]);
    assert!(turned_away.contains("retry-after: 1"), "{turned_away}");
    drop(waiting);
    loop {
        let mut client = served.connect().await;
        client.send(posting(padded.len(), &padded)).await;
        if statuses(&client.one().await) == ["201"] {
            break;
        }
    }
}

/// Batches whose list no socket's buffers hold.
fn with_large_list(api: &ApiServer) {
    let owner = "x".repeat(100_000);
    for id in 1..=100 {
        let metadata = json!({ "namespace": NAMESPACE, "name": format!("batch-{id}"),
            "labels": { "sparkbatch.dev/id": id.to_string() }, "annotations": { "sparkbatch.dev/owner": owner } });
        api.insert("sparkbatches", json!({ "metadata": metadata, "spec": { "file": "/a.py" } }));
    }
}

#[rstest]
#[case(ConnectionLimits { stall: SHORT, ..ConnectionLimits::default() })]
#[case(ConnectionLimits { answer: SHORT, ..ConnectionLimits::default() })]
#[tokio::test]
async fn a_client_that_does_not_read_is_in_flight_until_it_is_cut(#[case] connections: ConnectionLimits) {
    let api = api_server();
    with_large_list(&api);
    let served = serve_with(&api, Limits { in_flight: 1, connections, ..Limits::default() }).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = Client(socket.connect(served.address).await.unwrap());
    client.send("GET /batches HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut first = [0; 12];
    client.0.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");

    let mut other = served.connect().await;
    other.send(VERSION).await;
    assert_eq!(statuses(&other.one().await), ["503"]);
    api.until("the slow client to be cut", |_| served.connections.cut.get() == 1).await;
    other.send(VERSION).await;
    assert_eq!(statuses(&other.one().await), ["200"]);
}

#[tokio::test]
async fn a_stream_whose_client_does_not_read_is_cut() {
    let endless = || async {
        let pieces = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![0; 1 << 16]));
        Body::from_stream(pieces)
    };
    let router = Router::new().route("/endless", axum::routing::get(endless));
    let limits = ConnectionLimits { stall: SHORT, answer: Duration::from_millis(1), ..ConnectionLimits::default() };
    let served = serve_router(router, limits).await;
    let mut client = served.connect().await;
    client.send("GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await;
    // While it reads it may go on for longer than an answer may that has an end.
    let (started, mut buffer) = (Instant::now(), vec![0; 1 << 16]);
    while started.elapsed() < 3 * SHORT {
        assert!(client.0.read(&mut buffer).await.unwrap() > 0);
    }
    assert_eq!(served.connections.cut.get(), 0);
    let deadline = Instant::now() + PATIENCE;
    while served.connections.cut.get() == 0 || served.connections.open() > 0 {
        assert!(Instant::now() < deadline, "the connection stays open");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[rstest]
#[case::garbage("\0\u{1}\u{2}garbage\r\n\r\n".to_owned(), &["400"])]
#[case::no_path("GET\r\n\r\n".to_owned(), &["400"])]
#[case::garbage_after_a_request(format!("{VERSION}\0garbage\r\n\r\n"), &["200", "400"])]
#[case::large_header(format!("GET /version HTTP/1.1\r\nhost: a\r\nx-a: {}\r\n\r\n", "x".repeat(100_000)), &["431"])]
#[case::large_token(
    format!("GET /version HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\r\n", "x".repeat(1 << 20)), &["431"])]
#[case::many_headers(format!("GET /version HTTP/1.1\r\nhost: a\r\n{}\r\n", "x-a: b\r\n".repeat(200)), &["431"])]
#[case::long_path(format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(100_000)), &["431"])]
#[case::two_lengths(
    format!("POST {APACHE} HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd"), &["400"])]
#[case::no_length(format!("POST {APACHE} HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n"), &["400"])]
#[case::no_coding(format!("POST {APACHE} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n"), &["400"])]
#[case::folded_header("GET /version HTTP/1.1\r\nhost: a\r\nx-a: b\r\n c: d\r\n\r\n".to_owned(), &["400"])]
#[case::blank_in_header_name("GET /version HTTP/1.1\r\nhost : a\r\n\r\n".to_owned(), &["400"])]
#[case::nul_in_header("GET /version HTTP/1.1\r\nhost: a\r\nx-a: b\0c\r\n\r\n".to_owned(), &["400"])]
#[tokio::test]
async fn what_is_no_request_is_refused_and_the_connection_closed(#[case] sent: String, #[case] expected: &[&str]) {
    let served = serve(ConnectionLimits::default()).await;
    assert_eq!(statuses(&served.answer(sent).await), expected);
    assert_eq!(
        statuses(
            &served.answer(format!("{VERSION}{VERSION}").replace("a\r\n\r\n", "a\r\nconnection: close\r\n\r\n")).await
        ),
        ["200"]
    );
}

#[tokio::test]
async fn a_length_beside_chunks_smuggles_no_second_request() {
    let served = serve(ConnectionLimits::default()).await;
    for framing in
        ["content-length: 4\r\ntransfer-encoding: chunked", "transfer-encoding: chunked\r\ncontent-length: 4"]
    {
        // By its length the body ends before the second request, by its chunks after it.
        let request = format!(
            "POST {APACHE} HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n0\r\n\r\nDELETE /batches/1 HTTP/1.1\r\nhost: a\r\n\r\n"
        );
        let answer = served.answer(request).await;
        assert_eq!(statuses(&answer), ["400"]);
        assert!(answer.contains("the body is empty"), "{answer}");
    }
}

#[rstest]
#[case::http_1_0("GET /version HTTP/1.0\r\n\r\n", "200")]
#[case::absolute_form("GET http://example.com/version HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "200")]
#[case::trace("TRACE /version HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "405")]
#[case::connect("CONNECT a:1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "404")]
#[case::asterisk("OPTIONS * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "404")]
#[case::unknown_method("BREW /version HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "405")]
#[case::upgrade("GET /version HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n", "200")]
#[tokio::test]
async fn unusual_requests_are_answered_once(#[case] request: &str, #[case] status: &str) {
    let served = serve(ConnectionLimits { idle: SHORT, ..ConnectionLimits::default() }).await;
    assert_eq!(statuses(&served.answer(request).await), [status]);
}

#[tokio::test]
async fn http_2_is_not_spoken() {
    let served = serve(ConnectionLimits::default()).await;
    assert_eq!(served.answer("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0").await, "");
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_continue() {
    let served = serve(ConnectionLimits::default()).await;
    let mut client = served.connect().await;
    let head = posting(JOB.len(), "").replace("host: a", "host: a\r\nexpect: 100-continue");
    client.send(head).await;
    assert_eq!(client.one().await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send(JOB).await;
    assert_eq!(statuses(&client.one().await), ["201"]);
    // One whose body would be refused is told so instead.
    let head = posting(2 << 20, "").replace("host: a", "host: a\r\nexpect: 100-continue");
    assert_eq!(statuses(&served.answer(head).await), ["413"]);
}

#[tokio::test]
async fn a_client_that_goes_leaves_its_place() {
    let api = api_server();
    let served = serve_with(&api, Limits { in_flight: 1, ..Limits::default() }).await;
    api.inject(Fault::on("create", "sparkbatches").hold().always());
    for half in [false, true] {
        let mut gone = served.connect().await;
        gone.send(posting(JOB.len(), JOB)).await;
        api.until("the create to be held", |api| api.held() > 0).await;
        if half {
            // HTTP/1 knows no way to tell this from a client that is gone.
            gone.0.shutdown().await.unwrap();
            assert_eq!(gone.rest().await, "");
        }
        drop(gone);
        api.until("the connection to end", |_| served.connections.open() == 0).await;
        assert_eq!(
            statuses(&served.answer(VERSION.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n")).await),
            ["200"]
        );
        api.release_held();
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_so() {
    let served = serve(ConnectionLimits { connections: 1, ..ConnectionLimits::default() }).await;
    let mut first = served.connect().await;
    first.send(VERSION).await;
    first.one().await;
    let answer = served.answer(VERSION).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!((statuses(head), length(head)), (vec!["503"], body.len()));
    assert!(head.contains("retry-after: 1") && head.contains("connection: close"), "{head}");
    assert!(serde_json::from_str::<Value>(body).unwrap()["msg"].is_string());
    assert_eq!((served.connections.open(), served.connections.turned_away.get()), (1, 1));
    drop(first);
    let deadline = Instant::now() + PATIENCE;
    while served.connections.open() > 0 {
        assert!(Instant::now() < deadline, "the connection is still counted");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut next = served.connect().await;
    next.send(VERSION).await;
    assert_eq!(statuses(&next.one().await), ["200"]);
}

#[tokio::test]
async fn a_shutdown_lets_requests_in_flight_end_and_takes_no_new_ones() {
    let api = api_server();
    let served = serve_with(&api, Limits::default()).await;
    api.inject(Fault::on("create", "sparkbatches").hold());
    let mut posting_client = served.connect().await;
    posting_client.send(posting(JOB.len(), JOB)).await;
    let mut idle = served.connect().await;
    idle.send(VERSION).await;
    idle.one().await;
    let mut silent = served.connect().await;
    api.until("the create to be held", |api| api.held() > 0 && served.connections.open() == 3).await;

    served.cancel.cancel();
    assert_eq!((idle.rest().await, silent.rest().await), (String::new(), String::new()));
    assert_eq!(TcpStream::connect(served.address).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(!served.ended.is_finished());
    api.release_held();
    let answer = posting_client.rest().await;
    assert_eq!(statuses(&answer), ["201"]);
    assert!(answer.contains("connection: close"), "{answer}");
    assert!(served.ended.await.unwrap());
}

#[tokio::test]
async fn a_shutdown_waits_only_so_long() {
    let api = api_server();
    let connections = ConnectionLimits { drain: SHORT, ..ConnectionLimits::default() };
    let served = serve_with(&api, Limits { connections, ..Limits::default() }).await;
    api.inject(Fault::on("create", "sparkbatches").hold());
    let mut client = served.connect().await;
    client.send(posting(JOB.len(), JOB)).await;
    api.until("the create to be held", |api| api.held() > 0).await;
    served.cancel.cancel();
    assert!(!served.ended.await.unwrap());
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn handlers_know_the_clients_address() {
    let show =
        |axum::extract::ConnectInfo(peer): axum::extract::ConnectInfo<SocketAddr>| async move { peer.to_string() };
    let served = serve_router(Router::new().route("/", axum::routing::get(show)), ConnectionLimits::default()).await;
    let mut client = served.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(client.one().await.ends_with(&client.0.local_addr().unwrap().to_string()));
}
