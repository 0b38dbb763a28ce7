//! Fits heads to embeddings. Pure and seeded: the same input gives the same bits on the same machine.

mod adam;
mod lbfgs;
mod line_search;
mod objective;
mod preconditioner;

use std::ops::ControlFlow;

use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::adam::Adam;
use self::lbfgs::Lbfgs;
use crate::heads::head::Head;
use crate::training::dataset::{Dataset, Split};
use crate::training::evaluation::evaluate;
use crate::training::job::{EpochReport, Scores, TaskReport};

/// The algorithm that fits the heads, with its settings.
///
/// Both make the same objective small: for each task, its mean cross-entropy in nats plus
/// `l2 / (2 · rows)` times the squared norm of its weights (not of its bias), where `rows` counts
/// the training rows that carry a label for the task. Times `rows`, that is the sum of the
/// cross-entropies plus `l2 / 2` times the squared norm, so `l2` is the inverse of scikit-learn's
/// `C` for a multinomial `LogisticRegression`. (Its special form for two classes penalises half
/// as much: there `C` is 2 / `l2`.)
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum Solver {
    /// Full-batch quasi-Newton. An epoch is one iteration of each task that has not converged; the
    /// fit ends early when all have.
    Lbfgs { l2: f64, epochs: u32 },
    /// Mini-batch Adam, with the loss summed over tasks. Batches are drawn anew each epoch; a batch
    /// that holds all rows keeps their order.
    Adam { learning_rate: f64, epochs: u32, batch_size: usize, l2: f64 },
}

/// A setting of a solver that is out of range.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{setting} is {value}, but it must be {allowed}")]
pub struct InvalidSetting {
    pub setting: &'static str,
    pub value: f64,
    pub allowed: &'static str,
}

/// The head of a task before the fit, and its part in it.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// The fit starts from these weights.
    Train(Head),
    /// The head stays as it is, bit for bit, and is only evaluated.
    Freeze(Head),
}

/// Why a fit gave no heads.
#[derive(Debug, Error, PartialEq)]
pub enum FitError {
    #[error(transparent)]
    InvalidSetting(#[from] InvalidSetting),
    #[error("there are {found} heads for {expected} tasks")]
    Heads { found: usize, expected: usize },
    #[error(
        "the head of task {task:?} has {labels} labels on embeddings {width} wide, \
         but the examples have {expected_labels} labels on embeddings {expected_width} wide"
    )]
    Shape {
        task: String,
        labels: usize,
        width: usize,
        expected_labels: usize,
        expected_width: usize,
    },
    #[error("task {0:?} has no example to train on")]
    NoExamples(String),
    #[error(
        "task {task:?} has a single class: all of its {rows} training examples are labelled \
         {label:?}, but training needs at least 2 different labels"
    )]
    SingleClass { task: String, label: String, rows: usize },
    #[error(
        "the loss or the weights of task {task:?} grew beyond all bounds in epoch {epoch}; \
         a lower learning rate or a higher l2 may help"
    )]
    Diverged { task: String, epoch: u32 },
    #[error("cancelled after epoch {epoch}")]
    Cancelled { epoch: u32 },
}

/// Single precision cannot tell logits one nat apart beyond 2²⁴, so that weights of this size on
/// embeddings of any usual length mean nothing any more.
const GREATEST_WEIGHT: f64 = 16_777_216.0;

impl Default for Solver {
    /// L-BFGS to convergence, with the regularisation of scikit-learn's `C = 10`.
    fn default() -> Self {
        Self::Lbfgs { l2: 0.1, epochs: 100 }
    }
}

impl Solver {
    /// Checks that every setting is in its range.
    ///
    /// # Errors
    /// The first setting that is not.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        let (l2, batch_size, learning_rate) = match *self {
            Self::Lbfgs { l2, .. } => (l2, 1, 1.0),
            Self::Adam { learning_rate, batch_size, l2, .. } => (l2, batch_size, learning_rate),
        };
        let check = |setting, value, valid: bool, allowed| match valid {
            true => Ok(()),
            false => Err(InvalidSetting { setting, value, allowed }),
        };
        check("epochs", self.epochs().into(), self.epochs() > 0, "at least 1")?;
        check("l2", l2, (0.0..=1e12).contains(&l2), "at least 0 and at most 1e12")?;
        check("batch_size", batch_size as f64, batch_size > 0, "at least 1")?;
        let positive = learning_rate > 0.0 && learning_rate.is_finite();
        check("learning_rate", learning_rate, positive, "a finite number greater than 0")
    }

    /// The greatest number of passes over the examples.
    pub fn epochs(&self) -> u32 {
        let (Self::Lbfgs { epochs, .. } | Self::Adam { epochs, .. }) = *self;
        epochs
    }
}

