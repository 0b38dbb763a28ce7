//! A linear classifier on an embedding. Pure: no clock, no I/O, no shared state.

mod decision;
mod encoding;

use std::collections::BTreeSet;
use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayView2, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use thiserror::Error;

pub use decision::{DEFAULT_THRESHOLD, Decision, logit, sigmoid};
pub use encoding::{Origin, encoder_of};

use crate::heads::task::Kind;

/// Weights and bias of one task's classifier.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    labels: Arc<[String]>,
    /// labels × embedding width, row-major.
    weights: Array2<f32>,
    /// One a label.
    bias: Array1<f32>,
    decision: Decision,
}

/// Why weights do not make a head.
#[derive(Debug, Error)]
pub enum HeadError {
    #[error("a head needs at least one label")]
    NoLabels,
    #[error("the label {0:?} occurs twice; the labels of a head must differ")]
    DuplicateLabel(String),
    #[error("a head needs an embedding width of at least 1")]
    NoWidth,
    #[error("the tensor `{tensor}` has the shape {found:?}, but the head needs {expected:?}")]
    Shape { tensor: &'static str, found: Vec<usize>, expected: Vec<usize> },
    #[error("the tensor `weight` has the shape {0:?}, but it must be a matrix, labels × width")]
    NotAMatrix(Vec<usize>),
    #[error(
        "the tensor `{tensor}` holds {value} at position {position}; only finite numbers are allowed"
    )]
    NotFinite { tensor: &'static str, position: usize, value: f32 },
    #[error(
        "the tensor `threshold` holds {value} at position {position}; \
         only numbers above 0 and below 1 are allowed"
    )]
    Threshold { position: usize, value: f32 },
    #[error("not a safetensors file: {0}")]
    Container(#[from] safetensors::SafeTensorError),
    #[error("the tensor `{0}` is missing; a head needs `weight` and `bias`")]
    MissingTensor(&'static str),
    #[error("the tensor `threshold` is missing; a multi-label head has one threshold a label")]
    MissingThresholds,
    #[error("the tensor `{tensor}` is of type {found}; only F32 is allowed")]
    Type { tensor: &'static str, found: String },
    #[error("the file's metadata has no `labels`")]
    MissingLabels,
    #[error("the `labels` in the file's metadata are not a JSON list of strings: {0}")]
    MalformedLabels(#[source] serde_json::Error),
    #[error(
        "the `kind` in the file's metadata is {0:?}; allowed: \"single_label\" and \"multi_label\""
    )]
    UnknownKind(String),
    #[error("the file is for a task of the kind {found}, but the task is {expected}")]
    OtherKind { found: Kind, expected: Kind },
    #[error("the file is for the labels {found:?}, but the task has {expected:?}, in this order")]
    OtherLabels { found: Vec<String>, expected: Vec<String> },
}

impl Head {
    /// A softmax head from `weights` (labels × width) and `bias` (one a label).
    ///
    /// # Errors
    /// No labels, labels that are not distinct, a width of 0, shapes that do not fit, NaN or
    /// infinite values.
    pub fn new(
        labels: impl Into<Arc<[String]>>,
        weights: Array2<f32>,
        bias: Array1<f32>,
    ) -> Result<Self, HeadError> {
        let labels = labels.into();
        check_labels(&labels)?;
        let width = weights.ncols();
        if width == 0 {
            return Err(HeadError::NoWidth);
        }
        check_shape("weight", weights.shape(), &[labels.len(), width])?;
        check_shape("bias", bias.shape(), &[labels.len()])?;
        check_finite("weight", weights.iter())?;
        check_finite("bias", bias.iter())?;
        let weights = weights.as_standard_layout().into_owned();
        Ok(Self { labels, weights, bias, decision: Decision::Softmax })
    }

    /// The head with its logits becoming answers in another way.
    ///
    /// # Errors
    /// Thresholds that are not one a label, each above 0 and below 1.
    pub fn with_decision(self, decision: Decision) -> Result<Self, HeadError> {
        decision.check(self.labels.len())?;
        Ok(Self { decision, ..self })
    }

    /// The head with a threshold of 0.5 for each label, if it has thresholds.
    pub fn undecided(self) -> Self {
        Self { decision: Decision::undecided(self.kind(), self.labels.len()), ..self }
    }

    /// A head of the same labels and decision with other weights and another bias.
    ///
    /// # Errors
    /// As [`Head::new`].
    pub fn with_parameters(
        &self,
        weights: Array2<f32>,
        bias: Array1<f32>,
    ) -> Result<Self, HeadError> {
        let decision = self.decision.clone();
        Self::new(self.labels.clone(), weights, bias)?.with_decision(decision)
    }

    /// A softmax head with random weights and bias, uniform in ±1/√width: the default initialisation of PyTorch's
    /// [`nn.Linear`](https://docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html).
    /// The same seed gives the same bits on every platform.
    ///
    /// # Errors
    /// As [`Head::new`] for `labels` and a width of 0.
    pub fn seeded(
        labels: impl Into<Arc<[String]>>,
        width: usize,
        seed: u64,
    ) -> Result<Self, HeadError> {
        let labels = labels.into();
        let bound = 1.0 / (width as f32).sqrt();
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        let mut uniform = || (2.0 * generator.random::<f32>() - 1.0) * bound;
        let weights = Array2::from_shape_simple_fn((labels.len(), width), &mut uniform);
        let bias = Array1::from_shape_simple_fn(labels.len(), &mut uniform);
        Self::new(labels, weights, bias)
    }

    /// A head whose logits are this one's over `temperature`: the same answers, less certain ones
    /// where it is above 1. Thresholds move with the probabilities.
    ///
    /// # Errors
    /// Weights that are no longer finite.
    pub fn at_temperature(&self, temperature: f64) -> Result<Self, HeadError> {
        let over = |&value: &f32| (f64::from(value) / temperature) as f32;
        let decision = self.decision.at_temperature(temperature);
        Self::new(self.labels.clone(), self.weights.map(over), self.bias.map(over))?
            .with_decision(decision)
    }

    /// A head for further labels as well, of which it knows nothing yet: their weights are 0. Where
    /// each label is decided by itself, they do not apply until they are learnt.
    ///
    /// # Errors
    /// As [`Head::new`], if a label is repeated.
    pub fn extended(&self, further: &[String]) -> Result<Self, HeadError> {
        let labels: Vec<String> = self.labels.iter().chain(further).cloned().collect();
        let mut weights = Array2::zeros((labels.len(), self.width()));
        let mut bias = Array1::from_elem(labels.len(), self.decision.unlearnt_bias());
        weights.slice_mut(s![..self.labels.len(), ..]).assign(&self.weights);
        bias.slice_mut(s![..self.labels.len()]).assign(&self.bias);
        let decision = self.decision.extended(labels.len());
        Self::new(labels, weights, bias)?.with_decision(decision)
    }

    /// In the order of the output units.
    pub fn labels(&self) -> &Arc<[String]> {
        &self.labels
    }

    /// How logits become answers.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// The kind of task that the head is for.
    pub fn kind(&self) -> Kind {
        self.decision.kind()
    }

    /// Components of the embeddings that the head reads.
    pub fn width(&self) -> usize {
        self.weights.ncols()
    }

    /// labels × width, row-major.
    pub fn weights(&self) -> &Array2<f32> {
        &self.weights
    }

    /// One a label.
    pub fn bias(&self) -> &Array1<f32> {
        &self.bias
    }

    /// One a label, summed in double precision: unnormalised log-probabilities for a softmax, log-odds
    /// for sigmoids.
    ///
    /// # Panics
    /// If the embedding is not [`width`](Self::width) long.
    pub fn logits(&self, embedding: &[f32]) -> Vec<f64> {
        assert_eq!(embedding.len(), self.width(), "the embedding's width differs from the head's");
        let rows = self.weights.outer_iter();
        rows.zip(&self.bias)
            .map(|(row, &bias)| {
                dot(row.to_slice().expect("weights are row-major"), embedding) + f64::from(bias)
            })
            .collect()
    }

    /// One probability a label: the softmax of the [`logits`](Self::logits), or the sigmoid of each.
    ///
    /// # Panics
    /// If the embedding is not [`width`](Self::width) long.
    pub fn probabilities(&self, embedding: &[f32]) -> Vec<f32> {
        self.decision.probabilities(&self.logits(embedding))
    }

    /// The logits of many embeddings (rows × width) at once, rows × labels, in single precision:
    /// the fast form for training and evaluation.
    ///
    /// # Panics
    /// If the embeddings are not [`width`](Self::width) wide.
    pub fn batch_logits(&self, embeddings: ArrayView2<f32>) -> Array2<f32> {
        embeddings.dot(&self.weights.t()) + &self.bias
    }
}

/// Eight sums side by side let the compiler use vector registers in a fixed order of additions.
fn dot(left: &[f32], right: &[f32]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (left_chunks, left_rest) = left.as_chunks::<LANES>();
    let (right_chunks, right_rest) = right.as_chunks::<LANES>();
    for (l, r) in left_chunks.iter().zip(right_chunks) {
        for lane in 0..LANES {
            sums[lane] += f64::from(l[lane]) * f64::from(r[lane]);
        }
    }
    let rest = left_rest.iter().zip(right_rest).map(|(&l, &r)| f64::from(l) * f64::from(r));
    sums.into_iter().chain(rest).sum()
}

fn check_labels(labels: &[String]) -> Result<(), HeadError> {
    if labels.is_empty() {
        return Err(HeadError::NoLabels);
    }
    let mut seen = BTreeSet::new();
    match labels.iter().find(|label| !seen.insert(*label)) {
        Some(label) => Err(HeadError::DuplicateLabel(label.clone())),
        None => Ok(()),
    }
}

fn check_shape(tensor: &'static str, found: &[usize], expected: &[usize]) -> Result<(), HeadError> {
    if found == expected {
        return Ok(());
    }
    Err(HeadError::Shape { tensor, found: found.to_vec(), expected: expected.to_vec() })
}

fn check_finite<'a>(
    tensor: &'static str,
    values: impl Iterator<Item = &'a f32>,
) -> Result<(), HeadError> {
    match values.enumerate().find(|(_, value)| !value.is_finite()) {
        Some((position, &value)) => Err(HeadError::NotFinite { tensor, position, value }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{arr1, arr2};
    use proptest::prelude::*;

    use super::*;

    fn labels(count: usize) -> Vec<String> {
        (0..count).map(|label| format!("label {label}")).collect()
    }

    #[test]
    fn logits_are_weights_times_embedding_plus_bias() {
        let weights = Array2::from_shape_fn((2, 11), |(row, column)| (row * 11 + column) as f32);
        let head = Head::new(labels(2), weights, arr1(&[0.5, -1.0])).unwrap();
        let embedding: Vec<f32> = (0..11).map(|value| value as f32).collect();
        // Σ i² = 385 and Σ (11 + i) i = 11 · 55 + 385 for i in 0..11; small integers are exact.
        assert_eq!(head.logits(&embedding), [385.5, 989.0]);
        let batch = ArrayView2::from_shape((1, 11), &embedding).unwrap();
        assert_eq!(head.batch_logits(batch), arr2(&[[385.5, 989.0]]));
    }

    #[test]
    fn probabilities_are_the_softmax_of_the_logits() {
        let head = Head::new(labels(2), arr2(&[[1.0], [0.0]]), arr1(&[0.0, 0.0])).unwrap();
        let expected = [0.75, 0.25];
        for (found, expected) in head.probabilities(&[3f32.ln()]).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-7, "{found} is not {expected}");
        }
    }

    #[test]
    fn an_extended_head_says_of_its_labels_what_it_said() {
        let head = Head::new(labels(2), arr2(&[[1.0], [3.0]]), arr1(&[2.0, 4.0])).unwrap();
        let extended = head.extended(&["new".to_owned()]).unwrap();
        assert_eq!(extended.logits(&[2.0]), [4.0, 10.0, 0.0]);
        assert_eq!(extended.labels()[2], "new");
        assert!(head.extended(&head.labels()[..1]).is_err());
    }

    #[test]
    fn a_temperature_divides_the_logits() {
        let head = Head::new(labels(2), arr2(&[[1.0], [3.0]]), arr1(&[2.0, 4.0])).unwrap();
        let calm = head.at_temperature(2.0).unwrap();
        assert_eq!(calm.logits(&[2.0]), [2.0, 5.0]);
        assert_eq!(calm.labels(), head.labels());
        assert!(head.at_temperature(0.0).is_err());
    }

    #[test]
    fn seeded_weights_fill_the_range_of_pytorch_and_repeat_bit_for_bit() {
        let head = Head::seeded(labels(77), 384, 7).unwrap();
        assert_eq!(head, Head::seeded(labels(77), 384, 7).unwrap());
        assert_ne!(head, Head::seeded(labels(77), 384, 8).unwrap());
        let bound = 1.0 / 384f32.sqrt();
        let values: Vec<f32> = head.weights().iter().chain(head.bias()).copied().collect();
        let (least, greatest) = values
            .iter()
            .fold((f32::MAX, f32::MIN), |(low, high), &value| (low.min(value), high.max(value)));
        assert!(-bound <= least && least < -0.99 * bound, "{least}");
        assert!(0.99 * bound < greatest && greatest <= bound, "{greatest}");
        // The mean of 29,645 uniform values has a standard deviation of bound / √3 / 172.
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        assert!(mean.abs() < bound / 75.0, "{mean}");
    }

    #[test]
    fn seeded_weights_are_the_same_on_every_platform() {
        let head = Head::seeded(labels(2), 4, 42).unwrap();
        // Written down from the first run: a change would make old seeds give other heads.
        let expected = [-0.27591926, 0.18189615, -0.3536138, 0.45027536];
        assert_eq!(head.weights().row(0).to_vec(), expected);
    }

    #[test]
    fn what_is_not_a_head_is_refused_with_the_reason() {
        let reason = |labels: Vec<String>, weights, bias| {
            Head::new(labels, weights, bias).unwrap_err().to_string()
        };
        let weights = arr2(&[[1.0], [2.0]]);
        let bias = arr1(&[0.0, 0.0]);
        assert_eq!(
            reason(labels(3), weights.clone(), bias.clone()),
            "the tensor `weight` has the shape [2, 1], but the head needs [3, 1]"
        );
        assert_eq!(
            reason(labels(2), weights.clone(), arr1(&[0.0])),
            "the tensor `bias` has the shape [1], but the head needs [2]"
        );
        assert_eq!(
            reason(labels(2), arr2(&[[1.0], [f32::NAN]]), bias.clone()),
            "the tensor `weight` holds NaN at position 1; only finite numbers are allowed"
        );
        assert_eq!(
            reason(labels(2), weights.clone(), arr1(&[f32::INFINITY, 0.0])),
            "the tensor `bias` holds inf at position 0; only finite numbers are allowed"
        );
        assert_eq!(
            reason(vec!["a".into(), "a".into()], weights, bias.clone()),
            "the label \"a\" occurs twice; the labels of a head must differ"
        );
        assert_eq!(
            reason(labels(2), Array2::zeros((2, 0)), bias),
            "a head needs an embedding width of at least 1"
        );
        assert_eq!(
            Head::seeded(labels(0), 3, 0).unwrap_err().to_string(),
            "a head needs at least one label"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn probabilities_sum_to_one_however_large_the_logits(
            weights in prop::collection::vec(-1e38f32..1e38, 2..9),
            component in -1e38f32..1e38,
        ) {
            let count = weights.len();
            let weights = Array2::from_shape_vec((count, 1), weights).unwrap();
            let head = Head::new(labels(count), weights, Array1::zeros(count)).unwrap();
            let probabilities = head.probabilities(&[component]);
            prop_assert!(probabilities.iter().all(|p| (0.0..=1.0).contains(p)));
            let sum: f32 = probabilities.iter().sum();
            // Each of at most eight probabilities is rounded to single precision.
            prop_assert!((sum - 1.0).abs() < 1e-6, "{}", sum);
        }
    }
}
