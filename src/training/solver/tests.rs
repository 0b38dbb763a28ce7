//! How fits behave.

mod references;

use std::ops::ControlFlow;

use ndarray::{Array2, Axis};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::heads::head::Decision;

const LBFGS: Solver = Solver::Lbfgs { epochs: 100 };

/// The inverse of scikit-learn's `C = 10`.
const L2: f64 = 0.1;

fn adam(learning_rate: f64, epochs: u32, batch_size: usize) -> Solver {
    Solver::Adam { learning_rate, epochs, batch_size, patience: None }
}

fn labels(count: usize) -> Vec<String> {
    (0..count).map(|label| format!("label {label}")).collect()
}

/// Embeddings of about the given length, one a row: like those of sentences, no two much alike.
fn sentences(rows: usize, length: f32, seed: u64) -> Array2<f32> {
    const WIDTH: usize = 384;
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let bound = length * (3.0 / WIDTH as f32).sqrt();
    Array2::from_shape_simple_fn((rows, WIDTH), || (2.0 * generator.random::<f32>() - 1.0) * bound)
}

/// Labelled as the five sentences of a small example: three topics, two sentiments.
fn five(length: f32) -> Split {
    let topic = [0, 1, 2, 1, 2].map(Some).to_vec();
    let sentiment = [0, 1, 1, 0, 1].map(Some).to_vec();
    train_on(sentences(5, length, 1), &[("topic", 3, topic), ("sentiment", 2, sentiment)])
}

fn train_on(embeddings: Array2<f32>, tasks: &[(&str, usize, Vec<Option<usize>>)]) -> Split {
    let empty = Dataset::new(embeddings).unwrap();
    let train = tasks.iter().fold(empty, |data, (task, classes, values)| {
        data.with_task(*task, *classes, values.clone()).unwrap()
    });
    Split { train, validation: None }
}

/// Every fourth row held out.
fn held_out(data: &Split) -> Split {
    let held_out: Vec<bool> = (0..data.train.rows()).map(|row| row % 4 == 0).collect();
    data.train.split(&held_out)
}

/// Twenty noisy rows of each of three classes, of two coarser ones that only some rows carry, and with
/// tags: one on two of the classes, one on one of them, one on all rows and one on none.
fn noisy() -> Split {
    let mut embeddings = sentences(60, 1.0, 2);
    let fine: Vec<_> = (0..60).map(|row| Some(row % 3)).collect();
    for (row, mut embedding) in embeddings.axis_iter_mut(Axis(0)).enumerate() {
        embedding[row % 3] += 0.2;
    }
    let coarse = (0..60).map(|row| (row >= 20).then_some(usize::from(row % 3 == 0))).collect();
    let tags = (0..60).map(|row| Some([vec![2], vec![0, 2], vec![0, 1, 2]][row % 3].clone()));
    let Split { train, .. } = train_on(embeddings, &[("fine", 3, fine), ("coarse", 2, coarse)]);
    let train = train.with_multi_label_task("tags", 4, tags.collect()).unwrap();
    Split { train, validation: None }
}

fn seeded(data: &Split) -> Vec<Head> {
    let tasks = 0..data.train.tasks().len();
    tasks
        .map(|task| {
            let labels = labels(data.train.classes(task));
            let decision = Decision::undecided(data.train.kind(task), labels.len());
            let head = Head::seeded(labels, data.train.width(), task as u64).unwrap();
            head.with_decision(decision).unwrap()
        })
        .collect()
}

fn train_all(data: &Split) -> Vec<Part> {
    train_from(seeded(data), L2)
}

fn train_from(heads: Vec<Head>, l2: f64) -> Vec<Part> {
    heads.into_iter().map(|head| Part::Train { head, l2, epochs: None }).collect()
}

