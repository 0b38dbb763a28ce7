//! Other people's implementations, asked beforehand: tests/fixtures/solvers/make.py.

use ndarray::{Array1, Array2};
use serde::Deserialize;

use super::{assert_close, labels, run, seeded, train_from, train_on};
use crate::heads::head::Head;
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
    let tight = Tolerance { gradient: 1e-6, decrease: 1e-8 };
    let mut fit = Lbfgs::new(data.train.labelled(0), &head, fixture.l2).with_tolerance(tight);
    let epochs = (1..=100).find(|_| {
        fit.epoch();
        fit.converged()
    });
    assert!(epochs.is_some(), "did not converge");
    let exact = rounded(fit.parameters(), &head).unwrap();

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
            Part::Train { head, l2: fixture.l2 }
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

fn matrix<T: Copy + Default>(rows: &[Vec<T>]) -> Array2<T> {
    Array2::from_shape_fn((rows.len(), rows[0].len()), |(row, column)| rows[row][column])
}
