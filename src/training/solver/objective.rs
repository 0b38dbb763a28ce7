//! What the solvers make small: the mean cross-entropy of a linear classifier plus its L2 penalty, a
//! convex function of the parameters.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Zip, s};

use super::loss::residual;
use crate::heads::head::Head;
use crate::training::dataset::{Labelled, Truth};
use crate::training::job::Scores;

/// (Σ weighted cross-entropies) / (Σ weights of rows) + `penalty` / 2 · ‖weights‖², in nats. The bias
/// is not penalised. A row's [loss](super::loss) is by its kind of task: the rest is the same for
/// all.
///
/// Parameters are one flat vector: the weights, classes × width, row-major, then the bias.
/// Matrix products run in single precision, everything else in double.
pub(super) struct Objective<'a> {
    rows: Labelled<'a>,
    classes: usize,
    penalty: f64,
    /// The sum of the rows' weights.
    total: f64,
}

/// Where the rows stand at a place on a line.
pub(super) struct Standing {
    /// The mean cross-entropy, with rows counting by their weights.
    pub(super) value: f64,
    /// Of the value, along the line.
    pub(super) slope: f64,
    /// With all rows counting alike.
    pub(super) scores: Scores,
}

impl<'a> Objective<'a> {
    /// Rows whose weights are `mean_weight` on average; those of a mini-batch may be others.
    pub(super) fn new(rows: Labelled<'a>, classes: usize, penalty: f64, mean_weight: f64) -> Self {
        let total = rows.len() as f64 * mean_weight;
        Self { rows, classes, penalty, total }
    }

    pub(super) fn penalty(&self) -> f64 {
        self.penalty
    }

    pub(super) fn set_penalty(&mut self, penalty: f64) {
        self.penalty = penalty;
    }

    /// Weights that add up to this count as one unit of the mean.
    pub(super) fn total(&self) -> f64 {
        self.total
    }