/// Fits to the end and keeps all reports.
fn run(
    solver: &Solver,
    data: &Split,
    parts: Vec<Part>,
) -> Result<(Vec<Head>, Vec<EpochReport>), FitError> {
    let mut reports = Vec::new();
    let fitted = fit(solver, data, parts, 7, &mut |report| {
        reports.push(report);
        ControlFlow::Continue(())
    })?;
    Ok((fitted.into_iter().map(|fitted| fitted.head).collect(), reports))
}

fn assert_close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{found} is not {expected} ± {tolerance}");
}

#[test]
fn the_defaults_learn_five_sentences_of_two_tasks_perfectly() {
    for length in [1.0, 6.0] {
        let data = five(length);
        let (_, reports) = run(&Solver::default(), &data, train_all(&data)).unwrap();
        let last = reports.last().unwrap();
        assert!(last.tasks.values().all(|task| task.train.accuracy == 1.0), "{last:?}");
        assert_eq!(last.tasks.keys().collect::<Vec<_>>(), ["sentiment", "topic"]);
        let sum: f64 = last.tasks.values().map(|task| task.train.loss).sum();
        assert_eq!(last.loss, sum);
    }
}

#[test]
fn separable_classes_are_learnt_without_a_penalty_too() {
    let data = five(1.0);
    let solver = Solver::Lbfgs { epochs: 1000 };
    let (_, reports) = run(&solver, &data, train_from(seeded(&data), 0.0)).unwrap();
    // The loss has no minimum: the fit ends where the gradient has all but vanished.
    assert!(reports.len() < 1000);
    assert!(reports.last().unwrap().loss < 1e-3);
}

#[test]
fn a_tiny_learning_rate_hardly_moves_the_loss() {
    for length in [5.0, 6.0, 7.0] {
        let data = five(length);
        let parts = train_from(seeded(&data), 0.0);
        let (_, reports) = run(&adam(2e-5, 3, 5), &data, parts).unwrap();
        let epochs: Vec<u32> = reports.iter().map(|report| report.epoch).collect();
        assert_eq!(epochs, [1, 2, 3]);
        for pair in reports.windows(2) {
            let decrease = pair[0].loss - pair[1].loss;
            assert!((0.001..0.003).contains(&decrease), "length {length}: {decrease}");
        }
    }
}

#[test]
fn mini_batches_learn_too_and_rows_may_carry_labels_for_some_tasks_only() {
    let data = noisy();
    for solver in [LBFGS, adam(0.05, 100, 16)] {
        let (_, reports) = run(&solver, &data, train_all(&data)).unwrap();
        let tasks = &reports.last().unwrap().tasks;
        let rows = ["fine", "coarse", "tags"].map(|task| tasks[task].train.rows);
        assert_eq!(rows, [60, 40, 60]);
        assert!(tasks.values().all(|task| task.train.accuracy > 0.95), "{tasks:?}");
    }
}

#[test]
fn a_task_learns_the_same_whatever_it_learns_beside() {
    let data = noisy();
    for solver in [LBFGS, adam(0.01, 3, 16)] {
        let mut alone = train_all(&data);
        alone[0] = Part::Freeze(seeded(&data).remove(0));
        let (alone, _) = run(&solver, &data, alone).unwrap();
        let (together, _) = run(&solver, &data, train_all(&data)).unwrap();
        assert_eq!(alone[1..], together[1..]);
        assert_ne!(alone[0], together[0]);
    }
}

#[test]
fn the_same_input_gives_the_same_bits() {
    let data = noisy();
    for solver in [LBFGS, adam(0.01, 5, 16)] {
        let first = run(&solver, &data, train_all(&data)).unwrap();
        assert_eq!(run(&solver, &data, train_all(&data)).unwrap(), first);
    }
}

#[test]
fn the_seed_draws_mini_batches_but_does_not_touch_full_batches() {
    let data = noisy();
    let fit_with = |batch_size, seed| {
        let go_on = &mut |_| ControlFlow::Continue(());
        fit(&adam(0.01, 3, batch_size), &data, train_all(&data), seed, go_on).unwrap()
    };
    assert_ne!(fit_with(16, 1), fit_with(16, 2));
    assert_eq!(fit_with(60, 1), fit_with(60, 2));
}

