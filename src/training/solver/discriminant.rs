//! Linear discriminant analysis: a head in closed form.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView1, Axis, Zip};

use super::inverse::inverse;
use super::rounded;
use crate::heads::head::{Decision, Head};
use crate::training::dataset::{Labelled, Truth};

/// What embeddings look like class by class, if each class is a normal distribution and all have the
/// same covariance (Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, 2nd edition,
/// section 4.3). In a multi-label task each label has two classes of its own: the rows to which it
/// applies, and the others. Rows count by their weights.
pub struct Discriminant<'a> {
    like: &'a Head,
    /// The mean of all rows.
    centre: Array1<f64>,
    /// labels × width: how the mean of the label's rows differs from the centre; in a multi-label task,
    /// from the mean of the others.
    differences: Array2<f64>,
    /// labels × width, less the centre: where the embedding says nothing for the label or against it.
    middles: Array2<f64>,
    /// One a label: the logarithm of its share of the rows; in a multi-label task, its log-odds.
    priors: Array1<f64>,
    /// width × width, within the classes; in a multi-label task, of all rows.
    covariance: Array2<f64>,
    /// One a label: how many times the product of its difference with itself is in the covariance, but
    /// is not within its classes.
    between: Array1<f64>,
}

impl<'a> Discriminant<'a> {
    /// Looks at rows. `like` has the labels and the width, and is for the same kind of task.
    ///
    /// # Panics
    /// If the rows have other labels than `like`, or another width.
    pub fn new(rows: &Labelled, like: &'a Head) -> Self {
        let (sums, counts) = sums(rows, like.weights().dim());
        match like.decision() {
            Decision::Softmax => Self::of_classes(rows, like, sums, &counts),
            Decision::Sigmoid { .. } => Self::of_labels(rows, like, sums, &counts),
        }
    }

    fn of_classes(
        rows: &Labelled,
        like: &'a Head,
        mut means: Array2<f64>,
        counts: &Array1<f64>,
    ) -> Self {
        let total = counts.sum();
        let centre = means.sum_axis(Axis(0)) / total;
        for (mut mean, &count) in means.outer_iter_mut().zip(counts) {
            // A class without rows says nothing: it stays in the middle.
            match count > 0.0 {
                true => mean.mapv_inplace(|sum| sum / count),
                false => mean.assign(&centre),
            }
        }
        let covariance = covariance(rows, |truth| means.row(truth.classes()[0]));
        let differences = means - &centre;
        Self {
            like,
            centre,
            middles: &differences / 2.0,
            differences,
            priors: counts.mapv(|count| share(count / total, rows).ln()),
            covariance,
            between: Array1::zeros(counts.len()),
        }
    }

    fn of_labels(
        rows: &Labelled,
        like: &'a Head,
        mut sums: Array2<f64>,
        counts: &Array1<f64>,
    ) -> Self {
        let (total, centre) = (rows.weights().iter().sum::<f64>(), mean(rows));
        let mut middles = Array2::zeros(sums.raw_dim());
        for ((mut sum, mut middle), &count) in
            sums.outer_iter_mut().zip(middles.outer_iter_mut()).zip(counts)
        {
            sum.scaled_add(-count, &centre);
            // What the others' sum is less than the centre, these are more: means are taken apart.
            let (present, absent) = (count, total - count);
            match present > 0.0 && absent > 0.0 {
                true => {
                    middle.assign(&(&sum * ((1.0 / present - 1.0 / absent) / 2.0)));
                    sum *= 1.0 / present + 1.0 / absent;
                }
                false => sum.fill(0.0),
            }
        }
        let shares = counts.mapv(|count| share(count / total, rows));
        let odds = shares.iter().zip(rows.balance()).map(|(share, balance)| {
            (share * balance.present).ln() - ((1.0 - share) * balance.absent).ln()
        });
        Self {
            like,
            differences: sums,
            middles,
            priors: odds.collect(),
            covariance: covariance(rows, |_| centre.view()),
            between: counts.mapv(|count| count / total * (1.0 - count / total)),
            centre,
        }
    }

    /// The head whose logits are the labels' log-probabilities, up to what all have in common, or in a
    /// multi-label task their log-odds, where the covariance is
    /// `(1 − shrinkage) · covariance + shrinkage · (its mean variance) · identity`: with few rows, or
    /// many components, less is wrong with it (Friedman, Regularized Discriminant Analysis, 1989,
    /// equation 18). `shrinkage` is above 0 and at most 1, where the nearest mean wins.
    ///
    /// Gives `None` where the rows of a class do not differ, so that there is no covariance.
    pub fn head(&self, shrinkage: f64) -> Option<Head> {
        let variance = self.covariance.diag().sum() / self.centre.len() as f64;
        let mut covariance = (1.0 - shrinkage) * &self.covariance;
        covariance.diag_mut().mapv_inplace(|value| value + shrinkage * variance);
        let mut weights = self.differences.dot(&inverse(covariance.view()));
        let labels = weights.outer_iter_mut().zip(self.differences.outer_iter());
        for ((mut weights, difference), between) in labels.zip(&self.between) {
            // The inverse without the label's own part (Sherman and Morrison, 1950).
            weights /= 1.0 - (1.0 - shrinkage) * between * weights.dot(&difference);
        }
        let bias = weights.outer_iter().zip(self.middles.outer_iter()).zip(&self.priors);
        let bias = bias.map(|((weights, middle), prior)| {
            prior - weights.dot(&self.centre) - weights.dot(&middle)
        });
        let parameters = weights.iter().copied().chain(bias).collect();
        rounded(&parameters, self.like)
    }
}

