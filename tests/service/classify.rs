//! `/classify`: answers by task, the options of a request, untrained heads.

use serde_json::{Value, json};

use crate::app::{TestApp, assert_problem, fixture, seed_examples, task};

/// Single precision: a sum of a few probabilities.
const SUM_TOLERANCE: f64 = 1e-5;

const TEXTS: [&str; 3] = ["the stock market", "a great film", "a very dull idea"];

#[tokio::test]
async fn a_head_that_no_training_has_touched_answers_409() {
    let app = TestApp::start().await;
    for body in [json!({"inputs": "a"}), json!({"inputs": "a", "tasks": ["topic"]})] {
        let refused = app.post("/classify", body).await;
        assert_problem(&refused, 409, "head_untrained", None, &["topic", "/train"]);
    }
}

#[tokio::test]
async fn only_the_tasks_that_are_asked_for_must_be_trained() {
    let app = TestApp::start().await;
    app.trained(json!({"examples": [
        {"text": "a great film", "labels": {"sentiment": "Positive"}},
        {"text": "a dull film", "labels": {"sentiment": "Negative"}},
    ]}))
    .await;
    let body = json!({"inputs": "good", "tasks": ["sentiment"]});
    assert_eq!(app.classify(body).await[0]["sentiment"]["version"], 1);
    let body = json!({"inputs": "good", "tasks": ["sentiment", "topic"]});
    let refused = app.post("/classify", body).await;
    assert_problem(&refused, 409, "head_untrained", None, &["topic"]);
    assert!(!refused.1["detail"].as_str().unwrap().contains("sentiment"), "{}", refused.1);
    // A request that names none gets what there is: a new task is no reason to fail.
    let result = app.classify(json!({"inputs": "good"})).await.remove(0);
    assert_eq!(result.as_object().unwrap().keys().collect::<Vec<_>>(), ["sentiment"]);
}

#[tokio::test]
async fn an_untrained_head_answers_at_random_but_always_the_same_where_that_is_allowed() {
    let app = TestApp::with(|config| config.training.serve_untrained = true).await;
    let body = json!({"inputs": TEXTS});
    let first = app.classify(body.clone()).await;
    for result in &first {
        for task in ["topic", "sentiment"] {
            assert_eq!(result[task]["version"], 0);
            assert_eq!(result[task]["trained"], false);
            assert_is_distribution(&result[task]);
        }
    }
    assert_eq!(app.classify(body.clone()).await, first);
    let app = app.restart(|config| config.training.serve_untrained = true).await;
    assert_eq!(app.classify(body).await, first);
}

#[tokio::test]
async fn every_input_is_answered_for_every_task() {
    let app = TestApp::start().await;
    app.trained(json!({"examples": seed_examples()})).await;
    let (status, answer) = app.post("/classify", json!({"inputs": TEXTS})).await;
    assert!(status.is_success(), "{answer}");
    assert_eq!(answer["model"], "model");
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), TEXTS.len());
    for result in results {
        assert_eq!(result.as_object().unwrap().len(), 2);
        for (task, labels) in [("topic", 3), ("sentiment", 2)] {
            let answer = &result[task];
            assert_is_distribution(answer);
            assert_eq!(answer["scores"].as_array().unwrap().len(), labels);
            assert_eq!(answer["label"], answer["scores"][0]["label"]);
            assert_eq!(answer["score"], answer["scores"][0]["score"]);
            assert_eq!(answer["version"], 1);
            assert_eq!(answer["trained"], true);
        }
    }
    let single = app.classify(json!({"inputs": TEXTS[0]})).await;
    assert_eq!(single.len(), 1);
    assert_eq!(single[0]["topic"]["label"], results[0]["topic"]["label"]);
    assert_eq!(app.classify(json!({"sentences": TEXTS})).await, *results);
}

#[tokio::test]
async fn versions_count_the_trainings_of_each_task() {
    let app = TestApp::start().await;
    app.trained(json!({"examples": seed_examples()})).await;
    app.trained(json!({"examples": [{"text": "good", "labels": {"sentiment": "Positive"}}]})).await;
    let result = app.classify(json!({"inputs": "a"})).await.remove(0);
    assert_eq!(
        (&result["topic"]["version"], &result["sentiment"]["version"]),
        (&json!(1), &json!(2))
    );
}

