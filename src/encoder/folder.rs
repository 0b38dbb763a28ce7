//! A model folder in the sentence-transformers layout.

use serde::{Deserialize, Serialize};

/// How token states become one vector per sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The mean of the states of all real tokens, `[CLS]` and `[SEP]` included.
    Mean,
    /// The state of the first token, `[CLS]`.
    Cls,
}
