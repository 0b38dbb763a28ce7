//! Limited-memory BFGS: Nocedal and Wright, Numerical Optimization, 2nd edition, algorithm 7.5.

use std::collections::VecDeque;

use ndarray::{Array1, Array2, ArrayViewMut1, Axis, Zip, s};

use super::Fitter;
use super::line_search::{Point, strong_wolfe};
use super::objective::{Objective, flatten};
use super::preconditioner::Preconditioner;
use crate::heads::Kind;
use crate::heads::head::Head;
use crate::training::dataset::Labelled;
use crate::training::job::Scores;

/// Pairs of steps and gradient changes that stand for the curvature.
const MEMORY: usize = 10;

/// When a fit has converged.
#[derive(Clone, Copy)]
pub(super) struct Tolerance {
    /// No component of the gradient of the mean objective is greater.
    pub(super) gradient: f64,
    /// An epoch takes no greater share off the objective.
    pub(super) decrease: f64,
}

/// A third of the gradient at which scikit-learn stops by default. Going further on all-MiniLM-L6-v2
/// embeddings takes twice the time for no better accuracy on unseen rows.
const TOLERANCE: Tolerance = Tolerance { gradient: 3e-5, decrease: 1e-6 };

/// The epoch before which the preconditioner is fit again: the curvature of the start is gone by then.
const REFRESHED: u32 = 5;

/// One task's fit. The logits of all rows are kept and moved along each direction, so that an
/// epoch costs two matrix products however many steps the line search tries.
pub(super) struct Lbfgs<'a> {
    objective: Objective<'a>,
    preconditioner: Preconditioner,
    parameters: Array1<f64>,
    /// The objective, with the penalty.
    value: f64,
    gradient: Array1<f64>,
    /// rows × classes, at the parameters.
    logits: Array2<f64>,
    residuals: Array2<f32>,
    memory: VecDeque<Pair>,
    /// Where the last step led to.
    scores: Scores,
    epochs: u32,
    tolerance: Tolerance,
    converged: bool,
}

/// What one step taught about the curvature.
struct Pair {
    step: Array1<f64>,
    /// Of the gradient.
    change: Array1<f64>,
    /// step · change, greater than 0.
    product: f64,
    /// Of the preconditioner, so that it fits the curvature along the step (equation 7.20).
    scale: f64,
}

impl<'a> Lbfgs<'a> {
    /// `l2` is per sum of cross-entropies, as in [`Solver::Lbfgs`](super::Solver::Lbfgs).
    pub(super) fn new(rows: Labelled<'a>, head: &Head, l2: f64) -> Self {
        let total: f64 = rows.weights().iter().sum();
        let mean_weight = total / rows.len() as f64;
        let objective = Objective::new(rows, head.labels().len(), l2 / total, mean_weight);
        let parameters = match head.kind() {
            Kind::SingleLabel => centred(head),
            Kind::MultiLabel => flatten(head),
        };
        let start = objective.logits(&parameters);
        let logits = start.mapv(f64::from);
        let residuals = objective.residuals(start);
        let preconditioner = Preconditioner::new(&objective, &residuals);
        let gradient = Array1::zeros(parameters.len());
        let memory = VecDeque::with_capacity(MEMORY);
        let mut fit = Self {
            objective,
            preconditioner,
            parameters,
            value: 0.0,
            gradient,
            logits,
            residuals,
            memory,
            scores: Scores { loss: 0.0, accuracy: 0.0, rows: 0 },
            epochs: 0,
            tolerance: TOLERANCE,
            converged: false,
        };
        fit.weigh();
        fit
    }

    pub(super) fn with_tolerance(self, tolerance: Tolerance) -> Self {
        Self { tolerance, ..self }
    }

    /// Goes on from here with another strength of the penalty.
    pub(super) fn set_l2(&mut self, l2: f64) {
        self.objective.set_penalty(l2 / self.objective.total());
        self.memory.clear();
        self.epochs = 0;
        self.converged = false;
        self.preconditioner.update(&self.objective, &self.residuals);
        self.weigh();
    }

    /// Value and gradient of the objective where the fit stands.
    fn weigh(&mut self) {
        let still = Array2::zeros(self.logits.raw_dim());
        let standing =
            self.objective.cross_entropy_along(&self.logits, &still, 0.0, &mut self.residuals);
        let (penalty, _) = self.objective.penalty_along(&self.parameters, &self.parameters)(0.0);
        self.value = standing.value + penalty;
        self.scores = standing.scores;
        self.gradient = self.objective.gradient(&self.residuals, &self.parameters);
    }

