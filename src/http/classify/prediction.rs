//! One head's answer for one input, as it is sent.

use serde::Serialize;
use utoipa::ToSchema;

use crate::heads::HeadVersion;
use crate::heads::head::{Decision, Head};

/// One task's answer for one input.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Prediction {
    SingleLabel(SingleLabel),
    MultiLabel(MultiLabel),
}

/// The answer of a task of which a text has exactly one label.
#[derive(Debug, Serialize, ToSchema)]
pub struct SingleLabel {
    /// The most probable label; `null` where its probability is below the threshold.
    label: Option<String>,
    /// The probability of the most probable label.
    score: f32,
    /// Most probable first.
    scores: Vec<LabelScore>,
    /// The head version that answered; 0 where no training has touched it.
    version: i64,
    trained: bool,
}

/// The answer of a task of which a text has any number of labels.
#[derive(Debug, Serialize, ToSchema)]
pub struct MultiLabel {
    /// Those whose probability reaches their threshold, most probable first.
    labels: Vec<String>,
    /// Most probable first.
    scores: Vec<DecidedScore>,
    /// As [`SingleLabel::version`].
    version: i64,
    trained: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct LabelScore {
    label: String,
    score: f32,
}

/// A label that is decided by itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct DecidedScore {
    label: String,
    score: f32,
    /// The least score at which the label applies.
    threshold: f32,
}

/// Who answers.
#[derive(Clone, Copy)]
pub struct Answering<'a> {
    pub head: &'a Head,
    pub version: i64,
}

/// What a client wants of an answer.
#[derive(Clone, Copy)]
pub struct Terms {
    pub top_k: usize,
    /// In place of the head's own.
    threshold: Option<f32>,
}

impl<'a> From<&'a HeadVersion> for Answering<'a> {
    fn from(version: &'a HeadVersion) -> Answering<'a> {
        Answering { head: &version.head, version: version.version }
    }
}

impl Terms {
    /// By default all labels, and the head's own thresholds, if it has such.
    pub fn new(top_k: Option<usize>, threshold: Option<f32>) -> Terms {
        Terms { top_k: top_k.unwrap_or(usize::MAX), threshold }
    }

    /// Labels in one answer of a head, at most.
    pub fn most_labels(&self, head: &Head) -> usize {
        match head.decision() {
            Decision::Softmax => head.labels().len().min(self.top_k),
            // All may apply.
            Decision::Sigmoid { .. } => head.labels().len(),
        }
    }
}

impl Prediction {
    pub fn of(answering: Answering, embedding: &[f32], terms: &Terms) -> Prediction {
        let Answering { head, version } = answering;
        let trained = version > 0;
        let label = |class: usize| head.labels()[class].clone();
        let mut ranked: Vec<(usize, f32)> =
            head.probabilities(embedding).into_iter().enumerate().collect();
        // Stable: of equally probable labels the first answers, as in evaluation.
        ranked.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let best = ranked.iter().take(terms.top_k);
        match head.decision() {
            Decision::Softmax => {
                let (class, score) = ranked[0];
                let sure = terms.threshold.is_none_or(|threshold| score >= threshold);
                Prediction::SingleLabel(SingleLabel {
                    label: sure.then(|| label(class)),
                    score,
                    scores: best
                        .map(|&(class, score)| LabelScore { label: label(class), score })
                        .collect(),
                    version,
                    trained,
                })
            }
            Decision::Sigmoid { thresholds } => {
                let threshold = |class: usize| terms.threshold.unwrap_or(thresholds[class]);
                let applies = |&&(class, score): &&(usize, f32)| score >= threshold(class);
                let decided = |&(class, score): &(usize, f32)| DecidedScore {
                    label: label(class),
                    score,
                    threshold: threshold(class),
                };
                Prediction::MultiLabel(MultiLabel {
                    labels: ranked.iter().filter(applies).map(|&(class, _)| label(class)).collect(),
                    scores: best.map(decided).collect(),
                    version,
                    trained,
                })
            }
        }
    }
}
