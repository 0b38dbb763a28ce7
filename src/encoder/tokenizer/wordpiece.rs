//! BERT's tokenizer, made for speed: the ids that the `tokenizers` library gives, many times faster.
//!
//! A text is cut at added tokens, what is between them into words, and a word into pieces, in one
//! pass each and without a look at where in the text a token came from.

mod added;
mod pieces;
mod words;

use std::ops::ControlFlow;

pub use crate::encoder::tokenizer::wordpiece::added::AddedTokens;
pub use crate::encoder::tokenizer::wordpiece::pieces::Pieces;
pub use crate::encoder::tokenizer::wordpiece::words::{Rules, Words};

/// A BERT tokenizer without the special tokens around a sentence.
pub struct WordPiece {
    added: AddedTokens,
    words: Words,
    pieces: Pieces,
}

impl WordPiece {
    pub fn new(added: AddedTokens, words: Words, pieces: Pieces) -> WordPiece {
        WordPiece { added, words, pieces }
    }

    /// The ids of a text; those of its beginning, at least `enough`, if it has so many.
    pub fn encode(&self, text: &str, enough: usize) -> Vec<u32> {
        let mut ids = Vec::with_capacity(enough.min(text.len() / 4 + 4));
        let mut rest = text;
        while ids.len() < enough {
            let added = self.added.find(rest);
            let before = added.as_ref().map_or(rest, |added| &rest[..added.range.start]);
            let stopped = self.words.each(before, |word| {
                self.pieces.cut(word, &mut ids);
                if ids.len() < enough { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            match added {
                Some(added) if stopped.is_continue() => {
                    ids.push(added.id);
                    rest = &rest[added.range.end..];
                }
                _ => break,
            }
        }
        ids
    }
}