/// Fits the heads of all tasks that are not frozen on `data.train` and gives all heads back, in
/// the order of the data set's tasks, as `start` is. After each epoch `on_epoch` is told where all
/// tasks stand, frozen ones too, and may stop the fit. If all tasks are frozen, it gets a single
/// report, with epoch 0. `seed` draws Adam's batches.
///
/// # Errors
/// Settings out of range, heads that do not fit the data, a task that cannot be learnt from it
/// (no examples, or a single class), a fit that diverged or was stopped. No head comes back then.
pub fn fit(
    solver: &Solver,
    data: &Split,
    start: Vec<Start>,
    seed: u64,
    on_epoch: &mut dyn FnMut(EpochReport) -> ControlFlow<()>,
) -> Result<Vec<Head>, FitError> {
    solver.validate()?;
    let expected = data.train.tasks().len();
    if start.len() != expected {
        return Err(FitError::Heads { found: start.len(), expected });
    }
    let mut participants = start
        .into_iter()
        .enumerate()
        .map(|(task, start)| Participant::new(solver, data, task, start, seed))
        .collect::<Result<Vec<_>, _>>()?;

    let trains = participants.iter().any(|participant| participant.fitter.is_some());
    let epochs = if trains { 1..=solver.epochs() } else { 0..=0 };
    for epoch in epochs {
        for participant in &mut participants {
            participant.advance(epoch)?;
        }
        if on_epoch(report(epoch, &participants)).is_break() {
            return Err(FitError::Cancelled { epoch });
        }
        if participants.iter().all(Participant::is_done) {
            break;
        }
    }
    Ok(participants.into_iter().map(|participant| participant.head).collect())
}

/// A solver at work on one task.
trait Fitter {
    /// Takes the parameters one epoch further.
    fn epoch(&mut self);

    /// Whether further epochs would change nothing.
    fn converged(&self) -> bool;

    /// The weights, labels × width, row-major, then the bias.
    fn parameters(&self) -> &Array1<f64>;

    /// Training scores of `head`, which holds the parameters as they are now.
    fn scores(&self, head: &Head) -> Option<Scores>;
}

/// One task in the fit.
struct Participant<'a> {
    name: &'a str,
    task: usize,
    data: &'a Split,
    head: Head,
    report: TaskReport,
    /// `None` for a frozen task.
    fitter: Option<Box<dyn Fitter + 'a>>,
}

impl<'a> Participant<'a> {
    fn new(
        solver: &Solver,
        data: &'a Split,
        task: usize,
        start: Start,
        seed: u64,
    ) -> Result<Self, FitError> {
        let name = data.train.tasks().nth(task).expect("there is a start for each task");
        let (head, trained) = match start {
            Start::Train(head) => (head, true),
            Start::Freeze(head) => (head, false),
        };
        check_shape(name, &head, &data.train, task)?;
        let rows = data.train.labelled(task);
        let scores = evaluate(&head, &rows);
        let train = scores.ok_or_else(|| FitError::NoExamples(name.to_owned()))?;
        let validation = validate(&head, data, task);
        let fitter: Option<Box<dyn Fitter + 'a>> = if trained {
            let classes = rows.classes();
            if classes.iter().all(|&class| class == classes[0]) {
                let label = head.labels()[classes[0]].clone();
                return Err(FitError::SingleClass { task: name.into(), label, rows: rows.len() });
            }
            Some(match *solver {
                Solver::Lbfgs { l2, .. } => Box::new(Lbfgs::new(rows, &head, l2)),
                Solver::Adam { learning_rate, batch_size, l2, .. } => {
                    let settings = adam::Settings { learning_rate, batch_size, l2, seed };
                    Box::new(Adam::new(&data.train, task, &head, settings))
                }
            })
        } else {
            None
        };
        let report = TaskReport { train, validation };
        Ok(Self { name, task, data, head, report, fitter })
    }

    fn advance(&mut self, epoch: u32) -> Result<(), FitError> {
        let diverged = || FitError::Diverged { task: self.name.to_owned(), epoch };
        if let Some(fitter) = &mut self.fitter
            && !fitter.converged()
        {
            fitter.epoch();
            self.head = rounded(fitter.parameters(), &self.head).ok_or_else(diverged)?;
            self.report = TaskReport {
                train: fitter.scores(&self.head).ok_or_else(diverged)?,
                validation: validate(&self.head, self.data, self.task),
            };
        }
        let scores = [Some(self.report.train), self.report.validation];
        let finite = scores.iter().flatten().all(|scores| scores.loss.is_finite());
        if finite { Ok(()) } else { Err(diverged()) }
    }

    fn is_done(&self) -> bool {
        self.fitter.as_ref().is_none_or(|fitter| fitter.converged())
    }
}

fn check_shape(name: &str, head: &Head, data: &Dataset, task: usize) -> Result<(), FitError> {
    let (labels, width) = (head.labels().len(), head.width());
    let (expected_labels, expected_width) = (data.classes(task), data.width());
    if (labels, width) == (expected_labels, expected_width) {
        return Ok(());
    }
    Err(FitError::Shape { task: name.into(), labels, width, expected_labels, expected_width })
}

fn validate(head: &Head, data: &Split, task: usize) -> Option<Scores> {
    evaluate(head, &data.validation.as_ref()?.labelled(task))
}

/// A head like `like` with new parameters, or `None` if they are out of bounds.
fn rounded(parameters: &Array1<f64>, like: &Head) -> Option<Head> {
    // Also catches NaN.
    if !parameters.iter().all(|parameter| parameter.abs() <= GREATEST_WEIGHT) {
        return None;
    }
    let mut values = parameters.iter().map(|&parameter| parameter as f32);
    let weights = Array2::from_shape_simple_fn(like.weights().raw_dim(), || {
        values.next().expect("as many parameters as weights")
    });
    Head::new(like.labels().clone(), weights, values.collect()).ok()
}

fn report(epoch: u32, participants: &[Participant]) -> EpochReport {
    let losses = participants.iter().map(|participant| participant.report.train.loss);
    let tasks = participants
        .iter()
        .map(|participant| (participant.name.to_owned(), participant.report.clone()));
    EpochReport { epoch, loss: losses.sum(), tasks: tasks.collect() }
}

#[cfg(test)]
mod tests;
