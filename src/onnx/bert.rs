//! The graph of a BERT, from token ids to embeddings of sentences and states of tokens.
//!
//! Devlin et al., *BERT: Pre-training of Deep Bidirectional Transformers for Language
//! Understanding* (<https://arxiv.org/abs/1810.04805>); every formula and constant is the one of
//! `BertModel` in transformers and of sentence-transformers' pooling.
//!
//! Operators are chosen so that ONNX Runtime fuses them on every execution provider: scaled scores
//! into one matrix product, a bias with its GELU. Residuals stay `Add` + `LayerNormalization`,
//! since the operator that joins the two is slower on the CPU.

mod checkpoint;
pub mod config;
mod int8;
mod sample;
pub mod weights;

use super::{
    error::OnnxError,
    graph::{Attribute, GraphBuilder, Value},
    proto::{DataType, Dimension},
};
use crate::encoder::folder::Pooling;
use checkpoint::Checkpoint;
use config::Activation;
use int8::{Inputs, LayerInputs};
use sample::Sample;
use weights::{LayerWeights, Linear, Norm};

/// How token states become the output, and how precisely they are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportOptions {
    pub precision: ExportPrecision,
    pub pooling: Pooling,
    /// Whether embeddings are scaled to length 1.
    pub normalize: bool,
}

/// The arithmetic of linear layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportPrecision {
    Fp32,
    /// 8-bit weights, and activations that are quantised for each token during the call. Meant for
    /// CPUs with 8-bit dot products (AVX-512 VNNI, AVX-VNNI, AMX): without, ONNX Runtime is slower
    /// at it, and some of its sums saturate.
    Int8,
}

impl ExportPrecision {
    /// As users write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Int8 => "int8",
        }
    }
}

/// Writes the ONNX file of a BERT.
///
/// - Inputs, int64, batch × sequence: `input_ids`, `attention_mask` (1 for a token, 0 for padding)
///   and `token_type_ids`. A sequence may be as long as `max_position_embeddings`.
/// - Outputs, f32: `sentence_embedding`, batch × `hidden_size`, and the states that it is pooled
///   from, `token_embeddings`, batch × sequence × `hidden_size`, as sentence-transformers has them.
///
/// # Errors
/// See [`OnnxError`]: `config.json` asks for what there is no graph for, the weights are damaged
/// or do not fit it, or the result would exceed 2 GB.
pub fn export_bert(
    config_json: &[u8],
    safetensors: &[u8],
    options: ExportOptions,
) -> Result<Vec<u8>, OnnxError> {
    let checkpoint = Checkpoint::parse(config_json, safetensors)?;
    let sample = match options.precision {
        ExportPrecision::Fp32 => None,
        ExportPrecision::Int8 => Some(Sample::embed(&checkpoint)?),
    };
    let exporter = Exporter { checkpoint, sample, graph: GraphBuilder::new("bert") };
    exporter.export(options)?.into_model().to_bytes()
}

/// The graph so far, and what it is made from.
struct Exporter<'file> {
    checkpoint: Checkpoint<'file>,
    /// Goes through the layers with the graph, if they are to be quantised.
    sample: Option<Sample>,
    graph: GraphBuilder,
}

/// The weights of a layer, and what is known of their inputs if they are to be quantised.
struct Layer {
    weights: LayerWeights,
    inputs: Option<LayerInputs>,
}

