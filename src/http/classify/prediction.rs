//! One head's answer for one input, as it is sent.

use serde::Serialize;

use crate::heads::HeadVersion;
use crate::heads::head::Head;

/// One task's answer for one input.
#[derive(Debug, Serialize)]
pub struct Prediction {
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

#[derive(Debug, Serialize)]
pub struct LabelScore {
    label: String,
    score: f32,
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
    top_k: usize,
    threshold: f32,
}

impl<'a> From<&'a HeadVersion> for Answering<'a> {
    fn from(version: &'a HeadVersion) -> Answering<'a> {
        Answering { head: &version.head, version: version.version }
    }
}

impl Terms {
    /// By default all labels and no threshold.
    pub fn new(top_k: Option<usize>, threshold: Option<f32>) -> Terms {
        Terms { top_k: top_k.unwrap_or(usize::MAX), threshold: threshold.unwrap_or(0.0) }
    }
}

impl Prediction {
    pub fn of(answering: Answering, embedding: &[f32], terms: &Terms) -> Prediction {
        let labels = answering.head.labels().iter();
        let mut scores: Vec<LabelScore> = labels
            .zip(answering.head.probabilities(embedding))
            .map(|(label, score)| LabelScore { label: label.clone(), score })
            .collect();
        // Stable: of equally probable labels the first answers, as in evaluation.
        scores.sort_by(|a, b| b.score.total_cmp(&a.score));
        let best = &scores[0];
        Prediction {
            label: (best.score >= terms.threshold).then(|| best.label.clone()),
            score: best.score,
            version: answering.version,
            trained: answering.version > 0,
            scores: {
                scores.truncate(terms.top_k);
                scores
            },
        }
    }
}
