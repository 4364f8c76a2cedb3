//! Drivers that are sockets on loopback and answer what they like.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What a driver does with one request.
pub(super) enum Does {
    Answer(Vec<u8>),
    Nothing,
    /// Sends the head, and then bytes for as long as anybody takes them.
    Endless(&'static str),
}

/// A driver's UI.
pub(super) struct Driver {
    pub(super) address: SocketAddr,
    /// The heads of the requests that it got.
    pub(super) heads: Arc<Mutex<Vec<String>>>,
    /// Bytes of endless answers that it could send.
    pub(super) sent: Arc<AtomicUsize>,
    /// Connections that are open.
    pub(super) open: Arc<AtomicUsize>,
}

impl Driver {
    pub(super) async fn start(does: impl Fn(&str) -> Does + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let driver = Self {
            address: listener.local_addr().unwrap(),
            heads: Arc::default(),
            sent: Arc::default(),
            open: Arc::default(),
        };
        let (heads, sent, open) = (Arc::clone(&driver.heads), Arc::clone(&driver.sent), Arc::clone(&driver.open));
        let does = Arc::new(does);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (heads, sent, open, does) = (heads.clone(), sent.clone(), open.clone(), does.clone());
                open.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    serve(stream, &heads, &sent, &*does).await;
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        driver
    }

    /// A driver that answers everything in the same way.
    pub(super) async fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |_| Does::Answer(answer.clone())).await
    }

    pub(super) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// The only request that it got.
    pub(super) fn head(&self) -> String {
        let heads = self.heads();
        assert_eq!(heads.len(), 1, "{heads:#?}");
        heads[0].clone()
    }

    pub(super) async fn until_left(&self) {
        until(|| self.open.load(Ordering::SeqCst) == 0).await;
    }
}

async fn serve(
    mut stream: TcpStream,
    heads: &Mutex<Vec<String>>,
    sent: &AtomicUsize,
    does: &(dyn Fn(&str) -> Does + Send + Sync),
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let action = does(&head);
    heads.lock().unwrap().push(head);
    match action {
        Does::Answer(bytes) => drop(stream.write_all(&bytes).await),
        // Until the other side leaves.
        Does::Nothing => drop(stream.read_u8().await),
        Does::Endless(head) => {
            drop(stream.write_all(head.as_bytes()).await);
            while let Ok(count) = stream.write(&[b'x'; 16 * 1024]).await {
                sent.fetch_add(count, Ordering::SeqCst);
            }
        }
    }
}

async fn until(seen: impl Fn() -> bool) {
    let waiting = async {
        while !seen() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap();
}
