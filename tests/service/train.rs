//! `/train`: what is learnt and what stays as it is.

use polyhead::config::ModelConfig;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::app::{TestApp, assert_problem, minilm, seed_examples};

#[tokio::test]
async fn the_seeds_sentences_are_learnt_by_the_defaults() {
    let app = TestApp::on(tempdir().unwrap(), minilm(), |_| {}).await;
    let job = app.trained(json!({"examples": seed_examples()})).await;
    assert_eq!(job["spec"]["solver"]["name"], "lbfgs");
    assert_eq!(job["examples"], 5);
    assert_eq!(job["published"], json!({"topic": 1, "sentiment": 1}));
    let last = last_epoch(&job);
    for task in ["topic", "sentiment"] {
        assert_eq!(last["tasks"][task]["train"]["accuracy"], 1.0, "{last}");
        assert_eq!(last["tasks"][task]["train"]["rows"], 5);
    }
    assert_answers_right(&app, &seed_examples()).await;

    // More examples do not make the head forget the earlier ones, though all are of one label.
    let more = json!([
        {"text": "Bond yields rose after the central bank's decision.", "labels": {"topic": "Finance"}},
        {"text": "The company's shares fell by a tenth.", "labels": {"topic": "Finance"}},
        {"text": "Investors fear a recession.", "labels": {"topic": "Finance"}},
    ]);
    let job = app.trained(json!({"examples": more, "mode": "extend"})).await;
    assert_eq!(job["published"], json!({"topic": 2}));
    assert_eq!(last_epoch(&job)["tasks"]["topic"]["train"]["rows"], 8);
    assert_answers_right(&app, &seed_examples()).await;
    assert_answers_right(&app, &more).await;

    // A correction replaces the label that the text had before.
    let text = "The weather ruined my mood today.";
    let correction = json!([{"text": text, "labels": {"topic": "Technology"}}]);
    let job = app.trained(json!({"examples": correction})).await;
    assert_eq!(last_epoch(&job)["tasks"]["topic"]["train"]["rows"], 8);
    assert_answers_right(&app, &correction).await;
    let head = app.get("/heads/topic").await.1;
    assert_eq!((&head["version"], &head["examples"]), (&json!(3), &json!(8)));

    let adam = json!({"examples": seed_examples(), "solver": "adam", "mode": "replace"});
    let job = app.trained(adam).await;
    assert_answers_right(&app, &seed_examples()).await;
    assert_eq!(last_epoch(&job)["tasks"]["topic"]["train"]["rows"], 5);
}

#[tokio::test]
async fn the_seeds_own_loop_shows_the_seeds_behaviour() {
    let raw = ModelConfig { normalize: Some(false), ..minilm() };
    let app = TestApp::on(tempdir().unwrap(), raw, |config| {
        config.training.serve_untrained = true;
    })
    .await;
    let before = answers(&app).await;
    let job = app
        .trained(json!({
            "examples": seed_examples(), "mode": "replace",
            "solver": "adam", "learning_rate": 2e-5, "epochs": 3, "batch_size": 5,
        }))
        .await;
    let losses: Vec<f64> =
        epochs(&job).iter().map(|epoch| epoch["loss"].as_f64().unwrap()).collect();
    assert_eq!(losses.len(), 3);
    for pair in losses.windows(2) {
        let decrease = pair[0] - pair[1];
        assert!((0.0015..0.003).contains(&decrease), "{losses:?}");
    }
    for epoch in epochs(&job) {
        let tasks = &epoch["tasks"];
        let sum: f64 = ["topic", "sentiment"]
            .map(|task| tasks[task]["train"]["loss"].as_f64().unwrap())
            .iter()
            .sum();
        assert!((sum - epoch["loss"].as_f64().unwrap()).abs() < 1e-12, "{epoch}");
    }
    // A weight moves by at most 3 × 2e-5.
    for (before, after) in before.iter().zip(answers(&app).await) {
        assert!((before - after).abs() < 0.01, "{before} {after}");
    }
}

