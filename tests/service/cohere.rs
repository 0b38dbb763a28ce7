//! Cohere's route.

use std::fs;

use polyhead::config::ModelConfig;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::app::{TestApp, copy_of, tiny, whole_answer};

const TEXTS: [&str; 2] = ["a great film", "the stock market was good"];

async fn embed(app: &TestApp, body: Value) -> Value {
    let (status, answer) = app.post("/v2/embed", body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

#[tokio::test]
async fn texts_get_the_embeddings_of_embed_in_each_type_that_is_asked_for() {
    let app = TestApp::start().await;
    let expected = app.bits(&TEXTS).await;
    let body = json!({
        "model": "model", "texts": TEXTS, "input_type": "search_query",
        "embedding_types": ["float", "base64", "binary", "ubinary"],
    });
    let answer = embed(&app, body).await;
    assert_eq!(answer["response_type"], "embeddings_by_type");
    assert_eq!(answer["texts"], json!(TEXTS));
    assert_eq!(answer["meta"]["billed_units"]["input_tokens"], 12);
    assert!(answer["id"].is_string());
    let of = |kind: &str, row: usize| answer["embeddings"][kind][row].clone();
    for (row, expected) in expected.iter().enumerate() {
        assert_eq!(serde_json::from_value::<Vec<f32>>(of("float", row)).unwrap(), *expected);
        let unsigned: Vec<u8> = serde_json::from_value(of("ubinary", row)).unwrap();
        let signed: Vec<i8> = serde_json::from_value(of("binary", row)).unwrap();
        for (place, value) in expected.iter().enumerate() {
            let bit = unsigned[place / 8] >> (7 - place % 8) & 1;
            assert_eq!(bit == 1, *value > 0.0, "element {place}");
        }
        let less: Vec<i16> = unsigned.iter().map(|&byte| i16::from(byte) - 128).collect();
        assert_eq!(signed.into_iter().map(i16::from).collect::<Vec<_>>(), less);
        assert!(of("base64", row).is_string());
    }
    let default = embed(&app, json!({"texts": TEXTS, "model": "model"})).await;
    assert_eq!(default["embeddings"].as_object().unwrap().len(), 1);
    assert_eq!(default["embeddings"]["float"], answer["embeddings"]["float"]);
}

#[tokio::test]
async fn a_models_own_prompt_for_what_the_embeddings_are_for_is_put_before_the_texts() {
    let model = copy_of(&tiny().path);
    let prompts = json!({"prompts": {"query": "the film: ", "passage": "the market: "}});
    fs::write(model.path().join("config_sentence_transformers.json"), prompts.to_string()).unwrap();
    let app = TestApp::on(tempdir().unwrap(), ModelConfig::at(model.path()), |_| {}).await;
    for (input_type, text) in [
        ("search_query", "the film: good"),
        ("search_document", "the market: good"),
        ("clustering", "good"),
    ] {
        let answer = embed(&app, json!({"texts": ["good"], "input_type": input_type})).await;
        let expected = app.post("/embed", json!({"inputs": text})).await.1;
        assert_eq!(answer["embeddings"]["float"], expected, "{input_type}");
    }
}

#[tokio::test]
async fn errors_are_a_message_that_says_where() {
    let app = TestApp::start().await;
    for (body, status, told) in [
        (json!({"texts": ["a", ""]}), 422, "texts[1]: an input is empty"),
        (json!({"texts": []}), 422, "texts: there are no inputs"),
        (json!({"texts": ["a"], "model": "other"}), 404, "model: there is no model \"other\""),
        (
            json!({"texts": ["a"], "output_dimension": 99}),
            422,
            "output_dimension: dimensions must be",
        ),
        (json!({"texts": ["a"], "embedding_types": ["int8"]}), 422, "embedding_types"),
        (json!({"texts": ["a"], "truncate": "MIDDLE"}), 422, "truncate: unknown variant"),
    ] {
        let request = app.request(Method::POST, "/v2/embed").json(&body);
        let (found, _, answer) = whole_answer(request).await;
        assert_eq!(found.as_u16(), status, "{answer}");
        assert!(answer["message"].as_str().unwrap().contains(told), "{answer}");
        assert_eq!(answer.as_object().unwrap().len(), 1);
    }
}
