//! The outputs of a graph that are read, and what they hold.

use std::borrow::Cow;

use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, Session};
use ort::value::{Outlet, ValueType};
use serde::Serialize;
use utoipa::ToSchema;

use crate::encoder::batch::RaggedBatch;
use crate::encoder::folder::Pooling;
use crate::encoder::pooling;
use crate::encoder::readout::Readout;
use crate::encoder::session::SessionError;

/// The outputs that hold sentence embeddings or token states, by the names that exporters give them.
/// Embeddings are read from the first one found, the states of tokens from the first that holds them.
pub(crate) const OUTPUTS: [&str; 3] = [EMBEDDING, "last_hidden_state", "token_embeddings"];

const EMBEDDING: &str = "sentence_embedding";

/// What a graph's output holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputKind {
    /// One state per token: batch × tokens × width. Pooling is ours.
    TokenStates,
    /// One vector per sentence: batch × width.
    Pooled,
}

/// What a graph made of the sentences of a batch.
pub struct Output<'a> {
    pub width: usize,
    readout: Readout,
    rows: Rows,
    batch: &'a RaggedBatch,
    /// Row-major: rows × width.
    values: &'a [f32],
}

/// What the rows of an output are.
#[derive(Clone, Copy)]
enum Rows {
    Sentences,
    /// Each sentence has as many as the longest has tokens.
    PaddedTokens {
        longest: usize,
    },
    Tokens,
}

impl<'a> Output<'a> {
    /// # Errors
    /// The shape is none of those that there are for the sentences of `batch`.
    pub(super) fn new(
        readout: Readout,
        batch: &'a RaggedBatch,
        shape: &[i64],
        values: &'a [f32],
    ) -> Result<Output<'a>, SessionError> {
        let (sentences, longest, tokens) = (batch.len(), batch.longest(), batch.ids().len());
        let sizes: Vec<usize> = shape.iter().filter_map(|&size| size.try_into().ok()).collect();
        let rows = match (readout, &sizes[..]) {
            (_, &[rows, states, _]) if (rows, states) == (sentences, longest) => {
                Some(Rows::PaddedTokens { longest })
            }
            (Readout::Sentence, &[rows, _]) if rows == sentences => Some(Rows::Sentences),
            (Readout::Tokens, &[rows, _]) if rows == tokens => Some(Rows::Tokens),
            _ => None,
        };
        let (Some(rows), Some(&width @ 1..)) = (rows, sizes.last()) else {
            let found = shape.to_vec();
            return Err(SessionError::OutputShape { found, sentences, tokens: longest });
        };
        Ok(Output { width, readout, rows, batch, values })
    }

    pub fn kind(&self) -> OutputKind {
        match self.rows {
            Rows::Sentences => OutputKind::Pooled,
            Rows::PaddedTokens { .. } | Rows::Tokens => OutputKind::TokenStates,
        }
    }

    /// The vectors of a sentence, row-major: one, pooled here where the graph has not done so, or one
    /// for each token.
    pub fn vectors(&self, sentence: usize, pooling: Option<Pooling>) -> Cow<'a, [f32]> {
        let ends = &self.batch.offsets()[sentence..];
        let (start, tokens) = (ends[0] as usize, (ends[1] - ends[0]) as usize);
        let (first, rows) = match self.rows {
            Rows::Sentences => (sentence, 1),
            Rows::PaddedTokens { longest } => (sentence * longest, tokens),
            Rows::Tokens => (start, tokens),
        };
        let values = &self.values[first * self.width..][..rows * self.width];
        if self.readout == Readout::Tokens || self.kind() == OutputKind::Pooled {
            return values.into();
        }
        let mut vector = vec![0.0; self.width];
        // Without a pooling the model is refused right after its first forward pass.
        pooling::pool(pooling.unwrap_or(Pooling::Mean), values, tokens, &mut vector);
        vector.into()
    }
}

/// An output that a session is asked for, and for no other beside it.
pub(super) struct Selected {
    pub name: String,
    pub run_options: RunOptions<HasSelectedOutputs>,
    /// Of the first time: callers count on that of the others.
    pub width: Option<usize>,
}

impl Selected {
    /// The output of a graph for this readout, if there is one.
    pub fn find(session: &Session, readout: Readout) -> Result<Option<Selected>, ort::Error> {
        let found = match readout {
            Readout::Sentence => embedding(session.outputs()),
            Readout::Tokens => token_states(session.outputs()),
        };
        let Some(output) = found else { return Ok(None) };
        let name = output.name().to_owned();
        let selected = OutputSelector::no_default().with(&name);
        let run_options = RunOptions::new()?.with_outputs(selected);
        Ok(Some(Selected { name, run_options, width: None }))
    }
}

/// The output with sentence vectors if it is named so, else the one with token states, else the
/// only one there is. `pooler_output` is never taken: it is the pre-training head's, not a sentence
/// embedding.
fn embedding(outputs: &[Outlet]) -> Option<&Outlet> {
    let only =
        || outputs.first().filter(|only| outputs.len() == 1 && only.name() != "pooler_output");
    named(outputs, &OUTPUTS).or_else(|| of_tokens(outputs)).or_else(only)
}

/// The output with token states. The one that embeddings are read from may hold them although neither
/// its name nor its type says so: a first forward pass shows it.
fn token_states(outputs: &[Outlet]) -> Option<&Outlet> {
    let unknown = || embedding(outputs).filter(|it| it.name() != EMBEDDING && rank(it) == 0);
    named(outputs, &OUTPUTS[1..]).or_else(|| of_tokens(outputs)).or_else(unknown)
}

fn named<'a>(outputs: &'a [Outlet], names: &[&str]) -> Option<&'a Outlet> {
    names.iter().find_map(|name| outputs.iter().find(|output| output.name() == *name))
}

fn of_tokens(outputs: &[Outlet]) -> Option<&Outlet> {
    outputs.iter().find(|output| rank(output) == 3)
}

/// The number of an output's dimensions; 0 where the graph does not say.
fn rank(output: &Outlet) -> usize {
    match output.dtype() {
        ValueType::Tensor { shape, .. } => shape.len(),
        _ => 0,
    }
}
