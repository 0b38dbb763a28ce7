//! What came of a job that ran to its end, and what it took.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::training::evaluation::Evaluation;
use crate::training::verdict::Verdict;

/// What came of a job that ran to its end, and what it took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobResult {
    pub texts: TextCounts,
    #[serde(default)]
    pub rows: RowCounts,
    pub seconds: Seconds,
    /// Trained tasks; frozen ones are left out.
    pub tasks: BTreeMap<String, TaskResult>,
}

/// Where the embeddings of a job's texts came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TextCounts {
    /// Texts that were embedded.
    pub embedded: usize,
    /// Texts whose embedding was in the store.
    pub found: usize,
}

/// What became of a job's examples and of those that were kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RowCounts {
    /// Distinct texts that the job trained on, earlier examples included.
    pub distinct: usize,
    /// Examples of the job whose text was there already, in the job or among earlier examples.
    pub merged: usize,
    /// Labels of earlier examples that the job replaced with others: a multi-label task's count as one.
    pub corrected: usize,
}

/// Wall time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Seconds {
    /// From the first look into the store to the last embedding.
    pub embedding: f64,
    pub fitting: f64,
}

/// What came of one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskResult {
    /// The version that was stored; its number is given when it is.
    pub version: Option<i64>,
    /// Whether the version went live.
    pub live: bool,
    /// The version that was live before, and that it was compared with.
    pub champion_version: Option<i64>,
    #[serde(flatten)]
    pub verdict: Verdict,
    /// How good the new version is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub evaluation: Option<Evaluation>,
}

/// When a version that a job made goes live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Promote {
    /// Where its [`Verdict`] allows it.
    #[default]
    IfNotWorse,
    Always,
    /// By hand only.
    Never,
}
