//! What is read out of a model for a sentence.

/// What is read out of a model's last layer for each sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readout {
    /// One vector a sentence: its embedding.
    Sentence,
    /// One vector a token, special ones included: the states that an embedding is pooled from.
    Tokens,
}

impl Readout {
    /// The vectors of so many sentences, which have so many tokens in all.
    pub fn vectors(self, sentences: usize, tokens: usize) -> usize {
        match self {
            Readout::Sentence => sentences,
            Readout::Tokens => tokens,
        }
    }
}
