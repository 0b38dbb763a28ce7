//! Sentences of one model that run together.

use crate::encoder::batch::BatchLayout;
use crate::encoder::readout::Readout;
use crate::encoder::request::{Item, Request, Terms};

/// At most this share of a micro-batch's tokens may be padding.
const PADDING_SHARE: f64 = 1.0 / 16.0;

/// Sentences that run together for the same readout of one model; never empty once it is handed out.
pub(crate) struct MicroBatch {
    pub model: usize,
    pub readout: Readout,
    pub items: Vec<Item>,
    layout: BatchLayout,
    /// The most tokens, padding included; one longer sentence makes a batch of its own.
    budget: usize,
    /// Tokens of the longest sentence.
    longest: usize,
    tokens: usize,
}

impl MicroBatch {
    /// An empty one for requests on such terms.
    pub fn new(terms: &Terms, budget: usize) -> MicroBatch {
        let &Terms { model, readout, layout, .. } = terms;
        MicroBatch { model, readout, items: Vec::new(), layout, budget, longest: 0, tokens: 0 }
    }

    /// Whether requests on such terms want the same of the same model.
    pub fn suits(&self, terms: &Terms) -> bool {
        (terms.model, terms.readout) == (self.model, self.readout)
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

    /// Takes over as many sentences of a request that it suits as fit in.
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
