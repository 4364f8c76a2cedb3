//! HTTPS: handshakes, certificates that change, and files that hold none.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use rstest::rstest;
use tokio::io::{self, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio_util::sync::CancellationToken;

use super::socket::{Pace, Socket};
use super::tls::{Change, LOOK_EVERY};
use super::{ConnectionLimits, Connections, Tls, TlsFiles, serve};

const PATIENCE: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(150);

/// A certificate of its own, and its key.
struct Pair {
    certificate: String,
    key: String,
    root: CertificateDer<'static>,
}

fn pair() -> Pair {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    Pair { certificate: made.cert.pem(), key: made.signing_key.serialize_pem(), root: made.cert.der().clone() }
}

/// A folder of one test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static FOLDERS: AtomicUsize = AtomicUsize::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sparkbatch-tls-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn files(&self) -> TlsFiles {
        TlsFiles { certificate: self.0.join("tls.crt"), key: self.0.join("tls.key") }
    }

    fn put(&self, certificate: &str, key: &str) {
        fs::write(self.files().certificate, certificate).unwrap();
        fs::write(self.files().key, key).unwrap();
    }

    fn open(&self, pair: &Pair) -> Arc<Tls> {
        self.put(&pair.certificate, &pair.key);
        Arc::new(Tls::open(self.files()).unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

struct Running {
    address: SocketAddr,
    connections: Connections,
    cancel: CancellationToken,
    ended: JoinHandle<bool>,
}

async fn run(tls: &Arc<Tls>, limits: ConnectionLimits) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (connections, cancel) = (Connections::new(limits), CancellationToken::new());
    let ended = tokio::spawn({
        let (tls, connections, cancel) = (Some(Arc::clone(tls)), connections.clone(), cancel.clone());
        let router = Router::new().route("/", get(async || "hello"));
        async move { serve(listener, tls, router, &connections, cancel).await }
    });
    Running { address, connections, cancel, ended }
}

impl Running {
    async fn connect(&self, root: &CertificateDer<'static>, version: &[&'static SupportedProtocolVersion]) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(root.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config =
            config.with_protocol_versions(version).unwrap().with_root_certificates(roots).with_no_client_auth();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        Client(TlsConnector::from(Arc::new(config)).connect(name, stream).await)
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Connections) -> bool) {
        let waiting = async {
            while !is_so(&self.connections) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited for {what}"));
    }
}

struct Client(io::Result<TlsStream<TcpStream>>);

impl Client {
    /// The answer to a request on a connection that stays open.
    async fn ask(&mut self) -> String {
        let stream = self.0.as_mut().unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        while !answer.ends_with("hello") {
            let mut bytes = [0; 1024];
            let length = tokio::time::timeout(PATIENCE, stream.read(&mut bytes)).await.unwrap().unwrap();
            assert!(length > 0, "closed after {answer}");
            answer.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
        }
        answer
    }

    /// The certificate that the server showed.
    fn certificate(&self) -> CertificateDer<'static> {
        self.0.as_ref().unwrap().get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    }
}

/// What comes on a connection without TLS until its end.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reading = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    drop(reading.unwrap_or_else(|_| panic!("the connection stays open")));
    bytes
}

#[rstest]
#[case::tls_1_2(&TLS12)]
#[case::tls_1_3(&TLS13)]
#[tokio::test]
async fn a_client_that_trusts_the_certificate_is_answered(#[case] version: &'static SupportedProtocolVersion) {
    let (folder, pair) = (Folder::new(), pair());
    let running = run(&folder.open(&pair), ConnectionLimits::default()).await;
    let mut client = running.connect(&pair.root, &[version]).await;
    for _ in 0..2 {
        assert!(client.ask().await.starts_with("HTTP/1.1 200 OK"));
    }
    assert_eq!(client.certificate(), pair.root);
    running.cancel.cancel();
    // An end without TLS' own would be an error: somebody on the way could have cut off an answer.
    let mut stream = client.0.unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, stream.read(&mut [0; 16])).await.unwrap().unwrap(), 0);
    assert!(running.ended.await.unwrap());
}

