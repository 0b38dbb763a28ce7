//! Training while serving: no request fails, and no answer mixes versions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::app::{TestApp, seed_examples};

const TRAININGS: i64 = 20;

const CLIENTS: usize = 6;

/// The scores of every version that answered for a task, for [`TEXTS`].
type Seen = BTreeMap<(String, i64), Value>;

const TEXTS: [&str; 3] = ["the stock market", "a great film", "a very dull idea"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_has_not_succeeded_before_its_heads_are_live() {
    let app = TestApp::start().await;
    for version in 1..=5 {
        // So many that the database is busy for a while after the commit, which others see before.
        let examples: Vec<Value> = (0..4000)
            .map(|row| {
                let label = ["Finance", "Technology"][row % 2];
                json!({"text": format!("{version} {row}"), "labels": {"topic": label}})
            })
            .collect();
        let job = app
            .submit(json!({"examples": examples, "promote": "always", "mode": "replace", "l2": 1, "epochs": 2}))
            .await;
        // No event stream: whoever polls may look at any moment.
        while app.get(&format!("/train/{job}")).await.1["state"] != "succeeded" {}
        let result = app.classify(json!({"inputs": "a", "tasks": ["topic"]})).await.remove(0);
        assert_eq!(result["topic"]["version"], version);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_comes_from_exactly_one_version_of_each_task() {
    let app = Arc::new(TestApp::with(|config| config.training.serve_untrained = true).await);
    let done = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::spawn(ask_until(Arc::clone(&app), Arc::clone(&done))))
        .collect();
    for seed in 1..=TRAININGS {
        // Every version differs: another start, and few steps away from it.
        let job = app
            .trained(json!({
                "examples": seed_examples(), "mode": "replace", "seed": seed,
                "solver": "adam", "epochs": 5,
            }))
            .await;
        assert_eq!(job["published"], json!({"topic": seed, "sentiment": seed}));
        assert_eq!(app.get("/readyz").await.0, 200);
    }
    done.store(true, Ordering::Relaxed);
    let mut seen = Seen::new();
    for client in clients {
        for (version, scores) in client.await.unwrap() {
            let first = seen.entry(version.clone()).or_insert_with(|| scores.clone());
            assert_eq!(*first, scores, "two clients had other scores from {version:?}");
        }
    }
    let versions = seen.keys().filter(|(task, _)| task == "topic").count();
    assert!(versions > 1, "no swap happened under load");
    for ((task, version), scores) in &seen {
        let earlier = seen.get(&(task.clone(), version - 1));
        assert_ne!(Some(scores), earlier, "{task} {version} could not be told apart");
    }
    let last = app.classify(json!({"inputs": TEXTS[0]})).await;
    assert_eq!(last[0]["topic"]["version"], TRAININGS);
    let failed = app.metrics().await.lines().any(|line| line.contains("code=\"5"));
    assert!(!failed);
}

/// Asks without a pause. Gives the scores that each version answered with.
async fn ask_until(app: Arc<TestApp>, done: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen::new();
    let mut latest: BTreeMap<&str, i64> = BTreeMap::new();
    while !done.load(Ordering::Relaxed) {
        let results = app.classify(json!({"inputs": TEXTS})).await;
        for task in ["topic", "sentiment"] {
            let answers = || results.iter().map(|result| &result[task]);
            let version = results[0][task]["version"].as_i64().unwrap();
            assert!(answers().all(|answer| answer["version"] == version), "{results:?}");
            let before = latest.insert(task, version).unwrap_or(0);
            assert!(before <= version, "{task} went back from {before} to {version}");
            let scores: Value = answers().map(|answer| rounded(&answer["scores"])).collect();
            let first = seen.entry((task.to_owned(), version)).or_insert_with(|| scores.clone());
            assert_eq!(*first, scores, "version {version} of {task} answered in two ways");
        }
        // Both were published in one step.
        assert_eq!(latest["topic"], latest["sentiment"]);
    }
    seen
}

/// Probabilities without the last digits: these depend on a text's companions in its micro-batch.
fn rounded(scores: &Value) -> Value {
    let rounded = scores
        .as_array()
        .unwrap()
        .iter()
        .map(|score| json!([score["label"], (score["score"].as_f64().unwrap() * 1e4).round()]));
    rounded.collect()
}
