//! Fits heads to embeddings. Pure and seeded: the same input gives the same bits on the same machine.

mod adam;
mod discriminant;
mod early_stopping;
mod exp;
mod inverse;
mod lbfgs;
mod line_search;
mod loss;
mod objective;
mod path;
mod preconditioner;
mod trial;

use std::ops::ControlFlow;

use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

pub use self::adam::Settings as AdamSettings;
pub use self::discriminant::Discriminant;
pub use self::early_stopping::EarlyStopping;
pub use self::path::{Path, blank};
pub use self::trial::Trial;

use self::adam::Adam;
use self::lbfgs::Lbfgs;
use crate::heads::Kind;
use crate::heads::head::Head;
use crate::training::dataset::{Dataset, Split, Truth};
use crate::training::evaluation::evaluate;
use crate::training::job::{EpochReport, Scores, TaskReport};

/// The algorithm that fits the heads, with its settings.
///
/// Both make the same objective small: for each task, its mean cross-entropy in nats plus
/// `l2 / (2 · rows)` times the squared norm of its weights (not of its bias), where `rows` counts
/// the training rows that are labelled for the task. Times `rows`, that is the sum of the
/// cross-entropies plus `l2 / 2` times the squared norm, so `l2` is the inverse of scikit-learn's
/// `C` for a multinomial `LogisticRegression`. (Its special form for two classes penalises half
/// as much: there `C` is 2 / `l2`.) The cross-entropy of a multi-label row is summed over labels,
/// each of which is learnt as by scikit-learn's `OneVsRestClassifier(LogisticRegression(C))` with
/// `C` = 1 / `l2`. Rows that have weights count by these, in both terms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum Solver {
    /// Full-batch quasi-Newton. An epoch is one iteration of each task that has not converged; the
    /// fit ends early when all have.
    Lbfgs { epochs: u32 },
    /// Mini-batch Adam, with the loss summed over tasks. Batches are drawn anew each epoch; a batch
    /// that holds all rows keeps their order.
    Adam {
        learning_rate: f64,
        epochs: u32,
        batch_size: usize,
        /// A task stops when its validation loss has not fallen for so many epochs, and goes back
        /// to its best. Without validation rows, [`fit`] goes on to the end; see
        /// [`learn`](crate::training::learn::learn).
        #[serde(default)]
        patience: Option<u32>,
    },
}

/// A setting of a solver that is out of range.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{setting} is {value}, but it must be {allowed}")]
pub struct InvalidSetting {
    pub setting: &'static str,
    pub value: f64,
    pub allowed: &'static str,
}

/// A task's part in a fit.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// The fit starts from this head. `l2` is the strength of the penalty, as in [`Solver`]. Thresholds
    /// are 0.5 from the start on: others say nothing of other weights. Where `epochs` are given, the task
    /// takes so many, or those of the solver if these are fewer, whatever the patience.
    Train { head: Head, l2: f64, epochs: Option<u32> },
    /// The head stays as it is, bit for bit, and is only evaluated.
    Freeze(Head),
}

/// What a fit made of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    pub head: Head,
    /// The epoch that the head is from.
    pub epoch: u32,
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
    #[error("the head of task {task:?} is {head}, but the examples are {examples}")]
    Kind { task: String, head: Kind, examples: Kind },
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
    /// L-BFGS to convergence.
    fn default() -> Self {
        Self::Lbfgs { epochs: 100 }
    }
}

impl Solver {
    /// Checks that every setting is in its range.
    ///
    /// # Errors
    /// The first setting that is not.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        let (learning_rate, batch_size, patience) = match *self {
            Self::Lbfgs { .. } => (1.0, 1, None),
            Self::Adam { learning_rate, batch_size, patience, .. } => {
                (learning_rate, batch_size, patience)
            }
        };
        check("epochs", self.epochs().into(), self.epochs() > 0, "at least 1")?;
        check("batch_size", batch_size as f64, batch_size > 0, "at least 1")?;
        check("patience", 0.0, patience != Some(0), "at least 1")?;
        let positive = learning_rate > 0.0 && learning_rate.is_finite();
        check("learning_rate", learning_rate, positive, "a finite number greater than 0")
    }

    /// The greatest number of passes over the examples.
    pub fn epochs(&self) -> u32 {
        let (Self::Lbfgs { epochs, .. } | Self::Adam { epochs, .. }) = *self;
        epochs
    }
}

/// Checks the strength of a penalty.
///
/// # Errors
/// One that is out of range.
pub fn check_l2(l2: f64) -> Result<(), InvalidSetting> {
    check("l2", l2, (0.0..=1e12).contains(&l2), "at least 0 and at most 1e12")
}

fn check(
    setting: &'static str,
    value: f64,
    valid: bool,
    allowed: &'static str,
) -> Result<(), InvalidSetting> {
    if valid { Ok(()) } else { Err(InvalidSetting { setting, value, allowed }) }
}

