//! A logistic regression and a discriminant analysis as one head.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CrossValidation, Folds, Selection, Stage, score};
use crate::heads::head::Head;
use crate::training::dataset::Labelled;
use crate::training::solver::Discriminant;

/// Both are linear, so their mean is: the logits are
/// `(1 − share) · regression + share · scale · discriminant`.
///
/// The regression asks what tells the classes apart, the discriminant analysis what each class is like:
/// of few rows that is learnt sooner, of many less exactly (Ng and Jordan, On Discriminative vs.
/// Generative Classifiers, 2002). They err in different places, and the mean of their log-probabilities
/// is no further from the truth than the mean of their distances is (Heskes, Selecting Weighting Factors
/// in Logarithmic Opinion Pools, 1998). How much each counts is for rows to say that neither was fit on
/// (Wolpert, Stacked Generalization, 1992).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Blend {
    /// Of the discriminant analysis: above 0, at most 1.
    pub share: f64,
    /// See [`Discriminant::head`].
    pub shrinkage: f64,
    /// Makes its logits as sure of themselves as they may be beside those of the regression.
    pub scale: f64,
}

/// From the covariance nearly as it is to none at all.
pub(super) const SHRINKAGES: [f64; 5] = [0.01, 0.03, 0.1, 0.3, 1.0];

/// Shares that are tried, as long as each is better than the one before: the loss is convex in the two
/// factors.
const SHARES: [f64; 10] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

/// What a blend must take off the summed loss, in nats: it has two parameters more than a regression
/// alone, and one that is worth nothing would take off about one by chance (Akaike, A New Look at the
/// Statistical Model Identification, 1974). A few rows tell no more than that.
const PRICE: f64 = 2.0;

impl Blend {
    /// The blend of a regression with the discriminant analysis of the rows that it was fit on.
    ///
    /// # Panics
    /// As [`Discriminant::new`].
    pub fn of(&self, regression: &Head, rows: &Labelled) -> Head {
        let discriminant = Discriminant::new(rows, regression).head(self.shrinkage);
        // There is one: the folds had theirs, and their rows are among these.
        discriminant.map_or_else(|| regression.clone(), |other| self.mix(regression, &other))
    }

    /// By which the logits of the regression and of the discriminant analysis are multiplied.
    fn factors(&self) -> (f32, f32) {
        ((1.0 - self.share) as f32, (self.share * self.scale) as f32)
    }

    fn mix(&self, regression: &Head, discriminant: &Head) -> Head {
        let (own, other) = self.factors();
        let weights = regression.weights() * own + discriminant.weights() * other;
        let bias = regression.bias() * own + discriminant.bias() * other;
        regression.with_parameters(weights, bias).expect("the mean of bounded weights is bounded")
    }
}

