//! Scores of heads on labelled embeddings.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::heads::head::Head;
use crate::training::calibration::expected_calibration_error;
use crate::training::dataset::Labelled;
use crate::training::job::Scores;
use crate::training::predictions::Predictions;
use crate::training::selection::{Blend, Candidate};

/// The most labels for which a confusion matrix is kept: it grows with their square, and every version
/// and job record has one.
pub const LARGEST_CONFUSION: usize = 128;

/// How good a head is, and on which rows that was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    pub on: Evidence,
    pub rows: usize,
    /// Share of rows whose most probable label is the right one.
    pub accuracy: f64,
    /// The mean of F1 over the labels that are a row's or were an answer.
    pub macro_f1: f64,
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// See [`expected_calibration_error`].
    pub calibration_error: f64,
    /// The same before calibration; absent where there was none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub uncalibrated_error: Option<f64>,
    /// What the logits were divided by to calibrate them. Weights and bias have it in them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub temperature: Option<f64>,
    /// The strength of the penalty; absent where nothing was fit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub l2: Option<f64>,
    /// What is mixed with the regression of that strength; absent where that gains nothing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub blend: Option<Blend>,
    /// What the strength was chosen by: empty where it was given or there were too few rows.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub cross_validation: Vec<Candidate>,
    /// In the order of the task's labels.
    pub labels: Vec<LabelScores>,
    /// Rows by their own label (outer) and the answer (inner), in the order of the task's labels.
    /// Left out where there are more than [`LARGEST_CONFUSION`] labels.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub confusion: Vec<Vec<u64>>,
}

/// The rows that a head was scored on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// Rows that the scored head was not fit on.
    HeldOut,
    /// All training rows, each scored by a head that was fit without it.
    CrossValidation,
    /// The rows that the head was fit on, for want of others: better than the truth.
    Training,
}

/// How well a head tells one label. A ratio without rows is 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelScores {
    pub label: String,
    /// Share of the rows with this answer whose label it is.
    pub precision: f64,
    /// Share of the rows of this label with this answer.
    pub recall: f64,
    /// The harmonic mean of both.
    pub f1: f64,
    /// Rows of this label.
    pub support: u64,
}

impl Evaluation {
    /// The scores of `predictions`, or `None` where there are no rows. What the fit was is for the
    /// caller to add.
    ///
    /// # Panics
    /// If the predictions are of other classes than `labels`.
    pub fn of(predictions: &Predictions, labels: &[String], on: Evidence) -> Option<Self> {
        let mut tally = Tally::default();
        let mut confusion = vec![vec![0; labels.len()]; labels.len()];
        for row in predictions.rows() {
            tally.add(row.logits(), row.class);
            confusion[row.class][row.answer()] += 1;
        }
        let Scores { loss, accuracy, rows } = tally.scores()?;
        let scores: Vec<LabelScores> = labels
            .iter()
            .enumerate()
            .map(|(class, label)| label_scores(label, class, &confusion))
            .collect();
        if labels.len() > LARGEST_CONFUSION {
            confusion = Vec::new();
        }
        let met: BTreeSet<usize> =
            predictions.rows().flat_map(|row| [row.class, row.answer()]).collect();
        let macro_f1 = met.iter().map(|&class| scores[class].f1).sum::<f64>() / met.len() as f64;
        Some(Self {
            on,
            rows,
            accuracy,
            macro_f1,
            loss,
            calibration_error: expected_calibration_error(predictions),
            uncalibrated_error: None,
            temperature: None,
            l2: None,
            blend: None,
            cross_validation: Vec::new(),
            labels: scores,
            confusion,
        })
    }
}

fn label_scores(label: &str, class: usize, confusion: &[Vec<u64>]) -> LabelScores {
    let ratio = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    let right = confusion[class][class];
    let support = confusion[class].iter().sum();
    let answers = confusion.iter().map(|row| row[class]).sum();
    LabelScores {
        label: label.to_owned(),
        precision: ratio(right, answers),
        recall: ratio(right, support),
        f1: ratio(2 * right, support + answers),
        support,
    }
}

/// The scores of a head on rows, or `None` where there are no rows. Between labels that are equally
/// probable, the first counts as the answer.
///
/// # Panics
/// If the head has fewer labels than the rows' classes, or another width than their embeddings.
pub fn evaluate(head: &Head, rows: &Labelled) -> Option<Scores> {
    let mut tally = Tally::default();
    rows.for_each_block(|positions, embeddings| {
        let logits = head.batch_logits(embeddings);
        for (logits, &class) in logits.outer_iter().zip(&rows.classes()[positions]) {
            tally.add(logits.iter().map(|&logit| f64::from(logit)), class);
        }
    });
    tally.scores()
}

/// Adds up scores row by row.
#[derive(Default)]
pub(super) struct Tally {
    loss: f64,
    correct: usize,
    rows: usize,
}

