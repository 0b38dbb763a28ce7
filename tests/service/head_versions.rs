//! `/classify` says which head versions answered, and waits for those that a request asks for.

use futures::future::join;
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{TestApp, answer, assert_problem, seed_examples};

const HEADER: &str = "x-head-version";

/// A request, with the header of the answer that tells who answered.
async fn answered_by(app: &TestApp, body: Value) -> Option<String> {
    let response = app.request(Method::POST, "/classify").json(&body).send().await.unwrap();
    assert!(response.status().is_success(), "{}", response.text().await.unwrap());
    response.headers().get(HEADER).map(|value| value.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn an_answer_names_the_versions_that_gave_it() {
    let app = TestApp::start().await;
    app.trained(json!({"examples": seed_examples()})).await;
    app.trained(json!({"examples": [
        {"text": "a new phone", "labels": {"topic": "Technology"}},
        {"text": "a falling share", "labels": {"topic": "Finance"}},
    ]}))
    .await;
    let by = answered_by(&app, json!({"inputs": "a"})).await;
    assert_eq!(by.as_deref(), Some("sentiment=1, topic=2"));
    let by = answered_by(&app, json!({"inputs": "a", "tasks": ["topic"]})).await;
    assert_eq!(by.as_deref(), Some("topic=2"));
    // Labels that come with a request belong to no head.
    assert_eq!(answered_by(&app, json!({"inputs": "a", "labels": ["x", "y"]})).await, None);
}

#[tokio::test]
async fn a_request_waits_for_the_version_that_it_needs() {
    let app = TestApp::start().await;
    for least in [json!(1), json!({"topic": 1})] {
        let waiting = json!({"inputs": "a", "tasks": ["topic"], "min_head_version": least});
        let (by, _) =
            join(answered_by(&app, waiting), app.trained(json!({"examples": seed_examples()})))
                .await;
        let version = by.unwrap().strip_prefix("topic=").unwrap().parse::<i64>().unwrap();
        assert!(version >= 1);
    }
}

#[tokio::test]
async fn a_version_that_does_not_go_live_before_the_deadline_answers_409() {
    let app = TestApp::start().await;
    app.trained(json!({"examples": seed_examples()})).await;
    let body = json!({"inputs": "a", "min_head_version": {"topic": 1, "sentiment": 2}});
    let request = app.request(Method::POST, "/classify").json(&body);
    let refused = answer(request.header("x-request-timeout-ms", 50)).await;
    let mentions = ["sentiment", "version 1", "version 2"];
    assert_problem(&refused, 409, "head_version_not_live", Some("min_head_version"), &mentions);
    let body = json!({"inputs": "a", "min_head_version": {"tpoic": 1}});
    let request = app.request(Method::POST, "/classify").json(&body);
    let refused = answer(request.header("x-request-timeout-ms", 50)).await;
    let field = Some("min_head_version");
    assert_problem(&refused, 409, "head_version_not_live", field, &["tpoic", "no task"]);
}

#[tokio::test]
async fn a_version_must_belong_to_a_task_of_the_request() {
    let app = TestApp::start().await;
    let field = "min_head_version";
    for body in [
        json!({"inputs": "a", "min_head_version": 1}),
        json!({"inputs": "a", "min_head_version": 1, "tasks": ["topic", "sentiment"]}),
    ] {
        let refused = app.post("/classify", body).await;
        assert_problem(&refused, 422, "ambiguous_head_version", Some(field), &["one task"]);
    }
    let body = json!({"inputs": "a", "min_head_version": {"sentiment": 1}, "tasks": ["topic"]});
    let refused = app.post("/classify", body).await;
    let position = Some("min_head_version.sentiment");
    assert_problem(&refused, 422, "task_not_asked", position, &["sentiment", "topic"]);
    let body = json!({"inputs": "a", "min_head_version": 1, "labels": ["x", "y"]});
    let refused = app.post("/classify", body).await;
    assert_problem(&refused, 422, "labels_with_head_version", Some(field), &["labels"]);
}