/// Fits the heads of all tasks that are not frozen on `data.train` and gives all heads back, in
/// the order of the data set's tasks, as `parts` is. After each epoch `on_epoch` is told where all
/// tasks stand, frozen ones too, and may stop the fit. If all tasks are frozen, it gets a single
/// report, with epoch 0. `seed` draws Adam's batches.
///
/// # Errors
/// Settings out of range, heads that do not fit the data, a task that cannot be learnt from it
/// (no examples, or a single class), a fit that diverged or was stopped. No head comes back then.
pub fn fit(
    solver: &Solver,
    data: &Split,
    parts: Vec<Part>,
    seed: u64,
    on_epoch: &mut dyn FnMut(EpochReport) -> ControlFlow<()>,
) -> Result<Vec<Fitted>, FitError> {
    solver.validate()?;
    check_parts(&data.train, &parts)?;
    let mut participants = parts
        .into_iter()
        .enumerate()
        .map(|(task, part)| Participant::new(solver, data, task, part, seed))
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
    Ok(participants.into_iter().map(Participant::into_fitted).collect())
}

/// Checks that there is a part for each task of `data`, that its head fits the data, and that a task
/// that is not frozen can be learnt from it.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_parts(data: &Dataset, parts: &[Part]) -> Result<(), FitError> {
    let expected = data.tasks().len();
    if parts.len() != expected {
        return Err(FitError::Heads { found: parts.len(), expected });
    }
    for (task, (name, part)) in data.tasks().zip(parts).enumerate() {
        let (Part::Train { head, .. } | Part::Freeze(head)) = part;
        check_shape(name, head, data, task)?;
        let rows = data.labelled(task);
        let Some(first) = rows.truths().first() else {
            return Err(FitError::NoExamples(name.to_owned()));
        };
        let Part::Train { l2, .. } = part else { continue };
        check_l2(*l2)?;
        // A label of a multi-label task that always or never applies is learnt as such.
        if let Truth::Class(class) = *first
            && rows.truths().iter().all(|other| other == first)
        {
            let label = head.labels()[class].clone();
            return Err(FitError::SingleClass { task: name.into(), label, rows: rows.len() });
        }
    }
    Ok(())
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
    /// The epoch that the head is from.
    epoch: u32,
    report: TaskReport,
    /// `None` for a frozen task.
    fitter: Option<Box<dyn Fitter + 'a>>,
    /// See [`Part::Train`].
    epochs: Option<u32>,
    stopping: Option<EarlyStopping<Fitted>>,
}

impl<'a> Participant<'a> {
    fn new(
        solver: &Solver,
        data: &'a Split,
        task: usize,
        part: Part,
        seed: u64,
    ) -> Result<Self, FitError> {
        let name = data.train.tasks().nth(task).expect("there is a part for each task");
        let (head, l2, epochs) = match part {
            Part::Train { head, l2, epochs } => (head.undecided(), Some(l2), epochs),
            Part::Freeze(head) => (head, None, None),
        };
        let rows = data.train.labelled(task);
        let scores = evaluate(&head, &rows);
        let train = scores.ok_or_else(|| FitError::NoExamples(name.to_owned()))?;
        let validation = validate(&head, data, task);
        let fitter = l2.map(|l2| -> Box<dyn Fitter + 'a> {
            match *solver {
                Solver::Lbfgs { .. } => Box::new(Lbfgs::new(rows, &head, l2)),
                Solver::Adam { learning_rate, batch_size, .. } => {
                    let settings = AdamSettings { learning_rate, batch_size, l2, seed };
                    let rows = (0..data.train.rows()).collect();
                    Box::new(Adam::new(&data.train, task, rows, &head, settings))
                }
            }
        });
        let stopping = match *solver {
            Solver::Adam { patience: Some(patience), .. } if epochs.is_none() => {
                Some(EarlyStopping::new(patience))
            }
            _ => None,
        };
        let report = TaskReport { train, validation };
        Ok(Self { name, task, data, head, epoch: 0, report, fitter, epochs, stopping })
    }

    fn advance(&mut self, epoch: u32) -> Result<(), FitError> {
        let diverged = || FitError::Diverged { task: self.name.to_owned(), epoch };
        if !self.is_done()
            && let Some(fitter) = &mut self.fitter
        {
            fitter.epoch();
            self.epoch = epoch;
            self.head = rounded(fitter.parameters(), &self.head).ok_or_else(diverged)?;
            self.report = TaskReport {
                train: fitter.scores(&self.head).ok_or_else(diverged)?,
                validation: validate(&self.head, self.data, self.task),
            };
            // Without validation scores there is nothing to be impatient about.
            if let (Some(stopping), Some(seen)) = (&mut self.stopping, self.report.validation) {
                stopping.see(seen.loss, || Fitted { head: self.head.clone(), epoch });
            }
        }
        let scores = [Some(self.report.train), self.report.validation];
        let finite = scores.iter().flatten().all(|scores| scores.loss.is_finite());
        if finite { Ok(()) } else { Err(diverged()) }
    }

    fn is_done(&self) -> bool {
        self.stopping.as_ref().is_some_and(EarlyStopping::is_over)
            || self.epochs.is_some_and(|epochs| self.epoch >= epochs)
            || self.fitter.as_ref().is_none_or(|fitter| fitter.converged())
    }

    /// The head where the fit ended, or its best one if there was a patience.
    fn into_fitted(self) -> Fitted {
        let last = Fitted { head: self.head, epoch: self.epoch };
        self.stopping.and_then(EarlyStopping::into_best).unwrap_or(last)
    }
}

fn check_shape(name: &str, head: &Head, data: &Dataset, task: usize) -> Result<(), FitError> {
    if head.kind() != data.kind(task) {
        let (head, examples) = (head.kind(), data.kind(task));
        return Err(FitError::Kind { task: name.into(), head, examples });
    }
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
    like.with_parameters(weights, values.collect()).ok()
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
