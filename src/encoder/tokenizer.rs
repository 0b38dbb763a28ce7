//! Text to token ids. The only place that names the `tokenizers` crate.
//!
//! The library reads every tokenizer. One that is BERT's is then run by our own `wordpiece`, which
//! gives the same ids at a fraction of the cost; any other by the library.

mod placed;
mod wordpiece;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokenizers::models::ModelWrapper;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::{Encoding, Token};

pub use placed::PlacedToken;

use crate::encoder::tokenizer::wordpiece::{AddedTokens, Pieces, Rules, WordPiece, Words};

/// A model's tokenizer with the model's own length limit.
pub struct Tokenizer {
    pipeline: Pipeline,
    /// For what the fast one cannot tell: the places of tokens, and texts from ids.
    library: Arc<tokenizers::Tokenizer>,
    max_tokens: usize,
    vocabulary_size: usize,
    /// The tokens that the model wants before every sentence, such as `[CLS]`.
    before: Vec<u32>,
    /// Those that it wants after it, such as `[SEP]`.
    after: Vec<u32>,
}

/// What cuts a text into tokens.
enum Pipeline {
    WordPiece(Box<WordPiece>),
    Library(Arc<tokenizers::Tokenizer>),
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
        "the limit of {max_tokens} tokens leaves no room beside the {special_tokens} special tokens of {}",
        path.display()
    )]
    NoRoom { path: PathBuf, max_tokens: usize, special_tokens: usize },
    #[error("the input has at least {tokens} tokens, more than the model's limit of {max_tokens}")]
    TooLong { tokens: usize, max_tokens: usize },
    #[error("the input has no tokens: nothing of it is left once it is normalised")]
    Nothing,
    #[error("the tokenizer refused the input: {0}")]
    Refused(String),
}

/// Cuts texts into runs that take at most some tens of milliseconds to tokenise, longer only where
/// the last text of a run does.
pub fn turns(texts: &[String]) -> Vec<Range<usize>> {
    // The library does about 2 MB/s on one core, our own some 50.
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

/// Where a model folder has its tokenizer.
pub fn file_in(folder: &Path) -> PathBuf {
    folder.join("tokenizer.json")
}

impl Tokenizer {
    /// Loads `tokenizer.json` from a model folder.
    ///
    /// The file's own padding and truncation are switched off: upstream files carry those of the
    /// training run (all-MiniLM-L6-v2 pads to and cuts at 128 although the model takes 256), which
    /// would make short texts slow and long ones wrong.
    pub fn open(folder: &Path, max_tokens: usize) -> Result<Tokenizer, TokenizerError> {
        let path = file_in(folder);
        if !path.is_file() {
            return Err(TokenizerError::Missing(path));
        }
        let invalid = |cause: tokenizers::Error| TokenizerError::Invalid {
            path: path.clone(),
            cause: cause.to_string(),
        };
        let mut library = tokenizers::Tokenizer::from_file(&path).map_err(invalid)?;
        library.with_padding(None).with_truncation(None).map_err(invalid)?;
        let (before, after) = special_tokens(&library).map_err(invalid)?;
        let special_tokens = before.len() + after.len();
        if max_tokens <= special_tokens {
            return Err(TokenizerError::NoRoom { path, max_tokens, special_tokens });
        }
        let vocabulary = library.get_vocab(true);
        let ids = vocabulary.values().chain(&before).chain(&after);
        let vocabulary_size = ids.max().map_or(0, |&highest| highest as usize + 1);
        let library = Arc::new(library);
        let pipeline = match word_piece(&library) {
            Ok(word_piece) => Pipeline::WordPiece(Box::new(word_piece)),
            Err(why) => {
                tracing::info!(tokenizer = %path.display(), why, "the slower library tokenises");
                Pipeline::Library(Arc::clone(&library))
            }
        };
        Ok(Tokenizer { pipeline, library, max_tokens, vocabulary_size, before, after })
    }

    /// One more than the greatest id that there is, those of added tokens included. Ids may be left
    /// out, so that the vocabulary may have fewer entries.
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary_size
    }

    /// About how many tokens `text` costs, before it is tokenised. English has some four bytes a
    /// token; what is cut off counts too, as it takes up memory and is tokenised all the same.
    pub fn estimate(&self, text: &str) -> usize {
        text.len() / 4 + self.before.len() + self.after.len()
    }

    /// Whether tokenising texts takes some tens of microseconds at most: too little to be worth
    /// another thread's wake-up, or to hold anyone up.
    pub fn is_quick(&self, texts: &[String]) -> bool {
        // Of our own tokenizer some 60 us of English, 230 us of words that are made to be slow.
        const BYTES: usize = 1 << 12;
        match self.pipeline {
            Pipeline::WordPiece(_) => texts.iter().map(String::len).sum::<usize>() <= BYTES,
            Pipeline::Library(_) => false,
        }
    }

    /// Tokenises one text.
    ///
    /// # Errors
    /// [`TokenizerError::TooLong`] with [`Truncation::Refuse`]; [`TokenizerError::Nothing`] where
    /// not even a special token is there to be encoded.
    pub fn encode(&self, text: &str, truncation: Truncation) -> Result<Tokens, TokenizerError> {
        let special_tokens = self.before.len() + self.after.len();
        let room = self.max_tokens - special_tokens;
        let ids = self
            .encode_enough(text, truncation, room)
            .map_err(|cause| TokenizerError::Refused(cause.to_string()))?;
        let truncated = ids.len() > room;
        let kept = match truncation {
            _ if !truncated => &ids,
            Truncation::Right => &ids[..room],
            Truncation::Left => &ids[ids.len() - room..],
            Truncation::Refuse => {
                let tokens = ids.len() + special_tokens;
                return Err(TokenizerError::TooLong { tokens, max_tokens: self.max_tokens });
            }
        };
        let ids = [&self.before, kept, &self.after].concat();
        if ids.is_empty() {
            return Err(TokenizerError::Nothing);
        }
        Ok(Tokens { ids, truncated })
    }

    /// Tokenises a text, or so much of its kept end that what is left out cannot change the first
    /// (with [`Truncation::Left`] the last) `room` tokens.
    fn encode_enough(
        &self,
        text: &str,
        truncation: Truncation,
        room: usize,
    ) -> Result<Vec<u32>, tokenizers::Error> {
        let mut bytes = BYTES_PER_TOKEN * room;
        loop {
            let part = match truncation {
                Truncation::Left => end_of(text, bytes),
                Truncation::Right | Truncation::Refuse => start_of(text, bytes),
            };
            let (ids, enough) = match &self.pipeline {
                // No word reaches over a cut.
                Pipeline::WordPiece(word_piece) => match truncation {
                    Truncation::Right => (word_piece.encode(part, room + 1), room + 1),
                    _ => (word_piece.encode(part, usize::MAX), room + 1),
                },
                // Next to a cut, a text may be tokenised otherwise than in one piece.
                Pipeline::Library(library) => {
                    (library.encode_fast(part, false)?.get_ids().to_vec(), 2 * room)
                }
            };
            if part.len() == text.len() || ids.len() >= enough {
                return Ok(ids);
            }
            bytes *= 4;
        }
    }
}

