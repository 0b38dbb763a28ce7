//! The parts of a BERT, read from its safetensors under the names of transformers' `BertModel`.

use super::{
    config::BertConfig,
    weights::{LayerWeights, Linear, Norm},
};
use crate::onnx::{error::OnnxError, weights::Weights};

/// A configuration, and the tensors that it promises.
pub(super) struct Checkpoint<'file> {
    pub config: BertConfig,
    weights: Weights<'file>,
}

impl<'file> Checkpoint<'file> {
    /// Reads the configuration and the header of the weights; a tensor is read when it is asked for.
    pub fn parse(config_json: &[u8], safetensors: &'file [u8]) -> Result<Self, OnnxError> {
        let config = BertConfig::parse(config_json)?;
        Ok(Self { config, weights: Weights::parse(safetensors)? })
    }

    /// One vector for each word: vocabulary × hidden.
    pub fn words(&self) -> Result<Vec<f32>, OnnxError> {
        self.table("word", self.config.vocab_size)
    }

    /// One vector for each position: positions × hidden.
    pub fn positions(&self) -> Result<Vec<f32>, OnnxError> {
        self.table("position", self.config.max_position_embeddings)
    }

    /// One vector for each token type: types × hidden.
    pub fn segments(&self) -> Result<Vec<f32>, OnnxError> {
        self.table("token_type", self.config.type_vocab_size)
    }

    /// What normalises the sum of the three.
    pub fn embeddings_norm(&self) -> Result<Norm, OnnxError> {
        self.norm("embeddings")
    }

    /// One layer; the first is 0.
    pub fn layer(&self, layer: usize) -> Result<LayerWeights, OnnxError> {
        let (width, inner) = (self.config.hidden_size, self.config.intermediate_size);
        let prefix = format!("encoder.layer.{layer}");
        let attention = format!("{prefix}.attention");
        Ok(LayerWeights {
            query: self.linear(&format!("{attention}.self.query"), [width, width])?,
            key: self.linear(&format!("{attention}.self.key"), [width, width])?,
            value: self.linear(&format!("{attention}.self.value"), [width, width])?,
            attention_output: self.linear(&format!("{attention}.output.dense"), [width, width])?,
            attention_norm: self.norm(&format!("{attention}.output"))?,
            intermediate: self.linear(&format!("{prefix}.intermediate.dense"), [width, inner])?,
            output: self.linear(&format!("{prefix}.output.dense"), [inner, width])?,
            output_norm: self.norm(&format!("{prefix}.output"))?,
        })
    }

    fn table(&self, kind: &str, rows: usize) -> Result<Vec<f32>, OnnxError> {
        let name = format!("embeddings.{kind}_embeddings.weight");
        self.weights.tensor(&name, &[rows, self.config.hidden_size])
    }

    fn linear(&self, name: &str, [inputs, outputs]: [usize; 2]) -> Result<Linear, OnnxError> {
        Ok(Linear {
            weight: self.weights.tensor(&format!("{name}.weight"), &[outputs, inputs])?,
            bias: self.weights.tensor(&format!("{name}.bias"), &[outputs])?,
        })
    }

    fn norm(&self, prefix: &str) -> Result<Norm, OnnxError> {
        let width = self.config.hidden_size;
        Ok(Norm {
            gamma: self.weights.tensor(&format!("{prefix}.LayerNorm.weight"), &[width])?,
            beta: self.weights.tensor(&format!("{prefix}.LayerNorm.bias"), &[width])?,
        })
    }
}
