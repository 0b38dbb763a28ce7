//! The routes of text-embeddings-inference beside `/embed`, and what Hugging Face's clients send to `/`.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::app::{TestApp, assert_problem, seed_examples, task};
use crate::embed::assert_close;

/// With both tasks of the seed trained.
async fn trained() -> TestApp {
    let app = TestApp::start().await;
    app.trained(json!({"examples": seed_examples()})).await;
    app
}

/// The scores that `/classify` has for a task, in its order.
async fn classified(app: &TestApp, text: &str, task: &str) -> Value {
    let results = app.classify(json!({"inputs": text, "tasks": [task]})).await;
    let scores = results[0][task]["scores"].as_array().unwrap();
    // In TEI's order of the keys, which does not matter, and with nothing else.
    scores.iter().map(|it| json!({"score": it["score"], "label": it["label"]})).collect()
}

#[tokio::test]
async fn info_has_what_teis_clients_want_of_an_embedding_model() {
    let app = TestApp::start().await;
    let (status, info) = app.get("/info").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(info["model_id"], "model");
    assert_eq!(info["model_type"], json!({"embedding": {"pooling": "mean"}}));
    assert_eq!(info["model_sha"], info["models"][0]["fingerprint"]);
    assert!(info["model_dtype"] == "float32" || info["model_dtype"] == "bfloat16", "{info}");
    assert_eq!(info["max_input_length"], 20);
    assert_eq!(info["max_client_batch_size"], 2048);
    for number in ["max_concurrent_requests", "max_batch_tokens", "tokenization_workers"] {
        assert!(info[number].as_u64().unwrap() > 0, "{number}");
    }
    for unknown in ["sha", "docker_label", "max_batch_requests"] {
        assert!(info.as_object().unwrap()[unknown].is_null());
    }
    assert!(info["version"].is_string());
}

#[tokio::test]
async fn a_task_is_a_classifier_below_its_own_address() {
    let app = TestApp::start().await;
    let (status, info) = app.get("/heads/sentiment/info").await;
    assert_eq!(status, StatusCode::OK);
    let classifier = &info["model_type"]["classifier"];
    assert_eq!(classifier["id2label"], json!({"0": "Negative", "1": "Positive"}));
    assert_eq!(classifier["label2id"], json!({"Negative": 0, "Positive": 1}));
    let missing = app.get("/heads/nothing/info").await;
    assert_problem(&missing, 404, "unknown_task", Some("task"), &["nothing", "sentiment"]);
}

#[tokio::test]
async fn a_prediction_has_the_scores_of_classify() {
    let app = trained().await;
    let text = "the film was good";
    let expected = classified(&app, text, "topic").await;
    let (status, single) = app.post("/predict", json!({"inputs": text, "task": "topic"})).await;
    assert_eq!((status, &single), (StatusCode::OK, &expected));
    let body = json!({"inputs": [[text], ["dull"]], "task": "topic"});
    let (_, several) = app.post("/predict", body).await;
    assert_eq!(several[0], expected);
    assert_eq!(several[1], classified(&app, "dull", "topic").await);
    // As Hugging Face's clients expect it: a list for each input, even a single one.
    let (_, pipeline) = app.post("/heads/topic/predict", json!({"inputs": text})).await;
    assert_eq!(pipeline, json!([expected]));
    let body = json!({"inputs": text, "parameters": {"top_k": 2}});
    let (_, pipeline) = app.post("/heads/topic/predict", body).await;
    assert_eq!(pipeline, json!([[expected[0], expected[1]]]));
}

#[tokio::test]
async fn raw_scores_are_logits() {
    let app = trained().await;
    let scores = async |body: Value| {
        let (status, scores) = app.post("/heads/topic/predict", body).await;
        assert_eq!(status, StatusCode::OK, "{scores}");
        scores[0]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["score"].as_f64().unwrap())
            .collect::<Vec<f64>>()
    };
    let probabilities = scores(json!({"inputs": "the film was good"})).await;
    let logits = scores(json!({"inputs": "the film was good", "raw_scores": true})).await;
    let powers: Vec<f64> = logits.iter().map(|logit| logit.exp()).collect();
    let sum: f64 = powers.iter().sum();
    let softmax: Vec<f64> = powers.iter().map(|power| power / sum).collect();
    // Of logits that were rounded to single precision on their way.
    assert_close(&softmax, &probabilities, 1e-6);
    let sigmoid =
        json!({"inputs": "the film was good", "parameters": {"function_to_apply": "sigmoid"}});
    let expected: Vec<f64> = logits.iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect();
    assert_close(&scores(sigmoid).await, &expected, 1e-6);
}

