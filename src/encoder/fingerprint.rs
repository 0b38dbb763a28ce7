//! What identifies an encoder to the heads and embeddings that were made with it.

use sha2::{Digest, Sha256};

use crate::encoder::folder::Pooling;
use crate::sha256::Sha256Sum;

/// All that an embedding depends on, but for rounding: not the precision that a machine runs in.
pub(super) struct Identity<'a> {
    /// The weights' file.
    pub weights: &'a [u8],
    /// `tokenizer.json`.
    pub tokenizer: &'a [u8],
    /// `config.json`, which names the activation and the epsilon of the norms, among others.
    pub config: &'a [u8],
    pub pooling: Option<Pooling>,
    pub normalize: bool,
    /// Tokens after which an input is truncated.
    pub max_seq_length: usize,
    /// What is put before every input.
    pub prompt: Option<&'a str>,
}

impl Identity<'_> {
    /// SHA-256 in lower-case hexadecimal. Head versions and embeddings are kept under it: what goes
    /// into it, and in which form, must not change.
    pub(super) fn fingerprint(&self) -> String {
        let settings = format!(
            "pooling={} normalize={} max_seq_length={}",
            self.pooling.map_or("none", Pooling::as_str),
            self.normalize,
            self.max_seq_length
        );
        let mut parts = vec![self.weights, self.tokenizer, self.config, settings.as_bytes()];
        // Only where there is one: most models have none, and their fingerprints stay as they were.
        parts.extend(self.prompt.map(str::as_bytes));
        let mut hasher = Sha256::new();
        for part in parts {
            // With its length, so that nothing can move from one part to the next unseen.
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Sha256Sum::from(hasher).to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn identity() -> Identity<'static> {
        Identity {
            weights: b"weights",
            tokenizer: b"tokenizer",
            config: b"config",
            pooling: Some(Pooling::Mean),
            normalize: true,
            max_seq_length: 256,
            prompt: None,
        }
    }

    #[test]
    fn a_fingerprint_stays_what_it_was() {
        // Computed with Python's hashlib over the parts, each behind its length in eight bytes.
        let expected = "6e4e91553f4705d2588aabf67aba6371446fd9885301a0629a3832bd8f352bad";
        assert_eq!(identity().fingerprint(), expected);
    }

    #[test]
    fn every_part_counts_and_none_can_pass_for_another() {
        let variants = [
            identity(),
            Identity { weights: b"weightst", tokenizer: b"okenizer", ..identity() },
            Identity { tokenizer: b"other", ..identity() },
            Identity { config: b"other", ..identity() },
            Identity { pooling: Some(Pooling::Cls), ..identity() },
            Identity { pooling: None, ..identity() },
            Identity { normalize: false, ..identity() },
            Identity { max_seq_length: 128, ..identity() },
            Identity { prompt: Some("query: "), ..identity() },
        ];
        let different: BTreeSet<String> = variants.iter().map(Identity::fingerprint).collect();
        assert_eq!(different.len(), variants.len());
    }
}
