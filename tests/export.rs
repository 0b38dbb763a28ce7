//! Graphs written from safetensors, and stock exports, against what PyTorch and the upstream export
//! of the same weights compute.
//!
//! `fixtures/tiny-bert/make.py` made the tiny models and their numbers.

use std::fs;
use std::path::{Path, PathBuf};

use polyhead::config::Provider;
use polyhead::encoder::batch::RaggedBatch;
use polyhead::encoder::folder::{ModelFolder, Overrides, Pooling, Weights};
use polyhead::encoder::pooling;
use polyhead::encoder::readout::Readout;
use polyhead::encoder::session::{
    Output, OutputKind, Runtime, Session, SessionOptions, SharedGraph,
};
use polyhead::encoder::tokenizer::{Tokenizer, Truncation};
use polyhead::onnx::{ExportOptions, ExportPrecision, export_bert};
use serde::Deserialize;

/// float32 sums in another order than PyTorch's: up to 2e-6 was seen.
const TOLERANCE: f32 = 1e-5;

const SAFETENSORS: [&str; 4] = ["mean-normalized", "mean-old-names", "cls", "cls-normalized-f16"];
const STOCK_ONNX: [&str; 2] = ["onnx-token-states", "onnx-pooler"];

#[test]
fn an_exported_graph_computes_what_pytorch_computes() {
    for name in SAFETENSORS {
        let (folder, expected) = fixture(name);
        let mut model = exported(&folder);
        assert_eq!(model.session.output(), "sentence_embedding");
        assert_eq!(model.session.token_output(), Some("token_embeddings"));
        for (text, (ids, embedding)) in expected.sentences() {
            let found = model.embed(&[ids]).remove(0);
            assert_close(&found, embedding, TOLERANCE, &format!("{name}, {text:?}"));
        }
    }
}

#[test]
fn a_stock_export_is_pooled_to_what_pytorch_computes() {
    for name in STOCK_ONNX {
        let (folder, expected) = fixture(name);
        let mut model = stock(&folder);
        // `pooler_output`, which one of them has too, is no sentence embedding.
        assert_eq!(model.session.output(), "last_hidden_state");
        assert_eq!(model.session.token_output(), Some("last_hidden_state"));
        assert!(!model.session.wants_token_type_ids());
        for (text, (ids, embedding)) in expected.sentences() {
            let found = model.embed(&[ids]).remove(0);
            assert_close(&found, embedding, TOLERANCE, &format!("{name}, {text:?}"));
        }
    }
}

#[test]
fn an_embedding_does_not_depend_on_its_batch_companions() {
    for name in SAFETENSORS.into_iter().chain(STOCK_ONNX) {
        let (folder, expected) = fixture(name);
        let mut model = open(&folder);
        let all: Vec<&[u32]> = expected.token_ids.iter().map(Vec::as_slice).collect();
        let together = model.embed(&all);
        for (ids, together) in all.iter().zip(&together) {
            let alone = model.embed(&[ids]).remove(0);
            // Padding adds exact zeros; only the order of sums may change. Values are up to 4.
            assert_close(together, &alone, 1e-6, &format!("{name}, {} tokens", ids.len()));
        }
    }
}

#[test]
fn the_models_own_limit_replaces_that_of_the_tokenizer_file() {
    for name in SAFETENSORS.into_iter().chain(STOCK_ONNX) {
        let (folder, expected) = fixture(name);
        let tokenizer = Tokenizer::open(&folder.path, folder.max_seq_length).unwrap();
        for (text, (ids, _)) in expected.sentences() {
            let found = tokenizer.encode(text, Truncation::Right).unwrap();
            assert_eq!(&found.ids, ids, "{name}, {text:?}");
        }
    }
}

