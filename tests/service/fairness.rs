//! A bulk client does not starve an interactive one.

use futures::future::join_all;
use polyhead::config::ModelConfig;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::app::{TestApp, slow_to_tokenize, tiny};

/// As many as hold every thread and wait for more.
const BULK_CLIENTS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_request_does_not_wait_until_large_ones_are_tokenised() {
    // Long texts, of which next to nothing is left to encode.
    let model = slow_to_tokenize();
    let inputs = json!({"inputs": vec!["the film was good ".repeat(2000); 30]});
    assert_overtakes(ModelConfig::at(model.path().to_owned()), inputs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_request_does_not_wait_until_large_ones_are_encoded() {
    let inputs = json!({"inputs": vec!["the film was very good and not dull"; 10_000]});
    assert_overtakes(tiny(), inputs).await;
}

/// Asserts that a small request is answered while all of several large ones are still at work.
async fn assert_overtakes(model: ModelConfig, bulk: Value) {
    let app = TestApp::on(tempdir().unwrap(), model, |config| {
        config.limits.inputs_per_request = 100_000.try_into().unwrap();
        config.limits.tokens_per_request = 1_000_000.try_into().unwrap();
        config.batching.queue_tokens = 10_000_000.try_into().unwrap();
        config.runtime.workers = 2;
    })
    .await;
    let clients: Vec<_> = (0..BULK_CLIENTS)
        .map(|_| tokio::spawn(app.request(Method::POST, "/embed").json(&bulk).send()))
        .collect();
    // They hold places in the queue from before they are tokenised; the one for the metrics is
    // the last of those in flight.
    let all = format!("polyhead_requests_in_flight {}\n", BULK_CLIENTS + 1);
    loop {
        let metrics = app.metrics().await;
        if metrics.contains(&all) && !metrics.contains("polyhead_queue_tokens 0\n") {
            break;
        }
        assert!(!clients.iter().any(|client| client.is_finished()), "too little work");
    }
    app.embed(json!({"inputs": "fun"})).await;
    let unfinished = clients.iter().filter(|client| !client.is_finished()).count();
    assert_eq!(unfinished, BULK_CLIENTS);
    for answer in join_all(clients).await {
        assert_eq!(answer.unwrap().unwrap().status(), StatusCode::OK);
    }
}
