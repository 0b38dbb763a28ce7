//! `/heads`: tasks made, listed and removed.

use polyhead::config::TaskConfig;
use polyhead::heads::NewLabels;
use reqwest::StatusCode;
use serde_json::json;

use crate::app::{TestApp, assert_problem, fixture, seed_examples};

#[tokio::test]
async fn the_configured_tasks_are_there_from_the_start() {
    let app = TestApp::start().await;
    let (status, list) = app.get("/heads").await;
    assert_eq!(status, StatusCode::OK);
    let head = |task: &str, labels: &[&str]| {
        json!({
            "task": task, "model": "model", "labels": labels, "multi_label": false,
            "new_labels": "refuse", "version": 0, "trained": false, "examples": 0,
        })
    };
    let topic = head("topic", &["Finance", "Entertainment", "Technology"]);
    let sentiment = head("sentiment", &["Negative", "Positive"]);
    assert_eq!(list, json!({"heads": [sentiment, topic]}));
    let (status, topic) = app.get("/heads/topic").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(topic["versions"], json!([]));
}

#[tokio::test]
async fn a_task_is_made_once_and_the_same_request_again_changes_nothing() {
    let app = TestApp::start().await;
    let definition = json!({"labels": ["red", "green", "blue"]});
    let (status, made) = app.put("/heads/colour", definition.clone()).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    assert_eq!(made["task"], "colour");
    assert_eq!(made["model"], "model");
    assert_eq!(made["labels"], definition["labels"]);
    assert_eq!(made["version"], 0);
    let (status, again) = app.put("/heads/colour", definition.clone()).await;
    assert_eq!((status, &again), (StatusCode::OK, &made));
    assert_eq!(app.get("/heads/colour").await, (StatusCode::OK, made));

    let refused = app.post("/classify", json!({"inputs": "a", "tasks": ["colour"]})).await;
    assert_problem(&refused, 409, "head_untrained", None, &["colour"]);
    app.trained(json!({"examples": [
        {"text": "the film", "labels": {"colour": "red"}},
        {"text": "the market", "labels": {"colour": "blue"}},
    ]}))
    .await;
    let answer = app.classify(json!({"inputs": "a", "tasks": ["colour"]})).await;
    assert_eq!(answer[0]["colour"]["version"], 1);
    assert_eq!(app.put("/heads/colour", definition).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_task_may_be_made_on_another_model() {
    let app = TestApp::with(|config| {
        config.models.insert("other".to_owned(), fixture("mean-old-names"));
        config.training.serve_untrained = true;
    })
    .await;
    let definition = json!({"labels": ["x", "y"], "model": "other"});
    let (status, made) = app.put("/heads/letter", definition).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    assert_eq!(made["model"], "other");
    let answer = app.classify(json!({"inputs": "a", "tasks": ["letter"]})).await;
    assert_eq!(answer[0]["letter"]["version"], 0);

    let refused = app.put("/heads/l", json!({"labels": ["x", "y"], "model": "none"})).await;
    assert_problem(&refused, 404, "unknown_model", Some("model"), &["none", "other"]);
}

#[tokio::test]
async fn labels_may_change_until_the_first_training() {
    let app = TestApp::start().await;
    app.put("/heads/colour", json!({"labels": ["red", "green"]})).await;
    let other = json!({"labels": ["red", "blue"]});
    let (status, changed) = app.put("/heads/colour", other.clone()).await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    assert_eq!(changed["labels"], other["labels"]);
    app.trained(json!({"examples": [
        {"text": "the film", "labels": {"colour": "red"}},
        {"text": "the market", "labels": {"colour": "blue"}},
    ]}))
    .await;
    for labels in [json!(["red", "green"]), json!(["blue", "red"])] {
        let refused = app.put("/heads/colour", json!({"labels": labels})).await;
        assert_problem(&refused, 409, "task_in_use", None, &["colour", "blue", "delete"]);
    }
    assert_eq!(app.get("/heads/colour").await.1["labels"], other["labels"]);
}

#[tokio::test]
async fn a_task_is_removed_with_its_versions_and_examples() {
    let app = TestApp::start().await;
    app.put("/heads/colour", json!({"labels": ["red", "blue"]})).await;
    let examples = json!({"examples": [
        {"text": "the film", "labels": {"colour": "red", "sentiment": "Positive"}},
        {"text": "the market", "labels": {"colour": "blue", "sentiment": "Negative"}},
    ]});
    app.trained(examples).await;
    assert_eq!(app.get("/heads/colour").await.1["examples"], 2);
    assert_eq!(app.delete("/heads/colour").await, (StatusCode::NO_CONTENT, json!(null)));

    let gone = app.get("/heads/colour").await;
    assert_problem(&gone, 404, "unknown_task", None, &["\"colour\""]);
    let gone = app.delete("/heads/colour").await;
    assert_problem(&gone, 404, "unknown_task", None, &["\"colour\""]);
    let gone = app.post("/classify", json!({"inputs": "a", "tasks": ["colour"]})).await;
    assert_problem(&gone, 404, "unknown_task", Some("tasks[0]"), &["\"colour\""]);
    assert_eq!(app.get("/heads/sentiment").await.1["examples"], 2, "others keep theirs");

    app.put("/heads/colour", json!({"labels": ["green", "blue"]})).await;
    let anew = app.get("/heads/colour").await.1;
    assert_eq!((&anew["version"], &anew["examples"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn a_configured_task_is_removed_in_the_configuration_only() {
    let app = TestApp::start().await;
    let refused = app.delete("/heads/topic").await;
    assert_problem(&refused, 409, "task_is_configured", None, &["topic", "configuration"]);
    assert_eq!(app.get("/heads/topic").await.0, StatusCode::OK);
}

#[tokio::test]
async fn the_labels_of_a_configured_task_are_changed_in_the_configuration_only() {
    let app = TestApp::start().await;
    let refused = app.put("/heads/topic", json!({"labels": ["x", "y"]})).await;
    assert_problem(&refused, 409, "task_is_configured", None, &["topic", "configuration"]);
    let same = json!({"labels": ["Finance", "Entertainment", "Technology"]});
    assert_eq!(app.put("/heads/topic", same).await.0, StatusCode::OK);
}

#[tokio::test]
async fn what_a_definition_leaves_out_is_as_the_configuration_declares_it() {
    let app = TestApp::with(|config| {
        config.models.insert("other".to_owned(), fixture("mean-old-names"));
        let tone = TaskConfig {
            model: Some("other".to_owned()),
            labels: vec!["warm".to_owned()],
            multi_label: Some(true),
            threshold: Some(0.25),
            new_labels: Some(NewLabels::Allow),
        };
        config.tasks.insert("tone".to_owned(), tone);
    })
    .await;
    let (_, declared) = app.get("/heads/tone").await;
    let whole = json!({
        "labels": ["warm"], "model": "other", "multi_label": true, "threshold": 0.25,
        "new_labels": "allow",
    });
    for definition in [json!({"labels": ["warm"]}), whole.clone(), json!({"labels": ["warm"]})] {
        assert_eq!(app.put("/heads/tone", definition).await, (StatusCode::OK, declared.clone()));
    }
    for (name, value) in [
        ("model", json!("model")),
        ("multi_label", json!(false)),
        ("threshold", json!(0.5)),
        ("new_labels", json!("refuse")),
        ("labels", json!(["warm", "cold"])),
    ] {
        let mut other = whole.clone();
        other[name] = value;
        if name == "multi_label" {
            other["labels"] = json!(["warm", "cold"]);
        }
        let refused = app.put("/heads/tone", other).await;
        assert_problem(&refused, 409, "task_is_configured", None, &["tone", "configuration"]);
    }
    assert_eq!(app.get("/heads/tone").await.1, declared);
}

#[tokio::test]
async fn a_name_that_cannot_be_is_refused() {
    let app = TestApp::start().await;
    let labels = json!({"labels": ["x", "y"]});
    for (path, mention) in [
        ("/heads/encoder", "reserved"),
        ("/heads/a%20b", "a b"),
        ("/heads/a%2Fb", "a/b"),
        ("/heads/%C3%A4", "ä"),
        (&format!("/heads/{}", "a".repeat(65)), "64"),
    ] {
        let refused = app.put(path, labels.clone()).await;
        assert_problem(&refused, 422, "invalid_task", None, &[mention]);
    }
    for name in ["a", "A.b_c-1", &"a".repeat(64)] {
        let made = app.put(&format!("/heads/{name}"), labels.clone()).await;
        assert_eq!(made.0, StatusCode::CREATED, "{name}: {}", made.1);
    }
}

#[tokio::test]
async fn labels_that_cannot_be_are_refused_with_their_place() {
    let app = TestApp::start().await;
    for (labels, position, mention) in [
        (json!([]), "labels", "2"),
        (json!(["x"]), "labels", "2"),
        (json!(["x", "y", "x"]), "labels[2]", "labels[0]"),
        (json!(["x", ""]), "labels[1]", "empty"),
        (json!(["x", " y"]), "labels[1]", "white space"),
        (json!(["x", "y".repeat(257)]), "labels[1]", "256"),
    ] {
        let refused = app.put("/heads/colour", json!({"labels": labels})).await;
        assert_problem(&refused, 422, "invalid_task", Some(position), &[mention]);
    }
    for (body, position, mention) in [
        (json!({}), None, "missing field `labels`"),
        (json!({"labels": "x"}), Some("labels"), "sequence"),
        (json!({"labels": ["x", 3]}), Some("labels[1]"), "string"),
    ] {
        let refused = app.put("/heads/colour", body).await;
        assert_problem(&refused, 422, "invalid_request", position, &[mention]);
    }
    let nul = app.put("/heads/colour", json!({"labels": ["x", "y\u{0}"]})).await;
    assert_problem(&nul, 422, "nul_character", None, &["label", "U+0000"]);
    assert_eq!(app.get("/heads/colour").await.0, StatusCode::NOT_FOUND, "nothing was made");
}

#[tokio::test]
async fn a_tasks_history_says_what_made_each_version() {
    let app = TestApp::start().await;
    let first = app.trained(json!({"examples": seed_examples()})).await;
    let second = app.trained(json!({"examples": seed_examples(), "mode": "replace"})).await;
    let third = app.trained(json!({"examples": seed_examples(), "mode": "extend"})).await;
    for task in ["topic", "sentiment"] {
        let head = app.get(&format!("/heads/{task}")).await.1;
        assert_eq!((&head["version"], &head["trained"]), (&json!(3), &json!(true)));
        assert_eq!(head["examples"], 5);
        let versions = head["versions"].as_array().unwrap();
        let expected = [
            (3, json!(2), &third["id"], true),
            (2, json!(null), &second["id"], false),
            (1, json!(null), &first["id"], false),
        ];
        assert_eq!(versions.len(), 3);
        let info = app.get("/info").await.1;
        for (version, (number, parent, job, live)) in versions.iter().zip(expected) {
            assert_eq!(version["version"], number);
            assert_eq!(version["parent"], parent);
            assert_eq!(&version["job"], job);
            assert_eq!(version["live"], live);
            assert_eq!(version["encoder"], info["models"][0]["fingerprint"]);
            assert!(version["created_at"].as_str().unwrap().ends_with('Z'), "{version}");
        }
    }
}
