//! Other people's implementations, asked beforehand: tests/fixtures/solvers/make.py.

use ndarray::{Array1, Array2};
use serde::Deserialize;

use super::{assert_close, labels, run, seeded, train_from, train_on};
use crate::heads::head::Head;
use crate::training::dataset::{Dataset, Split};
use crate::training::evaluation::{Confusion, Evaluation, Evidence};
use crate::training::predictions::Predictions;
use crate::training::solver::lbfgs::{Lbfgs, Tolerance};
use crate::training::solver::{Fitter, Part, Solver, rounded};

#[test]
fn lbfgs_finds_the_minimum_that_scikit_learn_finds() {
    #[derive(Deserialize)]
    struct Fixture {
        embeddings: Vec<Vec<f32>>,
        labels: Vec<usize>,
        l2: f64,
        weights: Vec<Vec<f64>>,
        bias: Vec<f64>,
        probabilities: Vec<Vec<f32>>,
    }
    let fixture = include_str!("../../../../tests/fixtures/solvers/lbfgs.json");
    let fixture: Fixture = serde_json::from_str(fixture).unwrap();
    let classes = fixture.labels.into_iter().map(Some).collect();
    let data = train_on(matrix(&fixture.embeddings), &[("task", 3, classes)]);
    let head = seeded(&data).remove(0);
    let exact = converged(&data, &head, fixture.l2);

    // The gradient of the mean objective is at most 1e-6: times 60 rows, over a curvature of at
    // least l2, that is 6e-4 at worst, and less in all but the flattest direction.
    for (found, expected) in exact.weights().iter().zip(fixture.weights.iter().flatten()) {
        assert_close(f64::from(*found), *expected, 2e-4);
    }
    // Adding a constant to every bias changes no probability.
    let shift =
        exact.bias().mean().unwrap() - Array1::from(fixture.bias.clone()).mean().unwrap() as f32;
    for (found, expected) in exact.bias().iter().zip(fixture.bias) {
        assert_close(f64::from(found - shift), expected, 2e-4);
    }
    // By default a fit stops earlier, where probabilities are as good as the same.
    let (default, _) = run(&Solver::default(), &data, train_from(vec![head], fixture.l2)).unwrap();
    for (head, tolerance) in [(&exact, 1e-4), (&default[0], 2e-3)] {
        for (embedding, expected) in fixture.embeddings.iter().zip(&fixture.probabilities) {
            for (found, expected) in head.probabilities(embedding).iter().zip(expected) {
                assert_close(f64::from(*found), f64::from(*expected), tolerance);
            }
        }
    }
}

/// What scikit-learn makes of a problem with several labels a row.
#[derive(Deserialize)]
struct OneVsRest {
    embeddings: Vec<Vec<f32>>,
    labels: Vec<Vec<usize>>,
    l2: f64,
    plain: Minimum,
    balanced: Minimum,
    accuracy: f64,
    macro_f1: f64,
    micro_f1: f64,
    f1: Vec<f64>,
    /// Of each label: true negatives, false positives, false negatives, true positives.
    confusion: Vec<[u64; 4]>,
}

#[derive(Deserialize)]
struct Minimum {
    weights: Vec<Vec<f64>>,
    bias: Vec<f64>,
    probabilities: Vec<Vec<f32>>,
}

impl OneVsRest {
    fn read() -> Self {
        let fixture = include_str!("../../../../tests/fixtures/solvers/one-vs-rest.json");
        serde_json::from_str(fixture).unwrap()
    }

    fn data(&self) -> Split {
        let sets = self.labels.iter().cloned().map(Some).collect();
        let data = Dataset::new(matrix(&self.embeddings)).unwrap();
        let train = data.with_multi_label_task("task", self.f1.len(), sets).unwrap();
        Split { train, validation: None }
    }
}

#[test]
fn lbfgs_finds_the_minimum_of_each_label_that_scikit_learn_finds() {
    let fixture = OneVsRest::read();
    let plain = fixture.data();
    let balanced = Split { train: plain.train.clone().balanced(), validation: None };
    for (data, expected) in [(plain, &fixture.plain), (balanced, &fixture.balanced)] {
        let start = seeded(&data).remove(0);
        let exact = converged(&data, &start, fixture.l2);
        let found = exact.weights().iter().chain(exact.bias());
        for (found, expected) in found.zip(expected.weights.iter().flatten().chain(&expected.bias))
        {
            // As near as with a softmax.
            assert_close(f64::from(*found), *expected, 2e-4);
        }
        let (default, _) =
            run(&Solver::default(), &data, train_from(vec![start], fixture.l2)).unwrap();
        for (head, tolerance) in [(&exact, 1e-4), (&default[0], 2e-3)] {
            for (embedding, expected) in fixture.embeddings.iter().zip(&expected.probabilities) {
                for (found, expected) in head.probabilities(embedding).iter().zip(expected) {
                    assert_close(f64::from(*found), f64::from(*expected), tolerance);
                }
            }
        }
    }
}

