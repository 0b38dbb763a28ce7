//! Adam: Kingma and Ba, 2015, algorithm 1, with the constants and the order of operations of
//! [`torch.optim.Adam`](https://docs.pytorch.org/docs/stable/generated/torch.optim.Adam.html).

use ndarray::{Array1, Zip};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::Fitter;
use super::objective::{Objective, flatten};
use crate::heads::head::Head;
use crate::training::dataset::Dataset;
use crate::training::evaluation::evaluate;
use crate::training::job::Scores;

const FIRST_DECAY: f64 = 0.9;
const SECOND_DECAY: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// What matters within an epoch: settings of [`Solver::Adam`](super::Solver::Adam), the strength of the
/// penalty, and what draws the batches.
#[derive(Clone, Copy)]
pub struct Settings {
    pub learning_rate: f64,
    pub batch_size: usize,
    pub l2: f64,
    pub seed: u64,
}

/// One task's fit. The loss of a step is summed over tasks that share no parameters, so each task
/// steps by itself; the common seed gives all of them the same batches.
pub(super) struct Adam<'a> {
    data: &'a Dataset,
    task: usize,
    settings: Settings,
    /// Of the weights, for the mean objective.
    penalty: f64,
    mean_weight: f64,
    /// The rows that are fit on, those included that say nothing of the task.
    rows: Vec<usize>,
    /// The same in the order of this epoch's batches.
    order: Vec<usize>,
    generator: ChaCha8Rng,
    parameters: Array1<f64>,
    first_moment: Array1<f64>,
    second_moment: Array1<f64>,
    steps: i32,
}

impl<'a> Adam<'a> {
    pub(super) fn new(
        data: &'a Dataset,
        task: usize,
        rows: Vec<usize>,
        head: &Head,
        settings: Settings,
    ) -> Self {
        let parameters = flatten(head);
        let labelled = data.labelled_among(task, rows.iter().copied());
        let total: f64 = labelled.weights().iter().sum();
        Self {
            data,
            task,
            settings,
            penalty: settings.l2 / total,
            mean_weight: total / labelled.len() as f64,
            order: rows.clone(),
            rows,
            generator: ChaCha8Rng::seed_from_u64(settings.seed),
            first_moment: Array1::zeros(parameters.len()),
            second_moment: Array1::zeros(parameters.len()),
            parameters,
            steps: 0,
        }
    }

    fn step(&mut self, batch: &Objective) {
        let residuals = batch.residuals(batch.logits(&self.parameters));
        let gradient = batch.gradient(&residuals, &self.parameters);
        self.steps = self.steps.saturating_add(1);
        let rate = self.settings.learning_rate / (1.0 - FIRST_DECAY.powi(self.steps));
        let scale = (1.0 - SECOND_DECAY.powi(self.steps)).sqrt();
        Zip::from(&mut self.parameters)
            .and(&mut self.first_moment)
            .and(&mut self.second_moment)
            .and(&gradient)
            .for_each(|parameter, first, second, &gradient| {
                *first += (1.0 - FIRST_DECAY) * (gradient - *first);
                *second = SECOND_DECAY * *second + (1.0 - SECOND_DECAY) * gradient * gradient;
                *parameter -= rate * *first / (second.sqrt() / scale + EPSILON);
            });
    }
}

impl Fitter for Adam<'_> {
    fn epoch(&mut self) {
        if self.settings.batch_size < self.order.len() {
            self.order.shuffle(&mut self.generator);
        }
        let data = self.data;
        let order = std::mem::take(&mut self.order);
        for rows in order.chunks(self.settings.batch_size) {
            let rows = data.labelled_among(self.task, rows.iter().copied());
            // As in PyTorch, parameters without a gradient take no step.
            if !rows.is_empty() {
                let classes = data.classes(self.task);
                self.step(&Objective::new(rows, classes, self.penalty, self.mean_weight));
            }
        }
        self.order = order;
    }

    /// Adam stops after the epochs it was given.
    fn converged(&self) -> bool {
        false
    }

    fn parameters(&self) -> &Array1<f64> {
        &self.parameters
    }

    fn scores(&self, head: &Head) -> Option<Scores> {
        evaluate(head, &self.data.labelled_among(self.task, self.rows.iter().copied()))
    }
}
