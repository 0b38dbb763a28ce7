//! What is remembered of examples: embeddings, texts, and how to make the server forget them.

use std::fs;
use std::path::{Path, PathBuf};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::app::{TestApp, answer, assert_problem, fixture, seed_examples};

const TEXTS: [&str; 3] = ["the stock market", "a great film", "a very dull idea"];

async fn forget(app: &TestApp, which: Value) -> (StatusCode, Value) {
    answer(app.request(Method::DELETE, "/examples").json(&which)).await
}

/// All pages of `GET /examples`.
async fn examples(app: &TestApp, query: &str, limit: usize) -> Vec<Value> {
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let (status, page) = app.get(&format!("/examples?limit={limit}{query}{after}")).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        let examples = page["examples"].as_array().unwrap();
        assert!(examples.len() <= limit);
        all.extend(examples.iter().cloned());
        match page["next"].as_i64() {
            Some(next) => after = format!("&after={next}"),
            None => return all,
        }
    }
}

fn texts(examples: &[Value]) -> Vec<&str> {
    examples.iter().map(|example| example["text"].as_str().unwrap()).collect()
}

/// The same answers, whatever the versions' numbers, and as equal as embeddings are: those of a
/// sentence in other company differ by up to 1e-6, and a solver may double that a few times.
fn assert_same_answers(left: &[Value], right: &[Value]) {
    const TOLERANCE: f64 = 1e-5;
    for (left, right) in left.iter().zip(right) {
        for task in ["topic", "sentiment"] {
            assert_eq!(left[task]["label"], right[task]["label"]);
            let apart =
                left[task]["score"].as_f64().unwrap() - right[task]["score"].as_f64().unwrap();
            assert!(apart.abs() < TOLERANCE, "{left} {right}");
        }
    }
}

#[tokio::test]
async fn a_text_is_embedded_once() {
    let app = TestApp::start().await;
    let first = app.trained(json!({"examples": seed_examples()})).await;
    assert_eq!(first["result"]["texts"], json!({"embedded": 5, "found": 0}));
    for phase in ["embedding", "fitting"] {
        let seconds = first["result"]["seconds"][phase].as_f64().unwrap();
        assert!((0.0..60.0).contains(&seconds), "{phase}: {seconds}");
    }
    let answers = app.classify(json!({"inputs": TEXTS})).await;
    let again = app.trained(json!({"examples": seed_examples(), "mode": "replace"})).await;
    assert_eq!(again["result"]["texts"], json!({"embedded": 0, "found": 5}));
    let found = app.trained(json!({"examples": seed_examples(), "mode": "replace"})).await;
    assert_eq!(found["published"]["topic"], 3);
    assert_same_answers(&app.classify(json!({"inputs": TEXTS})).await, &answers);

    let app = app.restart(|_| {}).await;
    let examples = json!([
        {"text": "the film", "labels": {"topic": "Entertainment"}},
        {"text": "The film was a cinematic masterpiece.", "labels": {"topic": "Entertainment"}},
    ]);
    let job = app.trained(json!({"examples": examples})).await;
    assert_eq!(job["result"]["texts"], json!({"embedded": 1, "found": 5}));

    // Another encoder finds none of its own, and makes them from the texts.
    let (folder, ended) = app.stop().await;
    ended.unwrap();
    let app = TestApp::on(folder, fixture("onnx-token-states"), |_| {}).await;
    let job = app.trained(json!({"examples": examples})).await;
    assert_eq!(job["result"]["texts"], json!({"embedded": 6, "found": 0}));
}

#[tokio::test]
async fn a_cancelled_job_leaves_no_embeddings() {
    let app = TestApp::start().await;
    let running = app.train_for_ever().await;
    app.delete(&format!("/train/{running}")).await;
    app.ended(&running).await;
    assert_eq!(examples(&app, "", 10).await, [] as [Value; 0]);
    let job = app.trained(json!({"examples": seed_examples()})).await;
    assert_eq!(job["result"]["texts"], json!({"embedded": 5, "found": 0}));
}

