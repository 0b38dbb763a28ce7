//! `/train`: what cannot be learnt from, frozen or asked for.

use serde_json::json;

use crate::app::{TestApp, assert_problem, fixture, seed_examples, task};

#[tokio::test]
async fn what_cannot_be_frozen_is_refused() {
    let app = TestApp::start().await;
    for freeze in [json!([]), json!(["topic"])] {
        let body = json!({"examples": seed_examples(), "freeze": freeze});
        let refused = app.post("/train", body).await;
        let mentions = &["encoder", "not supported yet"];
        assert_problem(&refused, 422, "encoder_not_frozen", Some("freeze"), mentions);
    }
    let body = json!({"examples": seed_examples(), "freeze": ["encoder", "colour"]});
    let refused = app.post("/train", body).await;
    let mentions = &["\"colour\"", "encoder", "sentiment", "topic"];
    assert_problem(&refused, 422, "unknown_task", Some("freeze[1]"), mentions);
}

#[tokio::test]
async fn examples_that_cannot_be_learnt_from_are_refused_with_their_place() {
    let app = TestApp::with(|config| {
        config.models.insert("other".to_owned(), fixture("cls"));
        let mut colour = task(&["red", "green"]);
        colour.model = Some("other".to_owned());
        config.tasks.insert("colour".to_owned(), colour);
    })
    .await;
    let good = json!({"text": "a", "labels": {"topic": "Finance"}});
    for (second, code, position, mentions) in [
        (
            json!({"text": "b", "labels": {"mood": "Good"}}),
            "unknown_task",
            "examples[1].labels.mood",
            ["\"mood\"", "topic"],
        ),
        (
            json!({"text": "b", "labels": {"topic": "Sport"}}),
            "unknown_label",
            "examples[1].labels.topic",
            ["\"Sport\"", "Finance, Entertainment, Technology"],
        ),
        (
            json!({"text": "b", "labels": {"topic": "finance"}}),
            "unknown_label",
            "examples[1].labels.topic",
            ["\"finance\"", "Finance"],
        ),
        (
            json!({"text": "a", "labels": {"topic": "Technology"}}),
            "conflicting_labels",
            "examples[1].labels.topic",
            ["examples[0]", "Technology"],
        ),
        (
            json!({"text": "b", "labels": {"colour": "red"}}),
            "mixed_models",
            "examples[1].labels.colour",
            ["other", "one model"],
        ),
        (
            json!({"text": " ", "labels": {"topic": "Finance"}}),
            "empty_text",
            "examples[1].text",
            ["empty", "visible"],
        ),
        (json!({"text": "b", "labels": {}}), "no_labels", "examples[1].labels", ["label", "task"]),
        (
            json!({"text": 3, "labels": {"topic": "Finance"}}),
            "invalid_request",
            "examples[1].text",
            ["3", "string"],
        ),
        (
            json!({"text": "b", "labels": {"topic": 3}}),
            "invalid_request",
            "examples[1].labels.topic",
            ["3", "string"],
        ),
        (
            json!({"text": "b", "labels": ["Finance"]}),
            "invalid_request",
            "examples[1].labels",
            ["sequence", "map"],
        ),
    ] {
        let refused = app.post("/train", json!({"examples": [good, second]})).await;
        assert_problem(&refused, 422, code, Some(position), &mentions);
    }
    let nul = json!({"text": "b\u{0}", "labels": {"topic": "Technology"}});
    let refused = app.post("/train", json!({"examples": [good, nul]})).await;
    assert_eq!((refused.0.as_u16(), &refused.1["code"]), (422, &json!("nul_character")));
    assert!(refused.1.to_string().contains("examples[1]"), "{}", refused.1);

    let only = app.post("/train", json!({"examples": [good]})).await;
    assert_problem(&only, 422, "single_class", Some("examples"), &["topic", "Finance", "2"]);
    let none = app.post("/train", json!({"examples": []})).await;
    assert_problem(&none, 422, "no_examples", Some("examples"), &["no examples"]);
    let none = app.post("/train", json!({})).await;
    assert_problem(&none, 422, "no_examples", Some("examples"), &["no examples"]);
    assert_eq!(app.get("/train").await.1["jobs"], json!([]), "nothing was accepted");
}

#[tokio::test]
async fn settings_that_are_out_of_range_are_refused_with_what_is_allowed() {
    let app = TestApp::start().await;
    for (solver, setting, value, allowed) in [
        ("adam", "learning_rate", json!(-1.0), "greater than 0"),
        ("adam", "learning_rate", json!(0), "greater than 0"),
        ("adam", "batch_size", json!(0), "at least 1"),
        ("adam", "epochs", json!(0), "at least 1"),
        ("adam", "l2", json!(-1.0), "at least 0"),
        ("lbfgs", "epochs", json!(0), "at least 1"),
        ("lbfgs", "l2", json!(-1), "at least 0"),
        ("lbfgs", "l2", json!(1e300), "at most 1e12"),
        ("lbfgs", "learning_rate", json!(0.1), "adam"),
        ("lbfgs", "batch_size", json!(5), "adam"),
        ("lbfgs", "patience", json!(5), "adam"),
        ("adam", "patience", json!(0), "at least 1"),
        ("adam", "l2", json!("auto"), "a number"),
        ("adam", "validation", json!(1.0), "below 1"),
        ("lbfgs", "validation", json!(-0.1), "at least 0"),
    ] {
        let body = json!({"examples": seed_examples(), "solver": solver, setting: value});
        let refused = app.post("/train", body).await;
        assert_problem(&refused, 422, "invalid_option", Some(setting), &[setting, allowed]);
    }
    for (setting, value, mention) in [
        ("solver", json!("sgd"), "lbfgs"),
        ("mode", json!("append"), "replace"),
        ("epochs", json!(-3), "-3"),
        ("epochs", json!(2.5), "2.5"),
        ("epochs", json!(5_000_000_000_u64), "5000000000"),
        ("learning_rate", json!("fast"), "fast"),
        ("l2", json!("strong"), "auto"),
        ("l2", json!([1]), "auto"),
        ("class_weight", json!("heavy"), "balanced"),
        ("seed", json!(-1), "-1"),
        ("freeze", json!(3), "a list of names"),
    ] {
        let body = json!({"examples": seed_examples(), setting: value});
        let refused = app.post("/train", body).await;
        assert_problem(&refused, 422, "invalid_request", Some(setting), &[mention]);
    }
    assert_eq!(app.get("/train").await.1["jobs"], json!([]), "nothing was accepted");
}

#[tokio::test]
async fn a_calibration_without_anything_to_tell_it_is_refused() {
    let app = TestApp::start().await;
    let body = json!({
        "examples": seed_examples(), "solver": "adam", "validation": 0, "calibrate": true,
    });
    let refused = app.post("/train", body).await;
    let mention = ["held-out", "validation", "patience"];
    assert_problem(&refused, 422, "invalid_option", Some("calibrate"), &mention);
}

#[tokio::test]
async fn a_weight_that_is_none_is_refused_with_its_place() {
    let app = TestApp::start().await;
    for weight in [json!(0), json!(-1.5), json!(1e308)] {
        let example = json!({"text": "b", "labels": {"topic": "Finance"}, "weight": weight});
        let refused = app.post("/train", json!({"examples": [example]})).await;
        let mentions = &["0.000001"];
        assert_problem(&refused, 422, "invalid_weight", Some("examples[0].weight"), mentions);
    }
}
