//! Scores of heads on labelled embeddings.

use ndarray::Array1;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::heads::head::{Decision, Head};
use crate::training::calibration::{ReliabilityBin, expected_calibration_error, reliability};
use crate::training::dataset::Labelled;
use crate::training::job::Scores;
use crate::training::predictions::{Predictions, Row};
use crate::training::selection::{Blend, Candidate, EarlyStop};

/// The most labels for which a confusion matrix is kept: it grows with their square, and every version
/// and job record has one.
pub const LARGEST_CONFUSION: usize = 128;

/// How good a head is, and on which rows that was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Evaluation {
    pub on: Evidence,
    pub rows: usize,
    /// Share of rows whose most probable label is the right one; in a multi-label task, whose answers
    /// are exactly their labels (subset accuracy).
    pub accuracy: f64,
    /// The mean of F1 over the labels that are a row's or were an answer.
    pub macro_f1: f64,
    /// F1 over all labels of all rows. With one label a row that would be the accuracy: only for
    /// multi-label tasks.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub micro_f1: Option<f64>,
    /// Mean cross-entropy in nats; in a multi-label task, of the sum over labels.
    pub loss: f64,
    /// See [`expected_calibration_error`].
    pub calibration_error: f64,
    /// What it is the error of: see [`reliability`].
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub reliability: Vec<ReliabilityBin>,
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
    /// When the fit stopped; absent where it had no patience.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub early_stopping: Option<EarlyStop>,
    /// In the order of the task's labels.
    pub labels: Vec<LabelScores>,
    /// Rows by their own label (outer) and the answer (inner), in the order of the task's labels.
    /// Left out where there are more than [`LARGEST_CONFUSION`] labels, and for multi-label tasks, whose
    /// labels have one each.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub confusion: Vec<Vec<u64>>,
}

/// The rows that a head was scored on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
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
    /// For a label of a multi-label task.
    #[serde(flatten)]
    pub decided: Option<Decided>,
}

/// The labels of a multi-label task are decided each by itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Decided {
    /// The probability from which on the label is an answer.
    pub threshold: f32,
    pub confusion: Confusion,
}

/// Rows by whether a label is theirs and whether it was an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Confusion {
    #[serde(rename = "tn")]
    pub true_negatives: u64,
    #[serde(rename = "fp")]
    pub false_positives: u64,
    #[serde(rename = "fn")]
    pub false_negatives: u64,
    #[serde(rename = "tp")]
    pub true_positives: u64,
}

impl Evaluation {
    /// The scores of `predictions`, or `None` where there are no rows. What the fit was is for the
    /// caller to add.
    ///
    /// # Panics
    /// If the predictions are of other classes than `labels`.
    pub fn of(predictions: &Predictions, labels: &[String], on: Evidence) -> Option<Self> {
        let mut tally = Tally::default();
        predictions.rows().for_each(|row| tally.add(&row));
        let Scores { loss, accuracy, rows } = tally.scores()?;
        let reliability = reliability(predictions);
        let evaluation = Self {
            on,
            rows,
            accuracy,
            macro_f1: 0.0,
            micro_f1: None,
            loss,
            calibration_error: expected_calibration_error(&reliability),
            reliability,
            uncalibrated_error: None,
            temperature: None,
            l2: None,
            blend: None,
            cross_validation: Vec::new(),
            early_stopping: None,
            labels: Vec::new(),
            confusion: Vec::new(),
        };
        Some(match predictions.decision() {
            Decision::Softmax => evaluation.with_answers(predictions, labels),
            Decision::Sigmoid { thresholds } => {
                evaluation.with_sets(predictions, labels, thresholds)
            }
        })
    }

    /// With what is told of single answers.
    fn with_answers(self, predictions: &Predictions, labels: &[String]) -> Self {
        let mut square = vec![vec![0; labels.len()]; labels.len()];
        for row in predictions.rows() {
            let answer = row.answer();
            row.truth.classes().iter().for_each(|&class| square[class][answer] += 1);
        }
        let rows = self.rows as u64;
        let confusions: Vec<Confusion> = (0..labels.len())
            .map(|class| {
                let right = square[class][class];
                let support: u64 = square[class].iter().sum();
                let answers: u64 = square.iter().map(|row| row[class]).sum();
                Confusion {
                    true_negatives: rows + right - support - answers,
                    false_positives: answers - right,
                    false_negatives: support - right,
                    true_positives: right,
                }
            })
            .collect();
        let scores = labels.iter().zip(&confusions);
        Self {
            macro_f1: macro_f1(&confusions),
            labels: scores.map(|(label, confusion)| confusion.scores(label)).collect(),
            confusion: if labels.len() > LARGEST_CONFUSION { Vec::new() } else { square },
            ..self
        }
    }

