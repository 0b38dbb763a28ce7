//! A model read from its folder, ready for the workers to open.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::config::{Precision, Provider};
use crate::encoder::LoadError;
use crate::encoder::fingerprint::Identity;
use crate::encoder::folder::{ModelFolder, Overrides, Weights};
use crate::encoder::form::{Candidates, Stock};
use crate::encoder::session::{OUTPUTS, SessionError, SessionOptions};
use crate::encoder::tokenizer::{self, Tokenizer};
use crate::kernel::{FusedEncoder, Instructions};
use crate::onnx::bert::weights::BertWeights;
use crate::onnx::{self, ExportOptions, ExportPrecision, GraphPrecision, OnnxError};
use crate::onnx::{Recognised, Tail, recognise};

/// Which model to load, and how.
#[derive(Clone, Debug)]
pub struct ModelSpec {
    pub name: String,
    pub path: PathBuf,
    pub overrides: Overrides,
    pub precision: Precision,
    pub provider: Provider,
}

/// A model in memory, less its weights.
pub(crate) struct Model {
    pub name: String,
    pub tokenizer: Tokenizer,
    pub folder: ModelFolder,
    /// Whether the configuration wants vectors that are not normalised.
    pub wants_raw: bool,
    pub provider: Provider,
    /// See [`Identity::fingerprint`].
    pub fingerprint: String,
}

impl Model {
    /// Reads the folder that `spec` names: tokenizer, pooling, weights in the forms that they may
    /// run in.
    pub fn load(spec: &ModelSpec) -> Result<(Model, Candidates), LoadError> {
        let in_model = |source| LoadError::Folder { model: spec.name.clone(), source };
        let folder = ModelFolder::open(&spec.path, &spec.overrides).map_err(in_model)?;
        let tokenizer = Tokenizer::open(&folder.path, folder.max_seq_length)
            .map_err(|source| LoadError::Tokenizer { model: spec.name.clone(), source })?;
        if let Some(vocabulary) = folder.vocab_size
            && tokenizer.vocabulary_size() > vocabulary
        {
            return Err(LoadError::Vocabulary {
                model: spec.name.clone(),
                file: tokenizer::file_in(&folder.path),
                highest: tokenizer.vocabulary_size() - 1,
                vocabulary,
            });
        }
        let weights = read(folder.weights.path())?;
        let fingerprint = Identity {
            weights: &weights,
            tokenizer: &read(&folder.path.join("tokenizer.json"))?,
            config: &read(&folder.path.join("config.json"))?,
            pooling: folder.pooling,
            normalize: folder.normalize,
            max_seq_length: folder.max_seq_length,
            prompt: folder.default_prompt(),
        }
        .fingerprint();
        let candidates = candidates(spec, &folder, weights)?;
        let model = Model {
            name: spec.name.clone(),
            tokenizer,
            wants_raw: spec.overrides.normalize == Some(false),
            provider: spec.provider,
            folder,
            fingerprint,
        };
        Ok((model, candidates))
    }

    /// Why its graph could not be opened or run.
    pub fn failed(&self, source: SessionError) -> LoadError {
        let file = self.folder.weights.path().to_owned();
        LoadError::Session { model: self.name.clone(), file, source: source.into() }
    }

    /// How a worker opens its graph.
    pub fn session_options(&self) -> SessionOptions {
        SessionOptions { provider: self.provider, pad_token_id: self.folder.pad_token_id }
    }
}

