//! Answers that come before the request's end: they arrive, and the connection goes on.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::TestApp;

/// Sends the body only when the answer is there, and then another request.
async fn answered_early(app: &TestApp, header: &str, length: usize, status: &str) {
    let address = app.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /embed HTTP/1.1\r\nhost: {address}\r\n{header}content-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut line = [0; "HTTP/1.1 200".len()];
    stream.read_exact(&mut line).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&line), format!("HTTP/1.1 {status}"));

    // More than the sockets' buffers hold: the server has to read on.
    stream.write_all(&vec![b' '; length]).await.unwrap();
    let next = format!("GET /livez HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(next.as_bytes()).await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.contains("HTTP/1.1 200 OK"), "{rest}");
}

#[tokio::test]
async fn a_deadline_that_passes_while_a_body_is_sent_is_told() {
    let app = TestApp::start().await;
    answered_early(&app, "x-request-timeout-ms: 1\r\n", 8 << 20, "504").await;
}

#[tokio::test]
async fn a_body_that_is_too_large_may_be_sent_to_its_end() {
    let app = TestApp::start().await;
    answered_early(&app, "", 20 << 20, "413").await;
}
