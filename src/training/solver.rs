//! Fits heads to embeddings. Pure and seeded: the same input gives the same bits on the same machine.

use serde::{Deserialize, Serialize};

/// The algorithm that fits the heads, with its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum Solver {
    /// Full-batch quasi-Newton; an epoch is one iteration. The objective of each task is the sum of
    /// its cross-entropies plus `l2 / 2` times the squared norm of its weights (not of its bias),
    /// so `l2` is the inverse of scikit-learn's `C`.
    Lbfgs { l2: f64, epochs: u32 },
    /// Mini-batch Adam on the mean cross-entropy, summed over tasks.
    Adam {
        learning_rate: f64,
        epochs: u32,
        batch_size: usize,
        l2: f64,
    },
}