#[tokio::test]
async fn without_texts_the_embeddings_alone_are_enough_for_the_same_model() {
    let keep_none = |config: &mut polyhead::config::Config| config.store.texts = false;
    let (app, reference) = tokio::join!(TestApp::with(keep_none), TestApp::start());
    let more = json!({"examples": [{"text": "the film", "labels": {"topic": "Entertainment"}}]});
    for app in [&app, &reference] {
        app.trained(json!({"examples": seed_examples()})).await;
        let job = app.trained(more.clone()).await;
        assert_eq!(job["result"]["texts"], json!({"embedded": 1, "found": 5}));
    }
    let answers = reference.classify(json!({"inputs": TEXTS})).await;
    assert_same_answers(&app.classify(json!({"inputs": TEXTS})).await, &answers);
    let kept = examples(&app, "", 10).await;
    assert_eq!(kept.len(), 6);
    for (example, known) in kept.iter().zip(examples(&reference, "", 10).await) {
        assert_eq!(example["text"], json!(null));
        assert_eq!((&example["sha256"], &example["labels"]), (&known["sha256"], &known["labels"]));
    }

    // Another model cannot make embeddings of texts that are gone.
    let (folder, ended) = app.stop().await;
    ended.unwrap();
    let app = TestApp::on(folder, fixture("onnx-token-states"), keep_none).await;
    let job = app.train(more).await;
    assert_eq!(job["state"], "failed", "{job}");
    let reason = job["reason"].as_str().unwrap();
    assert!(reason.starts_with("5 of 6 examples have no embedding"), "{reason}");
    assert!(reason.contains("store.texts = false"), "{reason}");
    // Texts that come again, and a fresh start, need none of the old ones.
    app.trained(json!({"examples": seed_examples(), "mode": "replace"})).await;
    // And a deletion finds a text without having it.
    let (_, removed) =
        forget(&app, json!({"texts": ["The film was a cinematic masterpiece."]})).await;
    assert_eq!(removed, json!({"removed": 1}));
}

#[tokio::test]
async fn a_text_that_is_not_kept_or_was_deleted_is_in_no_file() {
    let app = TestApp::with(|config| config.store.texts = false).await;
    let examples = |secret: &str| {
        json!([
            {"text": format!("the {secret} film"), "labels": {"sentiment": "Positive"}},
            {"text": format!("a dull {secret}"), "labels": {"sentiment": "Negative"}},
        ])
    };
    app.trained(json!({"examples": examples("marmot")})).await;
    assert_eq!(files_with(&app, "marmot"), [] as [PathBuf; 0]);
    let running = app.train_for_ever().await;
    let waiting = app.submit(json!({"examples": examples("weasel")})).await;
    assert_ne!(files_with(&app, "weasel"), [] as [PathBuf; 0], "a job that waits needs its texts");
    for job in [waiting, running] {
        app.delete(&format!("/train/{job}")).await;
        app.ended(&job).await;
    }
    assert_eq!(files_with(&app, "weasel"), [] as [PathBuf; 0]);

    let app = app.restart(|config| config.store.texts = true).await;
    app.trained(json!({"examples": examples("badger")})).await;
    assert_ne!(files_with(&app, "badger"), [] as [PathBuf; 0]);
    let texts = examples("badger");
    let texts: Vec<&Value> = texts.as_array().unwrap().iter().map(|it| &it["text"]).collect();
    assert_eq!(forget(&app, json!({"texts": texts})).await.1, json!({"removed": 2}));
    assert_eq!(files_with(&app, "badger"), [] as [PathBuf; 0]);
}

/// The files of the store in which a word stands as it is.
fn files_with(app: &TestApp, word: &str) -> Vec<PathBuf> {
    let database = app.store_url();
    let folder = Path::new(database.strip_prefix("sqlite:").unwrap()).parent().unwrap();
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let holds = |file: &PathBuf| {
        fs::read(file).unwrap().windows(word.len()).any(|bytes| bytes == word.as_bytes())
    };
    files.filter(holds).collect()
}