/// A share of the rows that is no less than half a row's, nor more than that of all others.
fn share(share: f64, rows: &Labelled) -> f64 {
    let least = 0.5 / rows.len() as f64;
    share.clamp(least, 1.0 - least)
}

/// For each label the sum of the embeddings to which it applies, and of their weights.
fn sums(rows: &Labelled, shape: (usize, usize)) -> (Array2<f64>, Array1<f64>) {
    let (mut sums, mut counts) = (Array2::zeros(shape), Array1::zeros(shape.0));
    rows.for_each_block(|positions, embeddings| {
        let targets = rows.truths()[positions.clone()].iter().zip(&rows.weights()[positions]);
        for (embedding, (truth, &weight)) in embeddings.outer_iter().zip(targets) {
            for &class in truth.classes() {
                counts[class] += weight;
                let sum = &mut sums.row_mut(class);
                Zip::from(sum).and(embedding).for_each(|sum, &x| *sum += weight * f64::from(x));
            }
        }
    });
    (sums, counts)
}

/// The mean embedding.
fn mean(rows: &Labelled) -> Array1<f64> {
    let (mut sum, mut total) = (Array1::zeros(rows.width()), 0.0);
    rows.for_each_block(|positions, embeddings| {
        for (embedding, &weight) in embeddings.outer_iter().zip(&rows.weights()[positions]) {
            total += weight;
            Zip::from(&mut sum).and(embedding).for_each(|sum, &x| *sum += weight * f64::from(x));
        }
    });
    sum / total
}

/// The mean of (x − m)(x − m)ᵀ, where m is what `middle` says of the row. Products are in single
/// precision: m is taken off before, so that nothing large cancels out.
fn covariance<'m>(rows: &Labelled, middle: impl Fn(&Truth) -> ArrayView1<'m, f64>) -> Array2<f64> {
    let total: f64 = rows.weights().iter().sum();
    let width = rows.width();
    let mut covariance = Array2::<f64>::zeros((width, width));
    let mut products = Array2::<f32>::zeros((width, width));
    rows.for_each_block(|positions, embeddings| {
        let mut apart = embeddings.to_owned();
        let targets = rows.truths()[positions.clone()].iter().zip(&rows.weights()[positions]);
        for (mut row, (truth, &weight)) in apart.outer_iter_mut().zip(targets) {
            let root = (weight / total).sqrt();
            row.zip_mut_with(&middle(truth), |x, &m| *x = (root * (f64::from(*x) - m)) as f32);
        }
        general_mat_mul(1.0, &apart.t(), &apart, 0.0, &mut products);
        Zip::from(&mut covariance).and(&products).for_each(|sum, &part| *sum += f64::from(part));
    });
    covariance
}

#[cfg(test)]
mod tests {
    use std::f64::consts::LN_2;

    use ndarray::{Array2, arr1, arr2};
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

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
    fn each_label_of_a_multi_label_task_has_two_classes_of_its_own() {
        let mut generator = ChaCha8Rng::seed_from_u64(6);
        let rows = 200;
        let applies = |row: usize, label: usize| [row.is_multiple_of(3), row % 10 == 3][label];
        let embeddings = Array2::from_shape_fn((rows, 2), |(row, component)| {
            let noise = 2.0 * generator.random::<f32>() - 1.0;
            3.0 + noise + if applies(row, component) { 0.5 } else { 0.0 }
        });
        let sets = (0..rows).map(|row| Some((0..2).filter(|&label| applies(row, label)).collect()));
        let data = Dataset::new(embeddings.clone()).unwrap();
        let data = data.with_multi_label_task("tags", 2, sets.collect()).unwrap();
        let thresholds = Decision::Sigmoid { thresholds: arr1(&[0.5, 0.5]) };
        let tags = like(2).with_decision(thresholds).unwrap();
        // With next to no shrinkage it does not matter that its target is not quite the same.
        let tags = Discriminant::new(&data.labelled(0), &tags).head(1e-6).unwrap();
        for label in 0..2 {
            let classes = (0..rows).map(|row| Some(usize::from(!applies(row, label)))).collect();
            let data = Dataset::new(embeddings.clone()).unwrap();
            let data = data.with_task("tag", 2, classes).unwrap();
            let tag = like(2);
            let tag = Discriminant::new(&data.labelled(0), &tag).head(1e-6).unwrap();
            for embedding in [[3.0, 3.0], [4.0, 2.5]] {
                let (found, expected) = (tags.logits(&embedding)[label], log_odds(&tag, embedding));
                // Products are in single precision.
                assert!((found - expected).abs() < 1e-3, "{found} is not {expected}");
            }
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
