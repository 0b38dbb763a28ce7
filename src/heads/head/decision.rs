//! How logits become answers.

use ndarray::{Array1, s};

use super::{HeadError, check_shape};
use crate::heads::task::Kind;

/// How logits become answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// One label: the most probable by the softmax over all.
    Softmax,
    /// Any number of labels: each whose sigmoid reaches its threshold.
    Sigmoid {
        /// One a label, above 0 and below 1.
        thresholds: Array1<f32>,
    },
}

/// The threshold of a label for which none has been chosen: that it applies is as likely as not.
pub const DEFAULT_THRESHOLD: f32 = 0.5;

/// How probable a label is that a head of sigmoids has not learnt yet. Not even: such a label would
/// reach its threshold on every text (Lin et al., Focal Loss for Dense Object Detection, 2017,
/// section 4.1, start from the same).
const UNLEARNT: f32 = 0.01;

impl Decision {
    /// That of a head for a task of this kind and number of labels before anything is known of these.
    pub fn undecided(kind: Kind, labels: usize) -> Self {
        match kind {
            Kind::SingleLabel => Self::Softmax,
            Kind::MultiLabel => {
                Self::Sigmoid { thresholds: Array1::from_elem(labels, DEFAULT_THRESHOLD) }
            }
        }
    }

    /// The kind of task that is decided so.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Softmax => Kind::SingleLabel,
            Self::Sigmoid { .. } => Kind::MultiLabel,
        }
    }

    /// One a label, where labels have thresholds.
    pub fn thresholds(&self) -> Option<&Array1<f32>> {
        match self {
            Self::Softmax => None,
            Self::Sigmoid { thresholds } => Some(thresholds),
        }
    }

    /// One probability a logit.
    pub(super) fn probabilities(&self, logits: &[f64]) -> Vec<f32> {
        match self {
            Self::Softmax => softmax(logits),
            Self::Sigmoid { .. } => logits.iter().map(|&logit| sigmoid(logit) as f32).collect(),
        }
    }

    pub(super) fn check(&self, labels: usize) -> Result<(), HeadError> {
        let Self::Sigmoid { thresholds } = self else { return Ok(()) };
        check_shape("threshold", thresholds.shape(), &[labels])?;
        // Also catches NaN.
        let within = |value: f32| 0.0 < value && value < 1.0;
        match thresholds.iter().enumerate().find(|&(_, &value)| !within(value)) {
            Some((position, &value)) => Err(HeadError::Threshold { position, value }),
            None => Ok(()),
        }
    }

    /// With thresholds that the same logits over `temperature` reach: σ(z) ≥ t where
    /// σ(z / temperature) ≥ σ(ln(t / (1 − t)) / temperature).
    pub fn at_temperature(&self, temperature: f64) -> Self {
        let Self::Sigmoid { thresholds } = self else { return Self::Softmax };
        let moved = |&threshold: &f32| {
            let moved = sigmoid(logit(threshold) / temperature) as f32;
            moved.clamp(f32::MIN_POSITIVE, 1.0 - f32::EPSILON)
        };
        Self::Sigmoid { thresholds: thresholds.map(moved) }
    }

    /// For so many labels, the first of which are this one's.
    pub(super) fn extended(&self, labels: usize) -> Self {
        let Self::Sigmoid { thresholds } = self else { return Self::Softmax };
        let mut extended = Array1::from_elem(labels, DEFAULT_THRESHOLD);
        extended.slice_mut(s![..thresholds.len()]).assign(thresholds);
        Self::Sigmoid { thresholds: extended }
    }

    /// The bias of a label that is not learnt yet, whose weights are 0.
    pub(super) fn unlearnt_bias(&self) -> f32 {
        match self {
            Self::Softmax => 0.0,
            Self::Sigmoid { .. } => logit(UNLEARNT) as f32,
        }
    }
}

/// exp(zᵢ) / Σ exp(zⱼ), with the greatest logit taken off first so that nothing overflows.
fn softmax(logits: &[f64]) -> Vec<f32> {
    let greatest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|logit| (logit - greatest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| (power / sum) as f32).collect()
}

/// σ(z) = 1 / (1 + exp(−z)). Where exp overflows, that is 0.
pub fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

/// The inverse of [`sigmoid`]: ln(p / (1 − p)).
pub fn logit(probability: f32) -> f64 {
    let probability = f64::from(probability);
    (probability / (1.0 - probability)).ln()
}