impl Tally {
    /// A row by its logits and its class.
    pub(super) fn add(&mut self, logits: impl Iterator<Item = f64> + Clone, class: usize) {
        let (mut best, mut greatest) = (0, f64::NEG_INFINITY);
        for (index, logit) in logits.clone().enumerate() {
            if logit > greatest {
                (best, greatest) = (index, logit);
            }
        }
        let own = logits.clone().nth(class).expect("each class has a logit");
        let sum: f64 = logits.map(|logit| (logit - greatest).exp()).sum();
        self.loss += sum.ln() + greatest - own;
        self.correct += usize::from(best == class);
        self.rows += 1;
    }

    pub(super) fn scores(&self) -> Option<Scores> {
        let rows = (self.rows > 0).then_some(self.rows as f64)?;
        let accuracy = self.correct as f64 / rows;
        Some(Scores { loss: self.loss / rows, accuracy, rows: self.rows })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, arr1, arr2};

    use super::*;
    use crate::training::dataset::Dataset;

    #[test]
    fn an_evaluation_counts_every_answer() {
        let logits = arr2(&[
            [2.0, 0.0, 0.0, 0.0],
            [0.0, 2.0, 0.0, 0.0],
            [2.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 2.0, 0.0],
            [0.0, 2.0, 0.0, 0.0],
        ]);
        let predictions = Predictions::new(logits, vec![0, 0, 0, 1, 1]);
        let labels = ["a", "b", "c", "d"].map(str::to_owned);
        let found = Evaluation::of(&predictions, &labels, Evidence::HeldOut).unwrap();
        assert_eq!((found.rows, found.accuracy), (5, 0.6));
        assert_eq!(found.confusion, [[2, 1, 0, 0], [0, 1, 1, 0], [0; 4], [0; 4]]);
        let scores: Vec<_> = found
            .labels
            .iter()
            .map(|label| (label.precision, label.recall, label.f1, label.support))
            .collect();
        let expected =
            [(1.0, 2.0 / 3.0, 0.8, 3), (0.5, 0.5, 0.5, 2), (0.0, 0.0, 0.0, 0), (0.0, 0.0, 0.0, 0)];
        assert_eq!(scores, expected);
        // As scikit-learn: the label that was neither a row's nor an answer does not count.
        assert!((found.macro_f1 - 1.3 / 3.0).abs() < 1e-12, "{}", found.macro_f1);
        assert_eq!(Evaluation::of(&Predictions::default(), &labels, Evidence::Training), None);
    }

    #[test]
    fn a_confusion_matrix_is_left_out_where_it_would_be_huge() {
        let evaluation = |labels: usize| {
            let predictions = Predictions::new(Array2::zeros((3, labels)), vec![0, 0, 1]);
            let labels: Vec<String> = (0..labels).map(|label| label.to_string()).collect();
            Evaluation::of(&predictions, &labels, Evidence::HeldOut).unwrap()
        };
        assert_eq!(evaluation(LARGEST_CONFUSION).confusion.len(), LARGEST_CONFUSION);
        let large = evaluation(LARGEST_CONFUSION + 1);
        assert_eq!((large.confusion.len(), large.labels[0].support), (0, 2));
    }

    fn head(weights: [f32; 2]) -> Head {
        let labels = vec!["a".to_owned(), "b".to_owned()];
        Head::new(labels, arr2(&weights.map(|weight| [weight])), arr1(&[0.0, 0.0])).unwrap()
    }

    fn data(classes: Vec<Option<usize>>) -> Dataset {
        let embeddings = arr2(&[[1.0], [-1.0], [3.0]]);
        Dataset::new(embeddings).unwrap().with_task("task", 2, classes).unwrap()
    }

    #[test]
    fn scores_are_means_over_the_labelled_rows() {
        let data = data(vec![Some(0), None, Some(1)]);
        let scores = evaluate(&head([3f32.ln(), 0.0]), &data.labelled(0)).unwrap();
        // Probabilities of the right label: 3/4 and 1/(1 + 27).
        let expected = ((4.0f64 / 3.0).ln() + 28f64.ln()) / 2.0;
        assert!((scores.loss - expected).abs() < 1e-6, "{} is not {expected}", scores.loss);
        assert_eq!((scores.accuracy, scores.rows), (0.5, 2));
    }

    #[test]
    fn the_first_of_equally_probable_labels_is_the_answer() {
        let data = data(vec![Some(0), Some(1), Some(1)]);
        let scores = evaluate(&head([0.0, 0.0]), &data.labelled(0)).unwrap();
        assert_eq!(scores.accuracy, 1.0 / 3.0);
    }

    #[test]
    fn rows_without_labels_have_no_scores() {
        assert_eq!(evaluate(&head([1.0, 0.0]), &data(vec![None; 3]).labelled(0)), None);
    }
}
