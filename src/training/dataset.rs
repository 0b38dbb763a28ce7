//! Embeddings with their labels.

mod split;
mod truth;

use std::ops::Range;

use ndarray::{Array2, ArrayView2, Axis, s};
use thiserror::Error;

pub use split::Split;
pub use truth::{Balance, Truth};

use crate::heads::Kind;

/// Embeddings, one a row, and for each task what each row is labelled with, if it says anything of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// rows × width, row-major.
    embeddings: Array2<f32>,
    /// How much each row counts in a fit.
    weights: Vec<f64>,
    columns: Vec<Column>,
}

/// The labels of one task.
#[derive(Clone, Debug, PartialEq)]
struct Column {
    task: String,
    kind: Kind,
    /// One a label that the task has, whether or not it occurs.
    balance: Vec<Balance>,
    /// One entry a row, all of the task's kind, or `None` where the row says nothing of the task.
    values: Vec<Option<Truth>>,
}

/// Why embeddings and labels do not make a data set.
#[derive(Debug, Error, PartialEq)]
pub enum DatasetError {
    #[error("the embedding of row {row} holds {value}; only finite numbers are allowed")]
    NotFinite { row: usize, value: f32 },
    #[error("task {task:?} has labels for {found} rows, but there are {expected} embeddings")]
    Rows { task: String, found: usize, expected: usize },
    #[error(
        "row {row} has class {class} of task {task:?}, but it has {classes} classes, counted from 0"
    )]
    Class { task: String, row: usize, class: usize, classes: usize },
    #[error("task {0:?} occurs twice in the data set")]
    DuplicateTask(String),
    #[error("there are weights for {found} rows, but there are {expected} embeddings")]
    Weights { found: usize, expected: usize },
    #[error("the weight of row {row} is {weight}; only finite numbers greater than 0 are allowed")]
    Weight { row: usize, weight: f64 },
    #[error("there are texts for {found} rows, but there are {expected} embeddings")]
    Texts { found: usize, expected: usize },
    #[error("the validation share is {0}, but it must be at least 0 and below 1")]
    Share(f64),
}

impl Dataset {
    /// Rows without labels yet. `embeddings` is rows × width.
    ///
    /// # Errors
    /// NaN or infinite values.
    pub fn new(embeddings: Array2<f32>) -> Result<Self, DatasetError> {
        if let Some(((row, _), &value)) =
            embeddings.indexed_iter().find(|(_, value)| !value.is_finite())
        {
            return Err(DatasetError::NotFinite { row, value });
        }
        let weights = vec![1.0; embeddings.nrows()];
        let embeddings = embeddings.as_standard_layout().into_owned();
        Ok(Self { embeddings, weights, columns: Vec::new() })
    }

    /// Lets each row count as often in a fit as `weights` says; without this, each counts once.
    ///
    /// # Errors
    /// Too many or too few weights, or one that is not a finite number greater than 0.
    pub fn with_weights(mut self, weights: Vec<f64>) -> Result<Self, DatasetError> {
        if weights.len() != self.rows() {
            return Err(DatasetError::Weights { found: weights.len(), expected: self.rows() });
        }
        let invalid = |weight: &f64| !(*weight > 0.0 && weight.is_finite());
        if let Some(row) = weights.iter().position(invalid) {
            return Err(DatasetError::Weight { row, weight: weights[row] });
        }
        self.weights = weights;
        Ok(self)
    }

    /// Lets all classes of a task count alike: each by rows / (classes · rows of the class), where
    /// rows count by their weights and only classes that occur are counted. This is scikit-learn's
    /// [`class_weight="balanced"`](https://scikit-learn.org/stable/modules/generated/sklearn.utils.class_weight.compute_class_weight.html).
    /// For each label of a multi-label task the classes are two: rows to which it applies, and others.
    pub fn balanced(mut self) -> Self {
        for column in &mut self.columns {
            column.balance = column.balanced(&self.weights);
        }
        self
    }

    /// Adds a single-label task with `classes` labels. `values` has an entry for each row: the index
    /// of its label, or `None` where the row carries no label for this task.
    ///
    /// # Errors
    /// A task that is there already, too many or too few entries, an index out of range.
    pub fn with_task(
        self,
        task: impl Into<String>,
        classes: usize,
        values: Vec<Option<usize>>,
    ) -> Result<Self, DatasetError> {
        let values = values.into_iter().map(|class| class.map(Truth::Class)).collect();
        let balance = vec![Balance::default(); classes];
        self.with_column(Column { task: task.into(), kind: Kind::SingleLabel, balance, values })
    }