    pub(super) fn rows(&self) -> &Labelled<'a> {
        &self.rows
    }

    /// rows × classes. Linear in the parameters, so it also gives the change along a direction.
    pub(super) fn logits(&self, parameters: &Array1<f64>) -> Array2<f32> {
        let single = parameters.mapv(|value| value as f32);
        let (weights, bias) = self.layers(&single);
        let mut logits = Array2::zeros((self.rows.len(), self.classes));
        self.rows.for_each_block(|positions, embeddings| {
            let mut block = logits.slice_mut(s![positions, ..]);
            block.assign(&bias);
            general_mat_mul(1.0, &embeddings, &weights.t(), 1.0, &mut block);
        });
        logits
    }

    /// Where the rows stand at `logits + step · along`, without the penalty. `residuals` takes the
    /// slope of each row's loss in its logits there.
    pub(super) fn cross_entropy_along(
        &self,
        logits: &Array2<f64>,
        along: &Array2<f32>,
        step: f64,
        residuals: &mut Array2<f32>,
    ) -> Standing {
        let (mut value, mut slope, mut loss, mut correct) = (0.0, 0.0, 0.0, 0);
        let mut moved = vec![0.0; self.classes];
        let rows = logits.outer_iter().zip(along.outer_iter()).zip(residuals.outer_iter_mut());
        let balance = self.rows.balance();
        for (((logits, along), mut residuals), (truth, weight)) in rows.zip(self.targets()) {
            let steps = logits.iter().zip(along).map(|(z, &a)| z + step * f64::from(a));
            moved.iter_mut().zip(steps).for_each(|(value, moved)| *value = moved);
            let row = residual(&mut moved, truth, weight, balance);
            loss += row.unweighted;
            value += row.value;
            correct += usize::from(row.right);
            slope += moved.iter().zip(along).map(|(r, &a)| r * f64::from(a)).sum::<f64>();
            residuals.iter_mut().zip(&moved).for_each(|(single, &r)| *single = r as f32);
        }
        let rows = self.rows.len();
        let accuracy = correct as f64 / rows as f64;
        Standing {
            value: value / self.total,
            slope: slope / self.total,
            scores: Scores { loss: loss / rows as f64, accuracy, rows },
        }
    }

    /// Turns logits into residuals: the slope of each row's loss in them.
    pub(super) fn residuals(&self, mut logits: Array2<f32>) -> Array2<f32> {
        let mut scratch = vec![0.0; self.classes];
        for (mut row, (truth, weight)) in logits.outer_iter_mut().zip(self.targets()) {
            scratch.iter_mut().zip(&row).for_each(|(value, &logit)| *value = f64::from(logit));
            residual(&mut scratch, truth, weight, self.rows.balance());
            row.iter_mut().zip(&scratch).for_each(|(single, &r)| *single = r as f32);
        }
        logits
    }

    /// The gradient of the objective, laid out as the parameters: residualsᵀ · embeddings over the sum
    /// of the weights, plus the penalty's.
    pub(super) fn gradient(
        &self,
        residuals: &Array2<f32>,
        parameters: &Array1<f64>,
    ) -> Array1<f64> {
        let mut gradient = Array1::zeros(parameters.len());
        let (mut weights, mut bias) = gradient.view_mut().split_at(Axis(0), self.weight_count());
        let mut block = Array2::<f32>::zeros((self.classes, self.rows.width()));
        self.rows.for_each_block(|positions, embeddings| {
            let residuals = residuals.slice(s![positions, ..]);
            general_mat_mul(1.0, &residuals.t(), &embeddings, 0.0, &mut block);
            weights.iter_mut().zip(&block).for_each(|(sum, &part)| *sum += f64::from(part));
            for row in residuals.outer_iter() {
                Zip::from(&mut bias).and(row).for_each(|sum, &part| *sum += f64::from(part));
            }
        });
        gradient /= self.total;
        let (mut weights, _) = gradient.view_mut().split_at(Axis(0), self.weight_count());
        weights.scaled_add(self.penalty, &self.weights(parameters));
        gradient
    }

    /// The penalty at `parameters + step · along` and its slope in `step`.
    pub(super) fn penalty_along(
        &self,
        parameters: &Array1<f64>,
        along: &Array1<f64>,
    ) -> impl Fn(f64) -> (f64, f64) + use<> {
        let (start, along) = (self.weights(parameters), self.weights(along));
        let (square, product, growth) = (start.dot(&start), start.dot(&along), along.dot(&along));
        let penalty = self.penalty;
        move |step| {
            let value = square + step * (2.0 * product + step * growth);
            (penalty / 2.0 * value, penalty * (product + step * growth))
        }
    }

    /// What each row is labelled with, and its weight.
    pub(super) fn targets(&self) -> impl Iterator<Item = (&Truth, f64)> {
        self.rows.truths().iter().zip(self.rows.weights().iter().copied())
    }

    fn weight_count(&self) -> usize {
        self.classes * self.rows.width()
    }

    fn weights<'p>(&self, parameters: &'p Array1<f64>) -> ArrayView1<'p, f64> {
        parameters.slice(s![..self.weight_count()])
    }

    fn layers<'p>(
        &self,
        parameters: &'p Array1<f32>,
    ) -> (ArrayView2<'p, f32>, ArrayView1<'p, f32>) {
        let (weights, bias) = parameters.view().split_at(Axis(0), self.weight_count());
        let weights = weights
            .into_shape_with_order((self.classes, self.rows.width()))
            .expect("a flat vector holds classes × width weights");
        (weights, bias)
    }
}

