//! Scores of heads on labelled embeddings.

use crate::heads::head::Head;
use crate::training::dataset::Labelled;
use crate::training::job::Scores;

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
    use ndarray::{arr1, arr2};

    use super::*;
    use crate::training::dataset::Dataset;

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
