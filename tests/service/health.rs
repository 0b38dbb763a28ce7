//! Health checks over a process's life, and its end.

use std::time::Duration;

use polyhead::app::Listening;
use reqwest::{Client, Method, StatusCode};
use serde_json::json;
use tempfile::tempdir;
use tokio_util::sync::CancellationToken;

use crate::app::{TestApp, assert_problem, config, seed_examples, tiny};

#[tokio::test]
async fn a_process_is_alive_before_it_has_loaded_and_ready_afterwards() {
    let folder = tempdir().unwrap();
    let listening = Listening::bind(config(folder.path(), tiny())).await.unwrap();
    let url = format!("http://{}", listening.address());
    let client = Client::builder().no_proxy().build().unwrap();
    let status = async |path: &str| {
        client.get(format!("{url}{path}")).send().await.unwrap().status().as_u16()
    };
    assert_eq!(status("/livez").await, 200);
    for path in ["/readyz", "/startupz", "/health", "/info", "/metrics"] {
        assert_eq!(status(path).await, 503, "{path}");
    }
    let early = client.post(format!("{url}/embed")).json(&json!({"inputs": "a"})).send().await;
    let early = early.unwrap();
    assert_eq!(early.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(early.headers()["content-type"], "application/problem+json");
    assert!(early.headers().contains_key("retry-after"));

    let app = listening.load(&CancellationToken::new()).await.unwrap();
    for path in ["/livez", "/readyz", "/startupz", "/health"] {
        assert_eq!(status(path).await, 200, "{path}");
    }
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    app.run(shutdown).await.unwrap();
}

#[tokio::test]
async fn training_does_not_change_readiness() {
    let app = TestApp::start().await;
    let job = app.train_for_ever().await;
    for path in ["/livez", "/readyz", "/startupz", "/health"] {
        assert_eq!(app.get(path).await.0, StatusCode::OK, "{path}");
    }
    app.delete(&format!("/train/{job}")).await;
}

#[tokio::test]
async fn a_draining_process_says_so_at_once_and_goes_on_answering() {
    let app =
        TestApp::with(|config| config.server.shutdown.delay = Duration::from_secs(3600)).await;
    app.trained(json!({"examples": seed_examples()})).await;
    app.ask_to_stop();
    while app.get("/readyz").await.0 == StatusCode::OK {
        tokio::task::yield_now().await;
    }
    for path in ["/readyz", "/health"] {
        assert_problem(&app.get(path).await, 503, "draining", None, &["shutting down"]);
    }
    assert_eq!(app.get("/livez").await.0, StatusCode::OK);
    assert_eq!(app.get("/startupz").await.0, StatusCode::OK);
    app.embed(json!({"inputs": "still there"})).await;
    assert_eq!(app.classify(json!({"inputs": "still there"})).await.len(), 1);
    let refused = app.post("/train", json!({"examples": seed_examples()})).await;
    assert_problem(&refused, 503, "draining", None, &["shutting down"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_flight_is_finished_before_the_end() {
    let app = TestApp::with(|config| {
        config.limits.inputs_per_request = 100_000.try_into().unwrap();
        config.limits.tokens_per_request = 1_000_000.try_into().unwrap();
        config.batching.queue_tokens = 1_000_000.try_into().unwrap();
    })
    .await;
    let text = "the film was very good and not dull";
    let request = app.request(Method::POST, "/embed").json(&json!({"inputs": vec![text; 40_000]}));
    let in_flight = tokio::spawn(async move {
        let response = request.send().await.unwrap();
        (response.status(), response.json::<Vec<Vec<f32>>>().await.unwrap())
    });
    // The other one is that for the metrics.
    while !app.metrics().await.contains("polyhead_requests_in_flight 2\n") {
        assert!(!in_flight.is_finished(), "the request was over before it was seen");
    }
    app.stop().await.1.unwrap();
    let (status, embeddings) = in_flight.await.unwrap();
    assert_eq!((status, embeddings.len()), (StatusCode::OK, 40_000));
}

#[tokio::test]
async fn those_who_watch_jobs_do_not_hold_up_the_end() {
    let app = TestApp::start().await;
    let running = app.train_for_ever().await;
    let waiting = app.submit(json!({"examples": seed_examples()})).await;
    let mut watchers = Vec::new();
    for job in [running, waiting] {
        let request = app.request(Method::GET, &format!("/train/{job}/events"));
        watchers.push(request.send().await.unwrap());
    }
    app.stop().await.1.expect("the end is within the grace time");
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_end() {
    let app = TestApp::start().await;
    app.embed(json!({"inputs": "a"})).await;
    let address = app.url.strip_prefix("http://").unwrap().to_owned();
    let _silent = tokio::net::TcpStream::connect(address).await.unwrap();
    app.embed(json!({"inputs": "a"})).await;
    app.stop().await.1.expect("the end is within the grace time");
}

#[tokio::test]
async fn the_end_does_not_wait_longer_than_the_grace_time() {
    let app =
        TestApp::with(|config| config.server.shutdown.grace = Duration::from_millis(50)).await;
    let endless = futures::stream::pending::<Result<Vec<u8>, String>>();
    let request = app.request(Method::POST, "/embed").body(reqwest::Body::wrap_stream(endless));
    let stuck = tokio::spawn(request.send());
    while !app.metrics().await.contains("polyhead_requests_in_flight 2\n") {
        assert!(!stuck.is_finished());
    }
    let error = app.stop().await.1.unwrap_err().to_string();
    assert!(error.contains("grace time of 50ms"), "{error}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let app = TestApp::start().await;
    let folder = tempdir().unwrap();
    let mut config = config(folder.path(), tiny());
    config.server.listen = app.url.strip_prefix("http://").unwrap().parse().unwrap();
    let error = Listening::bind(config).await.err().unwrap().to_string();
    assert!(error.contains(app.url.strip_prefix("http://").unwrap()), "{error}");
}
