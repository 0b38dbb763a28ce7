//! Model folders as they are found in the wild, served.

use std::fs;

use polyhead::config::ModelConfig;
use polyhead::encoder::folder::Pooling;
use polyhead::onnx::{ExportOptions, ExportPrecision, export_bert};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::app::{TestApp, assert_problem, copy_of, fixture, in_repository, refusal, tiny};
use crate::embed::{assert_close, length};

/// Between PyTorch and ONNX Runtime, both in single precision.
const TOLERANCE: f64 = 1e-5;

#[tokio::test]
async fn two_models_are_served_at_once() {
    let app = TestApp::with(|config| {
        config.models.insert("other".to_owned(), fixture("cls"));
    })
    .await;
    for (model, folder) in [("model", "mean-normalized"), ("other", "cls")] {
        assert_serves_the_expected_numbers(&app, model, folder).await;
    }
    let text = "a great film";
    let (one, other) = tokio::join!(
        app.embed(json!({"inputs": text, "model": "model"})),
        app.embed(json!({"inputs": text, "model": "other"})),
    );
    assert_eq!(one, app.embed(json!({"inputs": text})).await, "the default model");
    assert_ne!(one, other);
}

#[tokio::test]
async fn onnx_exports_are_served_as_they_are_and_told_apart() {
    let pooled = pooled_export();
    let app = TestApp::with(|config| {
        for folder in ["onnx-token-states", "onnx-pooler"] {
            config.models.insert(folder.to_owned(), fixture(folder));
        }
        config.models.insert("pooled".to_owned(), ModelConfig::at(pooled.path()));
    })
    .await;
    let info = app.get("/info").await.1;
    for (model, folder, output, output_name, token_type_ids) in [
        ("onnx-token-states", "onnx-token-states", "token_states", "last_hidden_state", false),
        // The second output of this one is BERT's own pooler, which is not the sentence's embedding.
        ("onnx-pooler", "onnx-pooler", "token_states", "last_hidden_state", false),
        ("pooled", "cls", "pooled", "sentence_embedding", true),
    ] {
        assert_serves_the_expected_numbers(&app, model, folder).await;
        let models = info["models"].as_array().unwrap();
        let model = models.iter().find(|candidate| candidate["name"] == model).unwrap();
        assert_eq!(model["output"], output, "{model}");
        assert_eq!(model["output_name"], output_name, "{model}");
        assert_eq!(model["token_type_ids"], token_type_ids, "{model}");
        assert_eq!(model["provider"], "cpu");
    }
}

#[tokio::test]
async fn an_int8_export_without_a_pooling_file_is_served_by_what_the_configuration_says() {
    let bge = ModelConfig {
        pooling: Some(Pooling::Cls),
        normalize: Some(true),
        ..ModelConfig::at(in_repository("models/bge-small-en-v1.5"))
    };
    let app = TestApp::on(tempdir().unwrap(), bge, |_| {}).await;
    let texts = ["The film was a masterpiece.", "A cinematic triumph.", "Inflation hurts markets."];
    let embeddings = app.embed(json!({"inputs": texts})).await;
    for embedding in &embeddings {
        assert_eq!(embedding.len(), 384);
        assert!((length(embedding) - 1.0).abs() < 1e-5, "{}", length(embedding));
    }
    let cosine = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (film, market) =
        (cosine(&embeddings[0], &embeddings[1]), cosine(&embeddings[0], &embeddings[2]));
    assert!(film > market + 0.1, "{film} {market}");
    // Its activations are quantised over a whole batch, so that it is run one sentence at a time.
    for (text, together) in texts.iter().zip(&embeddings) {
        assert_close(&app.embed(json!({"inputs": text})).await[0], together, 1e-6);
    }
    let info = app.get("/info").await.1;
    assert_eq!(info["models"][0]["precision"], "int8", "{info}");
}

#[tokio::test]
async fn token_states_without_a_pooling_are_refused_with_the_setting_that_helps() {
    let folder = tempdir().unwrap();
    let bge = ModelConfig::at(in_repository("models/bge-small-en-v1.5"));
    let text = refusal(folder.path(), bge, |_| {}).await;
    for mention in ["model", "pooling", "mean", "cls"] {
        assert!(text.contains(mention), "{text}");
    }
}

#[tokio::test]
async fn a_model_folder_that_is_not_there_says_what_to_run() {
    let folder = tempdir().unwrap();
    let text = refusal(folder.path(), ModelConfig::at("no/such/model"), |_| {}).await;
    for mention in ["no/such/model", "make models", "polyhead pull"] {
        assert!(text.contains(mention), "{text}");
    }
}