#[test]
fn a_row_without_tokens_gives_numbers_and_leaves_the_others_alone() {
    for name in SAFETENSORS {
        let (folder, expected) = fixture(name);
        let mut model = exported(&folder);
        let ids = &expected.token_ids[1];
        let rows = model.embed(&[ids, &[]]);
        assert_close(&rows[0], &expected.embeddings[1], TOLERANCE, name);
        assert!(rows[1].iter().all(|value| value.is_finite()), "{name}: {:?}", rows[1]);
    }
}

#[test]
fn an_exported_graph_agrees_with_the_upstream_export_on_1_to_256_tokens() {
    let folder = pinned("models/all-MiniLM-L6-v2");
    let mut ours = exported(&folder);
    let graph = pinned_file("models/all-MiniLM-L6-v2-onnx/onnx/model.onnx");
    let mut upstream = Model::open(fs::read(graph).unwrap(), &folder);

    let licence = fs::read_to_string("LICENSE").unwrap();
    let paragraphs: Vec<&str> = licence.split("\n\n").collect();
    let longest = &[2023; 258];
    let lengths = [1, 2, 3, 4, 5, 7, 10, 14, 20, 28, 40, 57, 80, 113, 160, 226, 256];
    for (start, length) in lengths.into_iter().enumerate() {
        let tokenizer = Tokenizer::open(&folder.path, length + 2).unwrap(); // with [CLS] and [SEP]
        let text = paragraphs[start..].join("\n\n");
        let tokens = tokenizer.encode(&text, Truncation::Right).unwrap();
        assert_eq!(tokens.ids.len(), length + 2);

        let expected = upstream.embed(&[&tokens.ids]).remove(0);
        let alone = ours.embed(&[&tokens.ids]).remove(0);
        assert_close(&alone, &expected, TOLERANCE, &format!("{length} tokens"));
        let in_a_batch = ours.embed(&[&tokens.ids, longest]).remove(0);
        assert_close(&in_a_batch, &alone, 1e-6, &format!("{length} tokens in a batch"));
    }
}

#[test]
fn an_int8_graph_keeps_a_cosine_of_0_99_to_pytorch_on_tiny_models() {
    // Sums of 32 to 96 products, over few tokens, average little of the rounding away.
    for name in SAFETENSORS {
        let (folder, expected) = fixture(name);
        let mut model = exported_as(ExportPrecision::Int8, &folder);
        for (text, (ids, embedding)) in expected.sentences() {
            let found = model.embed(&[ids]).remove(0);
            let cosine = cosine(&found, embedding);
            assert!(cosine >= 0.99, "{name}, {text:?}: {cosine}");
        }
    }
}

#[test]
fn an_int8_embedding_does_not_depend_on_its_batch_companions() {
    for name in SAFETENSORS {
        let (folder, expected) = fixture(name);
        let mut model = exported_as(ExportPrecision::Int8, &folder);
        let all: Vec<&[u32]> = expected.token_ids.iter().map(Vec::as_slice).collect();
        let together = model.embed(&all);
        for (ids, together) in all.iter().zip(&together) {
            let alone = model.embed(&[ids]).remove(0);
            assert_close(together, &alone, 1e-6, &format!("{name}, {} tokens", ids.len()));
        }
    }
}

#[test]
fn an_int8_graph_of_a_real_model_keeps_a_cosine_of_0_998_to_fp32() {
    let folder = pinned("models/all-MiniLM-L6-v2");
    let mut fp32 = exported(&folder);
    let mut int8 = exported_as(ExportPrecision::Int8, &folder);
    let tokenizer = Tokenizer::open(&folder.path, 256).unwrap();
    let licence = fs::read_to_string("LICENSE").unwrap();
    // Short texts are the hardest: nothing averages their rounding away.
    let words = ["fun", "not", "amazing!", "no..", "What?", "dull", "prices", "Inflation"];
    let sentences = ["The film was a masterpiece.", "Inflation hurts markets.", "Who wrote it?"];
    let paragraphs = licence.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty());
    for text in words.into_iter().chain(sentences).chain(paragraphs) {
        let tokens = tokenizer.encode(text, Truncation::Right).unwrap();
        let expected = fp32.embed(&[&tokens.ids]).remove(0);
        let found = int8.embed(&[&tokens.ids]).remove(0);
        let cosine = cosine(&found, &expected);
        assert!(cosine >= 0.998, "{text:?}: {cosine}");
    }
}

