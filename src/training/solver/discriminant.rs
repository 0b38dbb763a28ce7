//! Linear discriminant analysis: a head in closed form.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, Axis, Zip, s};

use super::inverse::inverse;
use super::rounded;
use crate::heads::head::Head;
use crate::training::dataset::Labelled;

/// What embeddings look like class by class, if each class is a normal distribution and all have the
/// same covariance (Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, 2nd edition,
/// section 4.3). Rows count by their weights.
pub struct Discriminant<'a> {
    like: &'a Head,
    /// The mean of all rows.
    centre: Array1<f64>,
    /// classes × width, less the centre.
    means: Array2<f64>,
    /// One a class: the logarithm of its share of the rows.
    priors: Array1<f64>,
    /// Within the classes, width × width.
    covariance: Array2<f64>,
}

impl<'a> Discriminant<'a> {
    /// Looks at rows. `like` has the labels and the width.
    ///
    /// # Panics
    /// If the rows have other classes than `like` has labels, or another width.
    pub fn new(rows: &Labelled, like: &'a Head) -> Self {
        let (mut means, weights) = sums(rows, like.weights().dim());
        let total = weights.sum();
        let centre = means.sum_axis(Axis(0)) / total;
        for (mut mean, &weight) in means.outer_iter_mut().zip(&weights) {
            // A class without rows says nothing: it stays in the middle.
            match weight > 0.0 {
                true => mean.zip_mut_with(&centre, |sum, &centre| *sum = *sum / weight - centre),
                false => mean.fill(0.0),
            }
        }
        // No class is rarer than half a row.
        let rarest = 0.5 / rows.len() as f64;
        let priors = weights.mapv(|weight| (weight / total).max(rarest).ln());
        let covariance = within(rows, &(&means + &centre), total);
        Self { like, centre, means, priors, covariance }
    }

    /// The head whose logits are the classes' log-probabilities, up to what all have in common, where
    /// the covariance is `(1 − shrinkage) · covariance + shrinkage · (its mean variance) · identity`:
    /// with few rows, or many components, less is wrong with it (Friedman, Regularized Discriminant
    /// Analysis, 1989, equation 18). `shrinkage` is above 0 and at most 1, where the nearest mean wins.
    ///
    /// Gives `None` where the rows of a class do not differ, so that there is no covariance.
    pub fn head(&self, shrinkage: f64) -> Option<Head> {
        let width = self.centre.len();
        let variance = self.covariance.diag().sum() / width as f64;
        let mut covariance = (1.0 - shrinkage) * &self.covariance;
        covariance.diag_mut().mapv_inplace(|value| value + shrinkage * variance);
        let weights = self.means.dot(&inverse(covariance.view()));
        // wᵀ(x − centre) − wᵀm / 2 + ln prior, where m is the mean less the centre.
        let bias = weights.outer_iter().zip(self.means.outer_iter()).zip(&self.priors);
        let bias = bias.map(|((weights, mean), prior)| {
            prior - weights.dot(&self.centre) - weights.dot(&mean) / 2.0
        });
        let parameters = weights.iter().copied().chain(bias).collect();
        rounded(&parameters, self.like)
    }
}

/// For each class the sum of its embeddings and of its weights.
fn sums(rows: &Labelled, shape: (usize, usize)) -> (Array2<f64>, Array1<f64>) {
    let (mut sums, mut weights) = (Array2::zeros(shape), Array1::zeros(shape.0));
    rows.for_each_block(|positions, embeddings| {
        let classes = rows.classes()[positions.clone()].iter().zip(&rows.weights()[positions]);
        for (embedding, (&class, &weight)) in embeddings.outer_iter().zip(classes) {
            weights[class] += weight;
            let sum = &mut sums.row_mut(class);
            Zip::from(sum).and(embedding).for_each(|sum, &x| *sum += weight * f64::from(x));
        }
    });
    (sums, weights)
}

/// The mean of (x − mean)(x − mean)ᵀ, where the mean is that of the row's class. Products are in single
/// precision: means are taken off before, so that nothing large cancels out.
fn within(rows: &Labelled, means: &Array2<f64>, total: f64) -> Array2<f64> {
    let width = means.ncols();
    let mut covariance = Array2::<f64>::zeros((width, width));
    let mut products = Array2::<f32>::zeros((width, width));
    rows.for_each_block(|positions, embeddings| {
        let mut apart = embeddings.to_owned();
        let classes = rows.classes()[positions.clone()].iter().zip(&rows.weights()[positions]);
        for (mut row, (&class, &weight)) in apart.outer_iter_mut().zip(classes) {
            let root = (weight / total).sqrt();
            row.zip_mut_with(&means.slice(s![class, ..]), |x, &mean| {
                *x = (root * (f64::from(*x) - mean)) as f32;
            });
        }
        general_mat_mul(1.0, &apart.t(), &apart, 0.0, &mut products);
        Zip::from(&mut covariance).and(&products).for_each(|sum, &part| *sum += f64::from(part));
    });
    covariance
}

