//! Holding out rows to score on.

use super::{Column, Dataset, DatasetError, Truth};
use crate::training::text_hash::TextHash;

/// Rows to fit on and rows to score on.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    pub train: Dataset,
    /// `None` where no row is held out.
    pub validation: Option<Dataset>,
}

/// The share of rows that is held out where nobody asked for another.
const SHARE: f64 = 0.1;

/// With fewer held-out rows the standard error of an accuracy may be more than 7 points: then they
/// tell less than they cost.
const FEWEST: f64 = 50.0;

impl Dataset {
    /// Which rows to hold out: about `share` of them, in `[0, 1)`. Of each combination of labels,
    /// those whose texts have the lowest hashes, so that a row that is held out stays so when others
    /// come and go, but for a few at the edge. Every combination gives its share to within one row,
    /// and every label that occurs keeps at least one row to train on, as does, in a multi-label task,
    /// its absence.
    ///
    /// Without a share, a tenth is held out if that is at least 50 rows, else none.
    ///
    /// # Errors
    /// A share outside `[0, 1)`, too many or too few texts.
    pub fn choose_held_out(
        &self,
        share: Option<f64>,
        texts: &[TextHash],
    ) -> Result<Vec<bool>, DatasetError> {
        let enough = SHARE * self.rows() as f64 >= FEWEST;
        let share = share.unwrap_or(if enough { SHARE } else { 0.0 });
        if !(0.0..1.0).contains(&share) {
            return Err(DatasetError::Share(share));
        }
        if texts.len() != self.rows() {
            return Err(DatasetError::Texts { found: texts.len(), expected: self.rows() });
        }
        let mut held_out = self.lowest_of_each_combination(share, texts);
        self.return_last_of_each_class(&mut held_out);
        Ok(held_out)
    }

    /// The rows apart that `held_out` says, one entry a row.
    pub fn split(&self, held_out: &[bool]) -> Split {
        let (validation, train): (Vec<usize>, Vec<usize>) =
            (0..self.rows()).partition(|&row| held_out[row]);
        let validation = (!validation.is_empty()).then(|| self.select(&validation));
        Split { train: self.select(&train), validation }
    }

    /// The combinations, one after another, get what the share of all rows so far is more than those
    /// before got: rounding evens out over small combinations.
    fn lowest_of_each_combination(&self, share: f64, texts: &[TextHash]) -> Vec<bool> {
        let mut order: Vec<usize> = (0..self.rows()).collect();
        order.sort_by(|&left, &right| {
            let by_labels = self.labels(left).cmp(self.labels(right));
            by_labels.then(texts[left].cmp(&texts[right])).then(left.cmp(&right))
        });
        let mut held_out = vec![false; self.rows()];
        let wanted = |rows: usize| (share * rows as f64).round() as usize;
        let mut before = 0;
        for combination in order.chunk_by(|&left, &right| self.labels(left).eq(self.labels(right)))
        {
            let count = wanted(before + combination.len()) - wanted(before);
            for &row in &combination[..count] {
                held_out[row] = true;
            }
            before += combination.len();
        }
        held_out
    }

    /// A class without a training row could not be learnt, nor a label that applies to all of them: each
    /// gets its first row back.
    fn return_last_of_each_class(&self, held_out: &mut [bool]) {
        for Column { values, balance, .. } in &self.columns {
            let mut train = Counts { rows: 0, applied: vec![0; balance.len()] };
            let rows = values.iter().zip(&*held_out).filter(|&(_, held_out)| !held_out);
            rows.flat_map(|(truth, _)| truth).for_each(|truth| train.add(truth));
            for (truth, held_out) in values.iter().zip(&mut *held_out) {
                if let Some(truth) = truth
                    && *held_out
                    && train.teaches_nothing_of(truth)
                {
                    *held_out = false;
                    train.add(truth);
                }
            }
        }
    }