    /// Adds a multi-label task with `classes` labels. `values` has an entry for each row: the indices
    /// of all its labels, in any order, or `None` where the row says nothing of this task.
    ///
    /// # Errors
    /// As [`with_task`](Self::with_task).
    pub fn with_multi_label_task(
        self,
        task: impl Into<String>,
        classes: usize,
        values: Vec<Option<Vec<usize>>>,
    ) -> Result<Self, DatasetError> {
        let values = values.into_iter().map(|classes| classes.map(Truth::set)).collect();
        let balance = vec![Balance::default(); classes];
        self.with_column(Column { task: task.into(), kind: Kind::MultiLabel, balance, values })
    }

    fn with_column(mut self, column: Column) -> Result<Self, DatasetError> {
        let Column { task, balance, values, .. } = &column;
        if self.tasks().any(|present| present == task) {
            return Err(DatasetError::DuplicateTask(task.clone()));
        }
        let expected = self.rows();
        if values.len() != expected {
            return Err(DatasetError::Rows { task: task.clone(), found: values.len(), expected });
        }
        let classes = balance.len();
        for (row, truth) in values.iter().enumerate() {
            let mut named = truth.iter().flat_map(Truth::classes);
            if let Some(&class) = named.find(|&&class| class >= classes) {
                return Err(DatasetError::Class { task: task.clone(), row, class, classes });
            }
        }
        self.columns.push(column);
        Ok(self)
    }

    /// The number of embeddings.
    pub fn rows(&self) -> usize {
        self.embeddings.nrows()
    }

    /// The number of components of each embedding.
    pub fn width(&self) -> usize {
        self.embeddings.ncols()
    }

    /// The names of the tasks, in the order in which they were added.
    pub fn tasks(&self) -> impl ExactSizeIterator<Item = &str> {
        self.columns.iter().map(|column| column.task.as_str())
    }

    /// The number of labels of the task at position `task`.
    pub fn classes(&self, task: usize) -> usize {
        self.columns[task].balance.len()
    }

    /// The kind of the task at position `task`.
    pub fn kind(&self, task: usize) -> Kind {
        self.columns[task].kind
    }

    /// The rows that are labelled for the task at position `task`, in order.
    pub fn labelled(&self, task: usize) -> Labelled<'_> {
        self.labelled_among(task, 0..self.rows())
    }

    /// Those of `rows` that are labelled for the task at position `task`, in the order given.
    ///
    /// # Panics
    /// If a row is out of range.
    pub fn labelled_among(
        &self,
        task: usize,
        rows: impl IntoIterator<Item = usize>,
    ) -> Labelled<'_> {
        let Column { values, balance, .. } = &self.columns[task];
        let (rows, truths): (Vec<_>, Vec<_>) =
            rows.into_iter().filter_map(|row| Some((row, values[row].clone()?))).unzip();
        let weight = |(&row, truth): (&usize, &Truth)| match *truth {
            Truth::Class(class) => self.weights[row] * balance[class].present,
            Truth::Set(_) => self.weights[row],
        };
        let weights = rows.iter().zip(&truths).map(weight).collect();
        Labelled { embeddings: self.embeddings.view(), rows, truths, weights, balance }
    }

    /// The given rows, in the order given.
    ///
    /// # Panics
    /// If a row is out of range.
    pub fn select(&self, rows: &[usize]) -> Self {
        let columns = self.columns.iter().map(|column| Column {
            values: rows.iter().map(|&row| column.values[row].clone()).collect(),
            ..column.clone()
        });
        Self {
            embeddings: self.embeddings.select(Axis(0), rows),
            weights: rows.iter().map(|&row| self.weights[row]).collect(),
            columns: columns.collect(),
        }
    }
}