    /// −H · gradient, where H approximates the inverse of the Hessian (algorithm 7.4).
    fn direction(&self) -> Array1<f64> {
        let mut direction = -&self.gradient;
        let mut shares = Vec::with_capacity(self.memory.len());
        for pair in self.memory.iter().rev() {
            let share = pair.step.dot(&direction) / pair.product;
            direction.scaled_add(-share, &pair.change);
            shares.push(share);
        }
        direction = self.preconditioner.apply(&direction);
        if let Some(newest) = self.memory.back() {
            direction *= newest.scale;
        }
        for (pair, share) in self.memory.iter().zip(shares.into_iter().rev()) {
            let correction = share - pair.change.dot(&direction) / pair.product;
            direction.scaled_add(correction, &pair.step);
        }
        direction
    }

    /// The place to go to along `direction`; leaves the residuals there.
    fn search(&mut self, direction: &Array1<f64>, along: &Array2<f32>) -> Option<Point> {
        let slope = self.gradient.dot(direction);
        if slope >= 0.0 || slope.is_nan() {
            return None;
        }
        // Without memory the direction has no scale of its own: try a step that is as long as 1 in
        // the preconditioner's measure.
        let first = if self.memory.is_empty() { (-slope).sqrt().recip() } else { 1.0 };
        let penalty = self.objective.penalty_along(&self.parameters, direction);
        let start = Point { step: 0.0, value: self.value, slope };
        strong_wolfe(start, first, |step| {
            let standing =
                self.objective.cross_entropy_along(&self.logits, along, step, &mut self.residuals);
            let (penalty, penalty_slope) = penalty(step);
            self.scores = standing.scores;
            (standing.value + penalty, standing.slope + penalty_slope)
        })
    }

    fn remember(&mut self, step: Array1<f64>, change: Array1<f64>) {
        let product = step.dot(&change);
        // Positive by the Wolfe conditions, but for rounding; without it, H would not descend.
        if product > f64::EPSILON * change.dot(&change) {
            if self.memory.len() == MEMORY {
                self.memory.pop_front();
            }
            let scale = product / change.dot(&self.preconditioner.apply(&change));
            self.memory.push_back(Pair { step, change, product, scale });
        }
    }
}

/// A softmax head's parameters with the classes' mean taken off. No probability changes, and the minimum lies
/// there: what all classes have in common costs a penalty and gains nothing. It is the flattest
/// direction of all; a fit that starts without it never has to go there.
fn centred(head: &Head) -> Array1<f64> {
    let mut parameters = flatten(head);
    let (mut weights, mut bias) = parameters.view_mut().split_at(Axis(0), head.weights().len());
    for component in 0..head.width() {
        remove_mean(weights.slice_mut(s![component..;head.width()]));
    }
    remove_mean(bias.view_mut());
    parameters
}

fn remove_mean(mut values: ArrayViewMut1<f64>) {
    let mean = values.sum() / values.len() as f64;
    values -= mean;
}

impl Fitter for Lbfgs<'_> {
    fn epoch(&mut self) {
        self.epochs += 1;
        if self.epochs == REFRESHED {
            self.preconditioner.update(&self.objective, &self.residuals);
            for pair in &mut self.memory {
                pair.scale =
                    pair.product / pair.change.dot(&self.preconditioner.apply(&pair.change));
            }
        }
        let direction = self.direction();
        let along = self.objective.logits(&direction);
        let Some(point) = self.search(&direction, &along) else {
            // Nothing to gain along the gradient itself is the end. Otherwise the memory misleads.
            self.converged = self.memory.is_empty();
            self.memory.clear();
            return;
        };
        self.parameters.scaled_add(point.step, &direction);
        Zip::from(&mut self.logits)
            .and(&along)
            .for_each(|logit, &change| *logit += point.step * f64::from(change));
        let gradient = self.objective.gradient(&self.residuals, &self.parameters);
        self.remember(direction * point.step, &gradient - &self.gradient);
        let steepest = gradient.iter().fold(0.0, |steepest: f64, part| steepest.max(part.abs()));
        self.converged = steepest <= self.tolerance.gradient
            || self.value - point.value <= self.tolerance.decrease * self.value;
        self.gradient = gradient;
        self.value = point.value;
    }

    fn converged(&self) -> bool {
        self.converged
    }

    fn parameters(&self) -> &Array1<f64> {
        &self.parameters
    }

    /// From the logits that are here anyway: within rounding those of the head.
    fn scores(&self, _head: &Head) -> Option<Scores> {
        Some(self.scores)
    }
}
