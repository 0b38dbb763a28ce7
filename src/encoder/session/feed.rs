//! The sentences of a micro-batch as the inputs of a graph.

use std::borrow::Cow;

use ort::session::SessionInputValue;
use ort::value::TensorRef;

use crate::encoder::batch::{PaddedBatch, RaggedBatch};
use crate::encoder::readout::Readout;

/// Values by the names of the graph's inputs.
pub(super) type Inputs<'a> = Vec<(Cow<'a, str>, SessionInputValue<'a>)>;

/// How a graph wants its sentences.
pub(super) enum Feed {
    /// Padded to the longest with `pad_token_id`.
    Padded { batch: PaddedBatch, pad_token_id: u32, token_type_ids: bool },
    /// One after another, with a word on what is to be read out.
    Ragged,
}

impl Feed {
    /// The graph's inputs for the sentences of `batch`.
    pub fn inputs<'a>(
        &'a mut self,
        batch: &'a RaggedBatch,
        readout: Readout,
    ) -> Result<Inputs<'a>, ort::Error> {
        match self {
            Feed::Padded { batch: padded, pad_token_id, token_type_ids } => {
                padded.fill(batch, *pad_token_id);
                let shape = [padded.sentences, padded.tokens];
                let tensor = |values| TensorRef::<i64>::from_array_view((shape, values));
                let mut inputs: Inputs<'a> = vec![
                    ("input_ids".into(), tensor(&*padded.input_ids)?.into()),
                    ("attention_mask".into(), tensor(&*padded.attention_mask)?.into()),
                ];
                if *token_type_ids {
                    inputs.push(("token_type_ids".into(), tensor(&*padded.token_type_ids)?.into()));
                }
                Ok(inputs)
            }
            Feed::Ragged => {
                let tensor =
                    |values: &'a [u32]| TensorRef::<u32>::from_array_view(([values.len()], values));
                let ends = &batch.offsets()[1..];
                let of_tokens: &[bool] = match readout {
                    Readout::Sentence => &[false],
                    Readout::Tokens => &[true],
                };
                let of_tokens = TensorRef::<bool>::from_array_view(((), of_tokens))?;
                Ok(vec![
                    ("input_ids".into(), tensor(batch.ids())?.into()),
                    ("sentence_ends".into(), tensor(ends)?.into()),
                    ("of_tokens".into(), of_tokens.into()),
                ])
            }
        }
    }
}