impl Column {
    /// See [`Dataset::balanced`].
    fn balanced(&self, weights: &[f64]) -> Vec<Balance> {
        let mut totals = vec![Balance { present: 0.0, absent: 0.0 }; self.balance.len()];
        for (truth, weight) in self.values.iter().zip(weights) {
            let Some(truth) = truth else { continue };
            let mut present = truth.classes().iter().peekable();
            for (class, total) in totals.iter_mut().enumerate() {
                match present.next_if_eq(&&class) {
                    Some(_) => total.present += weight,
                    None => total.absent += weight,
                }
            }
        }
        let share = |all: f64, classes: f64, total: f64| match total > 0.0 {
            true => all / (classes * total),
            false => 1.0,
        };
        match self.kind {
            Kind::SingleLabel => {
                let occurring = totals.iter().filter(|total| total.present > 0.0).count() as f64;
                let all = totals.iter().map(|total| total.present).sum();
                let balance = |total: Balance| share(all, occurring, total.present);
                let balance = |total| Balance { present: balance(total), absent: 1.0 };
                totals.into_iter().map(balance).collect()
            }
            Kind::MultiLabel => {
                let balance = |Balance { present, absent }| {
                    let all = present + absent;
                    let occurring = if present > 0.0 && absent > 0.0 { 2.0 } else { 1.0 };
                    let share = |total| share(all, occurring, total);
                    Balance { present: share(present), absent: share(absent) }
                };
                totals.into_iter().map(balance).collect()
            }
        }
    }
}

/// Rows of a data set with what they are labelled with for one task.
#[derive(Clone, Debug)]
pub struct Labelled<'a> {
    embeddings: ArrayView2<'a, f32>,
    rows: Vec<usize>,
    /// One a row.
    truths: Vec<Truth>,
    /// One a row.
    weights: Vec<f64>,
    /// One a label.
    balance: &'a [Balance],
}

