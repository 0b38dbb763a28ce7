//! Sentences of one model that run together.

use crate::encoder::batch::BatchLayout;
use crate::encoder::request::{Item, Request};

/// At most this share of a micro-batch's tokens may be padding.
const PADDING_SHARE: f64 = 1.0 / 16.0;

/// Sentences of one model that run together; never empty once it is handed out.
pub(crate) struct MicroBatch {
    pub model: usize,
    pub items: Vec<Item>,
    layout: BatchLayout,
    /// The most tokens, padding included; one longer sentence makes a batch of its own.
    budget: usize,
    /// Tokens of the longest sentence.
    longest: usize,
    tokens: usize,
}

impl MicroBatch {
    pub fn new(model: usize, layout: BatchLayout, budget: usize) -> MicroBatch {
        MicroBatch { model, items: Vec::new(), layout, budget, longest: 0, tokens: 0 }
    }

    /// Tokens without padding.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Tokens with padding.
    pub fn padded_tokens(&self) -> usize {
        match self.layout {
            BatchLayout::Ragged => self.tokens,
            BatchLayout::Padded | BatchLayout::Alone => self.longest * self.items.len(),
        }
    }

    /// Whether no sentence fits in, however short it is.
    pub fn is_full(&self) -> bool {
        match self.layout {
            BatchLayout::Ragged => self.tokens >= self.budget,
            BatchLayout::Padded => self.longest * (self.items.len() + 1) > self.budget,
            BatchLayout::Alone => !self.items.is_empty(),
        }
    }

    /// Takes over as many sentences of a request for the same model as fit in.
    pub fn take_from(&mut self, request: &mut Request) {
        while let Some(item) = request.take_if(|ids| self.takes(ids.len())) {
            self.longest = self.longest.max(item.ids.len());
            self.tokens += item.ids.len();
            self.items.push(item);
        }
    }

    /// Whether a sentence of so many tokens fits in.
    fn takes(&self, tokens: usize) -> bool {
        if self.items.is_empty() {
            return true;
        }
        let real = self.tokens + tokens;
        match self.layout {
            BatchLayout::Ragged => real <= self.budget,
            BatchLayout::Padded => {
                let padded = self.longest.max(tokens) * (self.items.len() + 1);
                padded <= self.budget && (padded - real) as f64 <= PADDING_SHARE * padded as f64
            }
            BatchLayout::Alone => false,
        }
    }
}
