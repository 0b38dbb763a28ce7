//! What a server left is there when the next one starts.

use polyhead::config::OnRestart;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::app::{TestApp, assert_problem, fixture, refusal, seed_examples, task, tiny};

const TEXTS: [&str; 3] = ["the stock market", "a great film", "a very dull idea"];

#[tokio::test]
async fn versions_tasks_examples_and_jobs_outlive_the_process() {
    let app = TestApp::start().await;
    app.put("/heads/colour", json!({"labels": ["red", "blue"]})).await;
    app.trained(json!({"examples": seed_examples()})).await;
    app.trained(json!({"examples": [
        {"text": "the film", "labels": {"colour": "red", "topic": "Entertainment"}},
        {"text": "the market", "labels": {"colour": "blue", "topic": "Finance"}},
    ]}))
    .await;
    app.train(json!({"examples": seed_examples(), "solver": "adam", "learning_rate": 1e30})).await;
    let paths = ["/heads", "/heads/topic", "/heads/sentiment", "/heads/colour", "/train", "/info"];
    let mut before = Vec::new();
    for path in paths {
        before.push(app.get(path).await);
    }
    let answers = app.classify(json!({"inputs": TEXTS})).await;

    let app = app.restart(|_| {}).await;
    for (path, before) in paths.iter().zip(before) {
        assert_eq!(app.get(path).await, before, "{path}");
    }
    assert_eq!(app.classify(json!({"inputs": TEXTS})).await, answers, "to the last bit");

    // The examples are there too: a fit on all of them counts the old ones.
    let job = app
        .trained(json!({"examples": [
            {"text": "the idea", "labels": {"topic": "Technology"}},
        ]}))
        .await;
    let last = job["epochs"].as_array().unwrap().last().unwrap();
    assert_eq!(last["tasks"]["topic"]["train"]["rows"], 8);
    assert_eq!(job["published"], json!({"topic": 3}));
}

#[tokio::test]
async fn an_ordered_end_cancels_the_running_job_and_keeps_the_waiting_ones() {
    let app = TestApp::start().await;
    app.trained(json!({"examples": seed_examples()})).await;
    let answers = app.classify(json!({"inputs": TEXTS})).await;
    let running = app.train_for_ever().await;
    let waiting = app.submit(json!({"examples": seed_examples()})).await;

    let app = app.restart(|_| {}).await;
    let job = app.get(&format!("/train/{running}")).await.1;
    assert_eq!(job["state"], "cancelled", "{}", job["state"]);
    assert_eq!(job["reason"], "the server was shut down");
    assert_eq!(job["published"], json!({}));
    let job = app.ended(&waiting).await;
    assert_eq!((&job["state"], &job["attempts"]), (&json!("succeeded"), &json!(1)));
    assert_eq!(job["published"], json!({"topic": 2, "sentiment": 2}));
    // Fit again on the same examples from the same weights, which had converged.
    for (before, after) in answers.iter().zip(app.classify(json!({"inputs": TEXTS})).await) {
        assert_eq!(before["topic"]["label"], after["topic"]["label"]);
    }
}

#[tokio::test]
async fn a_head_does_not_answer_on_another_encoder_until_it_is_trained_again() {
    let app = TestApp::start().await;
    app.trained(json!({"examples": seed_examples()})).await;
    let (folder, ended) = app.stop().await;
    ended.unwrap();
    // As wide as the other one, so that its heads would fit.
    let app = TestApp::on(folder, fixture("onnx-token-states"), |_| {}).await;
    let refused = app.post("/classify", json!({"inputs": TEXTS})).await;
    assert_problem(&refused, 409, "encoder_mismatch", None, &["version 1", "another encoder"]);
    let (_, head) = app.get("/heads/topic").await;
    assert_eq!(head["mismatched"], 1, "{head}");
    // Nothing was lost: the former model finds its heads again.
    let (folder, ended) = app.stop().await;
    ended.unwrap();
    let app = TestApp::on(folder, tiny(), |_| {}).await;
    assert_eq!(app.classify(json!({"inputs": TEXTS})).await.len(), 3);
    // And on the other one a refit on what was kept makes the next version.
    let (folder, ended) = app.stop().await;
    ended.unwrap();
    let app = TestApp::on(folder, fixture("onnx-token-states"), |_| {}).await;
    let job = app.trained(json!({"examples": seed_examples()})).await;
    assert_eq!(job["published"]["topic"], 2, "{job}");
    assert_eq!(app.classify(json!({"inputs": TEXTS})).await.len(), 3);
}