/// Bytes of a long text that are tokenised at first, for each token that a model takes: more than
/// most texts have.
const BYTES_PER_TOKEN: usize = 16;

/// About the first `bytes` of a text, cut before white space; all of it where it has none there.
fn start_of(text: &str, bytes: usize) -> &str {
    let end = text.floor_char_boundary(bytes);
    if end == text.len() {
        return text;
    }
    text[..end].rfind(separates).map_or(text, |space| &text[..space])
}

/// About the last `bytes` of a text, cut at white space; all of it where it has none there.
fn end_of(text: &str, bytes: usize) -> &str {
    let start = text.ceil_char_boundary(text.len().saturating_sub(bytes));
    if start == 0 {
        return text;
    }
    text[start..].find(separates).map_or(text, |space| &text[start + space..])
}

/// White space, but for the control characters that BERT removes.
fn separates(it: char) -> bool {
    it.is_whitespace() && !matches!(it, '\u{b}' | '\u{c}' | '\u{85}')
}

/// The special tokens that a tokenizer puts before and after every sentence.
fn special_tokens(
    library: &tokenizers::Tokenizer,
) -> Result<(Vec<u32>, Vec<u32>), tokenizers::Error> {
    const SENTENCE: u32 = u32::MAX;
    let sentence = Token::new(SENTENCE, String::new(), (0, 0));
    let framed = library.post_process(Encoding::from_tokens(vec![sentence], 0), None, true)?;
    let mut parts = framed.get_ids().split(|id| *id == SENTENCE);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(before), Some(after), None) => Ok((before.to_vec(), after.to_vec())),
        _ => Err("its post_processor does not have the sentence exactly once".into()),
    }
}

/// The same tokenizer as our own, or what of it ours does not know.
fn word_piece(library: &tokenizers::Tokenizer) -> Result<WordPiece, &'static str> {
    let Some(NormalizerWrapper::BertNormalizer(rules)) = library.get_normalizer() else {
        return Err("the normalizer is not BertNormalizer");
    };
    let Some(PreTokenizerWrapper::BertPreTokenizer(_)) = library.get_pre_tokenizer() else {
        return Err("the pre_tokenizer is not BertPreTokenizer");
    };
    let ModelWrapper::WordPiece(model) = library.get_model() else {
        return Err("the model is not WordPiece");
    };
    let added: Vec<_> = library.get_added_tokens_decoder().into_iter().collect();
    if added.iter().any(|(_, token)| token.normalized || token.single_word) {
        return Err("an added token is `normalized` or a `single_word`");
    }
    // `lstrip` and `rstrip` take white space off the text, which comes to nothing: it is no token.
    // Only a token with white space in it could be in its way.
    if added.iter().any(|(_, token)| token.content.contains(char::is_whitespace)) {
        return Err("an added token has white space in it");
    }
    let pieces = Pieces::new(
        &library.get_vocab(false),
        &model.unk_token,
        &model.continuing_subword_prefix,
        model.max_input_chars_per_word,
    );
    let rules = Rules {
        clean_text: rules.clean_text,
        split_chinese: rules.handle_chinese_chars,
        strip_accents: rules.strip_accents.unwrap_or(rules.lowercase),
        lowercase: rules.lowercase,
    };
    Ok(WordPiece::new(
        AddedTokens::new(added.into_iter().map(|(id, token)| (token.content, id))),
        Words::new(rules),
        pieces.ok_or("the unk_token is not in the vocabulary")?,
    ))
}

#[cfg(test)]
mod tests;