/// What `make.py` wrote beside a model.
#[derive(Deserialize)]
struct Expected {
    texts: Vec<String>,
    token_ids: Vec<Vec<u32>>,
    embeddings: Vec<Vec<f32>>,
}

impl Expected {
    fn sentences(&self) -> impl Iterator<Item = (&String, (&Vec<u32>, &Vec<f32>))> {
        assert!(!self.texts.is_empty());
        self.texts.iter().zip(self.token_ids.iter().zip(&self.embeddings))
    }
}

/// A graph, and what is left to do to its output.
struct Model {
    session: Session,
    pooling: Pooling,
    normalize: bool,
}

impl Model {
    fn open(graph: Vec<u8>, folder: &ModelFolder) -> Model {
        let runtime = Runtime::load(&pinned_file("lib/libonnxruntime.so")).unwrap();
        let graph = SharedGraph::new(graph.into()).unwrap();
        let options = SessionOptions { provider: Provider::Cpu, pad_token_id: folder.pad_token_id };
        Model {
            session: Session::open(&runtime, &graph, options).unwrap(),
            pooling: folder.pooling.unwrap(),
            normalize: folder.normalize,
        }
    }

    fn embed(&mut self, sentences: &[&[u32]]) -> Vec<Vec<f32>> {
        let mut batch = RaggedBatch::new();
        sentences.iter().for_each(|ids| batch.push(ids));
        let read = |row: usize, output: &Output<'_>| {
            let mut vector = output.vectors(row, Some(self.pooling)).into_owned();
            if self.normalize && output.kind() == OutputKind::TokenStates {
                pooling::normalize(&mut vector);
            }
            vector
        };
        let rows = 0..sentences.len();
        let read = |output: Output<'_>| rows.map(|row| read(row, &output)).collect();
        self.session.run(&batch, Readout::Sentence, read).unwrap()
    }
}

fn fixture(name: &str) -> (ModelFolder, Expected) {
    let path = Path::new("tests/fixtures/tiny-bert").join(name);
    let expected = fs::read(path.join("expected.json")).unwrap();
    let folder = ModelFolder::open(&path, &Overrides::default()).unwrap();
    (folder, serde_json::from_slice(&expected).unwrap())
}

fn open(folder: &ModelFolder) -> Model {
    match folder.weights {
        Weights::Safetensors(_) => exported(folder),
        Weights::Onnx(_) => stock(folder),
    }
}

/// Written by us, pooling and normalisation in the graph.
fn exported(folder: &ModelFolder) -> Model {
    exported_as(ExportPrecision::Fp32, folder)
}

fn exported_as(precision: ExportPrecision, folder: &ModelFolder) -> Model {
    let config = fs::read(folder.path.join("config.json")).unwrap();
    let weights = fs::read(folder.weights.path()).unwrap();
    let pooling = folder.pooling.unwrap();
    let options = ExportOptions { precision, pooling, normalize: folder.normalize };
    let graph = export_bert(&config, &weights, options).unwrap();
    Model::open(graph, folder)
}

fn stock(folder: &ModelFolder) -> Model {
    Model::open(fs::read(folder.weights.path()).unwrap(), folder)
}

fn pinned(path: &str) -> ModelFolder {
    pinned_file(&format!("{path}/config.json"));
    ModelFolder::open(Path::new(path), &Overrides::default()).unwrap()
}

fn pinned_file(path: &str) -> PathBuf {
    assert!(Path::new(path).is_file(), "{path} is missing: run `make test`, which fetches it");
    path.into()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn assert_close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let off = (found - expected).abs();
        assert!(off <= tolerance, "{what}: element {index} is {found}, not {expected}");
    }
}
