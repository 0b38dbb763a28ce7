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
    Blend, CrossValidation, FEWEST_ROWS, Selection, Strength, fallback,
};
use crate::training::solver::{FitError, Fitted, Part, Solver, check_parts, fit};
use crate::training::thresholds::decide;

/// How to learn.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub solver: Solver,
    /// [`Strength::Auto`] is for [`Solver::Lbfgs`]; Adam takes it for 0.
    pub l2: Strength,
    /// Whether to fit a temperature to each head: to the predictions of the cross-validation that
    /// chooses `l2`; where it is given, to the held-out rows; without these, with L-BFGS, to the
    /// predictions of a cross-validation all the same. Where there are fewer than ten rows for that,
    /// the head stays as it is. The thresholds of a multi-label head are [chosen](decide) by the same
    /// predictions; where there are such without a temperature, also then.
    pub calibrate: bool,
    /// Draws folds and mini-batches.
    pub seed: u64,
}

/// The head of a task beforehand.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// The fit starts from these weights.
    Train(Head),
    /// The head stays as it is, bit for bit, and is only evaluated.
    Freeze(Head),
}

/// What is going on.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// An epoch of a cross-validation is about to begin.
    CrossValidation,
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
/// fit on all rows.
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
    let parts: Vec<Part> = settled.iter().map(|settled| settled.part.clone()).collect();
    let fitted = fit(&plan.solver, &split, parts.clone(), plan.seed, &mut |report| {
        on_step(Step::Epoch(report))
    })?;
    let mut learnt = Vec::with_capacity(settled.len());
    for (task, (settled, fitted)) in settled.into_iter().zip(&fitted).enumerate() {
        learnt.push(assess(plan, &split, task, settled, &fitted.head));
    }
    // The copy of the training rows is not needed any more.
    let held_out = split.validation;
    if let Some(all) = all {
        let data = Split { train: all, validation: None };
        for (task, part) in parts.iter().enumerate() {
            let Part::Train { head, l2 } = part else { continue };
            // The others only stand by.
            let mut parts: Vec<Part> =
                fitted.iter().map(|twin| Part::Freeze(twin.head.clone())).collect();
            let (solver, head) = refit_from(&plan.solver, head, &fitted[task]);
            parts[task] = Part::Train { head, l2: *l2 };
            let on_epoch = &mut |_| on_step(Step::Refit);
            let mut refit = fit(&solver, &data, parts, plan.seed, on_epoch)?;
            let learnt = &mut learnt[task];
            let decision = learnt.head.decision().clone();
            let Evaluation { temperature, blend, .. } = learnt.evaluation;
            let head = blended(&refit.swap_remove(task).head, blend, &data.train.labelled(task));
            learnt.head = finished(&head, temperature, decision);
        }
    }
    Ok(Learning { heads: learnt, held_out })
}

/// A task whose penalty is settled.
struct Settled {
    part: Part,
    selection: Option<Selection>,
}

fn settle(
    plan: &Plan,
    split: &Split,
    starts: Vec<Start>,
    on_step: &mut dyn FnMut(Step) -> ControlFlow<()>,
) -> Result<Vec<Settled>, FitError> {
    let l2 = match plan.l2 {
        Strength::Given(l2) => l2,
        Strength::Auto => 0.0,
    };
    let parts: Vec<Part> = starts
        .into_iter()
        .map(|start| match start {
            Start::Train(head) => Part::Train { head, l2 },
            Start::Freeze(head) => Part::Freeze(head),
        })
        .collect();
    let train = &split.train;
    check_parts(train, &parts)?;
    let lbfgs = matches!(plan.solver, Solver::Lbfgs { .. });
    let mut settled = Vec::with_capacity(parts.len());
    for (task, mut part) in parts.into_iter().enumerate() {
        let mut selection = None;
        if let Part::Train { head, l2 } = &mut part
            && lbfgs
        {
            let auto = plan.l2 == Strength::Auto;
            let enough = unseen(split, task).is_some_and(|rows| rows.len() >= FEWEST_ROWS);
            if auto || plan.calibrate && !enough {
                let validation = CrossValidation { data: train, task, like: head, seed: plan.seed };
                let run = validation.run(plan.l2, &mut || on_step(Step::CrossValidation));
                selection = match run {
                    ControlFlow::Continue(selection) => selection,
                    ControlFlow::Break(()) => return Err(FitError::Cancelled { epoch: 0 }),
                };
            }
            if let Some(selection) = &selection {
                *l2 = selection.l2;
                // The way from there is shorter, and the end is the same.
                *head = selection.head.clone();
            } else if auto {
                *l2 = fallback(train, task);
            }
        }
        settled.push(Settled { part, selection });
    }
    Ok(settled)
}

/// The held-out rows of a task, if there are any.
fn unseen(split: &Split, task: usize) -> Option<Labelled<'_>> {
    let rows = split.validation.as_ref()?.labelled(task);
    (!rows.is_empty()).then_some(rows)
}

/// Calibrates and scores a head that was fit on the training rows.
fn assess(plan: &Plan, split: &Split, task: usize, settled: Settled, head: &Head) -> Learnt {
    let Settled { part, selection } = settled;
    let blend = selection.as_ref().and_then(|selection| selection.blend);
    let head = &blended(head, blend, &split.train.labelled(task));
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
        ..scores.expect("a fit has seen at least one row")
    };
    let head = finished(head, temperature, decision);
    let twin = split.validation.is_some().then(|| head.clone());
    Learnt { head, twin, evaluation }
}

/// How to fit on all rows: L-BFGS from the twin, which is near the end; Adam as it went before, as far
/// as it went before.
fn refit_from(solver: &Solver, start: &Head, twin: &Fitted) -> (Solver, Head) {
    match *solver {
        Solver::Lbfgs { epochs } => (Solver::Lbfgs { epochs }, twin.head.clone()),
        Solver::Adam { learning_rate, batch_size, .. } => {
            let epochs = twin.epoch;
            let solver = Solver::Adam { learning_rate, epochs, batch_size, patience: None };
            (solver, start.clone())
        }
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