#[test]
fn a_frozen_head_stays_bit_equal_and_is_still_evaluated() {
    let data = noisy();
    for solver in [LBFGS, adam(0.05, 20, 16)] {
        let [fine, coarse, tags] = seeded(&data).try_into().unwrap();
        let thresholds = Array1::from(vec![0.45, 0.5, 0.55, 0.6]);
        let tags = tags.with_decision(Decision::Sigmoid { thresholds }).unwrap();
        let train = Part::Train { head: fine.clone(), l2: L2, epochs: None };
        let parts = vec![train, Part::Freeze(coarse.clone()), Part::Freeze(tags.clone())];
        let (heads, reports) = run(&solver, &data, parts).unwrap();
        assert_ne!(heads[0], fine);
        for (name, task, head) in [("coarse", 1, coarse), ("tags", 2, tags)] {
            assert_eq!(heads[task], head);
            let scores = evaluate(&head, &data.train.labelled(task)).unwrap();
            assert!(reports.iter().all(|report| report.tasks[name].train == scores));
        }
    }
}

#[test]
fn with_all_tasks_frozen_nothing_changes_and_there_is_one_evaluation() {
    let data = noisy();
    let heads = seeded(&data);
    let parts = heads.iter().cloned().map(Part::Freeze).collect();
    let (after, reports) = run(&LBFGS, &data, parts).unwrap();
    assert_eq!(after, heads);
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].epoch, 0);
    assert_eq!(reports[0].tasks.len(), 3);
}

#[test]
fn reports_tell_where_the_heads_stand_after_the_epoch() {
    let data = held_out(&noisy());
    let held_out = data.validation.as_ref().unwrap();
    for solver in [LBFGS, adam(0.05, 5, 16)] {
        let (heads, reports) = run(&solver, &data, train_all(&data)).unwrap();
        let last = reports.last().unwrap();
        for (task, name) in ["fine", "coarse", "tags"].into_iter().enumerate() {
            let train = evaluate(&heads[task], &data.train.labelled(task)).unwrap();
            let report = &last.tasks[name];
            assert_eq!(report.validation, evaluate(&heads[task], &held_out.labelled(task)));
            // L-BFGS takes its scores from logits that no rounding of the head has touched.
            assert_close(report.train.loss, train.loss, 1e-5);
            assert_eq!(report.train.rows, train.rows);
            assert_eq!(report.train.accuracy, train.accuracy);
        }
    }
}

#[test]
fn lbfgs_ends_at_the_same_minimum_wherever_it_starts_and_knows_when_it_is_there() {
    let data = noisy();
    let (cold, _) = run(&LBFGS, &data, train_all(&data)).unwrap();
    let (warm, reports) = run(&LBFGS, &data, train_from(cold.clone(), L2)).unwrap();
    assert!(reports.len() < 5, "{} epochs from the minimum", reports.len());
    for (cold, warm) in cold.iter().zip(&warm) {
        for (cold, warm) in cold.weights().iter().zip(warm.weights()) {
            // Of weights up to 2: as near as the gradient at which a fit stops.
            assert_close(f64::from(*warm), f64::from(*cold), 5e-3);
        }
    }
}

#[test]
fn a_task_that_cannot_be_learnt_is_refused_with_the_reason() {
    let refused = |classes: Vec<Option<usize>>| {
        let data = train_on(sentences(3, 1.0, 1), &[("topic", 2, classes)]);
        run(&LBFGS, &data, train_all(&data)).unwrap_err().to_string()
    };
    assert_eq!(refused(vec![None; 3]), "task \"topic\" has no example to train on");
    assert_eq!(
        refused(vec![Some(1), None, Some(1)]),
        "task \"topic\" has a single class: all of its 2 training examples are labelled \
         \"label 1\", but training needs at least 2 different labels"
    );
}

