//! HTTPS: both versions of HTTP, and certificates that are renewed while the server runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use polyhead::app::Listening;
use polyhead::config::TlsConfig;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::app::{TestApp, config, tiny};

const HTTP_1: &[u8] = b"http/1.1";
const HTTP_2: &[u8] = b"h2";

/// A folder with a certificate and its key.
struct Certificate {
    folder: TempDir,
    /// What vouches for the certificate: itself.
    authority: CertificateDer<'static>,
}

impl Certificate {
    fn new() -> Certificate {
        let folder = tempfile::tempdir().unwrap();
        let authority = renew(folder.path());
        Certificate { folder, authority }
    }

    fn config(&self) -> TlsConfig {
        TlsConfig {
            certificate: Some(self.folder.path().join("server.pem")),
            key: Some(self.folder.path().join("server.key")),
        }
    }

    async fn server(&self) -> TestApp {
        TestApp::with(|config| config.server.tls = self.config()).await
    }
}

/// Writes another certificate for `localhost`, and its key, into the folder.
fn renew(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.join("server.key"), made.signing_key.serialize_pem()).unwrap();
    fs::write(folder.join("server.pem"), made.cert.pem()).unwrap();
    made.cert.der().clone()
}

/// A connection whose other end is vouched for by `authority`.
async fn connect(
    app: &TestApp,
    authority: &CertificateDer<'static>,
    version: &[u8],
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![version.to_vec()];
    let stream = TcpStream::connect(app.url.strip_prefix("https://").unwrap()).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// The status and the text of an answer over HTTP/1.1.
async fn get(stream: TlsStream<TcpStream>, path: &str) -> (StatusCode, String) {
    let (mut client, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(path).header("host", "localhost").body(Empty::<Bytes>::new());
    let response = client.send_request(request.unwrap()).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_client_chooses_between_http_1_and_http_2() {
    let certificate = Certificate::new();
    let app = certificate.server().await;
    let stream = connect(&app, &certificate.authority, HTTP_1).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(HTTP_1));
    let (status, body) = get(stream, "/readyz").await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "{\"status\":\"ready\"}"));

    let stream = connect(&app, &certificate.authority, HTTP_2).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(HTTP_2));
    let io = TokioIo::new(stream);
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://localhost/readyz").body(Empty::<Bytes>::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!((response.status(), response.version()), (StatusCode::OK, hyper::Version::HTTP_2));
}

#[tokio::test]
async fn http_in_the_clear_gets_no_answer() {
    let app = Certificate::new().server().await;
    let url = app.url.replace("https://", "http://");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    assert!(client.get(format!("{url}/readyz")).send().await.is_err());
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_without_a_restart_and_a_broken_pair_is_not() {
    let certificate = Certificate::new();
    let app = certificate.server().await;
    let renewed = renew(certificate.folder.path());
    let stream = loop {
        // Every connection gets the whole of one certificate, before and after.
        match connect(&app, &renewed, HTTP_1).await {
            Ok(stream) => break stream,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert!(
        get(stream, "/metrics").await.1.contains("polyhead_unused_files{file=\"certificate\"} 0")
    );
    assert!(connect(&app, &certificate.authority, HTTP_1).await.is_err());

    // Half of another pair.
    let key = certificate.folder.path().join("server.key");
    fs::copy(Certificate::new().folder.path().join("server.key"), key).unwrap();
    loop {
        let stream = connect(&app, &renewed, HTTP_1).await.unwrap();
        if get(stream, "/metrics").await.1.contains("polyhead_unused_files{file=\"certificate\"} 1")
        {
            break;
        }
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_at_the_start() {
    let certificate = Certificate::new();
    let other = Certificate::new();
    let (good, nothing) = (certificate.config(), Some(PathBuf::from("no/such.pem")));
    for (tls, mentions) in [
        (
            TlsConfig { certificate: nothing.clone(), ..good.clone() },
            &["server.tls.certificate: ", "no/such.pem"][..],
        ),
        (TlsConfig { key: nothing, ..good.clone() }, &["server.tls.key: ", "no/such.pem"]),
        (
            TlsConfig { certificate: good.key.clone(), ..good.clone() },
            &["server.tls.certificate: there is no certificate in ", "server.key"],
        ),
        (
            TlsConfig { key: good.certificate.clone(), ..good.clone() },
            &["server.tls.key: ", "server.pem"],
        ),
        (
            TlsConfig { key: other.config().key, ..good.clone() },
            &["server.tls: ", "server.pem", "server.key", "cannot be used together"],
        ),
    ] {
        let mut config = config(certificate.folder.path(), tiny());
        config.server.tls = tls;
        let error = Listening::bind(config).await.err().unwrap().to_string();
        assert!(mentions.iter().all(|mention| error.contains(mention)), "{error}");
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_does_not_hold_up_the_end() {
    let certificate = Certificate::new();
    let app = certificate.server().await;
    let address = app.url.strip_prefix("https://").unwrap().to_owned();
    let silent = TcpStream::connect(&address).await.unwrap();
    // Accepted after the silent one, and answered.
    let stream = connect(&app, &certificate.authority, HTTP_1).await.unwrap();
    assert_eq!(get(stream, "/livez").await.0, StatusCode::OK);
    app.stop().await.1.unwrap();
    drop(silent);
}