    /// With what is told of sets of answers.
    fn with_sets(
        self,
        predictions: &Predictions,
        labels: &[String],
        thresholds: &Array1<f32>,
    ) -> Self {
        let mut confusions = vec![Confusion::default(); labels.len()];
        for row in predictions.rows() {
            let mut answers = row.answers().peekable();
            for (class, (judgement, confusion)) in row.judgements().zip(&mut confusions).enumerate()
            {
                let answered = answers.next_if_eq(&class).is_some();
                *confusion.count(judgement.applies, answered) += 1;
            }
        }
        let scores = labels.iter().zip(&confusions).zip(thresholds);
        let scores = scores.map(|((label, &confusion), &threshold)| LabelScores {
            decided: Some(Decided { threshold, confusion }),
            ..confusion.scores(label)
        });
        let all = confusions.iter().copied().reduce(Confusion::plus).unwrap_or_default();
        Self {
            macro_f1: macro_f1(&confusions),
            micro_f1: Some(all.f1()),
            labels: scores.collect(),
            ..self
        }
    }
}

impl Confusion {
    fn count(&mut self, applies: bool, answered: bool) -> &mut u64 {
        match (applies, answered) {
            (false, false) => &mut self.true_negatives,
            (false, true) => &mut self.false_positives,
            (true, false) => &mut self.false_negatives,
            (true, true) => &mut self.true_positives,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            true_negatives: self.true_negatives + other.true_negatives,
            false_positives: self.false_positives + other.false_positives,
            false_negatives: self.false_negatives + other.false_negatives,
            true_positives: self.true_positives + other.true_positives,
        }
    }

    /// Rows whose label it is.
    fn support(self) -> u64 {
        self.true_positives + self.false_negatives
    }

    /// Rows that it was an answer to.
    fn answers(self) -> u64 {
        self.true_positives + self.false_positives
    }

    fn f1(self) -> f64 {
        ratio(2 * self.true_positives, self.support() + self.answers())
    }

    fn scores(self, label: &str) -> LabelScores {
        LabelScores {
            label: label.to_owned(),
            precision: ratio(self.true_positives, self.answers()),
            recall: ratio(self.true_positives, self.support()),
            f1: self.f1(),
            support: self.support(),
            decided: None,
        }
    }
}

