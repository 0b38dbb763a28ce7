//! Choosing how many epochs Adam takes: early stopping by the folds of a cross-validation.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CrossValidation, FEWEST_ROWS, Folds, Selection, Stage, score};
use crate::heads::head::Head;
use crate::training::dataset::Labelled;
use crate::training::evaluation::evaluate;
use crate::training::solver::{AdamSettings, EarlyStopping, Trial, blank};

/// How many epochs a fit took that has a patience, and what told it when to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EarlyStop {
    pub epochs: u32,
    pub by: StoppedBy,
    /// How many rows told it; with too few, how many there are to train on.
    pub rows: usize,
}

/// What tells a fit when to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StoppedBy {
    /// The loss on the held-out rows.
    HeldOut,
    /// The loss on the training rows, each seen by a head that was fit without it.
    CrossValidation,
    /// Nothing, as there are fewer than ten rows of either kind: it takes all its epochs.
    TooFewRows,
}

impl CrossValidation<'_> {
    /// Finds the number of epochs, `most` at most, after which Adam is best: each fold has its fit to the
    /// other folds' rows. These go on side by side until the cross-entropy, summed over every fold's own
    /// rows, has not fallen for `patience` epochs. All start from weights of 0, as those of a live head
    /// may have seen these rows. Tells `go_on` before each epoch of each fold how far it is, and breaks off
    /// if that says so. Gives `None` where there are too few rows.
    pub fn stop_early(
        &self,
        most: u32,
        patience: u32,
        settings: AdamSettings,
        go_on: &mut dyn FnMut(Stage) -> ControlFlow<()>,
    ) -> ControlFlow<(), Option<Selection>> {
        let rows = self.data.labelled(self.task);
        let folds = Folds::of(&rows, self.seed);
        if folds.scored() < FEWEST_ROWS {
            return ControlFlow::Continue(None);
        }
        let start = blank(self.like);
        let trial = |fold| {
            let rows = self.fit_on(&rows, &folds.others(fold));
            Trial::new(self.data, self.task, rows, &start, settings)
        };
        let mut trials: Vec<Trial> = (0..folds.count()).map(trial).collect();
        let mut stopping = EarlyStopping::new(patience);
        for epoch in 1..=most {
            let stage = Stage { done: epoch as usize - 1, total: most as usize, fit: None };
            let mut heads = Vec::with_capacity(trials.len());
            for trial in &mut trials {
                go_on(stage)?;
                heads.extend(trial.epoch());
            }
            let loss = self.summed_loss(&heads, &folds);
            // What grows beyond all bounds gets no better.
            if heads.len() < trials.len() || !loss.is_finite() {
                break;
            }
            stopping.see(loss, || (epoch, heads));
            if stopping.is_over() {
                break;
            }
        }
        ControlFlow::Continue(stopping.into_best().map(|(epochs, heads)| {
            let predictions = self.predict(&heads, &folds);
            let (_, temperature) = score(settings.l2, &predictions);
            Selection {
                l2: settings.l2,
                candidates: Vec::new(),
                blend: None,
                epochs: Some(epochs),
                predictions,
                temperature,
                head: start,
            }
        }))
    }

    /// `others` and the rows that say nothing of the task: these have their places in mini-batches.
    fn fit_on(&self, labelled: &Labelled, others: &[usize]) -> Vec<usize> {
        let mut fit_on = vec![true; self.data.rows()];
        labelled.rows().iter().for_each(|&row| fit_on[row] = false);
        others.iter().for_each(|&row| fit_on[row] = true);
        (0..self.data.rows()).filter(|&row| fit_on[row]).collect()
    }

    fn summed_loss(&self, heads: &[Head], folds: &Folds) -> f64 {
        let of_fold = |(fold, head)| {
            let rows = self.data.labelled_among(self.task, folds.rows(fold));
            evaluate(head, &rows).map_or(0.0, |scores| scores.loss * scores.rows as f64)
        };
        heads.iter().enumerate().map(of_fold).sum()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::training::dataset::Dataset;

    const WIDTH: usize = 24;
    const SETTINGS: AdamSettings =
        AdamSettings { learning_rate: 0.05, batch_size: 16, l2: 0.0, seed: 3 };

    /// Rows of three classes in turn, `signal` away from each other in noise of ±1.
    fn data(rows: usize, signal: f32) -> Dataset {
        let mut generator = ChaCha8Rng::seed_from_u64(5);
        let embeddings = Array2::from_shape_fn((rows, WIDTH), |(row, column)| {
            2.0 * generator.random::<f32>() - 1.0 + if column == row % 3 { signal } else { 0.0 }
        });
        let classes = (0..rows).map(|row| Some(row % 3)).collect();
        Dataset::new(embeddings).unwrap().with_task("task", 3, classes).unwrap()
    }

    fn like() -> Head {
        Head::seeded(["a", "b", "c"].map(str::to_owned).to_vec(), WIDTH, 0).unwrap()
    }

    fn stopped(data: &Dataset, most: u32, patience: u32) -> Option<Selection> {
        let validation = CrossValidation { data, task: 0, like: &like(), seed: 3 };
        let go_on = &mut |_| ControlFlow::Continue(());
        match validation.stop_early(most, patience, SETTINGS, go_on) {
            ControlFlow::Continue(selection) => selection,
            ControlFlow::Break(()) => panic!("nobody stopped it"),
        }
    }

    fn loss(selection: &Selection) -> f64 {
        selection.predictions.rows().map(|row| row.cross_entropy()).sum()
    }

    #[test]
    fn the_number_of_epochs_is_the_one_with_the_least_loss_on_unseen_rows() {
        let data = data(60, 0.7);
        let best = stopped(&data, 200, 5).unwrap();
        let epochs = best.epochs.unwrap();
        assert!((2..195).contains(&epochs), "{epochs}");
        assert_eq!(best.predictions.len(), 60);
        // As many epochs as its patience lasts, none is better; nor is a fit that was ended before.
        assert_eq!(stopped(&data, epochs + 5, 100).unwrap().epochs, Some(epochs));
        let before = stopped(&data, epochs - 1, 5).unwrap();
        assert!(before.epochs.unwrap() < epochs && loss(&before) > loss(&best));
        assert_eq!(stopped(&data, 200, 5).unwrap(), best, "the same bits");
    }

    #[test]
    fn noise_is_not_learnt_for_long() {
        let [noise, signal] = [0.0, 2.0].map(|it| stopped(&data(60, it), 200, 5).unwrap());
        assert!(noise.epochs < signal.epochs, "{:?} {:?}", noise.epochs, signal.epochs);
    }

    #[test]
    fn rows_of_other_tasks_have_their_places_in_batches() {
        let data = data(40, 1.0);
        let classes = (0..40).map(|row| (row % 2 == 0).then_some(row % 3)).collect();
        let data = data.with_task("half", 3, classes).unwrap();
        let validation = CrossValidation { data: &data, task: 1, like: &like(), seed: 3 };
        let rows = data.labelled(1);
        let folds = Folds::of(&rows, 3);
        let fit_on = validation.fit_on(&rows, &folds.others(0));
        let held: Vec<usize> = (0..40).filter(|row| !fit_on.contains(row)).collect();
        assert_eq!(held, folds.rows(0).collect::<Vec<_>>());
    }

    #[test]
    fn too_few_rows_leave_the_choice_open() {
        assert_eq!(stopped(&data(9, 1.0), 10, 3), None);
        assert!(stopped(&data(10, 1.0), 10, 3).is_some());
    }

    #[test]
    fn a_search_stops_between_epochs_when_told_to() {
        let data = data(60, 1.0);
        let validation = CrossValidation { data: &data, task: 0, like: &like(), seed: 3 };
        let mut epochs = 0;
        let stopped = validation.stop_early(100, 5, SETTINGS, &mut |_| {
            epochs += 1;
            if epochs == 7 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!((stopped, epochs), (ControlFlow::Break(()), 7));
    }
}
