//! Text to token ids. The only place that names the `tokenizers` crate.

use std::ops::Range;
use std::path::{Path, PathBuf};

use tokenizers::{PostProcessor, TruncationDirection};

/// A model's tokenizer with the model's own length limit.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    max_tokens: usize,
    /// Tokens that the model wants around every sentence, such as `[CLS]` and `[SEP]`.
    special_tokens: usize,
}

/// What happens to an input with more tokens than the model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncation {
    /// Its end is cut off.
    Right,
    /// Its beginning is cut off.
    Left,
    /// It is refused.
    Refuse,
}

/// One input as the model reads it, special tokens included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    pub ids: Vec<u32>,
    /// Whether tokens were cut off.
    pub truncated: bool,
}

/// Why a tokenizer could not be loaded, or a text not be tokenised.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    #[error("{} is missing: a model folder needs the tokenizer.json of the `tokenizers` library", .0.display())]
    Missing(PathBuf),
    #[error("{} is not a valid tokenizer: {cause}", path.display())]
    Invalid { path: PathBuf, cause: String },
    #[error(
        "the limit of {max_tokens} tokens leaves no room beside {special_tokens} special tokens"
    )]
    NoRoom { max_tokens: usize, special_tokens: usize },
    #[error("the input has at least {tokens} tokens, more than the model's limit of {max_tokens}")]
    TooLong { tokens: usize, max_tokens: usize },
    #[error("the tokenizer refused the input: {0}")]
    Refused(String),
}

/// Cuts texts into runs that take some tens of milliseconds to tokenise, longer only where the last
/// text of a run does.
pub fn turns(texts: &[String]) -> Vec<Range<usize>> {
    // About 2.5 MB/s on one core.
    const BYTES: usize = 1 << 16;
    let mut turns = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, text) in texts.iter().enumerate() {
        bytes += text.len();
        if bytes >= BYTES {
            turns.push(start..index + 1);
            (start, bytes) = (index + 1, 0);
        }
    }
    if start < texts.len() {
        turns.push(start..texts.len());
    }
    turns
}

impl Tokenizer {
    /// Loads `tokenizer.json` from a model folder.
    ///
    /// The file's own padding and truncation are switched off: upstream files carry those of the
    /// training run (all-MiniLM-L6-v2 pads to and cuts at 128 although the model takes 256), which
    /// would make short texts slow and long ones wrong.
    pub fn open(folder: &Path, max_tokens: usize) -> Result<Tokenizer, TokenizerError> {
        let path = folder.join("tokenizer.json");
        if !path.is_file() {
            return Err(TokenizerError::Missing(path));
        }
        let invalid = |cause: tokenizers::Error| TokenizerError::Invalid {
            path: path.clone(),
            cause: cause.to_string(),
        };
        let mut inner = tokenizers::Tokenizer::from_file(&path).map_err(invalid)?;
        inner.with_padding(None).with_truncation(None).map_err(invalid)?;
        let special_tokens =
            inner.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        if max_tokens <= special_tokens {
            return Err(TokenizerError::NoRoom { max_tokens, special_tokens });
        }
        Ok(Tokenizer { inner, max_tokens, special_tokens })
    }

    /// The number of entries of the vocabulary, added tokens included.
    pub fn vocabulary_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// About how many tokens `text` costs, before it is tokenised. English has some four bytes a
    /// token; what is cut off counts too, as it takes up memory and is tokenised all the same.
    pub fn estimate(&self, text: &str) -> usize {
        text.len() / 4 + self.special_tokens
    }

    /// Tokenises one text.
    ///
    /// # Errors
    /// [`TokenizerError::TooLong`] with [`Truncation::Refuse`].
    pub fn encode(&self, text: &str, truncation: Truncation) -> Result<Tokens, TokenizerError> {
        let refused = |cause: tokenizers::Error| TokenizerError::Refused(cause.to_string());
        let room = self.max_tokens - self.special_tokens;
        let mut encoding = self.encode_enough(text, truncation, room).map_err(refused)?;
        let truncated = encoding.len() > room;
        if truncated {
            let direction = match truncation {
                Truncation::Right => TruncationDirection::Right,
                Truncation::Left => TruncationDirection::Left,
                Truncation::Refuse => {
                    let tokens = encoding.len() + self.special_tokens;
                    return Err(TokenizerError::TooLong { tokens, max_tokens: self.max_tokens });
                }
            };
            encoding.truncate(room, 0, direction);
        }
        let encoding = self.inner.post_process(encoding, None, true).map_err(refused)?;
        Ok(Tokens { ids: encoding.get_ids().to_vec(), truncated })
    }

    /// Tokenises a text, or so much of its kept end that what is left out cannot change the first
    /// (with [`Truncation::Left`] the last) `room` tokens.
    fn encode_enough(
        &self,
        text: &str,
        truncation: Truncation,
        room: usize,
    ) -> Result<tokenizers::Encoding, tokenizers::Error> {
        let mut bytes = FIRST_PART;
        loop {
            let part = match truncation {
                Truncation::Left => end_of(text, bytes),
                Truncation::Right | Truncation::Refuse => start_of(text, bytes),
            };
            let encoding = self.inner.encode_fast(part, false)?;
            // Twice the room: next to a cut, a text may be tokenised otherwise than in one piece.
            if part.len() == text.len() || encoding.len() > 2 * room {
                return Ok(encoding);
            }
            bytes *= 4;
        }
    }
}

/// Bytes of a long text that are tokenised at first: far more than a model's limit is made of.
const FIRST_PART: usize = 1 << 16;

/// About the first `bytes` of a text, cut before white space; all of it where it has none there.
fn start_of(text: &str, bytes: usize) -> &str {
    let end = text.floor_char_boundary(bytes);
    if end == text.len() {
        return text;
    }
    text[..end].rfind(char::is_whitespace).map_or(text, |space| &text[..space])
}

/// About the last `bytes` of a text, cut at white space; all of it where it has none there.
fn end_of(text: &str, bytes: usize) -> &str {
    let start = text.ceil_char_boundary(text.len().saturating_sub(bytes));
    if start == 0 {
        return text;
    }
    text[start..].find(char::is_whitespace).map_or(text, |space| &text[start + space..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_gets_the_tokens_that_it_would_get_in_one_piece() {
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-bert/mean-normalized");
        let tokenizer = Tokenizer::open(&folder, 24).unwrap();
        let middle = "lorem ipsum, dolor \u{e9}. ".repeat(20_000);
        let text = format!("the beginning of it {middle} and this is its end");
        assert!(text.len() > 4 * FIRST_PART);
        for (truncation, kept) in
            [(Truncation::Right, &text[..200]), (Truncation::Left, &text[text.len() - 200..])]
        {
            let whole = tokenizer.encode(&text, truncation).unwrap();
            assert!(whole.truncated);
            assert_eq!(whole.ids, tokenizer.encode(kept, truncation).unwrap().ids);
        }
        let refused = tokenizer.encode(&text, Truncation::Refuse);
        assert!(matches!(refused, Err(TokenizerError::TooLong { max_tokens: 24, .. })));
        // Without white space there is no place to cut.
        let word = tokenizer.encode(&"x".repeat(4 * FIRST_PART), Truncation::Right).unwrap();
        assert!(!word.ids.is_empty());
    }
}
