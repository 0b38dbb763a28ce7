//! From labelled embeddings to heads that are calibrated and evaluated. Pure and seeded, as
//! [`solver`](crate::training::solver) is.

use std::ops::ControlFlow;

use crate::heads::head::{Decision, Head};
use crate::training::calibration::{expected_calibration_error, reliability, temperature};
use crate::training::dataset::{Dataset, Labelled, Split};
use crate::training::evaluation::{Evaluation, Evidence};
use crate::training::job::EpochReport;
use crate::training::predictions::Predictions;
use crate::training::selection::{
    Blend, CrossValidation, EarlyStop, FEWEST_ROWS, Selection, Stage, StoppedBy, Strength, fallback,
};
use crate::training::solver::{AdamSettings, FitError, Fitted, Part, Solver, check_parts, fit};
use crate::training::thresholds::decide;

/// How to learn.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub solver: Solver,
    /// [`Strength::Auto`] is for [`Solver::Lbfgs`]; Adam takes it for 0.
    pub l2: Strength,
    /// Whether to fit a temperature to each head: to the predictions of the cross-validation that
    /// chooses `l2` or the number of epochs; without one, to the held-out rows; without these, with
    /// L-BFGS, to the predictions of a cross-validation all the same. Where there are fewer than ten rows
    /// for that, the head stays as it is. The thresholds of a multi-label head are [chosen](decide) by the
    /// same predictions; where there are such without a temperature, also then.
    pub calibrate: bool,
    /// Draws folds and mini-batches.
    pub seed: u64,
}

/// The head of a task beforehand.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// The fit to all rows starts from `head`, that to the training rows alone from `twin`: one that has
    /// not seen the held-out rows, where there is such a one.
    Train { head: Head, twin: Head },
    /// The head stays as it is, bit for bit, and is only evaluated.
    Freeze(Head),
}

/// What is going on.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// An epoch of a cross-validation is about to begin: where it is among those of all tasks, as far as
    /// these are known.
    CrossValidation(Stage),
    /// An epoch of the fit on the training rows has ended.
    Epoch(EpochReport),
    /// An epoch of the fit on all rows has ended.
    Refit,
}

/// What was learnt for one task.
#[derive(Clone, Debug, PartialEq)]
pub struct Learnt {
    /// Fit on all rows.
    pub head: Head,
    /// Made in the same way of the training rows alone, where rows are held out: it can be compared
    /// on these with others that have not seen them either.
    pub twin: Option<Head>,
    pub evaluation: Evaluation,
}

/// What came of [`learn`].
#[derive(Clone, Debug, PartialEq)]
pub struct Learning {
    /// In the order of the data set's tasks.
    pub heads: Vec<Learnt>,
    /// The rows that no twin was fit on, if there are any.
    pub held_out: Option<Dataset>,
}

/// Fits the heads of all tasks that are not frozen and gives what it learnt. `starts` is in the order of
/// the data set's tasks. `held_out` has an entry a row. `on_step` may stop it at any step.
///
/// For each task: the strength of the penalty, and what is [blended](crate::training::selection::Blend)
/// with the regression, is settled by cross-validation on the training rows; the head's twin is fit on
/// these, its temperature and its thresholds found, the twin scored on the held-out rows; then the head is
/// fit on all rows. A patience looks at the held-out rows; where fewer than ten of these say anything of
/// the task, a cross-validation on the training rows tells how many epochs it gets.
///
/// # Errors
/// As [`fit`].
pub fn learn(
    plan: &Plan,
    data: Dataset,
    held_out: &[bool],
    starts: Vec<Start>,
    on_step: &mut dyn FnMut(Step) -> ControlFlow<()>,
) -> Result<Learning, FitError> {
    let (split, all) = match held_out.contains(&true) {
        true => (data.split(held_out), Some(data)),
        false => (Split { train: data, validation: None }, None),
    };
    let settled = settle(plan, &split, starts, on_step)?;
    let (parts, starts): (Vec<Part>, Vec<Head>) =
        settled.iter().map(|settled| (settled.part.clone(), settled.start.clone())).unzip();
    let fitted = fit(&plan.solver, &split, parts.clone(), plan.seed, &mut |report| {
        on_step(Step::Epoch(report))
    })?;
    let mut learnt = Vec::with_capacity(settled.len());
    for (task, (settled, fitted)) in settled.into_iter().zip(&fitted).enumerate() {
        learnt.push(assess(plan, &split, task, settled, fitted));
    }
    // The copy of the training rows is not needed any more.
    let held_out = split.validation;
    if let Some(all) = all {
        let data = Split { train: all, validation: None };
        for (task, part) in parts.iter().enumerate() {
            let Part::Train { l2, .. } = part else { continue };
            // The others only stand by.
            let mut parts: Vec<Part> =
                fitted.iter().map(|twin| Part::Freeze(twin.head.clone())).collect();
            let (head, epochs) = refit_from(&plan.solver, &starts[task], &fitted[task]);
            parts[task] = Part::Train { head, l2: *l2, epochs };
            let on_epoch = &mut |_| on_step(Step::Refit);
            let mut refit = fit(&plan.solver, &data, parts, plan.seed, on_epoch)?;
            let learnt = &mut learnt[task];
            let decision = learnt.head.decision().clone();
            let Evaluation { temperature, blend, .. } = learnt.evaluation;
            let head = blended(&refit.swap_remove(task).head, blend, &data.train.labelled(task));
            learnt.head = finished(&head, temperature, decision);
        }
    }
    Ok(Learning { heads: learnt, held_out })
}