impl Labelled<'_> {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no row is labelled.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The number of components of each embedding.
    pub fn width(&self) -> usize {
        self.embeddings.ncols()
    }

    /// The rows' positions in the data set.
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }

    /// The mean square of the embeddings' length. 0 without rows.
    pub fn mean_square(&self) -> f64 {
        let mut sum = 0.0;
        self.for_each_block(|_, embeddings| {
            sum += embeddings.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>();
        });
        sum / self.len().max(1) as f64
    }

    /// What each row is labelled with.
    pub fn truths(&self) -> &[Truth] {
        &self.truths
    }

    /// How much each row counts in a fit: its weight, in a single-label task times that of its class.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// How much rows count for each label of a multi-label task, times their weight.
    pub fn balance(&self) -> &[Balance] {
        self.balance
    }

    /// Calls `visit` with the embeddings block by block: positions among these rows, and the
    /// block's embeddings. Memory is bounded by one block, and rows that lie side by side are not
    /// copied at all.
    pub fn for_each_block(&self, mut visit: impl FnMut(Range<usize>, ArrayView2<f32>)) {
        // Large enough for efficient matrix products, small enough for the processor's cache.
        const BLOCK: usize = 512;
        for (block, rows) in self.rows.chunks(BLOCK).enumerate() {
            let positions = block * BLOCK..block * BLOCK + rows.len();
            if rows.windows(2).all(|pair| pair[0] + 1 == pair[1]) {
                visit(positions, self.embeddings.slice(s![rows[0]..rows[0] + rows.len(), ..]));
            } else {
                visit(positions, self.embeddings.select(Axis(0), rows).view());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;

    fn numbered(rows: usize) -> Dataset {
        Dataset::new(Array2::from_shape_fn((rows, 2), |(row, _)| row as f32)).unwrap()
    }

    #[test]
    fn blocks_hold_the_labelled_rows_in_order() {
        let every_third = |row: usize| row.is_multiple_of(3);
        for carries in [|_| true, every_third] {
            let classes = (0..2000).map(|row| carries(row).then_some(row % 5)).collect();
            let data = numbered(2000).with_task("task", 5, classes).unwrap();
            let labelled = data.labelled(0);
            let mut seen = Vec::new();
            labelled.for_each_block(|positions, embeddings| {
                assert_eq!(positions.start, seen.len());
                assert_eq!(positions.len(), embeddings.nrows());
                seen.extend(embeddings.column(1).iter().map(|&row| row as usize));
            });
            assert_eq!(seen, (0..2000).filter(|&row| carries(row)).collect::<Vec<_>>());
            let expected: Vec<Truth> = seen.iter().map(|row| Truth::Class(row % 5)).collect();
            assert_eq!(labelled.truths(), expected);
        }
    }

    #[test]
    fn rows_count_by_their_weight_and_that_of_their_class() {
        let classes = [0, 0, 0, 1, 2].map(Some).to_vec();
        let data = numbered(5).with_weights(vec![1.0, 2.0, 1.0, 1.0, 4.0]).unwrap();
        let data = data.with_task("topic", 4, classes).unwrap();
        assert_eq!(data.labelled(0).weights(), [1.0, 2.0, 1.0, 1.0, 4.0]);
        // 9 in all, three classes that occur, of 4, 1 and 4.
        let balanced = data.balanced();
        let expected = [0.75, 1.5, 0.75, 3.0, 3.0];
        for (found, expected) in balanced.labelled(0).weights().iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        }
        assert_eq!(balanced.select(&[3, 1]).labelled(0).weights().len(), 2);
        assert!((balanced.select(&[3, 1]).labelled(0).weights()[0] - 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_row_may_have_several_labels_or_none_or_say_nothing() {
        let sets = vec![Some(vec![2, 0, 2]), None, Some(vec![])];
        let data = numbered(3).with_multi_label_task("tags", 3, sets).unwrap();
        assert_eq!((data.kind(0), data.classes(0)), (Kind::MultiLabel, 3));
        let rows = data.labelled(0);
        assert_eq!(rows.rows(), [0, 2]);
        assert_eq!(rows.truths(), [Truth::Set([0, 2].into()), Truth::Set([].into())]);
        let applies: Vec<bool> =
            rows.truths()[0].labels(rows.balance()).map(|(applies, _)| applies).collect();
        assert_eq!(applies, [true, false, true]);
        assert_eq!(data.select(&[2, 1]).labelled(0).truths(), [Truth::Set([].into())]);
    }

    #[test]
    fn each_label_of_a_set_is_balanced_against_its_absence() {
        // Label 0 applies to a weight of 2 in 10, label 1 to all rows that are labelled, label 2 to none.
        let sets = vec![Some(vec![0, 1]), Some(vec![1]), Some(vec![1]), None];
        let data = numbered(4).with_weights(vec![2.0, 5.0, 3.0, 7.0]).unwrap();
        let data = data.with_multi_label_task("tags", 3, sets).unwrap().balanced();
        let rows = data.labelled(0);
        assert_eq!(rows.weights(), [2.0, 5.0, 3.0], "rows count by their own weight");
        let even = Balance { present: 1.0, absent: 1.0 };
        assert_eq!(rows.balance(), [Balance { present: 2.5, absent: 0.625 }, even, even]);
    }

    #[test]
    fn what_does_not_fit_together_is_refused_with_the_reason() {
        let reason = |found: Result<Dataset, DatasetError>| found.unwrap_err().to_string();
        assert_eq!(
            reason(Dataset::new(arr2(&[[0.0], [f32::NAN]]))),
            "the embedding of row 1 holds NaN; only finite numbers are allowed"
        );
        assert_eq!(
            reason(numbered(3).with_task("topic", 2, vec![None; 2])),
            "task \"topic\" has labels for 2 rows, but there are 3 embeddings"
        );
        assert_eq!(
            reason(numbered(2).with_task("topic", 2, vec![None, Some(2)])),
            "row 1 has class 2 of task \"topic\", but it has 2 classes, counted from 0"
        );
        let sets = vec![None, Some(vec![0, 3])];
        assert_eq!(
            reason(numbered(2).with_multi_label_task("tags", 3, sets)),
            "row 1 has class 3 of task \"tags\", but it has 3 classes, counted from 0"
        );
        assert_eq!(
            reason(numbered(2).with_weights(vec![1.0])),
            "there are weights for 1 rows, but there are 2 embeddings"
        );
        assert_eq!(
            reason(numbered(2).with_weights(vec![1.0, 0.0])),
            "the weight of row 1 is 0; only finite numbers greater than 0 are allowed"
        );
        let twice = numbered(1).with_task("topic", 2, vec![None]).unwrap();
        assert_eq!(
            reason(twice.with_task("topic", 2, vec![None])),
            "task \"topic\" occurs twice in the data set"
        );
    }
}