#[tokio::test]
async fn examples_are_listed_by_page_task_and_label() {
    let app = TestApp::start().await;
    assert_eq!(app.get("/examples").await, (StatusCode::OK, json!({"examples": []})));
    app.trained(json!({"examples": seed_examples()})).await;
    app.trained(json!({"examples": [{"text": "the film", "labels": {"topic": "Entertainment"}}]}))
        .await;
    let all = examples(&app, "", 2).await;
    let mut expected: Vec<String> = seed_examples()
        .as_array()
        .unwrap()
        .iter()
        .map(|example| example["text"].as_str().unwrap().to_owned())
        .collect();
    expected.push("the film".to_owned());
    assert_eq!(texts(&all), expected);
    assert_eq!(all[0]["labels"], json!({"topic": "Finance", "sentiment": "Negative"}));
    assert!(all[0]["added_at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    assert_eq!(examples(&app, "&task=sentiment", 2).await.len(), 5);
    let film = examples(&app, "&task=topic&label=Entertainment", 1).await;
    let about_films =
        ["The film was a cinematic masterpiece.", "The weather ruined my mood today.", "the film"];
    assert_eq!(texts(&film), about_films);

    for (query, status, code, position) in [
        ("limit=0", 422, "invalid_limit", Some("limit")),
        ("limit=1001", 422, "invalid_limit", Some("limit")),
        ("after=x", 422, "invalid_query", None),
        ("task=nobody", 404, "unknown_task", None),
        ("label=Finance", 422, "label_without_task", Some("label")),
        ("task=topic&label=Sport", 422, "unknown_label", Some("label")),
    ] {
        let refused = app.get(&format!("/examples?{query}")).await;
        assert_problem(&refused, status, code, position, &[]);
    }
}

#[tokio::test]
async fn what_is_deleted_no_longer_trains_but_the_head_stays() {
    let app = TestApp::start().await;
    app.trained(json!({"examples": seed_examples()})).await;
    let answers = app.classify(json!({"inputs": TEXTS})).await;
    let film = "The film was a cinematic masterpiece.";
    let which = json!({"texts": [film, "never seen"], "task": "topic"});
    assert_eq!(forget(&app, which.clone()).await, (StatusCode::OK, json!({"removed": 1})));
    assert_eq!(forget(&app, which).await.1, json!({"removed": 0}));
    assert_eq!(app.get("/heads/topic").await.1["examples"], 4);
    assert_eq!(app.get("/heads/sentiment").await.1["examples"], 5);
    assert_eq!(app.classify(json!({"inputs": TEXTS})).await, answers);
    assert_eq!(forget(&app, json!({"texts": [film]})).await.1, json!({"removed": 1}));
    let job = app.trained(json!({"examples": [
        {"text": "the film", "labels": {"topic": "Entertainment"}},
    ]}));
    let job = job.await;
    assert_eq!(job["result"]["texts"], json!({"embedded": 1, "found": 4}));

    let taught = examples(&app, "", 10).await;
    let first = taught[0]["added_at"].as_str().unwrap();
    assert_eq!(forget(&app, json!({"before": first})).await.1, json!({"removed": 0}));
    let last = taught[4]["added_at"].as_str().unwrap();
    assert_eq!(forget(&app, json!({"before": last})).await.1, json!({"removed": 4}));
    assert_eq!(texts(&examples(&app, "", 10).await), ["the film"]);

    for which in [json!({}), json!({"texts": [], "before": last}), json!({"task": "topic"})] {
        let refused = forget(&app, which).await;
        assert_problem(&refused, 422, "invalid_selection", None, &["texts", "before"]);
    }
    let refused = forget(&app, json!({"before": "yesterday"})).await;
    assert_problem(&refused, 422, "invalid_request", Some("before"), &[]);
    let refused = forget(&app, json!({"texts": [], "task": "nobody"})).await;
    assert_problem(&refused, 404, "unknown_task", None, &["nobody"]);
}
