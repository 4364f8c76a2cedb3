//! TLS, with a certificate that may change while the server runs.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ring::digest::{Context, SHA256};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring as provider};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, InconsistentKeys, ServerConfig};
use tokio_rustls::{Accept, TlsAcceptor};
use tracing::{info, warn};

use crate::bounded::read_bounded;

/// How often the files are read again. Kubernetes itself takes up to a minute to show a new Secret in a pod.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Longest file that is read, in bytes. A Secret is smaller.
const MAX_FILE: u64 = 1024 * 1024;

/// Where the server's certificate is, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates in PEM: the server's own first, then those that lead to its root.
    pub certificate: PathBuf,
    /// The private key in PEM: PKCS #8, PKCS #1 or SEC1.
    pub key: PathBuf,
}

/// Why a certificate cannot be served.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is no certificate.
    #[error("{}: {reason}; it must hold the server's certificate in PEM, and after it those that lead to its root", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What it is.
        reason: String,
    },
    /// A file is no key. What it holds is not told, as it may be part of one.
    #[error("{}: is no private key that can be used; it must hold one in PEM (PKCS #8, PKCS #1 or SEC1), RSA, ECDSA or Ed25519", path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key are of different pairs.
    #[error("the key in {} is not that of the first certificate in {}; give both of the same pair", key.display(), certificate.display())]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The versions of TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// TLS by the certificate in two files.
pub struct Tls {
    files: TlsFiles,
    provider: CryptoProvider,
    served: Arc<Served>,
    acceptor: TlsAcceptor,
}

/// The certificate of new connections.
#[derive(Debug)]
struct Served(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Served {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// What was found in the files: a digest of both, or an error's words. To notice what is new.
pub(super) type Found = Result<Vec<u8>, String>;

/// What a look at the files led to.
#[derive(Debug)]
pub(super) enum Change {
    /// All is as before.
    Nothing,
    /// A new certificate is served.
    Served,
    /// What is new cannot be served.
    Refused(TlsError),
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Which of the files is wrong.
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let provider = provider::default_provider();
        let served = Arc::new(Served(RwLock::new(Arc::new(read_pair(&files)?.certified(&files, &provider)?))));
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider.clone()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Served>::clone(&served));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { files, provider, served, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// Shakes hands with a client.
    pub(super) fn accept(&self, stream: TcpStream) -> Accept<TcpStream> {
        self.acceptor.accept(stream)
    }

    /// Follows the files until dropped: what they hold anew is served to new connections, and while it cannot be, the
    /// certificate of before is.
    pub async fn follow(self: Arc<Self>) {
        let mut before = None;
        loop {
            let tls = Arc::clone(&self);
            // Reading files blocks.
            let looked = tokio::task::spawn_blocking(move || tls.look(before.as_ref())).await;
            before = looked.ok().map(|(found, change)| {
                tell(&self.files, change);
                found
            });
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Looks at the files, and serves what is new in them. Returns what to compare the next look with, and what changed.
    pub(super) fn look(&self, before: Option<&Found>) -> (Found, Change) {
        let pair = read_pair(&self.files);
        let found = pair.as_ref().map(Pair::digest).map_err(ToString::to_string);
        if before == Some(&found) {
            return (found, Change::Nothing);
        }
        let change = match pair.and_then(|pair| pair.certified(&self.files, &self.provider)) {
            Ok(certified) => self.serve(certified),
            Err(error) => Change::Refused(error),
        };
        (found, change)
    }

    fn serve(&self, certified: CertifiedKey) -> Change {
        let mut served = self.served.0.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = served.cert != certified.cert;
        *served = Arc::new(certified);
        if is_new { Change::Served } else { Change::Nothing }
    }
}

fn tell(files: &TlsFiles, change: Change) {
    match change {
        Change::Nothing => {}
        Change::Served => info!(file = %files.certificate.display(), "new connections get the new certificate"),
        Change::Refused(error) => warn!(%error, "the new certificate cannot be served; the one before it still is"),
    }
}

/// What the files hold.
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

fn read_pair(files: &TlsFiles) -> Result<Pair, TlsError> {
    Ok(Pair { certificate: read(&files.certificate)?, key: read(&files.key)? })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let read = File::open(path).and_then(|file| read_bounded(file, MAX_FILE));
    read.map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

impl Pair {
    fn digest(&self) -> Vec<u8> {
        let mut digest = Context::new(&SHA256);
        // The length keeps what moves from the one to the other from looking the same.
        digest.update(&self.certificate.len().to_be_bytes());
        digest.update(&self.certificate);
        digest.update(&self.key);
        digest.finish().as_ref().to_vec()
    }

    fn certified(&self, files: &TlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let no_certificate = |reason: String| TlsError::Certificate { path: files.certificate.clone(), reason };
        let chain: Result<Vec<CertificateDer<'static>>, _> =
            CertificateDer::pem_slice_iter(&self.certificate).collect();
        let chain = chain.map_err(|error| no_certificate(error.to_string()))?;
        if chain.is_empty() {
            return Err(no_certificate("holds no certificate".to_owned()));
        }
        let no_key = || TlsError::Key { path: files.key.clone() };
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| no_key())?;
        let key = provider.key_provider.load_private_key(key).map_err(|_| no_key())?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            // Some kinds of keys do not tell.
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
            Err(rustls::Error::InconsistentKeys(_)) => {
                Err(TlsError::Mismatch { certificate: files.certificate.clone(), key: files.key.clone() })
            }
            Err(error) => Err(no_certificate(error.to_string())),
        }
    }
}