#[tokio::test]
async fn both_solvers_report_every_task_after_every_epoch() {
    let app = TestApp::start().await;
    for solver in [json!("adam"), json!("lbfgs")] {
        let job = app
            .trained(json!({
                "examples": seed_examples(), "mode": "replace", "solver": solver, "epochs": 7,
            }))
            .await;
        let epochs = epochs(&job);
        assert!((1..=7).contains(&epochs.len()), "{job}");
        for (index, epoch) in epochs.iter().enumerate() {
            assert_eq!(epoch["epoch"], index + 1);
            assert!(epoch["loss"].is_f64());
            for task in ["topic", "sentiment"] {
                let scores = &epoch["tasks"][task]["train"];
                assert!(scores["loss"].is_f64(), "{epoch}");
                assert!(scores["accuracy"].is_f64(), "{epoch}");
                assert_eq!(scores["rows"], 5);
            }
        }
        let losses: Vec<f64> = epochs.iter().map(|epoch| epoch["loss"].as_f64().unwrap()).collect();
        assert!(losses[0] > losses[losses.len() - 1], "{losses:?}");
    }
}

#[tokio::test]
async fn a_share_of_the_examples_may_be_held_out_and_is_scored() {
    let app = TestApp::start().await;
    let examples: Vec<Value> = (0..40)
        .map(|number| {
            let label = if number % 2 == 0 { "Negative" } else { "Positive" };
            json!({"text": format!("the film {number}"), "labels": {"sentiment": label}})
        })
        .collect();
    let job = app.trained(json!({"examples": examples, "validation": 0.25})).await;
    for epoch in epochs(&job) {
        let task = &epoch["tasks"]["sentiment"];
        assert_eq!((&task["train"]["rows"], &task["validation"]["rows"]), (&json!(30), &json!(10)));
        assert!(task["validation"]["loss"].is_f64(), "{task}");
    }
}

#[tokio::test]
async fn a_tenth_of_many_examples_is_held_out_by_itself_and_the_strength_is_chosen() {
    let app = TestApp::start().await;
    let examples: Vec<Value> = (0..500)
        .map(|number| {
            let label = if number % 2 == 0 { "Negative" } else { "Positive" };
            let text = format!("a {} film {number}", if number % 3 == 0 { "good" } else { "dull" });
            json!({"text": text, "labels": {"sentiment": label}})
        })
        .collect();
    let job = app.trained(json!({"examples": examples})).await;
    assert_eq!(job["spec"]["l2"], "auto");
    assert_eq!(job["spec"]["validation"], json!(null));
    let task = &last_epoch(&job)["tasks"]["sentiment"];
    assert_eq!((&task["train"]["rows"], &task["validation"]["rows"]), (&json!(450), &json!(50)));
    let evaluation = &job["result"]["tasks"]["sentiment"]["evaluation"];
    assert_eq!((&evaluation["on"], &evaluation["rows"]), (&json!("held_out"), &json!(50)));
    let labels = evaluation["labels"].as_array().unwrap();
    for (row, label) in ["Negative", "Positive"].into_iter().enumerate() {
        assert_eq!(labels[row]["label"], label);
        let confused = evaluation["confusion"][row].as_array().unwrap();
        let support: u64 = confused.iter().map(|count| count.as_u64().unwrap()).sum();
        assert_eq!((support, &labels[row]["support"]), (25, &json!(25)));
    }
    for number in ["accuracy", "macro_f1", "loss", "calibration_error", "temperature", "l2"] {
        assert!(evaluation[number].is_f64(), "{number}: {evaluation}");
    }
    let points = evaluation["reliability"].as_array().unwrap();
    let answers: u64 = points.iter().map(|point| point["answers"].as_u64().unwrap()).sum();
    assert_eq!(answers, 50, "each row has one: {evaluation}");
    let chosen = evaluation["l2"].as_f64();
    let tried = evaluation["cross_validation"].as_array().unwrap();
    assert!(tried.iter().any(|candidate| candidate["l2"].as_f64() == chosen), "{evaluation}");
    // The version keeps what it was judged by.
    let (_, versions) = app.get("/heads/sentiment").await;
    assert_eq!(&versions["versions"][0]["evaluation"], evaluation);
}