#[tokio::test]
async fn who_trusts_another_certificate_is_not_connected() {
    let (folder, pair_served) = (Folder::new(), pair());
    let running = run(&folder.open(&pair_served), ConnectionLimits::default()).await;
    let client = running.connect(&pair().root, &[&TLS13]).await;
    assert!(client.0.unwrap_err().to_string().contains("certificate"));
    running.until("the connection to be closed", |connections| connections.open() == 0).await;
}

#[tokio::test]
async fn what_is_no_handshake_is_closed_unanswered() {
    let (folder, pair) = (Folder::new(), pair());
    let running = run(&folder.open(&pair), ConnectionLimits::default()).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(!String::from_utf8_lossy(&answer).contains("hello"));
    assert_eq!(running.connections.cut.get(), 0);
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_cut() {
    let (folder, pair) = (Folder::new(), pair());
    let running = run(&folder.open(&pair), ConnectionLimits { head: SHORT, ..ConnectionLimits::default() }).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    // The first bytes of one.
    stream.write_all(&[22, 3, 1]).await.unwrap();
    assert_eq!(rest(&mut stream).await, b"");
    running.until("it to be counted", |connections| connections.cut.get() == 1).await;
}

#[tokio::test]
async fn a_handshake_counts_as_a_connection_and_what_is_beyond_is_closed() {
    let (folder, pair) = (Folder::new(), pair());
    let running = run(&folder.open(&pair), ConnectionLimits { connections: 1, ..ConnectionLimits::default() }).await;
    let first = TcpStream::connect(running.address).await.unwrap();
    running.until("the first to be accepted", |connections| connections.open() == 1).await;
    let mut second = TcpStream::connect(running.address).await.unwrap();
    assert_eq!(rest(&mut second).await, b"");
    assert_eq!(running.connections.turned_away.get(), 1);
    drop(first);
    running.until("the first to be gone", |connections| connections.open() == 0).await;
    assert!(running.connect(&pair.root, &[&TLS13]).await.ask().await.ends_with("hello"));
}

#[tokio::test]
async fn a_shutdown_waits_for_no_handshake() {
    let (folder, pair) = (Folder::new(), pair());
    let running = run(&folder.open(&pair), ConnectionLimits::default()).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    running.until("it to be accepted", |connections| connections.open() == 1).await;
    running.cancel.cancel();
    assert!(tokio::time::timeout(SHORT * 10, running.ended).await.unwrap().unwrap());
    assert_eq!(rest(&mut stream).await, b"");
}

#[tokio::test]
async fn a_new_certificate_is_served_to_new_connections_and_old_ones_go_on() {
    let (folder, before, after) = (Folder::new(), pair(), pair());
    let tls = folder.open(&before);
    let running = run(&tls, ConnectionLimits::default()).await;
    let mut old = running.connect(&before.root, &[&TLS13]).await;
    old.ask().await;
    let (found, change) = tls.look(None);
    assert!(matches!(change, Change::Nothing), "{change:?}");

    folder.put(&after.certificate, &after.key);
    let (found, change) = tls.look(Some(&found));
    assert!(matches!(change, Change::Served), "{change:?}");
    let mut new = running.connect(&after.root, &[&TLS13]).await;
    new.ask().await;
    assert_eq!(new.certificate(), after.root);
    old.ask().await;
    assert!(running.connect(&before.root, &[&TLS13]).await.0.is_err());
    assert!(matches!(tls.look(Some(&found)).1, Change::Nothing));
}

#[rstest]
#[case::no_certificate("garbage", None, "tls.crt: holds no certificate")]
#[case::no_key("", Some("garbage"), "tls.key: is no private key")]
#[case::of_another_pair("other", None, "is not that of the first certificate")]
#[tokio::test]
async fn what_cannot_be_served_is_told_once_and_the_certificate_of_before_stays(
    #[case] certificate: &str,
    #[case] key: Option<&str>,
    #[case] said: &str,
) {
    let (folder, good, other) = (Folder::new(), pair(), pair());
    let tls = folder.open(&good);
    let running = run(&tls, ConnectionLimits::default()).await;
    let (found, _) = tls.look(None);
    let certificate = match certificate {
        "" => &good.certificate,
        "other" => &other.certificate,
        text => text,
    };
    folder.put(certificate, key.unwrap_or(&good.key));
    let (found, change) = tls.look(Some(&found));
    let Change::Refused(error) = change else { panic!("{change:?}") };
    assert!(error.to_string().contains(said), "{error}");
    let (_, change) = tls.look(Some(&found));
    assert!(matches!(change, Change::Nothing), "{change:?}");
    running.connect(&good.root, &[&TLS13]).await.ask().await;
}

#[test]
fn a_file_that_is_too_long_is_refused_and_not_cut() {
    let (folder, good) = (Folder::new(), pair());
    folder.put(&format!("{}{}", good.certificate, "#".repeat(1024 * 1024)), &good.key);
    let error = Tls::open(folder.files()).err().unwrap().to_string();
    assert!(error.contains("tls.crt") && error.contains("is larger than 1048576 bytes"), "{error}");
}

#[tokio::test]
async fn files_that_go_are_told_once_and_served_when_they_come_back() {
    let (folder, before, after) = (Folder::new(), pair(), pair());
    let tls = folder.open(&before);
    fs::remove_file(folder.files().key).unwrap();
    let (found, change) = tls.look(None);
    let Change::Refused(error) = change else { panic!("{change:?}") };
    assert!(error.to_string().contains("cannot read") && error.to_string().contains("tls.key"), "{error}");
    let (found, change) = tls.look(Some(&found));
    assert!(matches!(change, Change::Nothing), "{change:?}");
    folder.put(&after.certificate, &after.key);
    assert!(matches!(tls.look(Some(&found)).1, Change::Served));
}

#[tokio::test(start_paused = true)]
async fn files_are_looked_at_again_and_again() {
    let (folder, before, after) = (Folder::new(), pair(), pair());
    let tls = folder.open(&before);
    let following = tokio::spawn(Arc::clone(&tls).follow());
    tokio::time::sleep(LOOK_EVERY / 2).await;
    folder.put(&after.certificate, &after.key);
    tokio::time::sleep(LOOK_EVERY).await;
    following.abort();
    let running = run(&tls, ConnectionLimits::default()).await;
    tokio::time::resume();
    assert_eq!(running.connect(&after.root, &[&TLS13]).await.certificate(), after.root);
}

#[rstest]
#[case::no_certificate(Some(""), Some("good"), "tls.crt: holds no certificate")]
#[case::cut_off(Some("-----BEGIN CERTIFICATE-----\nAAAA"), Some("good"), "tls.crt: ")]
#[case::no_x_509(Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), Some("good"), "tls.crt: ")]
#[case::no_key(Some("good"), Some("hunter2"), "tls.key: is no private key")]
#[case::key_cut_off(Some("good"), Some("-----BEGIN hunter2"), "tls.key: is no private key")]
#[case::no_such_certificate(None, Some("good"), "cannot read")]
#[case::no_such_key(Some("good"), None, "cannot read")]
fn bad_files_are_an_error_that_names_the_file_and_shows_no_key(
    #[case] certificate: Option<&str>,
    #[case] key: Option<&str>,
    #[case] said: &str,
) {
    let (folder, pair) = (Folder::new(), pair());
    let either = |text: Option<&str>, good: &str| text.map(|text| text.replace("good", good));
    if let Some(text) = either(certificate, &pair.certificate) {
        fs::write(folder.files().certificate, text).unwrap();
    }
    if let Some(text) = either(key, &pair.key) {
        fs::write(folder.files().key, text).unwrap();
    }
    let error = Tls::open(folder.files()).err().unwrap().to_string();
    let file = if certificate == Some("good") { "tls.key" } else { "tls.crt" };
    assert!(error.contains(said) && error.contains(file), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

/// TLS takes bytes and holds them until the client reads.
struct Holds;

impl AsyncWrite for Holds {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_held_back_is_cut_as_one_that_cannot_be_written() {
    let limits = ConnectionLimits::default();
    let mut socket = Socket::new(Holds, Pace::new(&limits));
    socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    let flushed = tokio::time::timeout(limits.stall * 2, socket.flush()).await;
    assert_eq!(flushed.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert!(socket.is_cut());
}
