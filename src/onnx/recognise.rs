//! Recognises a BERT in a stock fp32 ONNX export, and draws its weights out.
//!
//! Exporters write the same model in many ways: a layer norm as one operator or as nine, masks as
//! sums or as index arithmetic, weights under their names or under numbers. So names and patterns
//! do not count. The graph is walked through from its inputs; what does not depend on the words of
//! a text is computed, for a text without padding, and all else gets its exact meaning (`term`). It
//! is a BERT if the meaning of its output is one. This is done for two sizes of batch, which must
//! agree: then no size is built in.
//!
//! | file | what |
//! |---|---|
//! | `interpreter` | the walk |
//! | `node` | attributes, and shapes that nodes make |
//! | `tensor`, `fold`, `elementwise` | constants, and operators on them |
//! | `term`, `rules`, `arithmetic` | meanings, and operators on them |
//! | `view` | dimensions cut into heads and joined again |
//! | `pointwise` | which activation |
//! | `assemble` | from meanings to weights |

mod arithmetic;
mod assemble;
mod elementwise;
mod fold;
mod interpreter;
mod node;
mod pointwise;
mod rules;
mod tensor;
mod term;
mod view;

use assemble::Assembler;
use interpreter::{Constants, Interpreter, Sizes};
use term::{Meaning, TermId};

use super::{
    bert::{
        config::BertConfig,
        weights::{BertShape, BertWeights},
    },
    error::OnnxError,
    inspect,
    proto::{GraphProto, ModelProto},
};
use crate::encoder::folder::Pooling;

/// The most positions of a BERT that is looked for: masks have their square of elements. A damaged
/// configuration could say any number.
const MOST_POSITIONS: usize = 1 << 11;

/// Why a node or a value is not one of a BERT.
type Reason = String;

/// A BERT that was found in a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Recognised {
    pub weights: BertWeights,
    /// The outputs of the graph, in its order.
    pub outputs: Vec<(String, Result<Tail, Unrecognised>)>,
}

/// What a graph makes of the last layer's token states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Nothing: batch × tokens × hidden.
    TokenStates,
    /// One vector for each sentence, batch × hidden.
    Pooled {
        pooling: Pooling,
        /// Whether they are scaled to length 1.
        normalized: bool,
    },
}

/// Why a graph was not recognised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unrecognised {
    /// The configuration is not one of a BERT, or the file is no ONNX file.
    #[error("{0}")]
    Unreadable(String),

    #[error("the graph wants the input `{0}`, which is none of a BERT")]
    Input(String),

    #[error("node `{node}` ({operator}): {reason}")]
    Node { node: String, operator: String, reason: String },

    #[error("{makes} of node `{node}`: {reason}")]
    Structure { node: String, makes: &'static str, reason: String },

    #[error("output `{output}`: {reason}")]
    Output { output: String, reason: String },

    #[error("config.json says {config} for `{key}`, but the graph has {graph}")]
    Differs { key: &'static str, config: String, graph: String },

    #[error("the graph is another one for other sizes of batches")]
    DependsOnSize,

    #[error("the graph has no output that is made from a BERT's last token states")]
    NoOutput,
}

impl BertWeights {
    /// Draws the weights out of a stock fp32 ONNX export of the BERT that `config_json` describes;
    /// see [`recognise`], which also tells what the graph's outputs are.
    ///
    /// # Errors
    /// See [`Unrecognised`].
    pub fn from_onnx(graph: impl bytes::Buf, config_json: &[u8]) -> Result<Self, Unrecognised> {
        recognise(graph, config_json).map(|recognised| recognised.weights)
    }
}

/// Recognises the BERT that `config_json` describes in an ONNX file. [`bytes::Bytes`] are shared
/// rather than copied.
///
/// What is recognised computes, for a sentence without padding, the same as the file: embeddings
/// of words, positions and the first token type, attention and feed-forward layers that are
/// normalised after they are added, in f32.
///
/// # Errors
/// [`Unrecognised`] tells where the file differs from that.
pub fn recognise(graph: impl bytes::Buf, config_json: &[u8]) -> Result<Recognised, Unrecognised> {
    let unreadable = |error: OnnxError| Unrecognised::Unreadable(error.to_string());
    let config = BertConfig::parse(config_json).map_err(unreadable)?;
    let expected = BertShape::from(&config);
    if expected.max_positions > MOST_POSITIONS {
        return Err(Unrecognised::Unreadable(format!(
            "config.json: `max_position_embeddings` is {}; those of up to {MOST_POSITIONS} are known",
            expected.max_positions
        )));
    }
    let model = ModelProto::from_bytes(graph).map_err(unreadable)?;
    let graph = model.graph.as_ref().ok_or(OnnxError::NoGraph).map_err(unreadable)?;
    refuse_quantized(graph)?;

    let constants = Constants::of(graph);
    // The small one has sizes that nothing else has, so that one is not taken for another.
    let small = Sizes { sentences: 3, tokens: expected.max_positions.min(7) };
    let small = Reading::of(&model, graph, &constants, small)?;
    let whole = Sizes { sentences: 2, tokens: expected.max_positions };
    let whole = Reading::of(&model, graph, &constants, whole)?;

    if !small.agrees_with(&whole) {
        return Err(Unrecognised::DependsOnSize);
    }
    compare(&expected, &whole.weights.shape)?;
    Ok(Recognised { weights: whole.weights, outputs: whole.outputs })
}

/// A graph as it is for one size of batch.
struct Reading {
    weights: BertWeights,
    outputs: Vec<(String, Result<Tail, Unrecognised>)>,
}

impl Reading {
    fn of<'file>(
        model: &'file ModelProto,
        graph: &'file GraphProto,
        constants: &'file Constants<'file>,
        sizes: Sizes,
    ) -> Result<Self, Unrecognised> {
        let interpreter = Interpreter::run(model, graph, constants, sizes);
        let mut last: Option<(TermId, BertWeights)> = None;
        let mut outputs = Vec::new();
        for output in &graph.output {
            let found = tail(&interpreter, &output.name).and_then(|(tail, states)| {
                match &last {
                    Some((id, _)) if *id == states => {}
                    Some(_) => {
                        let reason = "it comes from other states than the output before it";
                        let (output, reason) = (output.name.clone(), reason.to_owned());
                        return Err(Unrecognised::Output { output, reason });
                    }
                    None => last = Some((states, Assembler::assemble(&interpreter, states)?)),
                }
                Ok(tail)
            });
            outputs.push((output.name.clone(), found));
        }
        match last {
            Some((_, weights)) => Ok(Self { weights, outputs }),
            None => {
                let first = outputs.into_iter().find_map(|(_, found)| found.err());
                Err(first.unwrap_or(Unrecognised::NoOutput))
            }
        }
    }

    /// Whether both are the same, but for how many positions they use.
    fn agrees_with(&self, whole: &Self) -> bool {
        let (a, b) = (&self.weights, &whole.weights);
        let tokens = a.shape.max_positions;
        let shape = BertShape { max_positions: tokens, ..b.shape };
        self.outputs == whole.outputs
            && a.shape == shape
            && a.words == b.words
            && b.positions.starts_with(&a.positions)
            && a.segment == b.segment
            && a.embeddings_norm == b.embeddings_norm
            && a.layers == b.layers
    }
}

