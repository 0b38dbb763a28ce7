//! The facts about a loaded model.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use utoipa::ToSchema;

use crate::encoder::LoadError;
use crate::encoder::batch::BatchLayout;
use crate::encoder::folder::Pooling;
use crate::encoder::form::Form;
use crate::encoder::model::Model;
use crate::encoder::session::{Device, OutputKind};
use crate::encoder::worker::Probe;
use crate::onnx::GraphPrecision;

/// What is known of a loaded model.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ModelInfo {
    pub name: String,
    #[schema(value_type = String)]
    pub path: PathBuf,
    /// Where the weights came from.
    #[schema(value_type = String)]
    pub weights: PathBuf,
    /// Elements of an embedding.
    pub dimensions: usize,
    /// Longest input in tokens, special ones included.
    pub max_seq_length: usize,
    /// `None` where the graph pools by itself and no file says how.
    pub pooling: Option<Pooling>,
    /// What may be put before inputs, by name.
    pub prompts: BTreeMap<String, String>,
    /// The one that is put before inputs unless a request names another.
    pub default_prompt_name: Option<String>,
    /// Whether embeddings have length 1 unless a request says otherwise.
    pub normalize: bool,
    pub precision: GraphPrecision,
    pub provider: Device,
    /// What the graph's output holds.
    pub output: OutputKind,
    pub output_name: String,
    /// Where the states of single tokens are had from; `None` where the graph pools them and gives no
    /// others.
    pub token_states: Option<TokenOutput>,
    pub token_type_ids: bool,
    pub batching: BatchLayout,
    /// The matrix instructions of the fused encoder, where it runs.
    pub fused: Option<&'static str>,
    /// Why the fused encoder does not run, where it does not.
    pub not_fused: Option<String>,
    /// Identifies the encoder to head versions: SHA-256 in hex.
    pub fingerprint: String,
    #[serde(skip)]
    pub(super) normalized_in_graph: bool,
}

impl ModelInfo {
    /// What is known of `model`.
    ///
    /// # Errors
    /// Nobody says how to pool, or the graph normalises although the configuration wants raw vectors.
    pub(super) fn new(
        model: &Model,
        running: Running,
        probe: Probe,
    ) -> Result<ModelInfo, LoadError> {
        if probe.kind == OutputKind::TokenStates && model.folder.pooling.is_none() {
            return Err(LoadError::NoPooling(model.name.clone()));
        }
        if probe.normalized_in_graph && model.wants_raw {
            return Err(LoadError::NormalizedInGraph(model.name.clone()));
        }
        Ok(ModelInfo {
            name: model.name.clone(),
            path: model.folder.path.clone(),
            weights: model.folder.weights.path().to_owned(),
            dimensions: probe.width,
            max_seq_length: model.folder.max_seq_length,
            pooling: model.folder.pooling,
            prompts: model.folder.prompts.clone(),
            default_prompt_name: model.folder.default_prompt_name.clone(),
            normalize: model.folder.normalize || probe.normalized_in_graph,
            precision: running.precision,
            provider: probe.device,
            output: probe.kind,
            output_name: probe.output,
            token_states: probe.token_states,
            token_type_ids: probe.token_type_ids,
            batching: running.batching,
            fused: running.fused,
            not_fused: running.not_fused,
            fingerprint: model.fingerprint.clone(),
            normalized_in_graph: probe.normalized_in_graph,
        })
    }
}

/// The output of a graph that holds the states of tokens.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TokenOutput {
    pub output_name: String,
    /// Elements of a state.
    pub dimensions: usize,
}

/// What is known of the form that a model runs in, once the form itself is with the workers.
pub(super) struct Running {
    precision: GraphPrecision,
    batching: BatchLayout,
    fused: Option<&'static str>,
    not_fused: Option<String>,
}

impl Running {
    pub fn new(form: &Form, not_fused: Option<String>) -> Running {
        Running {
            precision: form.precision(),
            batching: form.layout(),
            fused: form.instructions(),
            not_fused,
        }
    }
}
