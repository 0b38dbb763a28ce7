//! What is asked of an encoder, and what it answers.

use std::time::Duration;

use crate::encoder::request::Vectors;
use crate::encoder::tokenizer::Truncation;
use crate::encoder::{Class, Deadline};

/// How a request wants its texts embedded.
#[derive(Clone, Copy, Debug)]
pub struct EmbedOptions {
    pub class: Class,
    /// Texts are not encoded after it; `None` waits for as long as it takes.
    pub deadline: Option<Deadline>,
    pub truncation: Truncation,
    /// Whether a prompt stands before each text already. Else the model's default one is put there.
    pub prompted: bool,
    /// `None` follows the model.
    pub normalize: Option<bool>,
    /// Keeps so many leading elements; `None` keeps all.
    pub dimensions: Option<usize>,
}

impl EmbedOptions {
    /// The model's own embeddings, of texts that are cut at their end where they are too long.
    pub fn new(class: Class, deadline: Deadline) -> EmbedOptions {
        EmbedOptions {
            class,
            deadline: Some(deadline),
            truncation: Truncation::Right,
            prompted: false,
            normalize: None,
            dimensions: None,
        }
    }
}

/// One vector a text, in the order of the texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    /// Row-major: texts × width.
    pub values: Vec<f32>,
    pub width: usize,
    /// Tokens of all texts, special ones included.
    pub tokens: usize,
    pub spent: Spent,
}

/// Where the time of a request went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    pub tokenizing: Duration,
    /// Until a worker took its sentences, on average.
    pub queued: Duration,
    /// While the model ran on its sentences, on average.
    pub running: Duration,
}

impl Embeddings {
    pub(super) fn new(vectors: Vectors, width: usize, tokens: usize) -> Embeddings {
        let Vectors { values, spent } = vectors;
        Embeddings { values, width, tokens, spent }
    }

    pub fn rows(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.width)
    }
}