#[tokio::test]
async fn a_request_may_ask_for_some_tasks_and_the_best_labels_only() {
    let app = TestApp::start().await;
    app.trained(json!({"examples": seed_examples()})).await;
    let all = app.classify(json!({"inputs": TEXTS})).await;

    let some = app.classify(json!({"inputs": TEXTS, "tasks": ["topic"]})).await;
    for (some, all) in some.iter().zip(&all) {
        assert_eq!(some.as_object().unwrap().keys().collect::<Vec<_>>(), ["topic"]);
        assert_eq!(some["topic"], all["topic"]);
    }
    let twice = app.classify(json!({"inputs": TEXTS, "tasks": ["topic", "topic"]})).await;
    assert_eq!(twice, some);
    for (top_k, expected) in [(1, 1), (2, 2), (3, 3), (100, 3)] {
        let best = app.classify(json!({"inputs": TEXTS, "top_k": top_k})).await;
        for (best, all) in best.iter().zip(&all) {
            let scores = best["topic"]["scores"].as_array().unwrap();
            assert_eq!(scores[..], all["topic"]["scores"].as_array().unwrap()[..expected]);
            assert_eq!(best["topic"]["label"], all["topic"]["label"]);
        }
    }
}

#[tokio::test]
async fn what_a_request_cannot_ask_for_is_refused() {
    let app = TestApp::start().await;
    let body = json!({"inputs": "a", "tasks": ["topic", "colour"]});
    let refused = app.post("/classify", body).await;
    let mentions = &["\"colour\"", "sentiment", "topic"];
    assert_problem(&refused, 404, "unknown_task", Some("tasks[1]"), mentions);

    let refused = app.post("/classify", json!({"inputs": "a", "tasks": []})).await;
    assert_problem(&refused, 422, "no_tasks", Some("tasks"), &[]);
    let refused = app.post("/classify", json!({"inputs": "a", "top_k": 0})).await;
    assert_problem(&refused, 422, "invalid_top_k", Some("top_k"), &["1"]);
    let refused = app.post("/classify", json!({"inputs": "a", "model": "other"})).await;
    assert_problem(&refused, 404, "unknown_model", Some("model"), &["other"]);
}

#[tokio::test]
async fn a_task_answers_by_the_model_that_it_is_on() {
    let app = TestApp::with(|config| {
        config.training.serve_untrained = true;
        config.models.insert("other".to_owned(), fixture("cls"));
        let mut colour = task(&["red", "green"]);
        colour.model = Some("other".to_owned());
        config.tasks.insert("colour".to_owned(), colour);
        config.models.insert("idle".to_owned(), fixture("mean-old-names"));
    })
    .await;
    for body in [
        json!({"inputs": "a", "tasks": ["colour"]}),
        json!({"inputs": "a", "model": "other"}),
        json!({"inputs": "a", "model": "other", "tasks": ["colour"]}),
    ] {
        let (status, answer) = app.post("/classify", body).await;
        assert!(status.is_success(), "{answer}");
        assert_eq!(answer["model"], "other");
        let result = answer["results"][0].as_object().unwrap();
        assert_eq!(result.keys().collect::<Vec<_>>(), ["colour"]);
    }
    let default = app.classify(json!({"inputs": "a"})).await;
    assert!(default[0].get("colour").is_none(), "{default:?}");

    let mixed = json!({"inputs": "a", "tasks": ["topic", "colour"]});
    let refused = app.post("/classify", mixed).await;
    let mentions = &["colour", "other", "model"];
    assert_problem(&refused, 422, "mixed_models", Some("tasks[1]"), mentions);
    let elsewhere = json!({"inputs": "a", "tasks": ["colour"], "model": "model"});
    let refused = app.post("/classify", elsewhere).await;
    assert_problem(&refused, 422, "mixed_models", Some("tasks[0]"), &["colour", "other"]);
    let refused = app.post("/classify", json!({"inputs": "a", "model": "idle"})).await;
    assert_problem(&refused, 422, "no_tasks", Some("tasks"), &["idle"]);
}