/// What an output is, and the token states that it is made from.
fn tail(graph: &Interpreter, output: &str) -> Result<(Tail, TermId), Unrecognised> {
    let id = graph.output(output)?;
    match graph.meaning(id) {
        Meaning::States { .. } => Ok((Tail::TokenStates, id)),
        &Meaning::Pooled { states, pooling } => {
            Ok((Tail::Pooled { pooling, normalized: false }, states))
        }
        &Meaning::Normalized { states, pooling } => {
            Ok((Tail::Pooled { pooling, normalized: true }, states))
        }
        other => Err(Unrecognised::Output {
            output: output.to_owned(),
            reason: format!("{} are neither token states nor pooled ones", other.in_words()),
        }),
    }
}

/// Said first, so that the reason is not merely the first node that was met.
fn refuse_quantized(graph: &GraphProto) -> Result<(), Unrecognised> {
    match graph.node.iter().find(|node| inspect::is_quantized(node)) {
        Some(node) => Err(Unrecognised::Node {
            node: node.name.clone(),
            operator: node.op_type.clone(),
            reason: "the graph computes with 8-bit numbers; only fp32 graphs are known".into(),
        }),
        None => Ok(()),
    }
}

fn compare(config: &BertShape, graph: &BertShape) -> Result<(), Unrecognised> {
    let sizes = |shape: &BertShape| {
        [
            ("vocab_size", shape.vocabulary),
            ("hidden_size", shape.hidden),
            ("num_hidden_layers", shape.layers),
            ("num_attention_heads", shape.heads),
            ("intermediate_size", shape.intermediate),
        ]
    };
    for ((key, config), (_, graph)) in sizes(config).into_iter().zip(sizes(graph)) {
        differs(key, config, graph)?;
    }
    differs("layer_norm_eps", config.eps, graph.eps)?;
    differs("hidden_act", config.activation, graph.activation)
}

fn differs<T: PartialEq + std::fmt::Debug>(
    key: &'static str,
    config: T,
    graph: T,
) -> Result<(), Unrecognised> {
    match config == graph {
        true => Ok(()),
        false => {
            let (config, graph) = (format!("{config:?}"), format!("{graph:?}"));
            Err(Unrecognised::Differs { key, config, graph })
        }
    }
}

#[cfg(test)]
mod tests;