#[tokio::test]
async fn the_only_trained_task_need_not_be_named() {
    let app = TestApp::with(|config| {
        config.tasks.insert("other".to_owned(), task(&["a", "b"]));
    })
    .await;
    let untrained = app.post("/predict", json!({"inputs": "a"})).await;
    assert_problem(&untrained, 409, "head_untrained", None, &["other", "topic", "/train"]);
    let example = json!([{"text": "good", "label": "a"}, {"text": "bad", "label": "b"}]);
    app.trained(json!({"examples": example, "task": "other"})).await;
    let (_, scores) = app.post("/predict", json!({"inputs": "good"})).await;
    assert_eq!(scores, classified(&app, "good", "other").await);
    app.trained(json!({"examples": seed_examples()})).await;
    let several = app.post("/predict", json!({"inputs": "a"})).await;
    assert_problem(
        &several,
        422,
        "ambiguous_task",
        Some("task"),
        &["other", "/heads/other/predict"],
    );
}

#[tokio::test]
async fn predictions_that_cannot_be_made_are_refused_with_their_place() {
    let app = trained().await;
    for (body, code, position) in [
        (json!({"inputs": ["a", "b"]}), "pairs_not_supported", "inputs[0]"),
        (json!({"inputs": [["a"], ["a", "b"]]}), "pairs_not_supported", "inputs[1]"),
        (json!({"inputs": [["a"], [" "]]}), "empty_input", "inputs[1]"),
        (json!({"inputs": ""}), "empty_input", "inputs"),
        (json!({"inputs": []}), "no_inputs", "inputs"),
        (json!({"inputs": "a", "task": "sentiment"}), "ambiguous_task", "task"),
        (json!({"inputs": "a", "parameters": {"top_k": 0}}), "invalid_top_k", "parameters.top_k"),
        (json!({"inputs": "a", "parameters": {"k": 0}}), "invalid_request", "parameters.k"),
    ] {
        let (status, problem) = app.post("/heads/topic/predict", body).await;
        assert_eq!(status.as_u16(), 422, "{problem}");
        assert_eq!((&problem["code"], &problem["position"]), (&json!(code), &json!(position)));
    }
    for (route, body) in [
        ("/heads/nothing/predict", json!({"inputs": "a"})),
        ("/predict", json!({"inputs": "a", "task": "nothing"})),
    ] {
        let missing = app.post(route, body).await;
        assert_problem(&missing, 404, "unknown_task", Some("task"), &["nothing"]);
    }
}

#[tokio::test]
async fn tokens_have_their_places_in_the_text() {
    let app = TestApp::start().await;
    let (status, tokens) = app.post("/tokenize", json!({"inputs": ["é The  film!", "fun"]})).await;
    assert_eq!(status, StatusCode::OK, "{tokens}");
    let first = tokens[0].as_array().unwrap();
    let (cls, last) = (&first[0], first.last().unwrap());
    assert_eq!((&cls["text"], &cls["special"]), (&json!("[CLS]"), &json!(true)));
    assert!(cls["start"].is_null() && cls["stop"].is_null() && last["text"] == "[SEP]");
    let film = first.iter().find(|token| token["text"] == "film").unwrap();
    assert_eq!(
        (&film["start"], &film["stop"], &film["special"]),
        (&json!(7), &json!(11), &json!(false))
    );
    let the = first.iter().find(|token| token["text"] == "The").unwrap();
    assert_eq!((&the["start"], &the["stop"]), (&json!(2), &json!(5)));

    let body = json!({"inputs": "fun", "add_special_tokens": false});
    let (_, bare) = app.post("/tokenize", body).await;
    assert_eq!(bare, json!([[tokens[1][1]]]));
    let unknown = app.post("/tokenize", json!({"inputs": "a", "prompt_name": "query"})).await;
    assert_problem(
        &unknown,
        422,
        "unknown_prompt",
        Some("prompt_name"),
        &["Available prompts: []"],
    );
}

#[tokio::test]
async fn more_text_than_a_request_may_have_tokens_is_not_tokenised() {
    let app =
        TestApp::with(|config| config.limits.tokens_per_request = 30.try_into().unwrap()).await;
    for text in ["a".repeat(1000), "! ".repeat(40)] {
        let refused = app.post("/tokenize", json!({"inputs": text})).await;
        assert_problem(&refused, 422, "too_many_tokens", Some("inputs"), &["30"]);
    }
    let refused = app.post("/decode", json!({"ids": vec![5; 31]})).await;
    assert_problem(&refused, 422, "too_many_tokens", Some("ids"), &["31", "30"]);
}

#[tokio::test]
async fn ids_are_decoded_to_the_text_that_they_came_from() {
    let app = TestApp::start().await;
    let (_, tokens) = app.post("/tokenize", json!({"inputs": "the film was good"})).await;
    let ids: Vec<Value> = tokens[0].as_array().unwrap().iter().map(|it| it["id"].clone()).collect();
    let (_, one) = app.post("/decode", json!({"ids": ids})).await;
    assert_eq!(one, json!(["the film was good"]));
    let (_, several) = app.post("/decode", json!({"ids": [ids, ids[1..3]]})).await;
    assert_eq!(several, json!(["the film was good", "the film"]));
    let (_, special) = app.post("/decode", json!({"ids": ids, "skip_special_tokens": false})).await;
    assert_eq!(special, json!(["[CLS] the film was good [SEP]"]));

    let unknown = app.post("/decode", json!({"ids": [[1], [99999]]})).await;
    assert_problem(&unknown, 422, "invalid_token_ids", Some("ids[1]"), &["99999"]);
    let text = app.post("/decode", json!({"ids": "a"})).await;
    assert_problem(&text, 422, "invalid_request", Some("ids"), &["token ids"]);
    let none = app.post("/decode", json!({"ids": []})).await;
    assert_problem(&none, 422, "no_inputs", Some("ids"), &[]);
}

