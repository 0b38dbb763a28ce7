//! Labels that examples bring: to tasks that allow it.

use polyhead::config::Config;
use polyhead::heads::NewLabels;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::app::{TestApp, assert_problem};

#[tokio::test]
async fn a_task_that_allows_it_learns_new_labels_beside_its_own() {
    let app = TestApp::start().await;
    let examples = |texts: &[(&str, &str)]| -> Vec<Value> {
        let example =
            |&(text, label): &(&str, &str)| json!({"text": text, "labels": {"tone": label}});
        texts.iter().map(example).collect()
    };
    let definition = json!({"labels": ["dry", "warm"], "new_labels": "allow"});
    let (status, task) = app.put("/heads/tone", definition).await;
    assert_eq!((status, &task["new_labels"]), (StatusCode::CREATED, &json!("allow")));
    let first = examples(&[("as agreed", "dry"), ("dear all", "warm"), ("see below", "dry")]);
    app.trained(json!({"examples": first})).await;
    let new = examples(&[("never again", "harsh"), ("or else", "harsh"), ("lol", "silly")]);
    let job = app.trained(json!({"examples": new, "l2": 0.001})).await;
    assert_eq!(job["published"]["tone"], 2);
    let labels = json!(["dry", "warm", "harsh", "silly"]);
    assert_eq!(app.get("/heads/tone").await.1["labels"], labels);
    for (text, label) in [("as agreed", "dry"), ("dear all", "warm"), ("never again", "harsh")] {
        let answer = app.classify(json!({"inputs": text, "tasks": ["tone"]})).await;
        assert_eq!(answer[0]["tone"]["label"], label);
        assert_eq!(answer[0]["tone"]["scores"].as_array().unwrap().len(), 4);
    }
    // An earlier version answers with what it knows, and is learnt on from.
    app.post("/heads/tone/rollback", json!({})).await;
    let answer = app.classify(json!({"inputs": "lol", "tasks": ["tone"]})).await;
    assert_eq!(answer[0]["tone"]["scores"].as_array().unwrap().len(), 2);
    let app = app.restart(|_| {}).await;
    assert_eq!(app.classify(json!({"inputs": "lol", "tasks": ["tone"]})).await, answer);
    assert_eq!(app.get("/heads/tone").await.1["labels"], labels);
    let job = app.trained(json!({"examples": examples(&[("haha", "silly")])})).await;
    assert_eq!(job["published"]["tone"], 3);
    assert_eq!(app.get("/heads/tone").await.1["labels"], labels);

    for (label, code) in [(" harsh", "invalid_label"), ("", "invalid_label")] {
        let refused = app.post("/train", json!({"examples": examples(&[("a", label)])})).await;
        assert_problem(&refused, 422, code, Some("examples[0].labels.tone"), &[]);
    }
    let frozen = json!({"examples": examples(&[("a", "new")]), "freeze": ["encoder", "tone"]});
    let refused = app.post("/train", frozen).await;
    assert_problem(&refused, 422, "unknown_label", Some("freeze"), &["frozen", "new"]);

    // Defined as it was, the task stays as it has become; closed, it takes no more.
    let definition = json!({"labels": ["dry", "warm"], "new_labels": "refuse"});
    let (status, task) = app.put("/heads/tone", definition).await;
    assert_eq!((status, &task["labels"], &task["version"]), (StatusCode::OK, &labels, &json!(3)));
    let refused = app.post("/train", json!({"examples": examples(&[("a", "new")])})).await;
    let place = Some("examples[0].labels.tone");
    assert_problem(&refused, 422, "unknown_label", place, &["dry, warm, harsh, silly"]);
}

#[tokio::test]
async fn a_configured_task_keeps_what_it_has_learnt_when_the_server_starts_again() {
    let allow = |config: &mut Config| {
        config.tasks.get_mut("sentiment").unwrap().new_labels = Some(NewLabels::Allow);
    };
    let app = TestApp::with(allow).await;
    let examples: Vec<Value> = [("bad", "Negative"), ("good", "Positive"), ("so so", "Mixed")]
        .map(|(text, label)| json!({"text": text, "labels": {"sentiment": label}}))
        .into();
    app.trained(json!({"examples": examples})).await;
    let app = app.restart(allow).await;
    let (_, task) = app.get("/heads/sentiment").await;
    let labels = json!(["Negative", "Positive", "Mixed"]);
    assert_eq!((&task["labels"], &task["version"]), (&labels, &json!(1)));
}