#[tokio::test]
async fn a_patience_ends_a_fit_early_by_held_out_rows_or_by_cross_validation() {
    let app = TestApp::start().await;
    let examples: Vec<Value> = (0..60)
        .map(|number| {
            // The texts say nothing of their labels.
            let label = ["Negative", "Positive"][number * number % 7 % 2];
            json!({"text": format!("number {number}"), "labels": {"sentiment": label}})
        })
        .collect();
    // By themselves, so few are all trained on.
    for (validation, by, rows) in
        [(json!(null), "cross_validation", 60), (json!(0.2), "held_out", 12)]
    {
        let job = app
            .trained(json!({
                "examples": examples, "solver": "adam", "learning_rate": 0.1, "epochs": 500,
                "patience": 3, "validation": validation, "mode": "replace",
            }))
            .await;
        assert!(epochs(&job).len() < 500, "{}", last_epoch(&job));
        let evaluation = &job["result"]["tasks"]["sentiment"]["evaluation"];
        assert_eq!((&evaluation["on"], &evaluation["rows"]), (&json!(by), &json!(rows)));
        let stop = &evaluation["early_stopping"];
        assert_eq!((&stop["by"], &stop["rows"]), (&json!(by), &json!(rows)));
        let taken = stop["epochs"].as_u64().unwrap() as usize;
        // Held-out rows tell only afterwards that it was best three epochs ago.
        let waited = if by == "held_out" { 3 } else { 0 };
        assert_eq!(epochs(&job).len(), taken + waited, "{evaluation}");
    }
}

#[tokio::test]
async fn a_patience_with_too_few_examples_to_tell_says_so() {
    let app = TestApp::start().await;
    let body = json!({"examples": seed_examples(), "solver": "adam", "patience": 1, "epochs": 9});
    let job = app.trained(body).await;
    assert_eq!(epochs(&job).len(), 9);
    for task in ["topic", "sentiment"] {
        let stop = &job["result"]["tasks"][task]["evaluation"]["early_stopping"];
        assert_eq!(stop, &json!({"epochs": 9, "by": "too_few_rows", "rows": 5}));
    }
}

#[tokio::test]
async fn a_job_says_what_it_merged_and_corrected() {
    let app = TestApp::start().await;
    let example = |text: &str, label: &str| json!({"text": text, "labels": {"sentiment": label}});
    let first =
        [example("bad", "Negative"), example("good", "Negative"), example("bad", "Negative")];
    let more = [example("fine", "Positive")];
    let both = [&first[..], &more].concat();
    let job = app.trained(json!({"examples": both})).await;
    assert_eq!(job["result"]["rows"], json!({"distinct": 3, "merged": 1, "corrected": 0}));
    let job = app.trained(json!({"examples": [example("good", "Positive")]})).await;
    assert_eq!(job["result"]["rows"], json!({"distinct": 3, "merged": 1, "corrected": 1}));
}

#[tokio::test]
async fn weights_of_classes_shift_the_answers() {
    let app = TestApp::start().await;
    // One in five is Positive, and the texts say nothing.
    let examples = |text: &str| -> Vec<Value> {
        (0..40)
            .map(|number| {
                let label = if number % 5 == 0 { "Positive" } else { "Negative" };
                json!({"text": format!("{text} {number}"), "labels": {"sentiment": label}})
            })
            .collect()
    };
    let mut positive = Vec::new();
    for class_weight in [json!(null), json!("balanced")] {
        let body = json!({
            "examples": examples("film"), "mode": "replace", "l2": 100, "class_weight": class_weight,
            "calibrate": false,
        });
        assert_eq!(app.trained(body).await["spec"]["class_weight"], class_weight);
        let answer = app.classify(json!({"inputs": "film", "tasks": ["sentiment"]})).await;
        let scores = answer[0]["sentiment"]["scores"].as_array().unwrap().iter();
        let score = scores.clone().find(|score| score["label"] == "Positive").unwrap();
        positive.push(score["score"].as_f64().unwrap());
    }
    // A strong penalty leaves little but the bias, which tells the shares of the classes.
    assert!((positive[0] - 0.2).abs() < 0.1 && (positive[1] - 0.5).abs() < 0.1, "{positive:?}");
}