#[test]
fn a_frozen_task_may_have_a_single_class() {
    let data = train_on(sentences(2, 1.0, 1), &[("topic", 2, vec![Some(1), Some(1)])]);
    let parts = seeded(&data).into_iter().map(Part::Freeze).collect();
    assert!(run(&LBFGS, &data, parts).is_ok());
}

#[test]
fn a_fit_that_diverges_says_where_and_gives_no_heads() {
    let data = five(6.0);
    for learning_rate in [1e30, 1e300] {
        let error = run(&adam(learning_rate, 3, 5), &data, train_all(&data)).unwrap_err();
        assert_eq!(error, FitError::Diverged { task: "topic".into(), epoch: 1 });
    }
}

#[test]
fn patience_ends_a_fit_that_validates_worse_and_gives_its_best_epoch() {
    let data = held_out(&noisy());
    let solver =
        Solver::Adam { learning_rate: 0.05, epochs: 1000, batch_size: 16, patience: Some(3) };
    let mut reports = Vec::new();
    let parts = train_from(seeded(&data), 0.0);
    let fitted = fit(&solver, &data, parts, 7, &mut |report| {
        reports.push(report);
        ControlFlow::Continue(())
    });
    let fitted = fitted.unwrap();
    for (task, name) in ["fine", "coarse", "tags"].into_iter().enumerate() {
        let losses: Vec<f64> =
            reports.iter().map(|report| report.tasks[name].validation.unwrap().loss).collect();
        let best = (0..losses.len()).min_by(|&a, &b| losses[a].total_cmp(&losses[b])).unwrap();
        assert_eq!(fitted[task].epoch as usize, best + 1);
        let held_out = data.validation.as_ref().unwrap().labelled(task);
        assert_eq!(evaluate(&fitted[task].head, &held_out).unwrap().loss, losses[best]);
        // Three epochs more and no further, whatever the other task still does.
        let stopped = &losses[best + 3..];
        assert!(
            !stopped.is_empty() && stopped.iter().all(|loss| loss == &stopped[0]),
            "{losses:?}"
        );
    }
    assert!(reports.len() < 1000, "{} epochs", reports.len());
}

#[test]
fn a_weight_of_two_is_a_row_that_is_there_twice() {
    let data = noisy().train;
    let weights = (0..60).map(|row| 1.0 + f64::from(row % 4 == 1)).collect();
    let twice = (0..60).chain((0..60).filter(|row| row % 4 == 1)).collect::<Vec<_>>();
    let twice = Split { train: data.select(&twice), validation: None };
    let weighted = Split { train: data.with_weights(weights).unwrap(), validation: None };
    // The minimum is flat; Adam takes the same steps but for rounding.
    for (solver, tolerance) in [(LBFGS, 1e-3), (adam(0.05, 20, 100), 1e-5)] {
        let (expected, _) = run(&solver, &twice, train_all(&twice)).unwrap();
        let (found, _) = run(&solver, &weighted, train_all(&weighted)).unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            for (found, expected) in found.weights().iter().zip(expected.weights()) {
                assert_close(f64::from(*found), f64::from(*expected), tolerance);
            }
        }
    }
}

#[test]
fn a_path_comes_to_the_minima_that_single_fits_find() {
    let data = noisy();
    for task in [0, 2] {
        let like = seeded(&data).remove(task);
        let mut path = Path::new(data.train.labelled(task), &like);
        for l2 in [10.0, 1.0, 0.1] {
            let go_on = &mut || ControlFlow::Continue(());
            let ControlFlow::Continue(Some(found)) = path.fit(l2, go_on) else {
                panic!("a path that nobody stopped must end at a head");
            };
            let (expected, _) = run(&LBFGS, &data, train_from(seeded(&data), l2)).unwrap();
            let rows = data.train.labelled(task);
            let [found, expected] =
                [&found, &expected[task]].map(|head| evaluate(head, &rows).unwrap().loss);
            // A path goes only as near as its tolerance.
            assert_close(found, expected, 5e-3);
        }
        assert_eq!(path.fit(0.01, &mut || ControlFlow::Break(())), ControlFlow::Break(()));
    }
}

