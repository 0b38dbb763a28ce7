//! What can go wrong with loading a model and with embedding texts.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::Precision;
use crate::encoder::folder::FolderError;
use crate::encoder::session::SessionError;
use crate::encoder::tokenizer::TokenizerError;
use crate::onnx::{GraphPrecision, OnnxError};

/// Why texts were not embedded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("the queue is full: it holds at most {capacity} tokens; try again later")]
    QueueFull { capacity: usize },
    #[error("the request has {tokens} tokens; allowed are at most {allowed}")]
    TooManyTokens { tokens: usize, allowed: usize },
    #[error("{source}")]
    Input {
        /// Position of the text in the request.
        index: usize,
        source: TokenizerError,
    },
    #[error("the input has {tokens} tokens; allowed are 1 to {allowed}")]
    TokenCount {
        /// Position of the sentence in the request.
        index: usize,
        tokens: usize,
        allowed: usize,
    },
    #[error("the model has no token {id}; allowed are ids below {vocabulary}")]
    TokenId { index: usize, id: u32, vocabulary: usize },
    #[error("dimensions must be between 1 and {width}, the model's embedding width")]
    Dimensions { width: usize },
    #[error("the model's graph normalises by itself: its raw vectors are not to be had")]
    NormalizedInGraph,
    #[error(
        "the model's graph pools by itself: its output {output} has one vector a text; for those of tokens it would need an output last_hidden_state or token_embeddings (batch × tokens × width)"
    )]
    NoTokenStates { output: String },
    #[error("not answered within {allowed:?}")]
    DeadlineExceeded { allowed: Duration },
    #[error("the model failed")]
    Inference,
    #[error("the model made an embedding that is no finite numbers")]
    NotFinite,
    #[error("the encoder has stopped")]
    Stopped,
}

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("model {model}: {source}")]
    Folder { model: String, source: FolderError },
    #[error("model {model}: {source}")]
    Tokenizer { model: String, source: TokenizerError },
    #[error(
        "model {model}: {} has ids up to {highest}, but config.json beside it allows for {vocabulary} of them (`vocab_size`)",
        file.display()
    )]
    Vocabulary { model: String, file: PathBuf, highest: usize, vocabulary: usize },
    #[error("model {model}: {} cannot tokenise plain text: {source}", file.display())]
    NoTokens { model: String, file: PathBuf, source: TokenizerError },
    #[error("model {model}: cannot use {}: {source}", file.display())]
    Graph { model: String, file: PathBuf, source: OnnxError },
    #[error(transparent)]
    Runtime(#[from] SessionError),
    #[error("model {model}: cannot run {}: {source}", file.display())]
    Session { model: String, file: PathBuf, source: Box<SessionError> },
    #[error(
        "model {model}: {} fails on a sentence of {tokens} tokens with ids up to {highest}, which its tokenizer.json and config.json allow: {source}",
        file.display()
    )]
    Limits { model: String, file: PathBuf, tokens: usize, highest: u32, source: Box<SessionError> },
    #[error(
        "model {0}: its folder has no 1_Pooling/config.json; set `pooling` to \"mean\" or \"cls\""
    )]
    NoPooling(String),
    #[error(
        "model {model}: precision {asked} was asked for, but {} gives {found}; allowed here: auto, {found}",
        file.display(), asked = asked.as_str(), found = found.as_str()
    )]
    Precision { model: String, asked: Precision, file: PathBuf, found: GraphPrecision },
    #[error(
        "model {model}: precision bf16 was asked for, but {} cannot run so here: {reason}; allowed: auto, fp32",
        file.display()
    )]
    Bf16 { model: String, file: PathBuf, reason: String },
    #[error("model {0}: normalize = false was asked for, but the graph normalises by itself")]
    NormalizedInGraph(String),
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot start a worker thread: {0}")]
    Thread(std::io::Error),
    #[error("a worker thread died while it opened the models")]
    WorkerDied,
}