#[tokio::test]
async fn the_same_job_twice_gives_the_same_weights() {
    let app = TestApp::start().await;
    let body = json!({"examples": seed_examples(), "mode": "replace", "solver": "adam", "seed": 7});
    app.trained(body.clone()).await;
    let first = answers(&app).await;
    app.trained(body).await;
    assert_eq!(answers(&app).await, first);
}

#[tokio::test]
async fn examples_may_carry_labels_for_some_tasks_only() {
    let app = TestApp::start().await;
    let job = app
        .trained(json!({"examples": [
            {"text": "the stock market", "labels": {"topic": "Finance"}},
            {"text": "a great film", "labels": {"topic": "Entertainment", "sentiment": "Positive"}},
            {"text": "a dull film", "labels": {"sentiment": "Negative"}},
        ]}))
        .await;
    for task in ["topic", "sentiment"] {
        assert_eq!(last_epoch(&job)["tasks"][task]["train"]["rows"], 2);
        assert_eq!(app.get(&format!("/heads/{task}")).await.1["examples"], 2);
    }
}

#[tokio::test]
async fn with_everything_frozen_a_job_only_evaluates() {
    let app = TestApp::start().await;
    app.trained(json!({"examples": seed_examples()})).await;
    let (before, heads) = (answers(&app).await, app.get("/heads").await);
    let job = app
        .trained(json!({
            "examples": [
                {"text": "good", "labels": {"topic": "Finance", "sentiment": "Negative"}},
            ],
            "freeze": ["encoder", "topic", "sentiment"],
        }))
        .await;
    assert_eq!(epochs(&job).len(), 1);
    assert_eq!(job["published"], json!({}));
    for task in ["topic", "sentiment"] {
        assert_eq!(last_epoch(&job)["tasks"][task]["train"]["rows"], 1);
    }
    assert_eq!(answers(&app).await, before);
    assert_eq!(app.get("/heads").await, heads, "no version moves, no example is kept");
}

#[tokio::test]
async fn a_frozen_head_stays_as_it_is_while_others_learn() {
    let app = TestApp::start().await;
    app.trained(json!({"examples": seed_examples()})).await;
    let before = app.classify(json!({"inputs": TEXTS})).await;
    for freeze in [json!(["encoder", "topic"]), json!("encoder, topic")] {
        let job = app
            .trained(json!({
                "examples": [
                    {"text": "good", "labels": {"topic": "Finance", "sentiment": "Positive"}},
                    {"text": "bad", "labels": {"topic": "Finance", "sentiment": "Negative"}},
                ],
                "freeze": freeze,
            }))
            .await;
        assert_eq!(job["published"].as_object().unwrap().keys().collect::<Vec<_>>(), ["sentiment"]);
        let scored = &last_epoch(&job)["tasks"];
        assert_eq!(scored["topic"]["train"]["rows"], 2, "a frozen task is evaluated: {scored}");
    }
    let after = app.classify(json!({"inputs": TEXTS})).await;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before["topic"], after["topic"]);
        assert_eq!(after["sentiment"]["version"], 3);
        assert_ne!(before["sentiment"]["scores"], after["sentiment"]["scores"]);
    }
    assert_eq!(app.get("/heads/topic").await.1["examples"], 5);
    assert_eq!(app.get("/heads/sentiment").await.1["examples"], 7);
}

#[tokio::test]
async fn an_example_that_is_repeated_counts_once() {
    let app = TestApp::start().await;
    let examples = [seed_examples(), seed_examples()];
    let examples: Vec<Value> =
        examples.iter().flat_map(|examples| examples.as_array().unwrap().clone()).collect();
    let job = app.trained(json!({"examples": examples})).await;
    assert_eq!(last_epoch(&job)["tasks"]["topic"]["train"]["rows"], 5);
    assert_eq!(app.get("/heads/topic").await.1["examples"], 5);
}

