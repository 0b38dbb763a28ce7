//! What a training job is asked to do and what it reports.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::heads::Kind;
use crate::training::progress::Progress;
use crate::training::result::{JobResult, Promote};
use crate::training::selection::Strength;
use crate::training::solver::Solver;
use crate::training::verdict::DEFAULT_MARGIN;

/// A text with what it is labelled with for one or more tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    pub text: String,
    /// Task name to label or labels.
    pub labels: BTreeMap<String, Target>,
    /// How often the example counts in a fit: greater than 0. `None` stands for 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub weight: Option<f64>,
}

/// What an example says of a task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Target {
    /// The one label, of a single-label task.
    Label(String),
    /// All labels that apply, of a multi-label task: none, where there is none here.
    Labels(BTreeSet<String>),
}

impl Target {
    /// The kind of task that it is for.
    pub fn kind(&self) -> Kind {
        match self {
            Target::Label(_) => Kind::SingleLabel,
            Target::Labels(_) => Kind::MultiLabel,
        }
    }

    /// The labels that it names, in order.
    pub fn labels(&self) -> impl Iterator<Item = &String> {
        let (one, several) = match self {
            Target::Label(label) => (Some(label), None),
            Target::Labels(labels) => (None, Some(labels)),
        };
        one.into_iter().chain(several.into_iter().flatten())
    }
}

impl fmt::Display for Target {
    /// Quoted, for messages.
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Target::Label(label) => write!(formatter, "{label:?}"),
            Target::Labels(labels) => formatter.debug_list().entries(labels).finish(),
        }
    }
}

/// A validated training request, without its examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobSpec {
    /// The model whose embeddings the job trains on.
    pub model: String,
    /// Every task that the examples say anything of, frozen ones included.
    pub tasks: BTreeSet<String>,
    /// Tasks whose heads stay as they are; they are only evaluated.
    pub frozen: BTreeSet<String>,
    pub mode: Mode,
    pub solver: Solver,
    #[serde(default)]
    pub l2: Strength,
    #[serde(default)]
    pub class_weight: Option<ClassWeight>,
    /// Whether the heads' probabilities are calibrated.
    #[serde(default)]
    pub calibrate: bool,
    /// Share of the examples held out from the fit and scored after each epoch, in `[0, 1)`; by
    /// default [as many as say something](crate::training::dataset::Dataset::choose_held_out).
    #[serde(default)]
    pub validation: Option<f64>,
    /// Seeds initial weights, the folds of a cross-validation and the order of mini-batches.
    pub seed: u64,
    /// When what the job makes goes live.
    #[serde(default)]
    pub promote: Promote,
    /// How far below the live version's accuracy a new one may be to go live, as a share.
    #[serde(default = "default_margin")]
    pub margin: f64,
}

fn default_margin() -> f64 {
    DEFAULT_MARGIN
}

/// How much the examples of a class count, beside their own weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClassWeight {
    /// All classes alike, however many examples they have; in a multi-label task, for each label the
    /// examples that have it and those that do not.
    Balanced,
}

/// What happens to the examples of earlier jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Keep them, add the new ones, refit on all, starting from the live weights.
    #[default]
    Extend,
    /// Drop those of the trained tasks and start afresh from seeded weights.
    Replace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    Queued,
    Running,
    Succeeded,
    /// It ran to its end, but what it made was worse than what is live.
    Rejected,
    Failed,
    Cancelled,
}

impl JobState {
    pub const ALL: [JobState; 6] = [
        JobState::Queued,
        JobState::Running,
        JobState::Succeeded,
        JobState::Rejected,
        JobState::Failed,
        JobState::Cancelled,
    ];

    /// Whether the job neither waits nor runs any more.
    pub fn has_ended(self) -> bool {
        !matches!(self, JobState::Queued | JobState::Running)
    }

    /// As it is stored, shown and counted.
    pub fn as_str(self) -> &'static str {
        match self {
            JobState::Queued => "queued",
            JobState::Running => "running",
            JobState::Succeeded => "succeeded",
            JobState::Rejected => "rejected",
            JobState::Failed => "failed",
            JobState::Cancelled => "cancelled",
        }
    }
}

/// Scores of one task on one set of rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Scores {
    /// Mean cross-entropy in nats; in a multi-label task, of the sum over labels.
    pub loss: f64,
    /// Share of rows whose most probable label is the right one; in a multi-label task, whose answers
    /// are exactly their labels.
    pub accuracy: f64,
    /// Rows that are labelled for the task.
    pub rows: usize,
}

/// One task after one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskReport {
    pub train: Scores,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub validation: Option<Scores>,
}

/// Where all tasks stand after one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EpochReport {
    /// Counts from 1; 0 is an evaluation without training.
    pub epoch: u32,
    /// The sum over all tasks of the mean training cross-entropy, without the L2 penalty.
    pub loss: f64,
    pub tasks: BTreeMap<String, TaskReport>,
}

/// Rows of a request that are not trained on, as they cannot be examples.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SkippedRows {
    pub count: u64,
    /// The code of the reason, such as `conflicting_labels`, to the number of its rows.
    pub reasons: BTreeMap<String, u64>,
}

/// A job as it is stored and shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// A UUID version 7, so that ids sort by time.
    pub id: String,
    pub state: JobState,
    pub spec: JobSpec,
    /// Examples that came with the request.
    pub examples: i64,
    /// What came with it besides, if anything.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub skipped: Option<SkippedRows>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// How often a server has started to run the job.
    pub attempts: i64,
    pub epochs: Vec<EpochReport>,
    /// Task to the version that the job published.
    pub published: BTreeMap<String, i64>,
    /// Why the job was rejected, failed or was cancelled.
    pub reason: Option<String>,
    /// `None` for a job that did not come to its end.
    pub result: Option<JobResult>,
    /// Of a running job: what the replica that runs it has told last.
    #[serde(skip)]
    pub progress: Option<Progress>,
}