#[tokio::test]
async fn similarity_is_the_cosine_of_the_embeddings() {
    let app = TestApp::start().await;
    let (source, others) =
        ("the film was good", ["a great film", "the stock market", "the film was good"]);
    let embeddings = app.embed(json!({"inputs": [source, others[0], others[1], others[2]]})).await;
    let cosine = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let expected: Vec<f64> = (1..4).map(|row| cosine(&embeddings[0], &embeddings[row])).collect();
    let body = json!({
        "inputs": {"source_sentence": source, "sentences": others}, "parameters": {"truncate": true},
    });
    for path in ["/similarity", "/"] {
        let (status, similarity) = app.post(path, body.clone()).await;
        assert_eq!(status, StatusCode::OK, "{similarity}");
        let similarity: Vec<f64> = serde_json::from_value(similarity).unwrap();
        assert_close(&similarity, &expected, 1e-6);
        assert_close(&similarity[2..], &[1.0], 1e-6);
    }
    for (source, sentences, position) in [
        ("", json!(["a"]), "inputs.source_sentence"),
        ("a", json!(["a", ""]), "inputs.sentences[1]"),
        ("a", json!([]), "inputs.sentences"),
    ] {
        let body = json!({"inputs": {"source_sentence": source, "sentences": sentences}});
        let (status, problem) = app.post("/similarity", body).await;
        assert_eq!((status.as_u16(), &problem["position"]), (422, &json!(position)), "{problem}");
    }
}

#[tokio::test]
async fn the_root_is_whichever_pipeline_the_body_is_for() {
    let app = TestApp::with(|config| {
        config.tasks.remove("topic");
    })
    .await;
    app.trained(json!({"task": "sentiment", "examples": [
        {"text": "good", "label": "Positive"}, {"text": "bad", "label": "Negative"},
    ]}))
    .await;
    let (_, embedded) = app.post("/", json!({"inputs": "good"})).await;
    assert_eq!(embedded, app.post("/embed", json!({"inputs": "good"})).await.1);
    let (_, classified) = app.post("/", json!({"inputs": "good", "parameters": {}})).await;
    assert_eq!(classified, json!([self::classified(&app, "good", "sentiment").await]));
    // What is wrong is told by the pipeline that was meant.
    let refused = app.post("/", json!({"inputs": {"source": "a"}})).await;
    assert_problem(&refused, 422, "invalid_request", Some("inputs.source"), &["source_sentence"]);
    let refused = app.post("/", json!({"inputs": 3})).await;
    assert_problem(&refused, 422, "invalid_request", Some("inputs"), &["a string or a list"]);
}

#[tokio::test]
async fn answers_tell_what_they_cost() {
    let app = trained().await;
    for (path, body, characters, tokens) in [
        ("/embed", json!({"inputs": ["fun", "the film was good"]}), "20", "9"),
        ("/heads/topic/predict", json!({"inputs": "fun"}), "3", "3"),
        (
            "/similarity",
            json!({"inputs": {"source_sentence": "fun", "sentences": ["good"]}}),
            "7",
            "6",
        ),
        ("/embed_all", json!({"inputs": ["fun", "the film was good"]}), "20", "9"),
        ("/v1/embeddings", json!({"input": "fun"}), "3", "3"),
        ("/v2/embed", json!({"texts": ["fun"]}), "3", "3"),
    ] {
        let response = app.request(Method::POST, path).json(&body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("x-compute-type"), "cpu");
        assert_eq!(
            (header("x-compute-characters"), header("x-compute-tokens")),
            (characters.to_owned(), tokens.to_owned()),
            "{path}"
        );
        let time = |name: &str| header(name).parse::<u64>().unwrap();
        assert_eq!(time("x-compute-time"), time("x-total-time"));
        for part in ["x-tokenization-time", "x-queue-time", "x-inference-time"] {
            assert!(time(part) <= time("x-total-time"), "{path}: {part}");
        }
    }
}

#[tokio::test]
async fn errors_have_the_types_that_tei_gives_them() {
    let app =
        TestApp::with(|config| config.limits.tokens_per_request = 30.try_into().unwrap()).await;
    let long = "film ".repeat(50);
    for (body, error_type) in [
        (json!({"inputs": []}), "Empty"),
        (json!({"inputs": "a", "dimensions": 0}), "Validation"),
        (json!({"inputs": long, "truncate": false}), "Validation"),
    ] {
        let (_, problem) = app.post("/embed", body).await;
        assert_eq!(problem["error_type"], error_type, "{problem}");
    }
}