impl Exporter<'_> {
    fn export(mut self, options: ExportOptions) -> Result<GraphBuilder, OnnxError> {
        let [ids, mask, types] = ["input_ids", "attention_mask", "token_type_ids"]
            .map(|name| self.graph.input(name, DataType::Int64, &["batch", "sequence"]));
        let mask = self.cast_to_f32(&mask);

        let mut states = self.embeddings(&ids, &types)?;
        let bias = self.attention_bias(&mask);
        for layer in 0..self.checkpoint.config.num_hidden_layers {
            states = self.layer(layer, &states, &bias)?;
        }

        let mut embedding = match options.pooling {
            Pooling::Mean => self.mean(&states, &mask),
            Pooling::Cls => self.first(&states),
        };
        if options.normalize {
            embedding = self.normalize(&embedding);
        }
        let width = Dimension::Size(self.checkpoint.config.hidden_size as i64);
        let [batch, sequence] = ["batch", "sequence"].map(|name| Dimension::Name(name.to_owned()));
        self.graph.output("sentence_embedding", &embedding, &[batch.clone(), width.clone()]);
        self.graph.output("token_embeddings", &states, &[batch, sequence, width]);
        Ok(self.graph)
    }

    /// Word, segment and position vectors, summed and normalised: batch × sequence × width.
    fn embeddings(&mut self, ids: &Value, types: &Value) -> Result<Value, OnnxError> {
        let words = self.checkpoint.words()?;
        let words = self.table("word", &words);
        let segments = self.checkpoint.segments()?;
        let segments = self.table("token_type", &segments);
        let positions = self.checkpoint.positions()?;
        let positions = self.table("position", &positions);

        let words = self.graph.op("Gather", &[&words, ids]);
        let segments = self.graph.op("Gather", &[&segments, types]);
        let only_sequence = [Attribute::Int("start", 1), Attribute::Int("end", 2)];
        let length = self.graph.op_with("Shape", &[ids], &only_sequence);
        let start = self.graph.integers(&[0]);
        let positions = self.graph.op("Slice", &[&positions, &start, &length]);

        let sum = self.graph.op("Add", &[&words, &segments]);
        let sum = self.graph.op("Add", &[&sum, &positions]);
        let norm = self.checkpoint.embeddings_norm()?;
        Ok(self.layer_norm("embeddings.LayerNorm", &sum, &norm))
    }

    /// What is added to attention scores, batch × 1 × 1 × sequence: 0 for a token, and the lowest
    /// finite number for padding, whose share is then exactly 0. An infinite one would make NaN of
    /// a row without tokens.
    fn attention_bias(&mut self, mask: &Value) -> Value {
        let axes = self.graph.integers(&[1, 2]);
        let mask = self.graph.op("Unsqueeze", &[mask, &axes]);
        let one = self.graph.scalar(1.0);
        let lowest = self.graph.scalar(f32::MIN);
        let padding = self.graph.op("Sub", &[&one, &mask]);
        self.graph.op("Mul", &[&padding, &lowest])
    }

    fn layer(&mut self, layer: usize, states: &Value, bias: &Value) -> Result<Value, OnnxError> {
        let prefix = format!("encoder.layer.{layer}");
        let weights = self.checkpoint.layer(layer)?;
        let activation = self.checkpoint.config.hidden_act;
        let peaks = self.sample.as_mut().map(|sample| sample.pass(&weights));
        let inputs = peaks.map(|peaks| LayerInputs::new(&peaks, activation));
        let layer = Layer { weights, inputs };

        let attended = self.attention(&format!("{prefix}.attention"), states, bias, &layer);
        let Layer { weights, inputs } = layer;
        let name = format!("{prefix}.attention.output.LayerNorm");
        let states = self.graph.op("Add", &[&attended, states]);
        let states = self.layer_norm(&name, &states, &weights.attention_norm);

        let name = format!("{prefix}.intermediate.dense");
        let middle = inputs.as_ref().map(|inputs| &inputs.middle);
        let hidden = self.linear(&name, &states, &weights.intermediate, middle);
        let hidden = self.activation(&hidden);
        let activated = inputs.as_ref().map(|inputs| &inputs.activated);
        let name = format!("{prefix}.output.dense");
        let output = self.linear(&name, &hidden, &weights.output, activated);
        let states = self.graph.op("Add", &[&output, &states]);
        let name = format!("{prefix}.output.LayerNorm");
        Ok(self.layer_norm(&name, &states, &weights.output_norm))
    }

    /// softmax(q kᵀ / √d + bias) v for every head, and the layer that joins the heads.
    fn attention(&mut self, prefix: &str, states: &Value, bias: &Value, layer: &Layer) -> Value {
        /// batch × sequence × heads × d to batch × heads × sequence × d, and back.
        const SWAP_HEADS: &[i64] = &[0, 2, 1, 3];
        /// batch × sequence × heads × d to batch × heads × d × sequence.
        const TRANSPOSE_HEADS: &[i64] = &[0, 2, 3, 1];

        let width = self.checkpoint.config.hidden_size;
        let weights = &layer.weights;
        let [query, key, value] = match &layer.inputs {
            Some(inputs) => self.quantized_projections(prefix, states, weights, &inputs.states),
            None => {
                let parts =
                    [("query", &weights.query), ("key", &weights.key), ("value", &weights.value)];
                parts.map(|(name, part)| {
                    self.linear(&format!("{prefix}.self.{name}"), states, part, None)
                })
            }
        };
        let query = self.heads(&query, SWAP_HEADS);
        let key = self.heads(&key, TRANSPOSE_HEADS);
        let value = self.heads(&value, SWAP_HEADS);

        let scale = (self.checkpoint.config.head_size() as f32).sqrt();
        let scale = self.graph.scalar(scale);
        let scores = self.graph.op("MatMul", &[&query, &key]);
        let scores = self.graph.op("Div", &[&scores, &scale]);
        let scores = self.graph.op("Add", &[&scores, bias]);
        let shares = self.graph.op_with("Softmax", &[&scores], &[Attribute::Int("axis", -1)]);

        let context = self.graph.op("MatMul", &[&shares, &value]);
        let swap = [Attribute::Ints("perm", SWAP_HEADS)];
        let context = self.graph.op_with("Transpose", &[&context], &swap);
        // 0 keeps a dimension as it is.
        let joined = self.graph.integers(&[0, 0, width as i64]);
        let context = self.graph.op("Reshape", &[&context, &joined]);
        let inputs = layer.inputs.as_ref().map(|inputs| &inputs.context);
        let name = format!("{prefix}.output.dense");
        self.linear(&name, &context, &weights.attention_output, inputs)
    }

    /// A projection of the states, cut into heads; `order` arranges the dimensions
    /// batch × sequence × heads × d.
    fn heads(&mut self, projected: &Value, order: &'static [i64]) -> Value {
        let heads = self.checkpoint.config.num_attention_heads as i64;
        let cut = [0, 0, heads, self.checkpoint.config.head_size() as i64];
        let cut = self.graph.integers(&cut);
        let cut = self.graph.op("Reshape", &[projected, &cut]);
        let order = [Attribute::Ints("perm", order)];
        self.graph.op_with("Transpose", &[&cut], &order)
    }

    fn activation(&mut self, x: &Value) -> Value {
        match self.checkpoint.config.hidden_act {
            Activation::Gelu => self.graph.op("Gelu", &[x]),
            Activation::GeluTanh => {
                let tanh = [Attribute::Text("approximate", "tanh")];
                self.graph.op_with("Gelu", &[x], &tanh)
            }
            Activation::Relu => self.graph.op("Relu", &[x]),
        }
    }

    /// An embedding table: rows × width.
    fn table(&mut self, kind: &str, values: &[f32]) -> Value {
        let name = format!("embeddings.{kind}_embeddings.weight");
        let width = self.checkpoint.config.hidden_size;
        self.graph.weight(&name, &[values.len() / width, width], values)
    }

    /// x W + b, in 8 bits if something is known of x. PyTorch's W is outputs × inputs; ONNX
    /// multiplies by inputs × outputs.
    fn linear(&mut self, name: &str, x: &Value, linear: &Linear, inputs: Option<&Inputs>) -> Value {
        if let Some(inputs) = inputs {
            return self.quantized_linear(name, x, linear, inputs);
        }
        let outputs = linear.bias.len();
        let inputs = linear.weight.len() / outputs;
        let weight = transpose(&linear.weight, inputs);
        let weight = self.graph.weight(&format!("{name}.weight"), &[inputs, outputs], &weight);
        let bias = self.graph.weight(&format!("{name}.bias"), &[outputs], &linear.bias);
        let product = self.graph.op("MatMul", &[x, &weight]);
        self.graph.op("Add", &[&product, &bias])
    }

    fn layer_norm(&mut self, name: &str, x: &Value, norm: &Norm) -> Value {
        let width = norm.gamma.len();
        let weight = self.graph.weight(&format!("{name}.weight"), &[width], &norm.gamma);
        let bias = self.graph.weight(&format!("{name}.bias"), &[width], &norm.beta);
        let epsilon = self.checkpoint.config.layer_norm_eps;
        let attributes = [Attribute::Int("axis", -1), Attribute::Float("epsilon", epsilon)];
        self.graph.op_with("LayerNormalization", &[x, &weight, &bias], &attributes)
    }

    /// Mean of the token states, padding left out: batch × width. A row without tokens gives 0.
    fn mean(&mut self, states: &Value, mask: &Value) -> Value {
        /// sentence-transformers' guard against division by zero.
        const FEWEST_TOKENS: f32 = 1e-9;

        let sequence = self.graph.integers(&[1]);
        let width = self.graph.integers(&[2]);
        let column = self.graph.op("Unsqueeze", &[mask, &width]);
        let tokens = self.graph.op("Mul", &[states, &column]);
        let drop = [Attribute::Int("keepdims", 0)];
        let sum = self.graph.op_with("ReduceSum", &[&tokens, &sequence], &drop);
        let count = self.graph.op("ReduceSum", &[mask, &sequence]);
        let fewest = self.graph.scalar(FEWEST_TOKENS);
        let count = self.graph.op("Max", &[&count, &fewest]);
        self.graph.op("Div", &[&sum, &count])
    }

    /// State of the first token: batch × width.
    fn first(&mut self, states: &Value) -> Value {
        let first = self.graph.integer(0);
        let sequence = [Attribute::Int("axis", 1)];
        self.graph.op_with("Gather", &[states, &first], &sequence)
    }

    /// x / max(‖x‖₂, ε).
    fn normalize(&mut self, x: &Value) -> Value {
        /// The default of PyTorch's `torch.nn.functional.normalize`.
        const SHORTEST: f32 = 1e-12;

        let width = self.graph.integers(&[1]);
        let length = self.graph.op("ReduceL2", &[x, &width]);
        let shortest = self.graph.scalar(SHORTEST);
        let length = self.graph.op("Max", &[&length, &shortest]);
        self.graph.op("Div", &[x, &length])
    }

    fn cast_to_f32(&mut self, x: &Value) -> Value {
        let to = [Attribute::Int("to", DataType::Float as i64)];
        self.graph.op_with("Cast", &[x], &to)
    }
}

/// A row-major matrix with rows and columns exchanged.
pub(super) fn transpose(matrix: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| matrix.iter().skip(column).step_by(columns).copied()).collect()
}

#[cfg(test)]
mod tests;
