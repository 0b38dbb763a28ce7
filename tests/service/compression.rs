//! Bodies in gzip and zstd, both ways.

use std::io::{Read, Write};
use std::num::NonZeroUsize;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::app::{TestApp, answer, assert_problem, seed_examples};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

#[tokio::test]
async fn requests_may_be_packed() {
    let app = TestApp::start().await;
    let body = json!({"inputs": ["a great film", "the stock market"]});
    let expected = app.post("/embed", body.clone()).await;
    let bytes = body.to_string().into_bytes();
    for (coding, packed) in [
        ("gzip", gzip(&bytes)),
        ("zstd", zstd(&bytes)),
        ("GZip", gzip(&bytes)),
        ("identity", bytes),
    ] {
        let request =
            app.request(Method::POST, "/embed").header("content-type", "application/json");
        let found = answer(request.header("content-encoding", coding).body(packed)).await;
        assert_eq!(found, expected, "{coding}");
    }
}

#[tokio::test]
async fn all_members_of_a_packed_file_are_read() {
    let app = TestApp::start().await;
    let [head, tail] =
        [&b"text,topic\nA bank failed.,Finance\n"[..], b"A film won.,Entertainment\n"];
    let send = async |coding: &str, packed: Vec<u8>| {
        let request =
            app.request(Method::POST, "/train?dry_run=true").header("content-type", "text/csv");
        answer(request.header("content-encoding", coding).body(packed)).await
    };
    for (coding, packed) in
        [("gzip", [gzip(head), gzip(tail)].concat()), ("zstd", [zstd(head), zstd(tail)].concat())]
    {
        let found = send(coding, packed).await;
        assert_eq!(found.1["examples"], 2, "{coding}: {found:?}");
    }
    let garbled = send("gzip", [gzip(head), tail.to_vec()].concat()).await;
    assert_problem(&garbled, 400, "unreadable_body", None, &["content-encoding"]);
}

#[tokio::test]
async fn answers_are_packed_as_the_client_accepts_it() {
    let app = TestApp::start().await;
    let body = json!({"inputs": vec!["a great film"; 20]});
    let plain = app.request(Method::POST, "/embed").json(&body).send().await.unwrap();
    assert!(!plain.headers().contains_key("content-encoding"));
    let plain = plain.bytes().await.unwrap();
    for coding in ["gzip", "zstd"] {
        let request = app.request(Method::POST, "/embed").json(&body);
        let response = request.header("accept-encoding", coding).send().await.unwrap();
        assert_eq!(response.headers()["content-encoding"], coding);
        assert_eq!(response.headers()["vary"], "accept-encoding");
        let packed = response.bytes().await.unwrap();
        assert!(packed.len() < plain.len());
        let mut unpacked = Vec::new();
        match coding {
            "gzip" => GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).map(|_| ()).unwrap(),
            _ => zstd::stream::copy_decode(&packed[..], &mut unpacked).unwrap(),
        }
        assert_eq!(unpacked, plain);
    }
}

#[tokio::test]
async fn event_streams_and_small_answers_are_not_packed() {
    let app = TestApp::start().await;
    let job = app.submit(json!({"examples": seed_examples()})).await;
    for path in [format!("/train/{job}/events"), "/v1/models".to_owned()] {
        let request = app.request(Method::GET, &path).header("accept-encoding", "gzip, zstd");
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert!(!response.headers().contains_key("content-encoding"), "{path}");
    }
}

#[tokio::test]
async fn limits_count_what_a_body_unpacks_to() {
    let limit = NonZeroUsize::new(1 << 20).unwrap();
    let app = TestApp::with(|config| config.limits.body_bytes = limit).await;
    // 64 MiB of one letter, a few KiB as they are sent.
    let bomb = json!({"inputs": "a".repeat(64 << 20)}).to_string();
    for (coding, packed) in [("gzip", gzip(bomb.as_bytes())), ("zstd", zstd(bomb.as_bytes()))] {
        assert!(packed.len() < limit.get());
        let request =
            app.request(Method::POST, "/embed").header("content-type", "application/json");
        let refused = answer(request.header("content-encoding", coding).body(packed)).await;
        assert_problem(&refused, 413, "body_too_large", None, &["1048576"]);
    }
    app.embed(json!({"inputs": "a"})).await;
}

#[tokio::test]
async fn what_cannot_be_unpacked_is_refused() {
    let app = TestApp::start().await;
    let body = json!({"inputs": "a"}).to_string();
    for coding in ["br", "deflate", "gzip, zstd", "x"] {
        let request = app.request(Method::POST, "/embed").header("content-encoding", coding);
        let response = request.body(body.clone()).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 415, "{coding}");
        assert_eq!(response.headers()["accept-encoding"], "gzip, zstd");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["code"], "unsupported_content_encoding", "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(coding), "{problem}");
    }
    let request = app.request(Method::POST, "/embed").header("content-encoding", "gzip").body(body);
    assert_problem(&answer(request).await, 400, "unreadable_body", None, &["body"]);
}
