//! infinity's routes.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::app::{TestApp, whole_answer};

#[tokio::test]
async fn embeddings_are_those_of_openais_route_whatever_infinitys_client_adds() {
    let app = TestApp::start().await;
    let (_, expected) = app.post("/v1/embeddings", json!({"input": ["a great film"]})).await;
    let body = json!({
        "input": ["a great film"], "model": "default/not-specified", "dimensions": 0,
        "modality": "text", "encoding_format": "float", "user": null,
    });
    assert_eq!(app.post("/embeddings", body).await, (StatusCode::OK, expected));
}

#[tokio::test]
async fn models_have_what_infinitys_client_insists_on() {
    let app = TestApp::start().await;
    let (status, models) = app.get("/models").await;
    assert_eq!(status, StatusCode::OK);
    let model = &models["data"][0];
    assert_eq!((&model["id"], &model["owned_by"]), (&json!("model"), &json!("infinity")));
    assert!(model["stats"].is_object() && model["created"].is_i64(), "{model}");
    assert_eq!(model["capabilities"], json!(["embed"]));
}

#[tokio::test]
async fn errors_have_openais_shape() {
    let app = TestApp::start().await;
    let body = json!({"input": "a", "modality": "image"});
    let request = app.request(Method::POST, "/embeddings").json(&body);
    let (status, _, answer) = whole_answer(request).await;
    assert_eq!((status.as_u16(), &answer["error"]["param"]), (422, &json!("modality")));
    assert!(answer["error"]["message"].as_str().unwrap().contains("`text`"), "{answer}");
}