/// A head's weights and bias as one flat vector.
pub(super) fn flatten(head: &Head) -> Array1<f64> {
    head.weights().iter().chain(head.bias()).map(|&value| f64::from(value)).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2};

    use super::*;
    use crate::training::dataset::Dataset;

    const CLASSES: usize = 3;
    const WIDTH: usize = 4;
    const ROWS: usize = 1300;

    /// Deterministic values in ±1 without any pattern that matters.
    fn values(count: usize, phase: f64) -> impl Iterator<Item = f64> {
        (0..count).map(move |index| (1.7 * index as f64 + phase).sin())
    }

    /// 1,300 rows: more than two blocks; every seventh is not labelled, so that rows are gathered.
    fn unlabelled() -> Dataset {
        let embeddings = values(ROWS * WIDTH, 0.0).map(|value| value as f32).collect();
        Dataset::new(Array2::from_shape_vec((ROWS, WIDTH), embeddings).unwrap()).unwrap()
    }

    fn single_label() -> Dataset {
        let classes = (0..ROWS).map(|row| (row % 7 != 0).then_some(row * row % CLASSES)).collect();
        unlabelled().with_task("task", CLASSES, classes).unwrap()
    }

    /// From no label to all of them a row, weighted and balanced.
    fn multi_label() -> Dataset {
        let set =
            |row: usize| (0..CLASSES).filter(|class| (row * row / 3).is_multiple_of(class + 2)).collect();
        let sets = (0..ROWS).map(|row| (row % 7 != 0).then(|| set(row))).collect();
        let weights = (0..ROWS).map(|row| 1.0 + (row % 3) as f64).collect();
        let data = unlabelled().with_weights(weights).unwrap();
        data.with_multi_label_task("task", CLASSES, sets).unwrap().balanced()
    }

    /// The definition, in double precision, row by row.
    fn reference(data: &Dataset, penalty: f64, parameters: &Array1<f64>) -> f64 {
        let rows = data.labelled(0);
        let mut loss = 0.0;
        rows.for_each_block(|positions, embeddings| {
            for (embedding, position) in embeddings.outer_iter().zip(positions) {
                let logit = |class: usize| {
                    let weights = parameters.iter().skip(class * WIDTH);
                    let products = weights.zip(embedding).map(|(w, &x)| w * f64::from(x));
                    products.sum::<f64>() + parameters[CLASSES * WIDTH + class]
                };
                let truth = &rows.truths()[position];
                let of_row: f64 = match truth {
                    Truth::Class(class) => {
                        let sum: f64 = (0..CLASSES).map(|class| logit(class).exp()).sum();
                        sum.ln() - logit(*class)
                    }
                    Truth::Set(_) => (0..CLASSES)
                        .map(|class| {
                            let probability = 1.0 / (1.0 + (-logit(class)).exp());
                            match truth.classes().contains(&class) {
                                true => -rows.balance()[class].present * probability.ln(),
                                false => -rows.balance()[class].absent * (1.0 - probability).ln(),
                            }
                        })
                        .sum(),
                };
                loss += rows.weights()[position] * of_row;
            }
        });
        let square: f64 = parameters.iter().take(CLASSES * WIDTH).map(|w| w * w).sum();
        loss / rows.weights().iter().sum::<f64>() + penalty / 2.0 * square
    }

    fn objective(data: &Dataset, penalty: f64) -> Objective<'_> {
        let rows = data.labelled(0);
        let mean_weight = rows.weights().iter().sum::<f64>() / rows.len() as f64;
        Objective::new(rows, CLASSES, penalty, mean_weight)
    }

    fn parameters() -> Array1<f64> {
        values(CLASSES * WIDTH + CLASSES, 0.5).collect()
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        let parameters = parameters();
        for (data, penalty) in [(single_label(), 0.0), (single_label(), 0.3), (multi_label(), 0.3)]
        {
            let objective = objective(&data, penalty);
            let residuals = objective.residuals(objective.logits(&parameters));
            let gradient = objective.gradient(&residuals, &parameters);
            for (index, &found) in gradient.iter().enumerate() {
                let at = |change: f64| {
                    let mut moved = parameters.clone();
                    moved[index] += change;
                    reference(&data, penalty, &moved)
                };
                let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
                // Residuals and products are in single precision.
                assert!((found - expected).abs() < 1e-6, "{index}: {found} is not {expected}");
            }
        }
    }

    #[test]
    fn value_and_slope_along_a_line_agree_with_the_definition() {
        let (parameters, along) = (parameters(), parameters().mapv(|value| value.cos()));
        let penalty = 0.3;
        for data in [single_label(), multi_label()] {
            let objective = objective(&data, penalty);
            let logits = objective.logits(&parameters).mapv(f64::from);
            let change = objective.logits(&along);
            let mut residuals = Array2::zeros(logits.raw_dim());
            let at = |step: f64| reference(&data, penalty, &(&parameters + &(step * &along)));
            for step in [0.0, 0.5, 2.0] {
                let Standing { value: loss, slope: loss_slope, .. } =
                    objective.cross_entropy_along(&logits, &change, step, &mut residuals);
                let (square, square_slope) = objective.penalty_along(&parameters, &along)(step);
                // Logits come from single precision.
                assert!((loss + square - at(step)).abs() < 1e-6);
                let slope = (at(step + 1e-5) - at(step - 1e-5)) / 2e-5;
                assert!((loss_slope + square_slope - slope).abs() < 1e-6);
                let there = &parameters + &(step * &along);
                let along_gradient = objective.gradient(&residuals, &there).dot(&along);
                assert!((along_gradient - slope).abs() < 1e-5);
            }
        }
    }
}
