//! All weights of a BERT as f32, whatever file they came from.

use super::{
    checkpoint::Checkpoint,
    config::{Activation, BertConfig},
};
use crate::onnx::error::OnnxError;

/// The encoder of a BERT, less what sentence embeddings do not use: the pooler, other token types.
#[derive(Clone, Debug, PartialEq)]
pub struct BertWeights {
    pub shape: BertShape,
    /// vocabulary × hidden.
    pub words: Vec<f32>,
    /// max_positions × hidden.
    pub positions: Vec<f32>,
    /// hidden: row 0 of the token-type table, the only one that is used.
    pub segment: Vec<f32>,
    pub embeddings_norm: Norm,
    /// The first one sees the embeddings.
    pub layers: Vec<LayerWeights>,
}

/// Sizes and constants of a BERT.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BertShape {
    pub vocabulary: usize,
    pub hidden: usize,
    pub layers: usize,
    /// Attention heads; a divisor of `hidden`.
    pub heads: usize,
    pub intermediate: usize,
    /// The most tokens that a sentence may have.
    pub max_positions: usize,
    /// What every layer norm adds to the variance.
    pub eps: f32,
    pub activation: Activation,
}

/// (x − mean) / √(variance + eps) · gamma + beta.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
}

/// weight · x + bias.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Row-major, outputs × inputs (as PyTorch's `nn.Linear`).
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
}

/// One layer: attention, then feed-forward, each added to its input and normalised.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerWeights {
    /// hidden × hidden, as are the next three; heads lie one after the other in the outputs.
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub attention_output: Linear,
    pub attention_norm: Norm,
    /// intermediate × hidden.
    pub intermediate: Linear,
    /// hidden × intermediate.
    pub output: Linear,
    pub output_norm: Norm,
}

impl BertWeights {
    /// Reads the `config.json` and `model.safetensors` of a BERT. F16 and BF16 are widened.
    ///
    /// # Errors
    /// See [`OnnxError`]: `config.json` asks for what is not supported, the weights are damaged or
    /// do not fit it.
    pub fn from_safetensors(config_json: &[u8], safetensors: &[u8]) -> Result<Self, OnnxError> {
        let checkpoint = Checkpoint::parse(config_json, safetensors)?;
        let shape = BertShape::from(&checkpoint.config);
        let mut segment = checkpoint.segments()?;
        segment.truncate(shape.hidden);
        Ok(Self {
            shape,
            words: checkpoint.words()?,
            positions: checkpoint.positions()?,
            segment,
            embeddings_norm: checkpoint.embeddings_norm()?,
            layers: (0..shape.layers)
                .map(|layer| checkpoint.layer(layer))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl From<&BertConfig> for BertShape {
    fn from(config: &BertConfig) -> Self {
        Self {
            vocabulary: config.vocab_size,
            hidden: config.hidden_size,
            layers: config.num_hidden_layers,
            heads: config.num_attention_heads,
            intermediate: config.intermediate_size,
            max_positions: config.max_position_embeddings,
            eps: config.layer_norm_eps,
            activation: config.hidden_act,
        }
    }
}