/// A task whose penalty is settled, and what ends its fit.
struct Settled {
    part: Part,
    /// Of the fit to all rows.
    start: Head,
    selection: Option<Selection>,
    /// What tells a patience when to stop, and how many rows do.
    stopped_by: Option<(StoppedBy, usize)>,
}

fn settle(
    plan: &Plan,
    split: &Split,
    starts: Vec<Start>,
    on_step: &mut dyn FnMut(Step) -> ControlFlow<()>,
) -> Result<Vec<Settled>, FitError> {
    let l2 = plan.l2.given();
    let (parts, mut starts): (Vec<Part>, Vec<Head>) = starts
        .into_iter()
        .map(|start| match start {
            Start::Train { head, twin } => {
                let first = if split.validation.is_some() { twin } else { head.clone() };
                (Part::Train { head: first, l2, epochs: None }, head)
            }
            Start::Freeze(head) => (Part::Freeze(head.clone()), head),
        })
        .unzip();
    let train = &split.train;
    check_parts(train, &parts)?;
    let unseen = |task| unseen(split, task).map_or(0, |rows| rows.len());
    let is_open = |(task, part): (usize, &Part)| {
        matches!(part, Part::Train { .. }) && plan.leaves_open(unseen(task))
    };
    let to_come = parts.iter().enumerate().filter(|&it| is_open(it)).count();
    let mut searches = Searches { plan, done: 0, most: 0, to_come, on_step };
    let mut settled = Vec::with_capacity(parts.len());
    for (task, mut part) in parts.into_iter().enumerate() {
        let (mut selection, mut stopped_by) = (None, None);
        if let Part::Train { head, l2, epochs } = &mut part {
            let unseen = unseen(task);
            if plan.leaves_open(unseen) {
                selection = searches.next(train, task, head)?;
            }
            if let Some(selection) = &selection {
                *l2 = selection.l2;
                *epochs = selection.epochs;
                *head = selection.head.clone();
                starts[task].clone_from(head);
            } else if plan.l2 == Strength::Auto && matches!(plan.solver, Solver::Lbfgs { .. }) {
                *l2 = fallback(train, task);
            }
            if let Solver::Adam { patience: Some(_), .. } = plan.solver {
                stopped_by = Some(match &selection {
                    Some(selection) => (StoppedBy::CrossValidation, selection.predictions.len()),
                    None if unseen >= FEWEST_ROWS => (StoppedBy::HeldOut, unseen),
                    None => {
                        *epochs = Some(plan.solver.epochs());
                        (StoppedBy::TooFewRows, train.labelled(task).len())
                    }
                });
            }
        }
        let start = starts[task].clone();
        settled.push(Settled { part, start, selection, stopped_by });
    }
    Ok(settled)
}

impl Plan {
    /// Whether a task with so many held-out rows needs a cross-validation.
    fn leaves_open(&self, unseen: usize) -> bool {
        let few = unseen < FEWEST_ROWS;
        match self.solver {
            Solver::Lbfgs { .. } => self.l2 == Strength::Auto || self.calibrate && few,
            Solver::Adam { patience, .. } => patience.is_some() && few,
        }
    }
}

/// The cross-validations of all tasks, one after another.
struct Searches<'a> {
    plan: &'a Plan,
    /// Steps of the tasks before.
    done: usize,
    /// The most that one of them might have taken.
    most: usize,
    /// Tasks that are still to be searched.
    to_come: usize,
    on_step: &'a mut dyn FnMut(Step) -> ControlFlow<()>,
}