    /// What one row is labelled with, task by task.
    fn labels(&self, row: usize) -> impl Iterator<Item = Option<&Truth>> {
        self.columns.iter().map(move |column| column.values[row].as_ref())
    }
}

/// How many rows there are, and to how many of them each label applies.
struct Counts {
    rows: usize,
    applied: Vec<usize>,
}

impl Counts {
    fn add(&mut self, truth: &Truth) {
        self.rows += 1;
        truth.classes().iter().for_each(|&class| self.applied[class] += 1);
    }

    /// Whether there is a label that applies to `truth` and no row, or to all rows but not to `truth`.
    fn teaches_nothing_of(&self, truth: &Truth) -> bool {
        let mut classes = truth.classes().iter().peekable();
        self.applied.iter().enumerate().any(|(class, &applied)| {
            let applies = classes.next_if_eq(&&class).is_some();
            applied == if applies { 0 } else { self.rows }
        })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    /// Embeddings that tell their row, so that rows can be found again after the split.
    fn numbered(rows: usize) -> Dataset {
        Dataset::new(Array2::from_shape_fn((rows, 1), |(row, _)| row as f32)).unwrap()
    }

    fn data(columns: &[(&str, usize, Vec<Option<usize>>)]) -> Dataset {
        columns.iter().fold(numbered(columns[0].2.len()), |data, (task, classes, values)| {
            data.with_task(*task, *classes, values.clone()).unwrap()
        })
    }

    fn rows(data: &Dataset) -> Vec<usize> {
        data.embeddings.iter().map(|&row| row as usize).collect()
    }

    fn count(data: &Dataset, task: usize, class: usize) -> usize {
        data.labelled(task).truths().iter().filter(|truth| truth.classes().contains(&class)).count()
    }

    fn texts(rows: usize) -> Vec<TextHash> {
        (0..rows).map(|row| TextHash::of(&format!("text {row}"))).collect()
    }

    fn split(data: &Dataset, share: f64) -> Split {
        data.split(&data.choose_held_out(Some(share), &texts(data.rows())).unwrap())
    }

    #[test]
    fn each_class_gives_its_share() {
        // 60 %, 30 % and 10 % of 200 rows, not sorted.
        let classes = (0..200).map(|row| Some([0, 1, 0, 1, 0, 0, 2, 0, 1, 0][row % 10])).collect();
        let validation = split(&data(&[("topic", 3, classes)]), 0.25).validation.unwrap();
        assert_eq!(validation.rows(), 50);
        for (class, total) in [(0, 120), (1, 60), (2, 20)] {
            let share = count(&validation, 0, class).abs_diff(total / 4);
            assert!(share <= 1, "class {class} is off by {share}");
        }
    }

    #[test]
    fn every_row_is_on_one_side_with_its_labels() {
        let topic: Vec<_> = (0..97).map(|row| (row % 4 != 0).then_some(row % 3)).collect();
        let mood: Vec<_> = (0..97).map(|row| (row % 5 != 0).then_some(row % 2)).collect();
        let data = data(&[("topic", 3, topic.clone()), ("mood", 2, mood.clone())]);
        let split = split(&data, 0.2);
        let validation = split.validation.as_ref().unwrap();
        let mut all = [rows(&split.train), rows(validation)].concat();
        all.sort_unstable();
        assert_eq!(all, (0..97).collect::<Vec<_>>());
        for side in [&split.train, validation] {
            for (position, row) in rows(side).into_iter().enumerate() {
                let labels: Vec<_> = side.labels(position).map(|it| it.cloned()).collect();
                assert_eq!(labels, [topic[row], mood[row]].map(|it| it.map(Truth::Class)));
            }
        }
    }

    #[test]
    fn a_text_stays_held_out_when_others_come() {
        let classes = |rows: usize| (0..rows).map(|row| Some(row % 2)).collect();
        let before = data(&[("mood", 2, classes(1000))]);
        let before = before.choose_held_out(Some(0.1), &texts(1000)).unwrap();
        let after = data(&[("mood", 2, classes(1100))]);
        let after = after.choose_held_out(Some(0.1), &texts(1100)).unwrap();
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
        // Of 100; with a fresh draw it would be about 180.
        assert!(moved <= 10, "{moved}");
        assert_eq!(after.iter().filter(|&&held_out| held_out).count(), 110);
    }

    #[test]
    fn every_class_that_occurs_keeps_a_training_row() {
        let topic = (0..12).map(|row| Some(row.min(3))).collect();
        let mood = (0..12).map(|row| (row > 9).then_some(row % 2)).collect();
        let split = split(&data(&[("topic", 4, topic), ("mood", 2, mood)]), 0.9);
        for (task, classes) in [(0, 4), (1, 2)] {
            for class in 0..classes {
                assert!(count(&split.train, task, class) > 0, "{task} {class}");
            }
        }
    }

    #[test]
    fn every_label_keeps_a_training_row_that_it_applies_to_and_one_that_it_does_not() {
        // Label 0 applies to all rows but one, label 1 to one, label 2 to none and label 3 to all.
        let sets = (0..40).map(|row| {
            let labels = [row != 5, row == 9, false, true].into_iter().enumerate();
            Some(labels.filter_map(|(label, applies)| applies.then_some(label)).collect())
        });
        let data = numbered(40).with_multi_label_task("tags", 4, sets.collect()).unwrap();
        for share in [0.1, 0.5, 0.95] {
            let held_out = data.choose_held_out(Some(share), &texts(40)).unwrap();
            assert!(!held_out[5] && !held_out[9], "{share}");
            let train = data.split(&held_out).train;
            assert!(train.rows() > count(&train, 0, 0) && count(&train, 0, 1) == 1, "{share}");
        }
    }

    #[test]
    fn each_combination_of_labels_gives_its_share() {
        let sets = [vec![], vec![0], vec![0, 1], vec![1]];
        let values = (0..400).map(|row| Some(sets[row % 4].clone())).collect();
        let data = numbered(400).with_multi_label_task("tags", 2, values).unwrap();
        let held_out = data.choose_held_out(Some(0.1), &texts(400)).unwrap();
        let of = |set: usize| (0..400).filter(|row| row % 4 == set && held_out[*row]).count();
        assert_eq!([of(0), of(1), of(2), of(3)], [10; 4]);
    }

    #[test]
    fn nothing_is_held_out_when_nothing_is_asked_for_or_the_share_is_less_than_half_a_row() {
        let data = data(&[("topic", 2, vec![Some(0), Some(1), Some(0), Some(1)])]);
        for share in [0.0, 0.1] {
            assert_eq!(split(&data, share), Split { train: data.clone(), validation: None });
        }
    }

    #[test]
    fn a_tenth_is_held_out_by_itself_where_it_says_something() {
        for (rows, expected) in [(5, 0), (499, 0), (500, 50), (1234, 123)] {
            let data = data(&[("topic", 2, (0..rows).map(|row| Some(row % 2)).collect())]);
            let held_out = data.choose_held_out(None, &texts(rows)).unwrap();
            assert_eq!(held_out.iter().filter(|&&held_out| held_out).count(), expected);
        }
    }

    #[test]
    fn a_share_that_leaves_nothing_to_train_on_is_refused() {
        let data = data(&[("topic", 2, vec![Some(0), Some(1)])]);
        for share in [-0.1, 1.0, f64::NAN] {
            let refused = data.choose_held_out(Some(share), &texts(2)).unwrap_err().to_string();
            let reason = "but it must be at least 0 and below 1";
            assert!(refused.ends_with(reason), "{refused}");
        }
        let refused = data.choose_held_out(None, &texts(1)).unwrap_err().to_string();
        assert_eq!(refused, "there are texts for 1 rows, but there are 2 embeddings");
    }
}