#[test]
fn a_label_is_learnt_alone_as_it_is_beside_others() {
    let fixture = OneVsRest::read();
    for (label, weights) in fixture.plain.weights.iter().enumerate() {
        let has = |set: &Vec<usize>| Some(if set.contains(&label) { vec![0] } else { vec![] });
        let sets = fixture.labels.iter().map(has).collect();
        let data = Dataset::new(matrix(&fixture.embeddings)).unwrap();
        let train = data.with_multi_label_task("task", 1, sets).unwrap();
        let data = Split { train, validation: None };
        let alone = converged(&data, &seeded(&data)[0], fixture.l2);
        for (found, expected) in alone.weights().iter().zip(weights) {
            assert_close(f64::from(*found), *expected, 2e-4);
        }
    }
}

#[test]
fn sets_of_labels_are_scored_as_scikit_learn_scores_them() {
    let fixture = OneVsRest::read();
    let data = fixture.data();
    let head = converged(&data, &seeded(&data)[0], fixture.l2);
    let predictions = Predictions::of(&head, &data.train.labelled(0));
    let found = Evaluation::of(&predictions, head.labels(), Evidence::Training).unwrap();
    assert_close(found.accuracy, fixture.accuracy, 1e-12);
    assert_close(found.macro_f1, fixture.macro_f1, 1e-12);
    assert_close(found.micro_f1.unwrap(), fixture.micro_f1, 1e-12);
    for ((label, f1), confusion) in found.labels.iter().zip(fixture.f1).zip(fixture.confusion) {
        assert_close(label.f1, f1, 1e-12);
        let [true_negatives, false_positives, false_negatives, true_positives] = confusion;
        let expected =
            Confusion { true_negatives, false_positives, false_negatives, true_positives };
        assert_eq!(label.decided.unwrap().confusion, expected);
    }
}

#[test]
fn adam_goes_the_way_that_pytorch_goes() {
    #[derive(Deserialize)]
    struct State {
        weights: Vec<Vec<f32>>,
        bias: Vec<f32>,
    }
    #[derive(Deserialize)]
    struct Epoch {
        loss: f64,
        heads: Vec<State>,
    }
    #[derive(Deserialize)]
    struct Fixture {
        embeddings: Vec<Vec<f32>>,
        labels: Vec<Vec<Option<usize>>>,
        learning_rate: f64,
        l2: f64,
        start: Vec<State>,
        epochs: Vec<Epoch>,
    }
    let fixture = include_str!("../../../../tests/fixtures/solvers/adam.json");
    let fixture: Fixture = serde_json::from_str(fixture).unwrap();
    let [first, second] = fixture.labels.try_into().unwrap();
    let data = train_on(matrix(&fixture.embeddings), &[("a", 3, first), ("b", 2, second)]);
    for (epochs, expected) in (1..).zip(&fixture.epochs) {
        let start = fixture.start.iter().map(|state| {
            let bias = Array1::from(state.bias.clone());
            let head = Head::new(labels(bias.len()), matrix(&state.weights), bias).unwrap();
            Part::Train { head, l2: fixture.l2, epochs: None }
        });
        let solver = Solver::Adam {
            learning_rate: fixture.learning_rate,
            epochs,
            batch_size: data.train.rows(),
            patience: None,
        };
        let (heads, reports) = run(&solver, &data, start.collect()).unwrap();
        // PyTorch rounds every operation to single precision.
        assert_close(reports.last().unwrap().loss, expected.loss, 1e-5);
        for (head, expected) in heads.iter().zip(&expected.heads) {
            let expected = expected.weights.iter().flatten().chain(&expected.bias);
            for (found, expected) in head.weights().iter().chain(head.bias()).zip(expected) {
                assert_close(f64::from(*found), f64::from(*expected), 1e-5);
            }
        }
    }
}

/// The minimum, as near as single precision lets a fit come.
fn converged(data: &Split, start: &Head, l2: f64) -> Head {
    let tight = Tolerance { gradient: 1e-6, decrease: 0.0 };
    let mut fit = Lbfgs::new(data.train.labelled(0), start, l2).with_tolerance(tight);
    let epochs = (1..=100).find(|_| {
        fit.epoch();
        fit.converged()
    });
    assert!(epochs.is_some(), "did not converge");
    rounded(fit.parameters(), start).unwrap()
}

fn matrix<T: Copy + Default>(rows: &[Vec<T>]) -> Array2<T> {
    Array2::from_shape_fn((rows.len(), rows[0].len()), |(row, column)| rows[row][column])
}