fn candidates(
    spec: &ModelSpec,
    folder: &ModelFolder,
    weights: Vec<u8>,
) -> Result<Candidates, LoadError> {
    let weights = Bytes::from(weights);
    let stock = |weights: Bytes| -> Result<(Stock, GraphPrecision), LoadError> {
        let graph = match folder.weights {
            Weights::Safetensors(_) => export(spec, folder, &weights)?,
            Weights::Onnx(_) => weights,
        };
        let summary =
            onnx::inspect(graph.clone()).map_err(|source| unusable(spec, folder, source))?;
        Ok((Stock::new(graph, &summary), summary.precision))
    };
    match spec.precision {
        Precision::Fp32 | Precision::Int8 => {
            let (stock, found) = stock(weights)?;
            check_precision(spec, &folder.weights, found)?;
            let reason = format!("precision = \"{}\" was asked for", spec.precision.as_str());
            Ok(Candidates::Stock(stock, reason))
        }
        Precision::Bf16 => match fuse(spec, folder, &weights) {
            Ok(encoder) => Ok(Candidates::Fused(encoder)),
            Err(reason) => {
                let file = folder.weights.path().to_owned();
                Err(LoadError::Bf16 { model: spec.name.clone(), file, reason })
            }
        },
        Precision::Auto => {
            let (stock, found) = stock(weights.clone())?;
            if found != GraphPrecision::Fp32 {
                let reason = format!("its weights are {}", found.as_str());
                return Ok(Candidates::Stock(stock, reason));
            }
            Ok(match fuse(spec, folder, &weights) {
                Ok(encoder) if encoder.instructions().outrun_f32() => {
                    Candidates::Either(encoder, stock)
                }
                Ok(encoder) => {
                    let name = encoder.instructions().as_str();
                    Candidates::Stock(stock, format!("{name} is no faster than fp32 on this CPU"))
                }
                Err(reason) => Candidates::Stock(stock, reason),
            })
        }
    }
}

/// The fused encoder of a model, or why there is none.
fn fuse(spec: &ModelSpec, folder: &ModelFolder, weights: &Bytes) -> Result<FusedEncoder, String> {
    if spec.provider == Provider::Cuda {
        return Err("it runs on the CPU, and provider = \"cuda\" was asked for".to_owned());
    }
    let instructions = Instructions::detect().map_err(|missing| missing.to_string())?;
    let config = read(&folder.path.join("config.json")).map_err(|error| error.to_string())?;
    let (weights, pooling) = match folder.weights {
        Weights::Safetensors(_) => {
            let weights = BertWeights::from_safetensors(&config, weights);
            (weights.map_err(|error| error.to_string())?, folder.pooling)
        }
        Weights::Onnx(_) => {
            let recognised = recognise(weights.clone(), &config);
            let recognised = recognised
                .map_err(|reason| format!("its graph is not recognised as a BERT: {reason}"))?;
            match tail(&recognised)? {
                Tail::TokenStates => (recognised.weights, folder.pooling),
                Tail::Pooled { pooling, .. } => (recognised.weights, Some(pooling)),
            }
        }
    };
    let pooling = pooling.ok_or("nothing says how to pool; set `pooling`")?;
    FusedEncoder::new(&weights, pooling, instructions).map_err(|unfit| unfit.to_string())
}

/// What the output is that a session of the graph would read.
fn tail(recognised: &Recognised) -> Result<Tail, String> {
    let outputs = &recognised.outputs;
    let named = |name: &str| outputs.iter().find(|(output, _)| output == name);
    let (_, tail) = OUTPUTS
        .into_iter()
        .find_map(named)
        .or_else(|| outputs.iter().find(|(_, tail)| tail.is_ok()))
        .ok_or("its graph has no output that is made from a BERT's token states")?;
    tail.clone().map_err(|reason| reason.to_string())
}

fn export(spec: &ModelSpec, folder: &ModelFolder, weights: &[u8]) -> Result<Bytes, LoadError> {
    let pooling = folder.pooling.ok_or_else(|| LoadError::NoPooling(spec.name.clone()))?;
    let config = read(&folder.path.join("config.json"))?;
    // Not normalised: requests and heads may want the raw vectors, and scaling is cheap.
    let precision = match spec.precision {
        Precision::Int8 => ExportPrecision::Int8,
        Precision::Auto | Precision::Fp32 | Precision::Bf16 => ExportPrecision::Fp32,
    };
    let options = ExportOptions { precision, pooling, normalize: false };
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

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    std::fs::read(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })
}