#[test]
fn labels_that_apply_to_all_rows_or_to_none_are_learnt_as_such() {
    let data = noisy();
    for (solver, l2) in [(LBFGS, L2), (LBFGS, 0.0), (adam(0.05, 100, 16), L2)] {
        let (heads, _) = run(&solver, &data, train_from(seeded(&data), l2)).unwrap();
        let logits = heads[2].batch_logits(sentences(20, 1.0, 9).view());
        // Also of texts unlike those that were learnt from.
        assert!(logits.column(2).iter().all(|&logit| logit > 2.0), "{solver:?}: {logits}");
        assert!(logits.column(3).iter().all(|&logit| logit < -2.0), "{solver:?}: {logits}");
    }
}

#[test]
fn thresholds_of_other_weights_are_forgotten() {
    let data = noisy();
    let thresholds = Array1::from_elem(4, 0.9);
    let mut heads = seeded(&data);
    let start = heads[2].clone().with_decision(Decision::Sigmoid { thresholds }).unwrap();
    heads[2] = start.clone();
    for solver in [LBFGS, adam(0.05, 3, 16)] {
        let parts = train_from(heads.clone(), L2);
        let (fitted, _) = run(&solver, &data, parts).unwrap();
        assert_eq!(fitted[2].decision(), start.clone().undecided().decision());
    }
}

#[test]
fn the_callback_can_stop_the_fit() {
    let data = noisy();
    for solver in [LBFGS, adam(0.01, 50, 16)] {
        let mut seen = 0;
        let error = fit(&solver, &data, train_all(&data), 1, &mut |report| {
            seen = report.epoch;
            if seen == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(error.unwrap_err(), FitError::Cancelled { epoch: 3 });
        assert_eq!(seen, 3);
    }
}

#[test]
fn settings_out_of_range_are_refused_with_what_is_allowed() {
    let refused = |solver: Solver| solver.validate().unwrap_err().to_string();
    for l2 in [-1.0, f64::NAN, 1e13] {
        let refused = check_l2(l2).unwrap_err().to_string();
        assert_eq!(refused, format!("l2 is {l2}, but it must be at least 0 and at most 1e12"));
    }
    assert_eq!(refused(Solver::Lbfgs { epochs: 0 }), "epochs is 0, but it must be at least 1");
    let impatient =
        Solver::Adam { learning_rate: 0.1, epochs: 1, batch_size: 1, patience: Some(0) };
    assert_eq!(refused(impatient), "patience is 0, but it must be at least 1");
    assert_eq!(refused(adam(0.1, 1, 0)), "batch_size is 0, but it must be at least 1");
    for learning_rate in [0.0, f64::NAN, f64::INFINITY] {
        assert!(refused(adam(learning_rate, 1, 1)).ends_with("a finite number greater than 0"));
    }
    assert_eq!(Solver::default().validate(), Ok(()));
}

#[test]
fn heads_that_do_not_fit_the_data_are_refused() {
    let data = five(1.0);
    let mut parts = train_all(&data);
    parts.swap(0, 1);
    assert_eq!(
        run(&LBFGS, &data, parts).unwrap_err().to_string(),
        "the head of task \"topic\" has 2 labels on embeddings 384 wide, \
         but the examples have 3 labels on embeddings 384 wide"
    );
    let softmax: Vec<Head> = seeded(&noisy())
        .into_iter()
        .map(|head| head.with_decision(Decision::Softmax).unwrap())
        .collect();
    assert_eq!(
        run(&LBFGS, &noisy(), train_from(softmax, L2)).unwrap_err().to_string(),
        "the head of task \"tags\" is single_label, but the examples are multi_label"
    );
    assert_eq!(
        run(&LBFGS, &data, Vec::new()).unwrap_err(),
        FitError::Heads { found: 0, expected: 2 }
    );
}