impl CrossValidation<'_> {
    /// Gives the regressions of the folds, of which `best` came, the share of a discriminant analysis with
    /// which the loss is least, if that is worth it. Tells `go_on` before each one that is
    /// tried how far it is, and breaks off if that says so.
    pub(super) fn blend(
        &self,
        mut best: Selection,
        folds: &Folds,
        go_on: &mut dyn FnMut(Stage) -> ControlFlow<()>,
    ) -> ControlFlow<(), Selection> {
        let losses = best.candidates.iter().map(|candidate| candidate.loss);
        let alone = losses.fold(f64::INFINITY, f64::min);
        let mut least = alone - PRICE / best.predictions.len() as f64;
        let certainty = best.temperature;
        let regression = best.predictions.clone();
        let train = |fold| self.data.labelled_among(self.task, folds.others(fold));
        let looks: Vec<Discriminant> =
            (0..folds.count()).map(|fold| Discriminant::new(&train(fold), self.like)).collect();
        let tried = best.candidates.len();
        for (place, shrinkage) in SHRINKAGES.into_iter().enumerate() {
            let stage = Stage {
                done: tried * folds.count() + place,
                total: tried * folds.count() + SHRINKAGES.len(),
                fit: None,
            };
            go_on(stage)?;
            let others = looks.iter().map(|look| look.head(shrinkage)).collect::<Option<Vec<_>>>();
            let Some(others) = others else { continue };
            let others = self.predict(&others, folds);
            let (_, temperature) = score(best.l2, &others);
            let scale = certainty / temperature;
            let mut before = alone;
            for share in SHARES {
                go_on(stage)?;
                let blend = Blend { share, shrinkage, scale };
                let (own_factor, other_factor) = blend.factors();
                let mixed = regression.mixed(own_factor, &others, other_factor);
                let (candidate, temperature) = score(best.l2, &mixed);
                if candidate.loss >= before {
                    break;
                }
                before = candidate.loss;
                if candidate.loss < least {
                    least = candidate.loss;
                    best =
                        Selection { predictions: mixed, temperature, blend: Some(blend), ..best };
                }
            }
        }
        ControlFlow::Continue(best)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2, arr1, arr2};
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::training::dataset::Dataset;
    use crate::training::selection::Strength;

    const WIDTH: usize = 24;

    /// Rows of three classes in turn, `signal` apart in noise of about ±1. The components that tell them
    /// apart are a tenth as long as the others: a penalty of the weights is hard on these.
    fn data(rows: usize, signal: f32) -> Dataset {
        let mut generator = ChaCha8Rng::seed_from_u64(8);
        let embeddings = Array2::from_shape_fn((rows, WIDTH), |(row, component)| {
            let noise: f32 = (0..4).map(|_| generator.random::<f32>() - 0.5).sum();
            match component {
                0..3 if component == row % 3 => 0.1 * (noise + signal),
                0..3 => 0.1 * noise,
                _ => noise,
            }
        });
        let classes = (0..rows).map(|row| Some(row % 3)).collect();
        Dataset::new(embeddings).unwrap().with_task("task", 3, classes).unwrap()
    }

    fn select(data: &Dataset, strength: Strength) -> Selection {
        let labels = ["a", "b", "c"].map(str::to_owned).to_vec();
        let like = Head::new(labels, Array2::zeros((3, WIDTH)), Array1::zeros(3)).unwrap();
        let validation = CrossValidation { data, task: 0, like: &like, seed: 3 };
        match validation.run(strength, &mut |_| ControlFlow::Continue(())) {
            ControlFlow::Continue(selection) => selection.unwrap(),
            ControlFlow::Break(()) => panic!("nobody stopped it"),
        }
    }

    /// Mean cross-entropy of the rows that the heads were not fit on.
    fn loss(selection: &Selection) -> f64 {
        let predictions = selection.predictions.clone().at_temperature(selection.temperature);
        let sum: f64 = predictions.rows().map(|row| row.cross_entropy()).sum();
        sum / predictions.len() as f64
    }

    #[test]
    fn normal_classes_gain_by_a_discriminant_analysis() {
        let data = data(150, 1.5);
        let found = select(&data, Strength::Auto);
        let alone = select(&data, Strength::Given(found.l2));
        assert!(found.blend.is_some());
        assert_eq!(alone.blend, None);
        let (found, alone) = (loss(&found), loss(&alone));
        assert!(found < alone - PRICE / 150.0, "{found} {alone}");
    }

    #[test]
    fn what_gains_next_to_nothing_is_left_out() {
        let found = select(&data(60, 0.0), Strength::Auto);
        assert_eq!(found.blend, None);
    }

    #[test]
    fn a_blend_mixes_the_logits() {
        let head = |weights: [[f32; 2]; 2], bias: [f32; 2]| {
            let labels = vec!["a".to_owned(), "b".to_owned()];
            Head::new(labels, arr2(&weights), arr1(&bias)).unwrap()
        };
        let regression = head([[1.0, -2.0], [0.5, 3.0]], [0.25, -1.0]);
        let discriminant = head([[4.0, 0.0], [-8.0, 2.0]], [1.0, 6.0]);
        let blend = Blend { share: 0.25, shrinkage: 0.1, scale: 0.5 };
        let mixed = blend.mix(&regression, &discriminant).logits(&[3.0, -1.0]);
        let (own, other) = (regression.logits(&[3.0, -1.0]), discriminant.logits(&[3.0, -1.0]));
        let expected: Vec<f64> =
            own.iter().zip(&other).map(|(own, other)| 0.75 * own + 0.125 * other).collect();
        // All of these are sums of a few powers of two.
        assert_eq!(mixed, expected);
    }
}
