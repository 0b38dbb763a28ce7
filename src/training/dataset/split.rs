//! Holding out rows for validation.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Dataset, DatasetError};

/// Rows to fit on and rows to score on.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    pub train: Dataset,
    /// `None` where no row is held out.
    pub validation: Option<Dataset>,
}

impl Dataset {
    /// Holds out `share` of the rows, rounded to whole rows, in `[0, 1)`. Every combination of
    /// labels gives its share to within one row, and every label that occurs keeps at least one
    /// row to train on, so that a few rows less than asked for may be held out.
    /// The same seed gives the same split.
    ///
    /// # Errors
    /// A share outside `[0, 1)`.
    pub fn split(self, share: f64, seed: u64) -> Result<Split, DatasetError> {
        if !(0.0..1.0).contains(&share) {
            return Err(DatasetError::Share(share));
        }
        let mut held_out = self.stratified_sample(share, seed);
        self.return_last_of_each_class(&mut held_out);
        let (validation, train): (Vec<usize>, Vec<usize>) =
            (0..self.rows()).partition(|&row| held_out[row]);
        if validation.is_empty() {
            return Ok(Split { train: self, validation: None });
        }
        Ok(Split { train: self.select(&train), validation: Some(self.select(&validation)) })
    }

    /// Systematic sampling: with the rows sorted by their labels, first task first, and shuffled
    /// among equals, every 1/share-th row from a random start. Each run of equal rows, and so each
    /// label of the first task and each combination, is hit in proportion.
    fn stratified_sample(&self, share: f64, seed: u64) -> Vec<bool> {
        let total = self.rows();
        let wanted = (share * total as f64).round() as usize;
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        let mut order: Vec<usize> = (0..total).collect();
        order.shuffle(&mut generator);
        order.sort_by(|&left, &right| self.labels(left).cmp(self.labels(right)));
        let mut held_out = vec![false; total];
        if wanted == 0 {
            return held_out;
        }
        let start = generator.random_range(0..total);
        let picked_before = |position: usize| (start + position * wanted) / total;
        for (position, row) in order.into_iter().enumerate() {
            held_out[row] = picked_before(position) < picked_before(position + 1);
        }
        held_out
    }

    /// A class without a training row could not be learnt: it gets its first row back.
    fn return_last_of_each_class(&self, held_out: &mut [bool]) {
        for column in &self.columns {
            let mut trained = vec![false; column.classes];
            for (value, held_out) in column.values.iter().zip(&*held_out) {
                if let (Some(class), false) = (*value, held_out) {
                    trained[class] = true;
                }
            }
            for (value, held_out) in column.values.iter().zip(&mut *held_out) {
                if let Some(class) = *value
                    && !trained[class]
                {
                    trained[class] = true;
                    *held_out = false;
                }
            }
        }
    }

    /// The classes of one row, task by task.
    fn labels(&self, row: usize) -> impl Iterator<Item = Option<usize>> {
        self.columns.iter().map(move |column| column.values[row])
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    /// Embeddings that tell their row, so that rows can be found again after the split.
    fn data(columns: &[(&str, usize, Vec<Option<usize>>)]) -> Dataset {
        let rows = columns[0].2.len();
        let embeddings = Array2::from_shape_fn((rows, 1), |(row, _)| row as f32);
        columns.iter().fold(Dataset::new(embeddings).unwrap(), |data, (task, classes, values)| {
            data.with_task(*task, *classes, values.clone()).unwrap()
        })
    }

    fn rows(data: &Dataset) -> Vec<usize> {
        data.embeddings.iter().map(|&row| row as usize).collect()
    }

    fn count(data: &Dataset, task: usize, class: usize) -> usize {
        data.labelled(task).classes().iter().filter(|&&found| found == class).count()
    }

    #[test]
    fn each_class_gives_its_share() {
        // 60 %, 30 % and 10 % of 200 rows, not sorted.
        let classes = (0..200).map(|row| Some([0, 1, 0, 1, 0, 0, 2, 0, 1, 0][row % 10])).collect();
        let split = data(&[("topic", 3, classes)]).split(0.25, 3).unwrap();
        let validation = split.validation.unwrap();
        assert_eq!(validation.rows(), 50);
        for (class, total) in [(0, 120), (1, 60), (2, 20)] {
            let share = count(&validation, 0, class).abs_diff(total / 4);
            assert!(share <= 1, "class {class} is off by {share}");
        }
    }

    #[test]
    fn every_row_is_on_one_side_with_its_labels_and_the_seed_decides_which() {
        let topic: Vec<_> = (0..97).map(|row| (row % 4 != 0).then_some(row % 3)).collect();
        let mood: Vec<_> = (0..97).map(|row| (row % 5 != 0).then_some(row % 2)).collect();
        let data = data(&[("topic", 3, topic.clone()), ("mood", 2, mood.clone())]);
        let split = data.clone().split(0.2, 1).unwrap();
        let validation = split.validation.as_ref().unwrap();
        let mut all = [rows(&split.train), rows(validation)].concat();
        all.sort_unstable();
        assert_eq!(all, (0..97).collect::<Vec<_>>());
        for side in [&split.train, validation] {
            for (position, row) in rows(side).into_iter().enumerate() {
                let labels: Vec<_> = side.labels(position).collect();
                assert_eq!(labels, [topic[row], mood[row]]);
            }
        }
        assert_eq!(data.clone().split(0.2, 1).unwrap(), split);
        assert_ne!(data.split(0.2, 2).unwrap(), split);
    }

    #[test]
    fn every_class_that_occurs_keeps_a_training_row() {
        for seed in 0..50 {
            let topic = (0..12).map(|row| Some(row.min(3))).collect();
            let mood = (0..12).map(|row| (row > 9).then_some(row % 2)).collect();
            let split = data(&[("topic", 4, topic), ("mood", 2, mood)]).split(0.9, seed).unwrap();
            for (task, classes) in [(0, 4), (1, 2)] {
                for class in 0..classes {
                    assert!(count(&split.train, task, class) > 0, "{seed} {task} {class}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_held_out_when_nothing_is_asked_for_or_the_share_is_less_than_half_a_row() {
        let data = data(&[("topic", 2, vec![Some(0), Some(1), Some(0), Some(1)])]);
        for share in [0.0, 0.1] {
            let split = data.clone().split(share, 1).unwrap();
            assert_eq!(split, Split { train: data.clone(), validation: None });
        }
    }

    #[test]
    fn a_share_that_leaves_nothing_to_train_on_is_refused() {
        let data = data(&[("topic", 2, vec![Some(0), Some(1)])]);
        for share in [-0.1, 1.0, f64::NAN] {
            let refused = data.clone().split(share, 1).unwrap_err().to_string();
            let reason = "but it must be at least 0 and below 1";
            assert!(refused.ends_with(reason), "{refused}");
        }
    }
}
