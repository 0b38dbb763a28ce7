//! Tasks and their live heads.

pub mod head;

use serde::{Deserialize, Serialize};

use crate::heads::head::Head;

/// A named label set on a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    pub name: String,
    /// The name of the model whose embeddings the task's head reads.
    pub model: String,
    /// In the order of the head's output units.
    pub labels: Vec<String>,
}

/// Immutable weights of one task plus what made them.
#[derive(Clone, Debug)]
pub struct HeadVersion {
    pub task: String,
    /// Counts from 1 for trained heads; 0 is the seeded random head that no training has touched.
    pub version: i64,
    pub head: Head,
    /// Identifies the encoder whose embeddings the weights were fit on.
    pub encoder: String,
    /// The version that the fit started from; `None` when it started afresh.
    pub parent: Option<i64>,
    /// The job that made the version; `None` for version 0.
    pub job: Option<String>,
    pub created_at: jiff::Timestamp,
}