#[tokio::test]
async fn an_answer_does_not_depend_on_its_companions() {
    let app = TestApp::start().await;
    app.trained(json!({"examples": seed_examples()})).await;
    let together = app.classify(json!({"inputs": TEXTS})).await;
    for (text, together) in TEXTS.iter().zip(&together) {
        let alone = app.classify(json!({"inputs": text})).await.remove(0);
        for task in ["topic", "sentiment"] {
            let (one, other) = (alone[task]["score"].as_f64(), together[task]["score"].as_f64());
            assert!((one.unwrap() - other.unwrap()).abs() < 1e-5, "{alone} {together}");
        }
    }
}

#[tokio::test]
async fn a_task_that_is_not_sure_enough_gives_no_label_but_its_scores() {
    let app = TestApp::with(|config| {
        config.tasks.get_mut("topic").unwrap().threshold = Some(1.0);
    })
    .await;
    app.trained(json!({"examples": seed_examples()})).await;
    let configured = app.classify(json!({"inputs": TEXTS})).await;
    let without = app.classify(json!({"inputs": TEXTS, "threshold": 0})).await;
    for (configured, without) in configured.iter().zip(&without) {
        assert_eq!(configured["topic"]["label"], Value::Null);
        assert_eq!(configured["topic"]["score"], without["topic"]["score"]);
        assert_eq!(configured["topic"]["scores"], without["topic"]["scores"]);
        assert_eq!(without["topic"]["label"], without["topic"]["scores"][0]["label"]);
        assert_eq!(configured["sentiment"], without["sentiment"]);
    }
    // A score that is just the threshold is enough.
    let score = &without[0]["topic"]["score"];
    let exact = app.classify(json!({"inputs": TEXTS[0], "threshold": score})).await;
    assert_eq!(exact[0]["topic"], without[0]["topic"]);
    for threshold in [-0.1, 1.01] {
        let refused = app.post("/classify", json!({"inputs": "a", "threshold": threshold})).await;
        assert_problem(&refused, 422, "invalid_threshold", Some("threshold"), &["0 to 1"]);
    }
}

#[tokio::test]
async fn a_task_made_over_http_has_a_threshold_until_it_is_made_without() {
    let app = TestApp::start().await;
    let definition = |threshold: Value| json!({"labels": ["up", "down"], "threshold": threshold});
    let (status, made) = app.put("/heads/mood", definition(json!(1.0))).await;
    assert_eq!((status.as_u16(), &made["threshold"]), (201, &json!(1.0)), "{made}");
    let example = |text: &str, label: &str| json!({"text": text, "labels": {"mood": label}});
    app.trained(json!({"examples": [example("good", "up"), example("bad", "down")]})).await;

    let app = app.restart(|_| {}).await;
    let ask = json!({"inputs": "good", "tasks": ["mood"]});
    let unsure = app.classify(ask.clone()).await;
    assert_eq!(unsure[0]["mood"]["label"], Value::Null, "{unsure:?}");
    let asked = app.classify(json!({"inputs": "good", "tasks": ["mood"], "threshold": 0})).await;
    assert!(asked[0]["mood"]["label"].is_string(), "the request's own counts: {asked:?}");
    let (status, made) = app.put("/heads/mood", json!({"labels": ["up", "down"]})).await;
    assert_eq!((status.as_u16(), &made["version"]), (200, &json!(1)), "{made}");
    assert!(made.get("threshold").is_none(), "{made}");
    assert_eq!(app.classify(ask).await, asked);

    let refused = app.put("/heads/mood", definition(json!(1.5))).await;
    assert_problem(&refused, 422, "invalid_threshold", Some("threshold"), &["0 to 1"]);
    let topic = json!({"labels": ["Finance", "Entertainment", "Technology"], "threshold": 0.5});
    let refused = app.put("/heads/topic", topic).await;
    assert_problem(&refused, 409, "task_is_configured", None, &["configuration"]);
}

/// Asserts that scores fall from the first to the last and sum to 1.
#[track_caller]
fn assert_is_distribution(answer: &Value) {
    let scores: Vec<f64> = answer["scores"]
        .as_array()
        .unwrap()
        .iter()
        .map(|score| score["score"].as_f64().unwrap())
        .collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{answer}");
    assert!((scores.iter().sum::<f64>() - 1.0).abs() < SUM_TOLERANCE, "{answer}");
    assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)), "{answer}");
}
