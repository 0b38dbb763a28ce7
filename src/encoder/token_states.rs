//! Texts in, a vector for each of their tokens out.

use std::slice::ChunksExact;

use crate::encoder::readout::Readout;
use crate::encoder::tokenizer::Truncation;
use crate::encoder::{Class, Deadline, EmbedOptions, EncodeError, Encoder, Spent};

/// A request for the states of tokens may have this part of the tokens that others may: its answer
/// has a vector for each.
const SHARE_OF_TOKENS: usize = 8;

/// One vector a token, special ones included, in the order of the texts.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenStates {
    /// Row-major: tokens of all texts × width.
    pub values: Vec<f32>,
    pub width: usize,
    /// Tokens of each text.
    pub lengths: Vec<usize>,
    pub spent: Spent,
}

impl TokenStates {
    /// The vectors of each text.
    pub fn texts(&self) -> impl Iterator<Item = ChunksExact<'_, f32>> {
        let mut rest = &self.values[..];
        self.lengths.iter().map(move |tokens| {
            let (text, later) = rest.split_at(tokens * self.width);
            rest = later;
            text.chunks_exact(self.width)
        })
    }

    /// Tokens of all texts.
    pub fn tokens(&self) -> usize {
        self.lengths.iter().sum()
    }
}

impl Encoder {
    /// The last layer's states of texts before which their prompts stand already, neither pooled nor
    /// normalised.
    ///
    /// Dropping the future withdraws the request, as with [`Encoder::embed`].
    ///
    /// # Errors
    /// [`EncodeError::NoTokenStates`] where the model's graph does not give them.
    pub async fn token_states(
        &self,
        texts: Vec<String>,
        truncation: Truncation,
        class: Class,
        deadline: Deadline,
    ) -> Result<TokenStates, EncodeError> {
        let width = self.width(Readout::Tokens)?;
        let options =
            EmbedOptions { truncation, prompted: true, ..EmbedOptions::new(class, deadline) };
        let (vectors, lengths) = self.encode_texts(texts, Readout::Tokens, options).await?;
        Ok(TokenStates { values: vectors.values, width, lengths, spent: vectors.spent })
    }

    /// Elements of a vector.
    pub(super) fn width(&self, readout: Readout) -> Result<usize, EncodeError> {
        match readout {
            Readout::Sentence => Ok(self.info.dimensions),
            Readout::Tokens => match &self.info.token_states {
                Some(states) => Ok(states.dimensions),
                None => Err(EncodeError::NoTokenStates { output: self.info.output_name.clone() }),
            },
        }
    }

    /// The most tokens of a request.
    pub(super) fn most_tokens(&self, readout: Readout) -> usize {
        match readout {
            Readout::Sentence => self.tokens_per_request,
            Readout::Tokens => self.tokens_per_request.div_ceil(SHARE_OF_TOKENS),
        }
    }
}
