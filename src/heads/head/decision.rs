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
    pub fn probabilities(&self, logits: &[f64]) -> Vec<f32> {
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

#[cfg(test)]
mod tests {
    use ndarray::{Array1, arr1, arr2};
    use proptest::prelude::*;

    use super::*;
    use crate::heads::head::Head;

    fn labels(count: usize) -> Vec<String> {
        (0..count).map(|label| format!("label {label}")).collect()
    }

    /// Its logits are the weights times the embedding's one component.
    fn head(weights: &[f32], thresholds: &[f32]) -> Head {
        let count = weights.len();
        let weights = arr1(weights).into_shape_with_order((count, 1)).unwrap();
        let head = Head::new(labels(count), weights, Array1::zeros(count)).unwrap();
        head.with_decision(Decision::Sigmoid { thresholds: arr1(thresholds) }).unwrap()
    }

    fn answers(head: &Head, embedding: &[f32]) -> Vec<bool> {
        let thresholds = head.decision().thresholds().unwrap();
        let probabilities = head.probabilities(embedding);
        probabilities.iter().zip(thresholds).map(|(p, threshold)| p >= threshold).collect()
    }

    #[test]
    fn each_label_has_a_probability_of_its_own() {
        let head = head(&[1.0, 0.0, -2.0], &[0.5; 3]);
        let expected = [0.75, 0.5, 0.1];
        for (found, expected) in head.probabilities(&[3f32.ln()]).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-7, "{found} is not {expected}");
        }
        assert_eq!(head.probabilities(&[f32::MAX]), [1.0, 0.5, 0.0]);
    }

    #[test]
    fn a_head_is_of_the_kind_that_it_decides_by() {
        let softmax = Head::seeded(labels(2), 3, 1).unwrap();
        assert_eq!((softmax.decision(), softmax.kind()), (&Decision::Softmax, Kind::SingleLabel));
        let undecided = Decision::undecided(Kind::MultiLabel, 2);
        let sigmoid = softmax.clone().with_decision(undecided.clone()).unwrap();
        assert_eq!(sigmoid.kind(), Kind::MultiLabel);
        assert_eq!(undecided, Decision::Sigmoid { thresholds: arr1(&[0.5, 0.5]) });
        assert_eq!(head(&[1.0, 2.0], &[0.1, 0.9]).undecided().decision(), &undecided);
        assert_eq!(softmax.clone().undecided(), softmax);
    }

    #[test]
    fn other_weights_are_decided_as_before() {
        let head = head(&[1.0, 2.0], &[0.1, 0.9]);
        let other = head.with_parameters(arr2(&[[3.0], [4.0]]), arr1(&[5.0, 6.0])).unwrap();
        assert_eq!(other.decision(), head.decision());
        assert_eq!(other.logits(&[1.0]), [8.0, 10.0]);
    }

    #[test]
    fn thresholds_are_one_a_label_and_leave_something_to_decide() {
        let reason = |thresholds: &[f32]| {
            let decision = Decision::Sigmoid { thresholds: arr1(thresholds) };
            let head = Head::seeded(labels(2), 3, 1).unwrap();
            head.with_decision(decision).unwrap_err().to_string()
        };
        assert_eq!(
            reason(&[0.5]),
            "the tensor `threshold` has the shape [1], but the head needs [2]"
        );
        for value in [0.0, 1.0, -0.5, f32::NAN, f32::INFINITY] {
            assert_eq!(
                reason(&[0.5, value]),
                format!(
                    "the tensor `threshold` holds {value} at position 1; \
                     only numbers above 0 and below 1 are allowed"
                )
            );
        }
    }

    #[test]
    fn a_label_that_is_not_learnt_yet_applies_to_nothing() {
        let extended = head(&[1.0], &[0.2]).extended(&["new".to_owned()]).unwrap();
        assert_eq!(extended.decision(), &Decision::Sigmoid { thresholds: arr1(&[0.2, 0.5]) });
        let probabilities = extended.probabilities(&[0.0]);
        assert_eq!(probabilities[0], 0.5);
        assert!((probabilities[1] - 0.01).abs() < 1e-7);
    }

    #[test]
    fn thresholds_stay_thresholds_at_the_most_extreme_temperatures() {
        for temperature in [1e-3, 1e3] {
            let head = head(&[1.0, 1.0], &[0.01, 0.99]).at_temperature(temperature).unwrap();
            assert!(head.decision().thresholds().unwrap().iter().all(|it| 0.0 < *it && *it < 1.0));
        }
    }

    proptest! {
        #[test]
        fn a_temperature_changes_no_answer(
            weights in prop::collection::vec(-4f32..4.0, 4),
            thresholds in prop::collection::vec(0.05f32..0.95, 4),
            temperature in 0.2f64..5.0,
        ) {
            let head = head(&weights, &thresholds);
            let calm = head.at_temperature(temperature).unwrap();
            // Those that no rounding can turn: the nearest is a thousandth of a nat away.
            let logits = head.logits(&[1.0]);
            let clear = logits.iter().zip(&thresholds).map(|(z, &t)| (z - logit(t)).abs() > 1e-3);
            let before = answers(&head, &[1.0]);
            for ((clear, before), after) in clear.zip(before).zip(answers(&calm, &[1.0])) {
                prop_assert!(!clear || before == after);
            }
        }
    }
}
