//! The shape of the objective that can be told from the embeddings alone.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, Axis, Zip, s};

use super::objective::Objective;
use crate::training::dataset::Truth;

/// Of the largest mean square of an embedding's component: what is added to the diagonal, so that the
/// inverse exists where no penalty sees to that.
const RIDGE: f64 = 1e-7;

/// Of the embeddings' variance: what each direction counts beside. With more than two classes, the
/// Hessian of each is made by fewer rows, which are more alike than all are.
const LIKENESS: f64 = 0.03;

/// `M⁻¹` in place of the identity as first guess of the inverse Hessian, where
///
/// ```text
/// M = curvature · Σ weight · (x, 1)(x, 1)ᵀ / Σ weight + (likeness + penalty) · diag(1, …, 1, 0)
/// ```
///
/// is one block for all classes. The Hessian of class k has p(1 − p) of each row in place of the one
/// curvature, and is bounded by such a matrix with 1/2 (Böhning, Multinomial logistic regression
/// algorithm, 1992): the mean of p(1 − p) is closer. Only the path changes, not its end. Measured on
/// all-MiniLM-L6-v2 embeddings with `l2` 0.1, against embeddings that are only centred and scaled:
/// SST-2 takes 15 epochs for 74, TREC about 50 for 84, BANKING77 75 for 71.
pub(super) struct Preconditioner {
    /// Σ weight · (x, 1)(x, 1)ᵀ / Σ weight, (width + 1)².
    moments: Array2<f64>,
    /// (width + 1)².
    inverse: Array2<f64>,
}

impl Preconditioner {
    pub(super) fn new(objective: &Objective, residuals: &Array2<f32>) -> Self {
        let moments = moments(objective);
        let mut preconditioner = Self { inverse: Array2::zeros(moments.raw_dim()), moments };
        preconditioner.update(objective, residuals);
        preconditioner
    }

    /// Fits the penalty and the residuals as they are now.
    pub(super) fn update(&mut self, objective: &Objective, residuals: &Array2<f32>) {
        let width = self.moments.nrows() - 1;
        let ridge = RIDGE * self.moments.diag().iter().copied().fold(0.0, f64::max);
        // As the scale of M does not matter, it is divided by the curvature.
        let penalty = objective.penalty() / curvature(objective, residuals);
        let classes = residuals.ncols() as f64;
        let likeness = LIKENESS * (1.0 - 2.0 / classes).max(0.0) * self.variance();
        let mut matrix = self.moments.clone();
        for (index, value) in matrix.diag_mut().iter_mut().enumerate() {
            *value += if index < width { ridge + likeness + penalty } else { 0.0 };
        }
        self.inverse = inverse(matrix.view());
    }

    /// The mean square distance of the embeddings from their mean.
    fn variance(&self) -> f64 {
        let width = self.moments.nrows() - 1;
        let mean = self.moments.slice(s![width, ..width]);
        let square: f64 = self.moments.diag().iter().take(width).sum();
        square - mean.dot(&mean)
    }

    /// `M⁻¹` times a gradient, laid out as the parameters, up to a factor.
    pub(super) fn apply(&self, gradient: &Array1<f64>) -> Array1<f64> {
        let width = self.moments.nrows() - 1;
        let classes = gradient.len() / (width + 1);
        let (weights, bias) = gradient.view().split_at(Axis(0), classes * width);
        let weights = weights.into_shape_with_order((classes, width)).expect("classes × width");
        let mut rows = Array2::zeros((classes, width + 1));
        rows.slice_mut(s![.., ..width]).assign(&weights);
        rows.column_mut(width).assign(&bias);
        let rows = rows.dot(&self.inverse);
        let weights = rows.slice(s![.., ..width]);
        weights.iter().chain(rows.column(width)).copied().collect()
    }
}

/// The mean of p(1 − p) over rows, by their weights, and classes.
fn curvature(objective: &Objective, residuals: &Array2<f32>) -> f64 {
    let rows = objective.rows();
    let mut sum = 0.0;
    for (residuals, (truth, weight)) in residuals.outer_iter().zip(objective.targets()) {
        // A residual over its weight is p or, where the label applies, p − 1.
        let part = |residual: f32, weight: f64| {
            let share = f64::from(residual).abs() / weight;
            share * (1.0 - share)
        };
        sum += weight
            * match truth {
                Truth::Class(_) => residuals.iter().map(|&it| part(it, weight)).sum::<f64>(),
                Truth::Set(_) => {
                    let labels = residuals.iter().zip(truth.labels(rows.balance()));
                    labels.map(|(&it, (_, share))| share * part(it, weight * share)).sum()
                }
            };
    }
    let classes = residuals.ncols() as f64;
    let mean = sum / (objective.total() * classes);
    // Where a few rows are told apart with certainty there is next to none left.
    mean.max(1e-3 / classes)
}

fn moments(objective: &Objective) -> Array2<f64> {
    let rows = objective.rows();
    let width = rows.width();
    let mut moments = Array2::<f64>::zeros((width + 1, width + 1));
    let mut products = Array2::<f32>::zeros((width + 1, width + 1));
    rows.for_each_block(|positions, embeddings| {
        let mut extended = Array2::<f32>::ones((embeddings.nrows(), width + 1));
        extended.slice_mut(s![.., ..width]).assign(&embeddings);
        for (mut row, weight) in extended.outer_iter_mut().zip(&rows.weights()[positions]) {
            row *= (weight / objective.total()).sqrt() as f32;
        }
        general_mat_mul(1.0, &extended.t(), &extended, 0.0, &mut products);
        Zip::from(&mut moments).and(&products).for_each(|sum, &part| *sum += f64::from(part));
    });
    moments
}

/// The inverse of a symmetric positive definite matrix by its four blocks (Schur complement), so that
/// nearly all work is matrix products.
fn inverse(matrix: ArrayView2<f64>) -> Array2<f64> {
    let size = matrix.nrows();
    if size == 1 {
        return matrix.mapv(f64::recip);
    }
    let half = size / 2;
    let (top, bottom) = matrix.split_at(Axis(0), half);
    let ((first, corner), second) =
        (top.split_at(Axis(1), half), bottom.slice_move(s![.., half..]));
    let first = inverse(first);
    let across = first.dot(&corner);
    let complement = &second - &corner.t().dot(&across);
    let second = inverse(complement.view());
    let off = across.dot(&second);
    let mut result = Array2::zeros((size, size));
    result.slice_mut(s![..half, ..half]).assign(&(first + off.dot(&across.t())));
    result.slice_mut(s![half.., ..half]).assign(&-&off.t());
    result.slice_mut(s![..half, half..]).assign(&-&off);
    result.slice_mut(s![half.., half..]).assign(&second);
    result
}