#[tokio::test]
async fn a_models_prompts_are_put_before_inputs_by_name() {
    let model = copy_of(&tiny().path);
    let prompts = json!({"prompts": {"query": "the film: ", "passage": ""}});
    fs::write(model.path().join("config_sentence_transformers.json"), prompts.to_string()).unwrap();
    let app = TestApp::on(tempdir().unwrap(), ModelConfig::at(model.path()), |_| {}).await;
    let prompted = app.embed(json!({"inputs": "good", "prompt_name": "query"})).await;
    let written_out = app.embed(json!({"inputs": "the film: good"})).await;
    assert_close(&prompted[0], &written_out[0], 1e-6);

    let refused = app.post("/embed", json!({"inputs": "a", "prompt_name": "question"})).await;
    let position = Some("prompt_name");
    assert_problem(&refused, 422, "unknown_prompt", position, &["question", "query", "passage"]);
}

#[tokio::test]
async fn a_models_default_prompt_is_put_before_all_inputs_that_name_none() {
    let model = copy_of(&tiny().path);
    let prompts = json!({
        "prompts": {"query": "the film: ", "none": ""}, "default_prompt_name": "query",
    });
    let file = model.path().join("config_sentence_transformers.json");
    fs::write(&file, prompts.to_string()).unwrap();
    let app = TestApp::on(tempdir().unwrap(), ModelConfig::at(model.path()), |_| {}).await;
    let plain = app.embed(json!({"inputs": "the film: good", "prompt_name": "none"})).await;
    assert_eq!(app.embed(json!({"inputs": "good"})).await, plain);
    let other = app.embed(json!({"inputs": "good", "prompt_name": "none"})).await;
    assert_ne!(other, plain);
    let (_, openai) = app.post("/v1/embeddings", json!({"input": "good"})).await;
    let openai: Vec<f64> = serde_json::from_value(openai["data"][0]["embedding"].clone()).unwrap();
    assert_eq!(openai, plain[0]);
    let fingerprint = app.get("/info").await.1["models"][0]["fingerprint"].clone();
    let without = TestApp::start().await.get("/info").await.1["models"][0]["fingerprint"].clone();
    assert_ne!(fingerprint, without, "other embeddings are of no use to the same heads");

    let missing = json!({"prompts": {"query": "a"}, "default_prompt_name": "qeury"});
    fs::write(&file, missing.to_string()).unwrap();
    let folder = tempdir().unwrap();
    let text = refusal(folder.path(), ModelConfig::at(model.path()), |_| {}).await;
    assert!(text.contains("default_prompt_name") && text.contains("qeury"), "{text}");
}

#[tokio::test]
async fn the_configuration_overrides_what_the_folder_says() {
    let app = TestApp::with(|config| {
        let raw = ModelConfig { normalize: Some(false), ..tiny() };
        config.models.insert("raw".to_owned(), raw);
        let first = ModelConfig { pooling: Some(Pooling::Cls), ..tiny() };
        config.models.insert("first".to_owned(), first);
        let short = ModelConfig { max_seq_length: 4.try_into().ok(), ..tiny() };
        config.models.insert("short".to_owned(), short);
    })
    .await;
    let embed = async |model: &str| {
        app.embed(json!({"inputs": "the film was good", "model": model})).await.remove(0)
    };
    let default = embed("model").await;
    let raw = embed("raw").await;
    assert!((length(&raw) - 1.0).abs() > 0.1, "{}", length(&raw));
    let asked = json!({"inputs": "the film was good", "model": "raw", "normalize": true});
    assert_close(&app.embed(asked).await[0], &default, 1e-6);
    assert_ne!(embed("first").await, default);
    let two_words = app.embed(json!({"inputs": "the film"})).await;
    assert_close(&embed("short").await, &two_words[0], 1e-6);
}

/// Asserts that the model gives what PyTorch gave, which lies beside its weights.
async fn assert_serves_the_expected_numbers(app: &TestApp, model: &str, folder: &str) {
    let expected = fs::read(fixture(folder).path.join("expected.json")).unwrap();
    let expected: Value = serde_json::from_slice(&expected).unwrap();
    let texts = expected["texts"].as_array().unwrap();
    let rows = texts.iter().zip(expected["embeddings"].as_array().unwrap());
    // The service refuses empty texts.
    for (text, row) in rows.filter(|(text, _)| *text != "") {
        let row: Vec<f64> = serde_json::from_value(row.clone()).unwrap();
        let found = app.embed(json!({"inputs": text, "model": model})).await;
        assert_close(&found[0], &row, TOLERANCE);
    }
}

/// A folder with an ONNX file that pools by itself, and with no file that says how.
fn pooled_export() -> TempDir {
    let folder = copy_of(&fixture("cls").path);
    let at = |file: &str| folder.path().join(file);
    let (config, weights) = (fs::read(at("config.json")), fs::read(at("model.safetensors")));
    let options =
        ExportOptions { precision: ExportPrecision::Fp32, pooling: Pooling::Cls, normalize: false };
    let graph = export_bert(&config.unwrap(), &weights.unwrap(), options).unwrap();
    fs::create_dir(at("onnx")).unwrap();
    fs::write(at("onnx/model.onnx"), graph).unwrap();
    fs::remove_file(at("model.safetensors")).unwrap();
    fs::remove_dir_all(at("1_Pooling")).unwrap();
    folder
}
