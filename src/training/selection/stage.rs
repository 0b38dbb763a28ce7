//! How far a cross-validation is.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How far a cross-validation is. A step is a fit in one fold, or a shrinkage that is tried, which takes
/// no longer; where epochs are counted, an epoch of all folds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    pub done: usize,
    /// At most: a search ends when what it tries gets worse.
    pub total: usize,
    /// What is being fit, where it is a regression of one strength.
    pub fit: Option<FoldFit>,
}

/// A fit of one strength in one fold. Strengths and folds count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FoldFit {
    pub l2: f64,
    pub strength: usize,
    pub strengths: usize,
    pub fold: usize,
    pub folds: usize,
}