#[cfg(test)]
mod tests {
    use std::f64::consts::LN_2;

    use ndarray::{Array2, arr2};

    use super::*;
    use crate::training::dataset::Dataset;

    fn like(labels: usize) -> Head {
        let labels: Vec<String> = (0..labels).map(|label| label.to_string()).collect();
        Head::new(labels.clone(), Array2::zeros((labels.len(), 2)), Array1::zeros(labels.len()))
            .unwrap()
    }

    /// Four rows around (11, 10), two around (9, 10): the covariance is diag(2/3, 1/3) around means
    /// that are 2 apart.
    fn data() -> Dataset {
        let rows = arr2(&[
            [12.0, 10.0],
            [10.0, 10.0],
            [11.0, 10.5],
            [11.0, 9.5],
            [10.0, 10.0],
            [8.0, 10.0],
        ]);
        let rows = Dataset::new(rows).unwrap();
        rows.with_task("task", 2, [0, 0, 0, 0, 1, 1].map(Some).to_vec()).unwrap()
    }

    fn log_odds(head: &Head, embedding: [f32; 2]) -> f64 {
        let logits = head.logits(&embedding);
        logits[0] - logits[1]
    }

    #[test]
    fn log_odds_are_those_of_normal_distributions_of_one_covariance() {
        let data = data();
        let like = like(2);
        let discriminant = Discriminant::new(&data.labelled(0), &like);
        // Variances of 4/6 and 1/12; shrunk by a half, (4/6 + 3/8) / 2 along the first axis.
        let variance = (4.0 / 6.0 + 3.0 / 8.0) / 2.0;
        let head = discriminant.head(0.5).unwrap();
        for (x, y) in [(10.0_f32, 10.0_f32), (11.5, 3.0), (8.0, 12.0)] {
            let square = |mean: f64| (f64::from(x) - mean).powi(2);
            let expected = LN_2 + (square(9.0) - square(11.0)) / (2.0 * variance);
            let found = log_odds(&head, [x, y]);
            // Weights and bias of about 40 are rounded to single precision.
            assert!((found - expected).abs() < 1e-4, "{found} is not {expected}");
        }
    }

    #[test]
    fn a_row_of_weight_two_counts_as_two_rows() {
        let like = like(2);
        let doubled = data().select(&[0, 1, 2, 3, 4, 5, 0, 4]);
        let doubled = Discriminant::new(&doubled.labelled(0), &like).head(0.1).unwrap();
        let weighted = data().with_weights(vec![2.0, 1.0, 1.0, 1.0, 2.0, 1.0]).unwrap();
        let weighted = Discriminant::new(&weighted.labelled(0), &like).head(0.1).unwrap();
        for embedding in [[10.0, 10.0], [11.5, 3.0]] {
            let (found, expected) = (log_odds(&weighted, embedding), log_odds(&doubled, embedding));
            // Products are in single precision.
            assert!((found - expected).abs() < 1e-3, "{found} is not {expected}");
        }
    }

    #[test]
    fn a_class_without_rows_is_less_probable_than_any_other() {
        let rows = data();
        let classes = (0..6).map(|row| Some(usize::from(row > 3))).collect();
        let rows = rows.with_task("wider", 3, classes).unwrap();
        let head = Discriminant::new(&rows.labelled(1), &like(3)).head(0.3).unwrap();
        for embedding in [[10.0, 10.0], [12.0, 10.0], [8.0, 10.0]] {
            let logits = head.logits(&embedding);
            assert!(logits[2] < logits[0].max(logits[1]), "{logits:?}");
        }
    }

    #[test]
    fn rows_that_do_not_differ_within_their_class_have_no_discriminant() {
        let rows = arr2(&[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]);
        let rows = Dataset::new(rows).unwrap();
        let rows = rows.with_task("task", 2, [0, 0, 1, 1].map(Some).to_vec()).unwrap();
        assert_eq!(Discriminant::new(&rows.labelled(0), &like(2)).head(0.1), None);
    }
}