#[tokio::test]
async fn labels_that_the_configuration_changes_after_training_are_refused() {
    let app = TestApp::start().await;
    app.trained(json!({"examples": seed_examples()})).await;
    let (folder, ended) = app.stop().await;
    ended.unwrap();
    let text = refusal(folder.path(), tiny(), |config| {
        config.tasks.insert("sentiment".to_owned(), task(&["Bad", "Good"]));
    })
    .await;
    for mention in ["sentiment", "Negative", "Positive"] {
        assert!(text.contains(mention), "{text}");
    }
    let app = TestApp::on(folder, tiny(), |_| {}).await;
    assert_eq!(app.classify(json!({"inputs": TEXTS})).await.len(), 3);
}

#[tokio::test]
async fn labels_that_the_configuration_changes_before_any_training_are_taken() {
    let app = TestApp::start().await;
    let change = |config: &mut polyhead::config::Config| {
        config.tasks.insert("sentiment".to_owned(), task(&["Bad", "Good"]));
    };
    let app = app.restart(change).await;
    assert_eq!(app.get("/heads/sentiment").await.1["labels"], json!(["Bad", "Good"]));
}

#[tokio::test]
async fn a_task_that_the_configuration_no_longer_declares_stays_and_can_be_removed() {
    let app = TestApp::start().await;
    app.trained(json!({"examples": seed_examples()})).await;
    let app = app
        .restart(|config| {
            config.tasks.remove("sentiment");
        })
        .await;
    let answer = app.classify(json!({"inputs": TEXTS[0]})).await.remove(0);
    assert_eq!(answer["sentiment"]["version"], 1);
    assert_eq!(app.delete("/heads/sentiment").await.0, StatusCode::NO_CONTENT);
    let app = app
        .restart(|config| {
            config.tasks.remove("sentiment");
        })
        .await;
    let heads = app.get("/heads").await.1;
    assert_eq!(heads["heads"].as_array().unwrap().len(), 1, "{heads}");
}

#[tokio::test]
async fn a_task_on_a_model_that_is_no_longer_served_is_left_out_and_kept() {
    let app = TestApp::with(|config| {
        config.models.insert("other".to_owned(), fixture("cls"));
    })
    .await;
    app.put("/heads/colour", json!({"labels": ["red", "blue"], "model": "other"})).await;
    let (folder, ended) = app.stop().await;
    ended.unwrap();
    let app = TestApp::on(folder, tiny(), |_| {}).await;
    assert_problem(&app.get("/heads/colour").await, 404, "unknown_task", None, &["colour"]);
    let (folder, ended) = app.stop().await;
    ended.unwrap();
    let app = TestApp::on(folder, tiny(), |config| {
        config.models.insert("other".to_owned(), fixture("cls"));
    })
    .await;
    assert_eq!(app.get("/heads/colour").await.1["model"], "other");
}

#[tokio::test]
async fn two_servers_do_not_share_a_store() {
    let first = TestApp::start().await;
    let folder = tempdir().unwrap();
    let text = refusal(folder.path(), tiny(), |config| config.store.url = first.store_url()).await;
    assert!(text.contains("in use by another polyhead"), "{text}");
}

#[tokio::test]
async fn a_cancelled_job_stays_cancelled_whatever_the_policy() {
    for policy in [OnRestart::Resume, OnRestart::Fail] {
        let app = TestApp::with(|config| config.training.on_restart = policy).await;
        let running = app.train_for_ever().await;
        app.delete(&format!("/train/{running}")).await;
        let app = app.restart(|config| config.training.on_restart = policy).await;
        let job: Value = app.get(&format!("/train/{running}")).await.1;
        assert_eq!(job["state"], "cancelled");
        assert_eq!(job["attempts"], 1);
    }
}
