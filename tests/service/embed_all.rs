//! `/embed_all`: a vector for each token.

use std::fs;
use std::num::NonZeroUsize;

use futures::future::join_all;
use polyhead::config::{ModelConfig, Precision};
use polyhead::encoder::folder::Pooling;
use polyhead::onnx::proto::ModelProto;
use polyhead::onnx::{ExportOptions, ExportPrecision, export_bert};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::app::{TestApp, answer, assert_problem, copy_of, fixture, in_repository, minilm, tiny};
use crate::embed::{assert_close, length};

/// The vectors of the tokens of each text.
type States = Vec<Vec<Vec<f64>>>;

const TEXTS: [&str; 4] = [
    "fun",
    "the film was very good and not dull",
    "stock market prices are old",
    "a new idea of the film and the price of it",
];

/// Single precision sums in another order, or was rounded on the way.
const TOLERANCE: f64 = 1e-6;

async fn states(app: &TestApp, body: Value) -> States {
    let (status, states) = app.post("/embed_all", body).await;
    assert_eq!(status, StatusCode::OK, "{states}");
    serde_json::from_value(states).unwrap()
}

/// Asserts that each token of each text has the same state, but for sums in another order: states are
/// some times as long as embeddings.
#[track_caller]
fn assert_same(found: &[Vec<Vec<f64>>], expected: &[Vec<Vec<f64>>]) {
    let lengths = |states: &[Vec<Vec<f64>>]| states.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(lengths(found), lengths(expected));
    for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
        assert_close(found, expected, 10.0 * TOLERANCE);
    }
}

/// What the model makes of the states of a text: their mean, or the first one, scaled to length 1.
fn pooled(states: &[Vec<f64>], pooling: &str) -> Vec<f64> {
    let tokens = if pooling == "cls" { 1 } else { states.len() };
    let sum = |column: usize| states[..tokens].iter().map(|state| state[column]).sum::<f64>();
    let sums: Vec<f64> = (0..states[0].len()).map(sum).collect();
    sums.iter().map(|sum| sum / length(&sums)).collect()
}

#[tokio::test]
async fn the_states_of_a_text_pool_to_its_embedding_in_every_form_of_a_model() {
    let in_precision = |precision, model| ModelConfig { precision, ..model };
    let bge = ModelConfig::at(in_repository("models/bge-small-en-v1.5"));
    let app = TestApp::with(|config| {
        for (name, model) in [
            // The fused encoder, where the CPU has the instructions.
            ("minilm", minilm()),
            ("fp32", in_precision(Precision::Fp32, tiny())),
            ("int8", in_precision(Precision::Int8, tiny())),
            ("cls", fixture("cls")),
            ("stock", in_precision(Precision::Fp32, fixture("onnx-token-states"))),
            ("stock-with-pooler", in_precision(Precision::Fp32, fixture("onnx-pooler"))),
            // Its sentences run one by one.
            ("stock-int8", ModelConfig { pooling: Some(Pooling::Cls), ..bge }),
        ] {
            config.models.insert(name.to_owned(), model);
        }
    })
    .await;
    let info = app.get("/info").await.1;
    for model in info["models"].as_array().unwrap() {
        let (name, pooling) = (&model["name"], model["pooling"].as_str().unwrap());
        assert_eq!(model["token_states"]["dimensions"], model["dimensions"], "{model}");
        let states = states(&app, json!({"inputs": TEXTS, "model": name})).await;
        let embed = json!({"inputs": TEXTS, "model": name, "normalize": true});
        let embeddings = app.embed(embed).await;
        assert_eq!(states.len(), TEXTS.len());
        for (states, embedding) in states.iter().zip(&embeddings) {
            assert_close(&pooled(states, pooling), embedding, TOLERANCE);
            assert!(states.iter().any(|state| (length(state) - 1.0).abs() > 0.1), "{name}");
        }
    }
}

#[tokio::test]
async fn there_is_a_vector_for_each_token_that_the_model_reads() {
    let app = TestApp::start().await;
    let (_, tokens) = app.post("/tokenize", json!({"inputs": TEXTS})).await;
    let counted: Vec<usize> =
        tokens.as_array().unwrap().iter().map(|tokens| tokens.as_array().unwrap().len()).collect();
    let all = states(&app, json!({"inputs": TEXTS})).await;
    assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), counted);
    assert!(all.iter().flatten().all(|state| state.len() == 32));
    assert_eq!(states(&app, json!({"inputs": TEXTS[0]})).await.len(), 1);

    // Of thirty words, the model takes eighteen.
    let words: Vec<&str> = TEXTS.iter().flat_map(|text| text.split(' ')).cycle().take(30).collect();
    let long = words.join(" ");
    for (direction, kept) in [("Right", &words[..18]), ("Left", &words[12..])] {
        let body = json!({"inputs": long, "truncation_direction": direction});
        let cut = states(&app, body).await;
        assert_eq!(cut[0].len(), 20);
        assert_same(&cut, &states(&app, json!({"inputs": kept.join(" ")})).await);
    }
    let refused = app.post("/embed_all", json!({"inputs": ["a", long], "truncate": false})).await;
    assert_problem(&refused, 422, "input_too_long", Some("inputs[1]"), &["20"]);
}

#[tokio::test]
async fn a_tokens_state_depends_on_its_own_text_only() {
    let app = TestApp::start().await;
    let together = states(&app, json!({"inputs": TEXTS})).await;
    for (text, together) in TEXTS.iter().zip(&together) {
        assert_same(&states(&app, json!({"inputs": text})).await, std::slice::from_ref(together));
    }
}