#[tokio::test]
async fn a_fit_that_diverges_fails_with_the_reason_and_changes_nothing() {
    let app = TestApp::start().await;
    app.trained(json!({"examples": seed_examples()})).await;
    let (before, heads) = (answers(&app).await, app.get("/heads").await);
    let job = app
        .train(json!({"examples": seed_examples(), "solver": "adam", "learning_rate": 1e30}))
        .await;
    assert_eq!(job["state"], "failed", "{job}");
    let reason = job["reason"].as_str().unwrap();
    assert!(reason.contains("lower learning rate"), "{reason}");
    assert_eq!(job["published"], json!({}));
    assert_eq!(answers(&app).await, before);
    assert_eq!(app.get("/heads").await, heads);
    app.trained(json!({"examples": seed_examples()})).await;
}

#[tokio::test]
async fn extending_refits_on_all_kept_examples_and_replacing_drops_them() {
    let app = TestApp::start().await;
    app.trained(json!({"examples": seed_examples()})).await;
    let more = json!([
        {"text": "a very good idea", "labels": {"sentiment": "Positive"}},
        {"text": "a very bad idea", "labels": {"sentiment": "Negative"}},
    ]);
    let job = app.trained(json!({"examples": more, "mode": "extend"})).await;
    assert_eq!(last_epoch(&job)["tasks"]["sentiment"]["train"]["rows"], 7);
    assert_eq!(job["published"], json!({"sentiment": 2}), "the other task had nothing new");
    assert_eq!(app.get("/heads/topic").await.1["examples"], 5);

    let job = app.trained(json!({"examples": more, "mode": "replace"})).await;
    assert_eq!(last_epoch(&job)["tasks"]["sentiment"]["train"]["rows"], 2);
    assert_eq!(app.get("/heads/sentiment").await.1["examples"], 2);
    assert_eq!(app.get("/heads/topic").await.1["examples"], 5, "only what was trained is dropped");
}

#[tokio::test]
async fn a_failed_job_leaves_no_examples_behind() {
    let app = TestApp::start().await;
    let job = app
        .train(json!({"examples": seed_examples(), "solver": "adam", "learning_rate": 1e30}))
        .await;
    assert_eq!(job["state"], "failed");
    assert_eq!(app.get("/heads/topic").await.1["examples"], 0);
}

#[tokio::test]
async fn a_task_is_not_removed_while_a_job_for_it_waits() {
    let app = TestApp::start().await;
    app.put("/heads/colour", json!({"labels": ["red", "blue"]})).await;
    let running = app.train_for_ever().await;
    let waiting = app
        .submit(json!({"examples": [
            {"text": "a", "labels": {"colour": "red"}}, {"text": "b", "labels": {"colour": "blue"}},
        ]}))
        .await;
    let refused = app.delete("/heads/colour").await;
    assert_problem(&refused, 409, "task_in_training", None, &["colour", &waiting]);
    app.delete(&format!("/train/{running}")).await;
    assert_eq!(app.ended(&waiting).await["state"], "succeeded");
    assert_eq!(app.delete("/heads/colour").await.0, 204);
}

pub fn epochs(job: &Value) -> &Vec<Value> {
    job["epochs"].as_array().unwrap()
}

fn last_epoch(job: &Value) -> &Value {
    epochs(job).last().unwrap()
}

const TEXTS: [&str; 3] = ["the stock market", "a great film", "a very dull idea"];

/// Every probability that the live heads give for a few texts.
async fn answers(app: &TestApp) -> Vec<f64> {
    let results = app.classify(json!({"inputs": TEXTS})).await;
    let answers = results.iter().flat_map(|result| result.as_object().unwrap().values());
    let mut probabilities = Vec::new();
    for answer in answers {
        let mut scores: Vec<&Value> = answer["scores"].as_array().unwrap().iter().collect();
        scores.sort_by_key(|score| score["label"].as_str().unwrap());
        probabilities.extend(scores.iter().map(|score| score["score"].as_f64().unwrap()));
    }
    probabilities
}

async fn assert_answers_right(app: &TestApp, examples: &Value) {
    for example in examples.as_array().unwrap() {
        let answer = app.classify(json!({"inputs": example["text"]})).await.remove(0);
        for (task, label) in example["labels"].as_object().unwrap() {
            assert_eq!(&answer[task]["label"], label, "{example}");
        }
    }
}
