//! Tokens with their places in a text, and ids back to text: for those who look at what a model reads.
//! The library does this for every tokenizer.

use std::ops::Range;

use super::{Tokenizer, TokenizerError};

/// A token and where it stands in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedToken {
    pub id: u32,
    /// The part of the text that it stands for; of a special token, its name.
    pub text: String,
    /// In characters; `None` for a special token, which the text does not have.
    pub range: Option<Range<usize>>,
}

impl Tokenizer {
    /// All tokens of a text, however many a model takes.
    pub fn place(
        &self,
        text: &str,
        special_tokens: bool,
    ) -> Result<Vec<PlacedToken>, TokenizerError> {
        let refused = |cause: tokenizers::Error| TokenizerError::Refused(cause.to_string());
        let encoding = self.library.encode_char_offsets(text, special_tokens).map_err(refused)?;
        let starts: Vec<usize> =
            text.char_indices().map(|(start, _)| start).chain([text.len()]).collect();
        let place = |index: usize| {
            let (start, end) = encoding.get_offsets()[index];
            let (text, range) = match encoding.get_special_tokens_mask()[index] {
                1 => (encoding.get_tokens()[index].clone(), None),
                _ => (text[starts[start]..starts[end]].to_owned(), Some(start..end)),
            };
            PlacedToken { id: encoding.get_ids()[index], text, range }
        };
        Ok((0..encoding.len()).map(place).collect())
    }

    /// The text that has these ids, or one like it: what was normalised away is gone.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, TokenizerError> {
        let text = self.library.decode(ids, skip_special_tokens);
        text.map_err(|cause| TokenizerError::Refused(cause.to_string()))
    }
}
