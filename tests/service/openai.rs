//! OpenAI's routes: embeddings in its shape, models, errors in its shape.

use std::num::NonZeroUsize;

use base64::prelude::{BASE64_STANDARD, Engine};
use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::app::{TestApp, whole_answer};

const TEXTS: [&str; 2] = ["a great film", "the stock market was good"];

async fn embeddings(app: &TestApp, body: Value) -> Value {
    let (status, answer) = app.post("/v1/embeddings", body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

#[tokio::test]
async fn texts_get_the_embeddings_of_embed_in_openais_shape() {
    let app = TestApp::start().await;
    let expected = app.bits(&TEXTS).await;
    let answer = embeddings(&app, json!({"input": TEXTS, "model": "model", "user": "me"})).await;
    assert_eq!(answer["object"], "list");
    assert_eq!(answer["model"], "model");
    // Three and five words of one token each, and two special tokens around them.
    assert_eq!(answer["usage"], json!({"prompt_tokens": 12, "total_tokens": 12}));
    assert_eq!(answer["data"].as_array().unwrap().len(), 2);
    for (index, expected) in expected.iter().enumerate() {
        let data = &answer["data"][index];
        assert_eq!((&data["object"], &data["index"]), (&json!("embedding"), &json!(index)));
        let found: Vec<f32> = serde_json::from_value(data["embedding"].clone()).unwrap();
        assert_eq!(found, *expected);
    }
    let single = embeddings(&app, json!({"input": TEXTS[0]})).await;
    assert_eq!(single["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn base64_holds_the_same_numbers_as_little_endian_f32() {
    let app = TestApp::start().await;
    let expected = app.bits(&TEXTS).await;
    let answer = embeddings(&app, json!({"input": TEXTS, "encoding_format": "base64"})).await;
    for (index, expected) in expected.iter().enumerate() {
        let text = answer["data"][index]["embedding"].as_str().unwrap();
        let bytes = BASE64_STANDARD.decode(text).unwrap();
        let found = bytes.chunks_exact(4).map(|it| f32::from_le_bytes(it.try_into().unwrap()));
        assert_eq!(found.collect::<Vec<f32>>(), *expected);
    }
}

#[tokio::test]
async fn fewer_dimensions_are_those_of_embed() {
    let app = TestApp::start().await;
    let answer = embeddings(&app, json!({"input": TEXTS[0], "dimensions": 8})).await;
    let (_, expected) = app.post("/embed", json!({"inputs": TEXTS[0], "dimensions": 8})).await;
    assert_eq!(answer["data"][0]["embedding"], expected[0]);
}

#[tokio::test]
async fn token_ids_as_tokenize_gives_them_get_the_embeddings_of_their_texts() {
    let app = TestApp::start().await;
    let (_, tokens) = app.post("/tokenize", json!({"inputs": TEXTS})).await;
    let ids = |text: usize| -> Vec<u64> {
        tokens[text].as_array().unwrap().iter().map(|it| it["id"].as_u64().unwrap()).collect()
    };
    let expected = embeddings(&app, json!({"input": TEXTS})).await;
    assert_eq!(embeddings(&app, json!({"input": [ids(0), ids(1)]})).await, expected);
    let one = embeddings(&app, json!({"input": ids(1)})).await;
    let expected = embeddings(&app, json!({"input": TEXTS[1]})).await;
    assert_eq!(one, expected);
}

#[tokio::test]
async fn models_are_listed_and_shown() {
    let app = TestApp::start().await;
    let (status, list) = app.get("/v1/models").await;
    assert_eq!((status, &list["object"]), (StatusCode::OK, &json!("list")));
    let (status, model) = app.get("/v1/models/model").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(list["data"], json!([model]));
    assert_eq!((&model["id"], &model["object"]), (&json!("model"), &json!("model")));
    assert!(model["created"].as_i64().unwrap() > 1_700_000_000 && model["owned_by"].is_string());
}

#[tokio::test]
async fn errors_have_openais_shape_and_say_where() {
    let app = TestApp::start().await;
    for (body, status, code, param, told) in [
        (
            json!({"input": "a", "model": "other"}),
            404,
            "model_not_found",
            json!("model"),
            "\"other\"",
        ),
        (json!({"input": []}), 422, "no_inputs", json!("input"), "no inputs"),
        (json!({"input": ["a", " "]}), 422, "empty_input", json!("input[1]"), "visible"),
        (json!({"input": ["a", 5]}), 422, "invalid_request", json!("input[1]"), "a string"),
        (json!({"input": 5}), 422, "invalid_request", json!("input"), "list of token ids"),
        (json!({"input": [[1], [99999]]}), 422, "invalid_token_ids", json!("input[1]"), "99999"),
        (json!({"input": [[1], []]}), 422, "invalid_token_ids", json!("input[1]"), "0 tokens"),
        (
            json!({"input": "a", "dimensions": 33}),
            422,
            "invalid_dimensions",
            json!("dimensions"),
            "32",
        ),
        (
            json!({"input": "a", "encoding_format": "hex"}),
            422,
            "invalid_request",
            json!("encoding_format"),
            "`float` or `base64`",
        ),
        (json!({"inputs": "a"}), 422, "invalid_request", json!("inputs"), "unknown field"),
    ] {
        let request = app.request(Method::POST, "/v1/embeddings").json(&body);
        let (found, headers, answer) = whole_answer(request).await;
        assert_eq!(found.as_u16(), status, "{answer}");
        assert_eq!(headers["content-type"], "application/json");
        let error = &answer["error"];
        assert_eq!((&error["code"], &error["param"]), (&json!(code), &param), "{answer}");
        assert_eq!(error["type"], "invalid_request_error");
        assert!(error["message"].as_str().unwrap().contains(told), "{answer}");
        assert_eq!(answer.as_object().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn all_that_lies_below_v1_has_openais_errors() {
    let app = TestApp::start().await;
    for (method, path, status, code) in [
        (Method::GET, "/v1/models/other", 404, "model_not_found"),
        (Method::POST, "/v1/chat/completions", 404, "unknown_route"),
        (Method::GET, "/v1", 404, "unknown_route"),
        (Method::GET, "/v1/embeddings", 405, "method_not_allowed"),
    ] {
        let (found, headers, answer) = whole_answer(app.request(method, path)).await;
        assert_eq!((found.as_u16(), &answer["error"]["code"]), (status, &json!(code)), "{answer}");
        assert!(headers.contains_key("x-request-id"));
    }
    let malformed = app.request(Method::POST, "/v1/embeddings").body("{");
    let (status, _, answer) = whole_answer(malformed).await;
    assert_eq!((status.as_u16(), &answer["error"]["code"]), (400, &json!("invalid_json")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_told_as_a_rate_limit_with_a_time_to_come_again() {
    let app = TestApp::with(|config| {
        let few = NonZeroUsize::new(200).unwrap();
        config.batching.queue_tokens = few;
        config.limits.tokens_per_request = few;
    })
    .await;
    let body = json!({"input": vec!["the film was very good and not dull"; 10]});
    let ask = || whole_answer(app.request(Method::POST, "/v1/embeddings").json(&body));
    // A hundred requests at a time for a queue that holds one or two.
    let answers = join_all((0..100).map(|_| ask())).await;
    let refused: Vec<_> = answers.iter().filter(|(status, ..)| *status != StatusCode::OK).collect();
    assert!(!refused.is_empty());
    for (status, headers, answer) in refused {
        assert_eq!(status.as_u16(), 429, "{answer}");
        assert_eq!(headers["retry-after"], "1");
        assert_eq!(answer["error"]["code"], "rate_limit_exceeded");
        assert_eq!(answer["error"]["type"], "rate_limit_error");
    }
}