impl Searches<'_> {
    fn next(
        &mut self,
        data: &Dataset,
        task: usize,
        like: &Head,
    ) -> Result<Option<Selection>, FitError> {
        let Plan { ref solver, l2, seed, .. } = *self.plan;
        self.to_come -= 1;
        let (before, to_come) = (self.done, self.to_come);
        let go_on = &mut |stage: Stage| {
            self.done = before + stage.total;
            self.most = self.most.max(stage.total);
            // Nothing is known yet of the tasks to come.
            let total = self.done + self.most * to_come;
            let stage = Stage { done: before + stage.done, total, ..stage };
            (self.on_step)(Step::CrossValidation(stage))
        };
        let validation = CrossValidation { data, task, like, seed };
        let found = match *solver {
            Solver::Adam { learning_rate, epochs, batch_size, patience: Some(patience) } => {
                let settings = AdamSettings { learning_rate, batch_size, l2: l2.given(), seed };
                validation.stop_early(epochs, patience, settings, go_on)
            }
            Solver::Lbfgs { .. } | Solver::Adam { patience: None, .. } => validation.run(l2, go_on),
        };
        match found {
            ControlFlow::Continue(selection) => Ok(selection),
            ControlFlow::Break(()) => Err(FitError::Cancelled { epoch: 0 }),
        }
    }
}

/// The held-out rows of a task, if there are any.
fn unseen(split: &Split, task: usize) -> Option<Labelled<'_>> {
    let rows = split.validation.as_ref()?.labelled(task);
    (!rows.is_empty()).then_some(rows)
}

/// Calibrates and scores a head that was fit on the training rows.
fn assess(plan: &Plan, split: &Split, task: usize, settled: Settled, fitted: &Fitted) -> Learnt {
    let Settled { part, selection, stopped_by, .. } = settled;
    let blend = selection.as_ref().and_then(|selection| selection.blend);
    let head = &blended(&fitted.head, blend, &split.train.labelled(task));
    let unseen = unseen(split, task).map(|rows| Predictions::of(head, &rows));
    let trained = matches!(part, Part::Train { .. });
    // Rows that tell how sure the head may be, and from when on to answer a label.
    let telling = match &selection {
        Some(selection) => Some(&selection.predictions),
        None => unseen.as_ref().filter(|rows| trained && rows.len() >= FEWEST_ROWS),
    };
    let temperature = match &selection {
        _ if !plan.calibrate => None,
        Some(selection) => Some(selection.temperature),
        None => telling.and_then(temperature),
    };
    let divisor = temperature.unwrap_or(1.0);
    let decision = telling.map_or(head.decision().clone(), |rows| decide(rows, divisor));
    let (table, out_of_fold) = match selection {
        Some(selection) => (selection.candidates, Some(selection.predictions)),
        None => (Vec::new(), None),
    };
    let (predictions, on) = match (unseen, out_of_fold) {
        (Some(unseen), _) => (unseen, Evidence::HeldOut),
        (None, Some(out_of_fold)) => (out_of_fold, Evidence::CrossValidation),
        (None, None) => (Predictions::of(head, &split.train.labelled(task)), Evidence::Training),
    };
    let uncalibrated_error =
        temperature.map(|_| expected_calibration_error(&reliability(&predictions)));
    let predictions = predictions.at_temperature(divisor).decided(decision.clone());
    let scores = Evaluation::of(&predictions, head.labels(), on);
    let evaluation = Evaluation {
        uncalibrated_error,
        temperature,
        l2: match part {
            Part::Train { l2, .. } => Some(l2),
            Part::Freeze(_) => None,
        },
        blend,
        cross_validation: if plan.l2 == Strength::Auto { table } else { Vec::new() },
        early_stopping: stopped_by.map(|(by, rows)| EarlyStop { epochs: fitted.epoch, by, rows }),
        ..scores.expect("a fit has seen at least one row")
    };
    let head = finished(head, temperature, decision);
    let twin = split.validation.is_some().then(|| head.clone());
    Learnt { head, twin, evaluation }
}

/// How to fit on all rows: L-BFGS from the twin, which is near the end; Adam as it went before, for as
/// many epochs as it took before.
fn refit_from(solver: &Solver, start: &Head, twin: &Fitted) -> (Head, Option<u32>) {
    match solver {
        Solver::Lbfgs { .. } => (twin.head.clone(), None),
        Solver::Adam { .. } => (start.clone(), Some(twin.epoch)),
    }
}

/// A regression that was fit on `rows`, with what it gains by.
fn blended(regression: &Head, blend: Option<Blend>, rows: &Labelled) -> Head {
    blend.map_or_else(|| regression.clone(), |blend| blend.of(regression, rows))
}

/// A head that is as sure as it may be, and decides as it should.
fn finished(head: &Head, temperature: Option<f64>, decision: Decision) -> Head {
    temperature
        .map_or_else(|| Ok(head.clone()), |temperature| head.at_temperature(temperature))
        .and_then(|head| head.with_decision(decision))
        .expect("the weights of a fit and temperatures are bounded on both sides")
}

#[cfg(test)]
mod tests;
