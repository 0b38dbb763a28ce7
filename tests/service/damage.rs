//! Models that are damaged, or whose files do not fit together: refused with the file and the reason
//! before a user meets them.

use std::fs;
use std::path::Path;

use polyhead::config::ModelConfig;
use polyhead::onnx::graph::GraphBuilder;
use polyhead::onnx::proto::{DataType, Dimension};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::app::{TestApp, assert_problem, copy_of, fixture, refusal, tiny};

#[tokio::test]
async fn weights_that_are_no_numbers_or_only_zeros_are_refused() {
    type Damage = fn(&mut [u8]);
    let damage: [(Damage, &[&str]); 3] = [
        (|values| values[..4].copy_from_slice(&f32::NAN.to_le_bytes()), &["is NaN", "tensor `"]),
        (|values| values[..4].copy_from_slice(&f32::INFINITY.to_le_bytes()), &["is inf"]),
        // What a download leaves that made room for the file and then broke off.
        (|values| values.fill(0), &["embeddings are zero"]),
    ];
    for (damage, told) in damage {
        let model = copy_of(&tiny().path);
        let file = model.path().join("model.safetensors");
        let mut bytes = fs::read(&file).unwrap();
        // A file begins with the length of its header.
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        damage(&mut bytes[8 + header..]);
        fs::write(file, bytes).unwrap();
        assert_refused(&model, &[&["model.safetensors"], told].concat()).await;
    }
}

#[tokio::test]
async fn a_token_id_beyond_the_vocabulary_is_refused_wherever_it_stands() {
    // As many entries as ever, but not one after the other.
    let model = with_tokenizer(|tokenizer| {
        let vocabulary = tokenizer["model"]["vocab"].as_object_mut().unwrap();
        let last = vocabulary.iter().max_by_key(|(_, id)| id.as_u64()).unwrap().0.clone();
        vocabulary[&last] = json!(5000);
    });
    assert_refused(&model, &["tokenizer.json", "5000", "config.json", "`vocab_size`"]).await;

    let model = with_tokenizer(|tokenizer| {
        tokenizer["post_processor"]["special_tokens"]["[SEP]"]["ids"] = json!([6000]);
    });
    assert_refused(&model, &["tokenizer.json", "6000"]).await;

    let model = copy_of(&tiny().path);
    change(&model.path().join("config.json"), |config| config["pad_token_id"] = json!(7000));
    assert_refused(&model, &["config.json", "`pad_token_id` 7000"]).await;
}

#[tokio::test]
async fn a_graph_with_smaller_tables_than_its_files_say_is_refused() {
    for (key, said, more) in [("vocab_size", 300, "zebra"), ("max_position_embeddings", 64, "")] {
        let model = exported();
        let file = |name: &str| model.path().join(name);
        change(&file("config.json"), |config| config[key] = json!(said));
        change(&file("sentence_bert_config.json"), |config| {
            let positions = if more.is_empty() { said } else { 20 };
            config["max_seq_length"] = json!(positions);
        });
        if !more.is_empty() {
            change(&file("tokenizer.json"), |tokenizer| {
                tokenizer["model"]["vocab"][more] = json!(said - 1);
            });
        }
        assert_refused(&model, &["onnx/model.onnx", "fails on a sentence of", "allow"]).await;
    }
}

#[tokio::test]
async fn a_graph_whose_width_is_not_its_own_is_refused() {
    // As many numbers as there are tokens.
    let mut graph = GraphBuilder::new("ids");
    let ids = graph.input("input_ids", DataType::Int64, &["batch", "tokens"]);
    let mask = graph.input("attention_mask", DataType::Int64, &["batch", "tokens"]);
    let product = graph.op("Mul", &[&ids, &mask]);
    let one = graph.scalar(1.0);
    let numbers = graph.op("CastLike", &[&product, &one]);
    let names = ["batch", "tokens"].map(|name| Dimension::Name(name.to_owned()));
    graph.output("sentence_embedding", &numbers, &names);
    let model = exported();
    let file = model.path().join("onnx/model.onnx");
    fs::write(file, graph.into_model().to_bytes().unwrap()).unwrap();
    assert_refused(&model, &["onnx/model.onnx", "do not have one width"]).await;
}

#[tokio::test]
async fn a_graph_that_onnx_runtime_refuses_is_named() {
    let model = exported();
    let mut graph = GraphBuilder::new("nothing");
    let ids = graph.input("input_ids", DataType::Int64, &["batch", "tokens"]);
    let nonsense = graph.op("Nonsense", &[&ids]);
    graph.output("sentence_embedding", &nonsense, &[]);
    let file = model.path().join("onnx/model.onnx");
    fs::write(file, graph.into_model().to_bytes().unwrap()).unwrap();
    assert_refused(&model, &["onnx/model.onnx", "ONNX Runtime refused", "Nonsense"]).await;
}

#[tokio::test]
async fn a_tokenizer_that_cannot_do_its_work_is_refused() {
    let model = with_tokenizer(|tokenizer| {
        tokenizer["model"]["vocab"] = json!({});
        tokenizer["added_tokens"] = json!([]);
        tokenizer["post_processor"] = Value::Null;
    });
    assert_refused(&model, &["tokenizer.json", "plain text"]).await;

    let model = copy_of(&tiny().path);
    change(&model.path().join("sentence_bert_config.json"), |config| {
        config["max_seq_length"] = json!(2);
    });
    assert_refused(&model, &["tokenizer.json", "2 tokens leaves no room"]).await;
}

#[tokio::test]
async fn a_text_without_tokens_is_refused_and_harms_no_other() {
    let model = with_tokenizer(|tokenizer| tokenizer["post_processor"] = Value::Null);
    let model = ModelConfig::at(model.path());
    let app = TestApp::on(tempdir().unwrap(), model, |_| {}).await;
    let invisible = "\u{200b}";
    let refused = app.post("/embed", json!({"inputs": ["fun", invisible]})).await;
    assert_problem(&refused, 422, "invalid_input", Some("inputs[1]"), &["no tokens"]);
    assert_eq!(app.embed(json!({"inputs": ["fun", "a film"]})).await.len(), 2);
}

async fn assert_refused(model: &TempDir, told: &[&str]) {
    let folder = tempdir().unwrap();
    let text = refusal(folder.path(), ModelConfig::at(model.path()), |_| {}).await;
    for part in told.iter().chain(&["model"]) {
        assert!(text.contains(part), "{part:?} is not said: {text}");
    }
}

/// The tiny model as an ONNX export.
fn exported() -> TempDir {
    let model = copy_of(&tiny().path);
    fs::remove_file(model.path().join("model.safetensors")).unwrap();
    fs::create_dir(model.path().join("onnx")).unwrap();
    let graph = fixture("onnx-token-states").path.join("onnx/model.onnx");
    fs::copy(graph, model.path().join("onnx/model.onnx")).unwrap();
    model
}

fn with_tokenizer(of: impl FnOnce(&mut Value)) -> TempDir {
    let model = copy_of(&tiny().path);
    change(&model.path().join("tokenizer.json"), of);
    model
}

fn change(file: &Path, change: impl FnOnce(&mut Value)) {
    let mut json: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    change(&mut json);
    fs::write(file, json.to_string()).unwrap();
}
