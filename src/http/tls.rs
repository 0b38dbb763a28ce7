//! TLS, by rustls. The certificate is read again when its files change; connections that are open keep the
//! former one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::config::TlsConfig;
use crate::file_watch::FileWatch;
use crate::metrics::{FileLabel, Metrics};

/// How long a client may take over the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What clients may choose from, the better one first (ALPN, RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A certificate, its key, and where both come from.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    current: ArcSwap<ServerConfig>,
}

/// Why there is no certificate to go by.
#[derive(Debug, Error)]
pub enum TlsError {
    #[error("server.tls.certificate: cannot read {}: {error}", path.display())]
    Certificate { path: PathBuf, error: pem::Error },
    #[error("server.tls.certificate: there is no certificate in {}", path.display())]
    NoCertificate { path: PathBuf },
    #[error("server.tls.key: cannot read a private key from {}: {error}", path.display())]
    Key { path: PathBuf, error: pem::Error },
    #[error("server.tls: {} and {} cannot be used together: {error}", certificate.display(), key.display())]
    Pair { certificate: PathBuf, key: PathBuf, error: rustls::Error },
}

impl Tls {
    /// Reads what the configuration names; `None` where it names nothing.
    ///
    /// # Errors
    /// A file cannot be read, or the key is not that of the certificate.
    pub fn open(config: &TlsConfig) -> Result<Option<Tls>, TlsError> {
        let (Some(certificate), Some(key)) = (&config.certificate, &config.key) else {
            return Ok(None);
        };
        Ok(Some(Tls {
            certificate: certificate.clone(),
            key: key.clone(),
            current: ArcSwap::from_pointee(read(certificate, key)?),
        }))
    }

    /// Makes a connection a private one.
    ///
    /// # Errors
    /// The client wants something else, or takes too long.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(self.current.load_full());
        tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await?
    }

    /// Reads the files again whenever they change, until `shutdown`. A pair that cannot be used leaves the
    /// former one in place.
    pub async fn run(self: Arc<Self>, metrics: Arc<Metrics>, shutdown: CancellationToken) {
        let unused = metrics.unused_files.get_or_create(&FileLabel { file: "certificate" }).clone();
        let mut watch = FileWatch::new(vec![self.certificate.clone(), self.key.clone()]);
        while shutdown.run_until_cancelled(watch.changed()).await.is_some() {
            match read(&self.certificate, &self.key) {
                Ok(config) => {
                    self.current.store(Arc::new(config));
                    unused.set(0);
                    let certificate = self.certificate.display();
                    tracing::info!(%certificate, "new connections get the certificate as it is now");
                }
                Err(error) => {
                    unused.set(1);
                    tracing::error!(%error, "the certificate cannot be read again; the former one holds");
                }
            }
        }
    }
}

fn read(certificate: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let unreadable = |error| TlsError::Certificate { path: certificate.to_owned(), error };
    let chain: Vec<CertificateDer> = CertificateDer::pem_file_iter(certificate)
        .map_err(unreadable)?
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: certificate.to_owned() });
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| TlsError::Key { path: key.to_owned(), error })?;
    let unusable =
        |error| TlsError::Pair { certificate: certificate.to_owned(), key: key.to_owned(), error };
    // Named, since a process may have several providers among its libraries.
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(config)
}