/// The mean over labels that are a row's or were an answer.
fn macro_f1(confusions: &[Confusion]) -> f64 {
    let met = confusions.iter().filter(|it| it.support() + it.answers() > 0);
    let scores: Vec<f64> = met.map(|confusion| confusion.f1()).collect();
    // None is met where no label applies to any row and none was an answer.
    scores.iter().sum::<f64>() / scores.len().max(1) as f64
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The scores of a head on rows, or `None` where there are no rows. Between labels that are equally
/// probable, the first counts as the answer.
///
/// # Panics
/// If the head has fewer labels than the rows' classes, another width than their embeddings, or is for
/// another kind of task.
pub fn evaluate(head: &Head, rows: &Labelled) -> Option<Scores> {
    let mut tally = Tally::default();
    rows.for_each_block(|positions, embeddings| {
        let logits = head.batch_logits(embeddings);
        for (position, logits) in positions.zip(logits.outer_iter()) {
            tally.add(&Row::new(logits, rows, position, head.decision()));
        }
    });
    tally.scores()
}

/// Adds up scores row by row.
#[derive(Default)]
struct Tally {
    loss: f64,
    correct: usize,
    rows: usize,
}

impl Tally {
    fn add(&mut self, row: &Row) {
        self.loss += row.cross_entropy();
        self.correct += usize::from(row.is_right());
        self.rows += 1;
    }

    fn scores(&self) -> Option<Scores> {
        let rows = (self.rows > 0).then_some(self.rows as f64)?;
        let accuracy = self.correct as f64 / rows;
        Some(Scores { loss: self.loss / rows, accuracy, rows: self.rows })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, arr1, arr2};
    use serde_json::json;

    use super::*;
    use crate::training::dataset::{Dataset, Truth};

    fn answers(logits: Array2<f32>, classes: &[usize]) -> Predictions {
        let truths = classes.iter().map(|&class| Truth::Class(class)).collect();
        Predictions::new(logits, truths, Decision::Softmax)
    }

    #[test]
    fn an_evaluation_counts_every_answer() {
        let logits = arr2(&[
            [2.0, 0.0, 0.0, 0.0],
            [0.0, 2.0, 0.0, 0.0],
            [2.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 2.0, 0.0],
            [0.0, 2.0, 0.0, 0.0],
        ]);
        let predictions = answers(logits, &[0, 0, 0, 1, 1]);
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
        let none = answers(Array2::zeros((0, 4)), &[]);
        assert_eq!(Evaluation::of(&none, &labels, Evidence::Training), None);
    }

    #[test]
    fn a_confusion_matrix_is_left_out_where_it_would_be_huge() {
        let evaluation = |labels: usize| {
            let predictions = answers(Array2::zeros((3, labels)), &[0, 0, 1]);
            let labels: Vec<String> = (0..labels).map(|label| label.to_string()).collect();
            Evaluation::of(&predictions, &labels, Evidence::HeldOut).unwrap()
        };
        assert_eq!(evaluation(LARGEST_CONFUSION).confusion.len(), LARGEST_CONFUSION);
        let large = evaluation(LARGEST_CONFUSION + 1);
        assert_eq!((large.confusion.len(), large.labels[0].support), (0, 2));
    }

    /// Four rows of three labels, of which none applies to the second row, and the last applies to none;
    /// probabilities are 3/4, 1/2 and 1/4.
    fn sets() -> Predictions {
        let (high, low) = (3f32.ln(), -(3f32.ln()));
        let logits =
            arr2(&[[high, high, low], [low, low, low], [high, 0.0, low], [low, high, low]]);
        let truths = [&[0, 1][..], &[], &[1], &[0]].map(|set| Truth::Set(set.into()));
        let thresholds = arr1(&[0.5, 0.6, 0.9]);
        Predictions::new(logits, truths.to_vec(), Decision::Sigmoid { thresholds })
    }

    #[test]
    fn sets_of_labels_are_scored_label_by_label_and_as_a_whole() {
        let labels = ["a", "b", "c"].map(str::to_owned);
        let found = Evaluation::of(&sets(), &labels, Evidence::HeldOut).unwrap();
        // Answers: a and b, none, a, b. The first two are exactly right.
        assert_eq!((found.rows, found.accuracy), (4, 0.5));
        let (right, wrong, even) = ((4.0f64 / 3.0).ln(), 4f64.ln(), 2f64.ln());
        let expected =
            (3.0 * right + 3.0 * right + wrong + even + right + 2.0 * wrong + right) / 4.0;
        assert!((found.loss - expected).abs() < 1e-6, "{} is not {expected}", found.loss);
        // a and b: one each of true and false positives, false and true negatives; c: never.
        assert_eq!((found.macro_f1, found.micro_f1), (0.5, Some(0.5)));
        // Of probabilities around 3/4, two of four labels apply; of 1/4, one of seven; of 1/2, the one.
        let gaps = (4.0f64 * 0.75 - 2.0).abs() + (7.0f64 * 0.25 - 1.0).abs() + 0.5;
        assert!(
            (found.calibration_error - gaps / 12.0).abs() < 1e-6,
            "{}",
            found.calibration_error
        );
        assert_eq!(
            serde_json::to_value(&found.labels).unwrap(),
            json!([
                {"label": "a", "precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2,
                 "threshold": 0.5, "confusion": {"tn": 1, "fp": 1, "fn": 1, "tp": 1}},
                {"label": "b", "precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2,
                 "threshold": 0.6f32, "confusion": {"tn": 1, "fp": 1, "fn": 1, "tp": 1}},
                {"label": "c", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0,
                 "threshold": 0.9f32, "confusion": {"tn": 4, "fp": 0, "fn": 0, "tp": 0}},
            ])
        );
        let record = serde_json::to_value(&found).unwrap();
        assert_eq!(record.get("confusion"), None);
        assert_eq!(serde_json::from_value::<Evaluation>(record).unwrap(), found);
    }

    #[test]
    fn the_record_of_single_labels_has_nothing_of_sets() {
        let predictions = answers(arr2(&[[1.0, 0.0]]), &[0]);
        let labels = ["a", "b"].map(str::to_owned);
        let found = Evaluation::of(&predictions, &labels, Evidence::HeldOut).unwrap();
        let record = serde_json::to_value(&found).unwrap();
        let keys = |value: &serde_json::Value| -> Vec<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        let expected = [
            "accuracy",
            "calibration_error",
            "confusion",
            "labels",
            "loss",
            "macro_f1",
            "on",
            "reliability",
            "rows",
        ];
        assert_eq!(keys(&record), expected);
        assert_eq!(keys(&record["labels"][0]), ["f1", "label", "precision", "recall", "support"]);
        assert_eq!(serde_json::from_value::<Evaluation>(record).unwrap(), found);
    }

    #[test]
    fn where_no_label_applies_to_any_row_all_may_be_right() {
        let truths = vec![Truth::Set([].into()); 2];
        let thresholds = arr1(&[0.5]);
        let predictions =
            Predictions::new(arr2(&[[-1.0], [-2.0]]), truths, Decision::Sigmoid { thresholds });
        let found = Evaluation::of(&predictions, &["a".to_owned()], Evidence::HeldOut).unwrap();
        assert_eq!((found.accuracy, found.macro_f1, found.micro_f1), (1.0, 0.0, Some(0.0)));
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
