//! `/classify` by labels that come with the request.

use serde_json::{Value, json};

use crate::app::{TestApp, assert_problem, minilm};

const NAME: &str = "zero shot";

/// Labels and answers of one request.
fn probabilities(answer: &Value) -> Vec<(&str, f64)> {
    let scores = answer["scores"].as_array().unwrap().iter();
    scores.map(|it| (it["label"].as_str().unwrap(), it["score"].as_f64().unwrap())).collect()
}

#[tokio::test]
async fn a_text_gets_the_label_that_it_is_about_without_training() {
    let app = TestApp::on(tempfile::tempdir().unwrap(), minilm(), |_| {}).await;
    let texts = [
        ("The striker scored twice in the final.", "sport"),
        ("Shares fell after the central bank raised its rates.", "finance"),
        ("Add two eggs and bake it for half an hour.", "cooking"),
    ];
    for template in [None, Some("This text is about {}.")] {
        let mut body = json!({
            "inputs": texts.map(|(text, _)| text), "labels": ["cooking", "finance", "sport"],
        });
        if let Some(template) = template {
            body["template"] = template.into();
        }
        let results = app.classify(body).await;
        assert_eq!(results.len(), texts.len());
        for (result, (text, label)) in results.iter().zip(texts) {
            assert_eq!(result.as_object().unwrap().keys().collect::<Vec<_>>(), [NAME]);
            assert_eq!(result[NAME]["label"], label, "{text}: {result}");
            assert_eq!(result[NAME]["trained"], false);
            assert_eq!(result[NAME]["version"], 0);
        }
    }
}

#[tokio::test]
async fn scores_are_the_softmax_of_cosines_at_a_temperature_of_a_twentieth() {
    let app = TestApp::start().await;
    let labels = ["film", "market", "computer"];
    let template = "this is a {} story";
    let body = json!({"inputs": "a great film", "labels": labels, "template": template});
    let result = app.classify(body).await.remove(0);
    let sentences = labels.map(|label| template.replace("{}", label));
    let about = app.embed(json!({"inputs": sentences, "normalize": true})).await;
    let text = app.embed(json!({"inputs": "a great film", "normalize": true})).await.remove(0);
    let power = |other: &Vec<f64>| {
        let cosine: f64 = text.iter().zip(other).map(|(a, b)| a * b).sum();
        (cosine / 0.05).exp()
    };
    let powers: Vec<f64> = about.iter().map(power).collect();
    let sum: f64 = powers.iter().sum();
    for (label, score) in probabilities(&result[NAME]) {
        let index = labels.iter().position(|it| *it == label).unwrap();
        // Single precision, twenty times magnified.
        assert!((score - powers[index] / sum).abs() < 1e-5, "{label}: {result}");
    }
}

#[tokio::test]
async fn the_best_labels_only_and_none_below_the_threshold() {
    let app = TestApp::start().await;
    let labels = ["film", "market", "computer"];
    let all = app.classify(json!({"inputs": "a great film", "labels": labels})).await;
    let body = json!({"inputs": "a great film", "labels": labels, "top_k": 2, "threshold": 1.0});
    let best = app.classify(body).await;
    assert_eq!(best[0][NAME]["label"], Value::Null);
    assert_eq!(best[0][NAME]["score"], all[0][NAME]["score"]);
    let (best, all) = (probabilities(&best[0][NAME]), probabilities(&all[0][NAME]));
    assert_eq!((best.len(), &best[..]), (2, &all[..2]));
}

#[tokio::test]
async fn labels_are_embedded_once() {
    let app = TestApp::start().await;
    let tokens = async || -> u64 {
        let metrics = app.metrics().await;
        // There is no such line before the first token.
        let line = metrics.lines().find(|line| line.starts_with("polyhead_tokens_total"));
        line.map_or(0, |line| line.split_once("} ").unwrap().1.parse().unwrap())
    };
    let body = json!({"inputs": "film", "labels": ["market price", "computer work"]});
    let mut spent = Vec::new();
    for _ in 0..3 {
        let before = tokens().await;
        app.classify(body.clone()).await;
        spent.push(tokens().await - before);
    }
    assert!(spent[0] > spent[1], "{spent:?}");
    // A word and what the tokenizer puts around it.
    assert_eq!(spent[1..], [3, 3]);
    let before = tokens().await;
    app.classify(json!({"inputs": "film", "labels": ["computer work", "idea"]})).await;
    assert_eq!(tokens().await - before, 3 + 3, "one label is new");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let app = TestApp::with(|config| config.limits.labels_per_task = 3.try_into().unwrap()).await;
    for (change, code, position, mention) in [
        (json!({"labels": ["a"]}), "invalid_task", "labels", "at least 2"),
        (json!({"labels": []}), "invalid_task", "labels", "at least 2"),
        (json!({"labels": ["a", "b", "c", "d"]}), "invalid_task", "labels", "at most 3"),
        (json!({"labels": ["a", "b", "a"]}), "invalid_task", "labels[2]", "repeats labels[0]"),
        (json!({"labels": ["a", ""]}), "invalid_task", "labels[1]", "not empty"),
        (json!({"tasks": ["topic"]}), "labels_with_tasks", "tasks", "do not go together"),
        (json!({"template": "about"}), "invalid_template", "template", "0 times"),
        (json!({"template": "{} or {}"}), "invalid_template", "template", "2 times"),
        (
            json!({"template": format!("{{}}{}", "a".repeat(1024))}),
            "invalid_template",
            "template",
            "1024",
        ),
        (json!({"top_k": 0}), "invalid_top_k", "top_k", "at least 1"),
        (json!({"threshold": 1.5}), "invalid_threshold", "threshold", "0 to 1"),
    ] {
        let mut body = json!({"inputs": "x", "labels": ["a", "b"]});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let refused = app.post("/classify", body).await;
        assert_problem(&refused, 422, code, Some(position), &[mention]);
    }
    let body = json!({"inputs": "x", "template": "about {}"});
    let refused = app.post("/classify", body).await;
    assert_problem(&refused, 422, "template_without_labels", Some("template"), &["labels"]);
    let body = json!({"inputs": "x", "labels": ["a", "b"], "model": "other"});
    let refused = app.post("/classify", body).await;
    assert_problem(&refused, 404, "unknown_model", Some("model"), &["other"]);
    let body = json!({"inputs": ["x", " "], "labels": ["a", "b"]});
    let refused = app.post("/classify", body).await;
    assert_problem(&refused, 422, "empty_input", Some("inputs[1]"), &["visible"]);
}
