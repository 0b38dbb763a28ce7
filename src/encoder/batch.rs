//! The sentences of a micro-batch as arrays: one after another, or side by side with padding.

use serde::Serialize;
use utoipa::ToSchema;

/// How a model wants the sentences of a micro-batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BatchLayout {
    /// One after another, of any lengths: nothing is padded.
    Ragged,
    /// Side by side, padded to the longest: those of similar length together.
    Padded,
    /// Alone: its graph quantises activations over the whole batch, so that companions would change
    /// a sentence's embedding.
    Alone,
}

/// Token ids of sentences, one sentence after another, nothing between them.
#[derive(Debug)]
pub struct RaggedBatch {
    ids: Vec<u32>,
    offsets: Vec<u32>,
}

impl RaggedBatch {
    /// No sentences.
    pub fn new() -> RaggedBatch {
        RaggedBatch { ids: Vec::new(), offsets: vec![0] }
    }

    /// Takes all sentences out; the memory is kept.
    pub fn clear(&mut self) {
        self.ids.clear();
        self.offsets.truncate(1);
    }

    /// Adds a sentence.
    pub fn push(&mut self, ids: &[u32]) {
        self.ids.extend_from_slice(ids);
        let end = self.ids.len().try_into().expect("the tokens of a micro-batch are few");
        self.offsets.push(end);
    }

    /// The ids of all sentences.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Where each sentence begins in [`RaggedBatch::ids`], and at last where they end: sentences + 1
    /// elements, of which the first is 0.
    pub fn offsets(&self) -> &[u32] {
        &self.offsets
    }

    /// The number of sentences.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tokens of the longest sentence.
    pub fn longest(&self) -> usize {
        self.sentences().map(<[u32]>::len).max().unwrap_or(0)
    }

    /// The ids of each sentence.
    pub fn sentences(&self) -> impl Iterator<Item = &[u32]> {
        self.offsets.windows(2).map(|ends| &self.ids[ends[0] as usize..ends[1] as usize])
    }
}

impl Default for RaggedBatch {
    fn default() -> RaggedBatch {
        RaggedBatch::new()
    }
}

/// Sentences side by side, each padded to the longest; all arrays are row-major, sentences × tokens.
#[derive(Debug, Default)]
pub struct PaddedBatch {
    pub input_ids: Vec<i64>,
    /// 1 for a token of the sentence, 0 for padding.
    pub attention_mask: Vec<i64>,
    /// All 0: there is one segment.
    pub token_type_ids: Vec<i64>,
    pub sentences: usize,
    /// Tokens of the longest sentence.
    pub tokens: usize,
}

impl PaddedBatch {
    /// Takes the sentences of `batch` in place of its own; the memory is used again.
    pub fn fill(&mut self, batch: &RaggedBatch, pad_token_id: u32) {
        self.sentences = batch.len();
        self.tokens = batch.longest();
        self.input_ids.clear();
        self.attention_mask.clear();
        for ids in batch.sentences() {
            let end = self.input_ids.len() + self.tokens;
            self.input_ids.extend(ids.iter().map(|&id| i64::from(id)));
            self.input_ids.resize(end, i64::from(pad_token_id));
            self.attention_mask.resize(end - self.tokens + ids.len(), 1);
            self.attention_mask.resize(end, 0);
        }
        self.token_type_ids.clear();
        self.token_type_ids.resize(self.input_ids.len(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(sentences: &[&[u32]]) -> RaggedBatch {
        let mut batch = RaggedBatch::new();
        sentences.iter().for_each(|ids| batch.push(ids));
        batch
    }

    #[test]
    fn a_ragged_batch_has_the_tokens_of_its_sentences_and_no_others() {
        let mut batch = batch(&[&[1, 2, 3], &[4], &[5, 6]]);
        assert_eq!(batch.ids(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(batch.offsets(), [0, 3, 4, 6]);
        assert!(batch.sentences().eq([&[1, 2, 3][..], &[4], &[5, 6]]));
        batch.clear();
        assert!(batch.is_empty());
        batch.push(&[7]);
        assert_eq!((batch.ids(), batch.offsets()), (&[7][..], &[0, 1][..]));
    }

    #[test]
    fn a_padded_batch_masks_what_fills_it_up() {
        let mut padded = PaddedBatch::default();
        padded.fill(&batch(&[&[8; 5]]), 9);
        padded.fill(&batch(&[&[1, 2, 3], &[4]]), 9);
        assert_eq!((padded.sentences, padded.tokens), (2, 3));
        assert_eq!(padded.input_ids, [1, 2, 3, 4, 9, 9]);
        assert_eq!(padded.attention_mask, [1, 1, 1, 1, 0, 0]);
        assert_eq!(padded.token_type_ids, [0; 6]);
    }
}
