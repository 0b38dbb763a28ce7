//! What the values of a BERT mean.

use std::rc::Rc;

use super::{tensor::Tensor, view::View};
use crate::encoder::folder::Pooling;

/// Which value: an index into all that were met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TermId(pub usize);

/// A value that depends on the words of a text.
#[derive(Clone, Debug)]
pub(super) struct Term {
    pub meaning: Meaning,
    pub shape: Vec<usize>,
    /// Name of the node that made it, for error messages.
    pub node: String,
}

/// The formula of a value. Every one is exact: what a graph adds to it or leaves out makes another
/// meaning, or none.
#[derive(Clone, Debug)]
pub(super) enum Meaning {
    /// The input `input_ids`.
    Ids,
    /// A row of `words` for each id, plus constants.
    Embeddings { words: Rc<Tensor>, addends: Vec<Rc<Tensor>> },
    /// A linear layer's output plus states.
    Residual { linear: TermId, states: TermId },
    /// A step on the way to the layer norm of `of`.
    Norm { of: TermId, step: NormStep },
    /// The layer norm of `of`, less its beta.
    Gained { of: TermId, eps: f32, gamma: Rc<Tensor> },
    /// The layer norm of `of`: token states.
    States { of: TermId, eps: f32, gamma: Rc<Tensor>, beta: Rc<Tensor> },
    /// x · weight, with a weight of inputs × outputs.
    Product { x: TermId, weight: Rc<Tensor> },
    /// x · weight + bias.
    Linear { x: TermId, weight: Rc<Tensor>, bias: Rc<Tensor> },
    /// A function of each element of a linear layer's output, as its values at
    /// [`grid`](super::pointwise::grid).
    Pointwise { linear: TermId, values: Rc<[f64]> },
    /// `of`, with its dimensions cut, joined and moved, times `scale`.
    View { of: TermId, view: View, scale: f64 },
    /// scale · query · keyᵀ for every head.
    Scores { query: TermId, key: TermId, scale: f64, heads: usize },
    /// softmax of the scores over keys.
    Shares { query: TermId, key: TermId, scale: f64, heads: usize },
    /// Where one of these is not a number.
    IsNaN { of: TermId },
    /// Shares · value for every head.
    Attention { query: TermId, key: TermId, value: TermId, scale: f64, heads: usize },
    /// The states of first tokens, batch × 1 × width.
    FirstStates { states: TermId },
    /// Sum of the states of all tokens.
    TokenSum { states: TermId },
    /// One vector for each sentence.
    Pooled { states: TermId, pooling: Pooling },
    /// Squares of a sentence's vector.
    Squares { pooled: TermId },
    /// Sum of these squares.
    SquaredLength { pooled: TermId },
    /// Euclidean length of a sentence's vector.
    Length { pooled: TermId },
    /// A sentence's vector, scaled to length 1.
    Normalized { states: TermId, pooling: Pooling },
}

/// Steps of a layer norm that is written as single operators.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum NormStep {
    Mean,
    Centred,
    Squared,
    Variance,
    /// Variance + eps.
    Padded {
        eps: f32,
    },
    /// √(variance + eps)
    Deviation {
        eps: f32,
    },
    InverseDeviation {
        eps: f32,
    },
    Normalized {
        eps: f32,
    },
}

impl Meaning {
    /// In words, for error messages.
    pub fn in_words(&self) -> &'static str {
        match self {
            Self::Ids => "token ids",
            Self::Embeddings { .. } => "embeddings",
            Self::Residual { .. } => "a layer's output plus its input",
            Self::Norm { .. } | Self::Gained { .. } => "part of a layer norm",
            Self::States { .. } => "token states",
            Self::Product { .. } => "a matrix product",
            Self::Linear { .. } => "a linear layer's output",
            Self::Pointwise { .. } => "an activation",
            Self::View { .. } => "a rearranged linear layer's output",
            Self::Scores { .. } => "attention scores",
            Self::Shares { .. } => "attention shares",
            Self::IsNaN { .. } => "a test for NaN",
            Self::Attention { .. } => "attention",
            Self::FirstStates { .. } => "states of first tokens",
            Self::TokenSum { .. } => "sums over tokens",
            Self::Pooled { .. } => "sentence vectors",
            Self::Squares { .. } | Self::SquaredLength { .. } | Self::Length { .. } => {
                "lengths of sentence vectors"
            }
            Self::Normalized { .. } => "normalised sentence vectors",
        }
    }
}