#[tokio::test]
async fn embeddings_and_states_that_are_asked_for_at_once_are_not_mixed_up() {
    let app = TestApp::with(|config| {
        config.models.insert("minilm".to_owned(), minilm());
    })
    .await;
    let both = async |text: String, model: &str| {
        let body = json!({"inputs": [text, "fun"], "model": model});
        (states(&app, body.clone()).await, app.embed(body).await)
    };
    let texts = |index: usize| TEXTS[..=index % TEXTS.len()].join(" ");
    for model in ["model", "minilm"] {
        let mut expected = Vec::new();
        for index in 0..TEXTS.len() {
            expected.push(both(texts(index), model).await);
        }
        let at_once = join_all((0..40).map(|index| both(texts(index), model))).await;
        for (index, (states, embeddings)) in at_once.iter().enumerate() {
            let (expected_states, expected_embeddings) = &expected[index % TEXTS.len()];
            assert_same(states, expected_states);
            for (found, expected) in embeddings.iter().zip(expected_embeddings) {
                assert_close(found, expected, TOLERANCE);
            }
        }
    }
}

#[tokio::test]
async fn a_graph_that_only_gives_embeddings_is_told_apart_and_refused() {
    let model = pooled_only();
    let model = ModelConfig { precision: Precision::Fp32, ..ModelConfig::at(model.path()) };
    let app = TestApp::on(tempdir().unwrap(), model, |_| {}).await;
    assert!(app.get("/info").await.1["models"][0]["token_states"].is_null());
    let refused = app.post("/embed_all", json!({"inputs": "a great film"})).await;
    let mentions = ["sentence_embedding", "last_hidden_state", "token_embeddings"];
    assert_problem(&refused, 422, "no_token_states", Some("model"), &mentions);
    assert_eq!(app.embed(json!({"inputs": "a great film"})).await.len(), 1);
}

#[tokio::test]
async fn a_request_may_have_an_eighth_of_the_tokens_of_others() {
    let app = TestApp::with(|config| {
        config.limits.tokens_per_request = NonZeroUsize::new(80).unwrap();
    })
    .await;
    // Three tokens each, with [CLS] and [SEP].
    let refused = app.post("/embed_all", json!({"inputs": ["fun", "good", "bad", "a"]})).await;
    assert_problem(&refused, 422, "too_many_tokens", Some("inputs"), &["12 tokens", "at most 10"]);
    assert_eq!(states(&app, json!({"inputs": ["fun", "good", "bad"]})).await.len(), 3);
    assert_eq!(app.embed(json!({"inputs": ["fun", "good", "bad", "a"]})).await.len(), 4);
}

#[tokio::test]
async fn a_large_answer_is_whole() {
    let app = TestApp::start().await;
    let inputs: Vec<&str> = TEXTS.into_iter().cycle().take(400).collect();
    let all = states(&app, json!({"inputs": inputs})).await;
    assert_eq!(all.len(), inputs.len());
    for texts in all.chunks(TEXTS.len()) {
        assert_same(texts, &all[..TEXTS.len()]);
    }
}

#[tokio::test]
async fn states_come_as_json_whatever_else_is_accepted_and_never_normalised() {
    let app = TestApp::start().await;
    let expected = app.post("/embed_all", json!({"inputs": TEXTS[1]})).await;
    let body = json!({"inputs": TEXTS[1], "normalize": true, "truncate": true});
    let request = app.request(Method::POST, "/embed_all").json(&body);
    let found = answer(request.header("accept", "application/octet-stream")).await;
    assert_eq!(found, expected);
    let refused = app.post("/embed_all", json!({"inputs": "a", "dimensions": 8})).await;
    assert_problem(&refused, 422, "invalid_request", Some("dimensions"), &["prompt_name"]);
    let refused = app.post("/embed_all", json!({"inputs": ["a", " "]})).await;
    assert_problem(&refused, 422, "empty_input", Some("inputs[1]"), &[]);
}

#[tokio::test]
async fn a_prompt_has_states_of_its_own() {
    let model = copy_of(&tiny().path);
    let prompts = json!({"prompts": {"query": "the film: "}});
    fs::write(model.path().join("config_sentence_transformers.json"), prompts.to_string()).unwrap();
    let app = TestApp::on(tempdir().unwrap(), ModelConfig::at(model.path()), |_| {}).await;
    let prompted = states(&app, json!({"inputs": "good", "prompt_name": "query"})).await;
    assert_eq!(prompted, states(&app, json!({"inputs": "the film: good"})).await);
}

/// A folder with an ONNX file that has no output but that of embeddings.
fn pooled_only() -> TempDir {
    let folder = copy_of(&tiny().path);
    let at = |file: &str| folder.path().join(file);
    let (config, weights) = (fs::read(at("config.json")), fs::read(at("model.safetensors")));
    let options = ExportOptions {
        precision: ExportPrecision::Fp32,
        pooling: Pooling::Mean,
        normalize: false,
    };
    let graph = export_bert(&config.unwrap(), &weights.unwrap(), options).unwrap();
    let mut model = ModelProto::from_bytes(graph.as_slice()).unwrap();
    model.graph.as_mut().unwrap().output.retain(|output| output.name == "sentence_embedding");
    fs::create_dir(at("onnx")).unwrap();
    fs::write(at("onnx/model.onnx"), model.to_bytes().unwrap()).unwrap();
    fs::remove_file(at("model.safetensors")).unwrap();
    folder
}
