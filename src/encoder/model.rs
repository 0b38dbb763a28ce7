//! A model read from its folder, ready for the workers to open.

use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::config::{Precision, Provider};
use crate::encoder::batch::BatchLayout;
use crate::encoder::folder::{ModelFolder, Overrides, Weights};
use crate::encoder::session::SessionOptions;
use crate::encoder::tokenizer::{Tokenizer, Tokens, Truncation};
use crate::encoder::{EncodeError, LoadError};
use crate::onnx::{self, ExportOptions, GraphPrecision, OnnxError};

/// Which model to load, and how.
#[derive(Clone, Debug)]
pub struct ModelSpec {
    pub name: String,
    pub path: PathBuf,
    pub overrides: Overrides,
    pub precision: Precision,
    pub provider: Provider,
}

/// A serialized ONNX graph. Only opening a session needs it; it is large and not kept.
pub(crate) type Graph = Bytes;

/// A model in memory, less its graph.
pub(crate) struct Model {
    pub name: String,
    pub tokenizer: Tokenizer,
    pub folder: ModelFolder,
    /// Whether the configuration wants vectors that are not normalised.
    pub wants_raw: bool,
    pub layout: BatchLayout,
    pub precision: GraphPrecision,
    pub provider: Provider,
    /// SHA-256, in hex, of all that an embedding depends on.
    pub fingerprint: String,
}

impl Model {
    /// Reads the folder that `spec` names: weights into a graph, tokenizer, pooling.
    pub fn load(spec: &ModelSpec) -> Result<(Model, Graph), LoadError> {
        let in_model = |source| LoadError::Folder { model: spec.name.clone(), source };
        let folder = ModelFolder::open(&spec.path, &spec.overrides).map_err(in_model)?;
        let tokenizer = Tokenizer::open(&folder.path, folder.max_seq_length)
            .map_err(|source| LoadError::Tokenizer { model: spec.name.clone(), source })?;
        if let Some(vocabulary) = folder.vocab_size
            && tokenizer.vocabulary_size() > vocabulary
        {
            return Err(LoadError::Vocabulary {
                model: spec.name.clone(),
                tokenizer: tokenizer.vocabulary_size(),
                vocabulary,
            });
        }
        let weights = read(folder.weights.path())?;
        let fingerprint = fingerprint(&weights, &folder)?;
        let graph = match folder.weights {
            Weights::Safetensors(_) => export(&folder, &weights, spec)?,
            Weights::Onnx(_) => weights.into(),
        };
        let summary =
            onnx::inspect(graph.clone()).map_err(|source| unusable(spec, &folder, source))?;
        check_precision(spec, &folder.weights, summary.precision)?;
        let model = Model {
            name: spec.name.clone(),
            tokenizer,
            wants_raw: spec.overrides.normalize == Some(false),
            layout: match summary.quantizes_per_batch {
                true => BatchLayout::Alone,
                false => BatchLayout::Padded,
            },
            precision: summary.precision,
            provider: spec.provider,
            folder,
            fingerprint,
        };
        Ok((model, graph))
    }

    /// Tokenises the texts of a `turn`.
    pub fn tokenize(
        &self,
        texts: &[String],
        turn: Range<usize>,
        truncation: Truncation,
    ) -> Result<Vec<Tokens>, EncodeError> {
        let encode = |index: usize| {
            let tokens = self.tokenizer.encode(&texts[index], truncation);
            tokens.map_err(|source| EncodeError::Input { index, source })
        };
        turn.map(encode).collect()
    }

    /// How a worker opens its graph.
    pub fn session_options(&self) -> SessionOptions {
        SessionOptions { provider: self.provider, pad_token_id: self.folder.pad_token_id }
    }
}

fn export(folder: &ModelFolder, weights: &[u8], spec: &ModelSpec) -> Result<Graph, LoadError> {
    let pooling = folder.pooling.ok_or_else(|| LoadError::NoPooling(spec.name.clone()))?;
    let config = read(&folder.path.join("config.json"))?;
    // Not normalised: requests and heads may want the raw vectors, and scaling is cheap.
    let options = ExportOptions { pooling, normalize: false };
    match onnx::export_bert(&config, weights, options) {
        Ok(graph) => Ok(graph.into()),
        Err(source) => Err(unusable(spec, folder, source)),
    }
}

fn unusable(spec: &ModelSpec, folder: &ModelFolder, source: OnnxError) -> LoadError {
    let file = folder.weights.path().to_owned();
    LoadError::Graph { model: spec.name.clone(), file, source }
}

fn check_precision(
    spec: &ModelSpec,
    weights: &Weights,
    found: GraphPrecision,
) -> Result<(), LoadError> {
    let fits = match spec.precision {
        Precision::Auto => true,
        Precision::Fp32 => found == GraphPrecision::Fp32,
        Precision::Int8 => found == GraphPrecision::Int8,
        Precision::Bf16 => found == GraphPrecision::Bf16,
    };
    if fits {
        return Ok(());
    }
    Err(LoadError::Precision {
        model: spec.name.clone(),
        asked: spec.precision,
        file: weights.path().to_owned(),
        found,
    })
}

fn fingerprint(weights: &[u8], folder: &ModelFolder) -> Result<String, LoadError> {
    let settings = format!("{:?} {} {}", folder.pooling, folder.normalize, folder.max_seq_length);
    let mut hasher = Sha256::new();
    hasher.update(weights);
    hasher.update(read(&folder.path.join("tokenizer.json"))?);
    hasher.update(settings);
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    std::fs::read(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })
}
