//! A linear softmax classifier on an embedding. Pure: no clock, no I/O, no shared state.

use std::sync::Arc;

use ndarray::{Array1, Array2};

/// Weights and bias of one task's classifier.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    labels: Arc<[String]>,
    /// labels × embedding width, row-major.
    weights: Array2<f32>,
    /// One a label.
    bias: Array1<f32>,
}
