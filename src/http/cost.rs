//! What a request cost, in the headers of text-embeddings-inference.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponseParts, ResponseParts};

use crate::encoder::session::Device;
use crate::encoder::{ModelInfo, Spent};

/// Measures from its start to the answer.
pub struct Meter {
    started: Instant,
    characters: usize,
}

/// Tells in the headers `x-compute-*` and `x-*-time`, times in milliseconds, what an answer cost.
pub struct Cost {
    device: Device,
    characters: usize,
    tokens: usize,
    total: Duration,
    spent: Spent,
}

impl Meter {
    pub fn start(texts: &[String]) -> Meter {
        let started = Instant::now();
        Meter { started, characters: texts.iter().map(|text| text.chars().count()).sum() }
    }

    /// What the texts, of so many tokens, have cost by now.
    pub fn read(self, model: &ModelInfo, tokens: usize, spent: Spent) -> Cost {
        Cost {
            device: model.provider,
            characters: self.characters,
            tokens,
            total: self.started.elapsed(),
            spent,
        }
    }
}

impl IntoResponseParts for Cost {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        let device = HeaderValue::from_static(self.device.as_str());
        let milliseconds = |time: Duration| HeaderValue::from(time.as_millis() as u64);
        let total = milliseconds(self.total);
        for (name, value) in [
            ("x-compute-type", device),
            ("x-compute-time", total.clone()),
            ("x-compute-characters", self.characters.into()),
            ("x-compute-tokens", self.tokens.into()),
            ("x-total-time", total),
            ("x-tokenization-time", milliseconds(self.spent.tokenizing)),
            ("x-queue-time", milliseconds(self.spent.queued)),
            ("x-inference-time", milliseconds(self.spent.running)),
        ] {
            parts.headers_mut().insert(HeaderName::from_static(name), value);
        }
        Ok(parts)
    }
}
