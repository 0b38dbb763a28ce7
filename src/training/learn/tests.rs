//! How learning behaves.

use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

const WIDTH: usize = 16;

/// Rows of three classes in turn, a little apart in noise, of two coarser ones, and with tags: one on one
/// of the classes, one on two, one on all and one on none.
fn data(rows: usize) -> Dataset {
    let mut generator = ChaCha8Rng::seed_from_u64(11);
    let embeddings = Array2::from_shape_fn((rows, WIDTH), |(row, column)| {
        let noise = 2.0 * generator.random::<f32>() - 1.0;
        noise + if column == row % 3 { 1.0 } else { 0.0 }
    });
    let fine = (0..rows).map(|row| Some(row % 3)).collect();
    let coarse = (0..rows).map(|row| Some(usize::from(row % 3 == 0))).collect();
    let data = Dataset::new(embeddings).unwrap().with_task("fine", 3, fine).unwrap();
    let data = data.with_task("coarse", 2, coarse).unwrap();
    let tags = (0..rows).map(|row| Some([vec![2], vec![1, 2], vec![0, 1, 2]][row % 3].clone()));
    data.with_multi_label_task("tags", 4, tags.collect()).unwrap()
}

fn every_fifth(rows: usize) -> Vec<bool> {
    (0..rows).map(|row| row % 5 == 0).collect()
}

fn heads(data: &Dataset) -> Vec<Head> {
    let head = |task| {
        let labels: Vec<String> = (0..data.classes(task)).map(|class| class.to_string()).collect();
        let decision = Decision::undecided(data.kind(task), labels.len());
        let head = Head::seeded(labels, data.width(), task as u64).unwrap();
        head.with_decision(decision).unwrap()
    };
    (0..data.tasks().len()).map(head).collect()
}

fn starts(data: &Dataset) -> Vec<Start> {
    heads(data).into_iter().map(train_from).collect()
}

fn train_from(head: Head) -> Start {
    Start::Train { twin: head.clone(), head }
}

fn unpenalised(data: &Dataset, epochs: Option<u32>) -> Vec<Part> {
    heads(data).into_iter().map(|head| Part::Train { head, l2: 0.0, epochs }).collect()
}

fn defaults() -> Plan {
    Plan { solver: Solver::default(), l2: Strength::Auto, calibrate: true, seed: 7 }
}

fn adam(patience: Option<u32>) -> Plan {
    let solver = Solver::Adam { learning_rate: 0.05, epochs: 200, batch_size: 16, patience };
    Plan { solver, l2: Strength::Given(0.0), calibrate: false, seed: 7 }
}

/// Learns to the end.
fn run(plan: &Plan, data: &Dataset, held_out: &[bool]) -> Vec<Learnt> {
    let go_on = &mut |_| ControlFlow::Continue(());
    learn(plan, data.clone(), held_out, starts(data), go_on).unwrap().heads
}

#[test]
fn a_twin_is_what_would_be_learnt_if_the_held_out_rows_were_not_there() {
    let data = data(120);
    let held_out = every_fifth(120);
    let train = data.split(&held_out).train;
    for plan in [defaults(), adam(None)] {
        let with = run(&plan, &data, &held_out);
        let without = run(&plan, &train, &[false; 96]);
        for (with, without) in with.iter().zip(&without) {
            assert_eq!(with.twin.as_ref(), Some(&without.head));
            assert_ne!(with.head, without.head, "the final head has seen the held-out rows");
            assert_eq!(without.twin, None);
        }
    }
}

#[test]
fn a_twin_starts_from_what_has_not_seen_the_held_out_rows() {
    let data = data(120);
    let held_out = every_fifth(120);
    let seen = run(&defaults(), &data, &[false; 120]).into_iter().map(|learnt| learnt.head);
    let starts = seen.zip(heads(&data)).map(|(head, twin)| Start::Train { head, twin });
    let go_on = &mut |_| ControlFlow::Continue(());
    let solver = Solver::Adam { learning_rate: 1e-6, epochs: 1, batch_size: 16, patience: None };
    let plan = Plan { solver, ..adam(None) };
    let learnt = learn(&plan, data.clone(), &held_out, starts.collect(), go_on).unwrap().heads;
    let blank = run(&plan, &data, &held_out);
    for (learnt, blank) in learnt.iter().zip(&blank) {
        assert_eq!(learnt.twin, blank.twin);
        assert_ne!(learnt.head, blank.head);
    }
}

#[test]
fn the_twin_is_scored_on_the_held_out_rows() {
    let data = data(120);
    let held_out = every_fifth(120);
    let unseen = data.split(&held_out).validation.unwrap();
    for (task, learnt) in run(&defaults(), &data, &held_out).into_iter().enumerate() {
        let twin = learnt.twin.unwrap();
        let predictions = Predictions::of(&twin, &unseen.labelled(task));
        let expected = Evaluation::of(&predictions, twin.labels(), Evidence::HeldOut).unwrap();
        let found = learnt.evaluation;
        assert_eq!((found.on, found.rows), (Evidence::HeldOut, 24));
        assert_eq!((found.confusion, found.labels), (expected.confusion, expected.labels));
        // Dividing logits and dividing weights round differently.
        assert!((found.loss - expected.loss).abs() < 1e-5);
        assert!((found.calibration_error - expected.calibration_error).abs() < 1e-5);
        assert!(found.temperature.is_some() && found.uncalibrated_error.is_some());
        assert!(found.cross_validation.iter().any(|candidate| Some(candidate.l2) == found.l2));
    }
}

#[test]
fn a_head_is_the_blend_that_its_evaluation_tells_of() {
    let data = data(300);
    let mut blends = 0;
    for (task, learnt) in run(&defaults(), &data, &every_fifth(300)).into_iter().enumerate() {
        let Evaluation { l2, blend, temperature, .. } = learnt.evaluation;
        let parts = heads(&data).into_iter().map(|head| Part::Train {
            head,
            l2: l2.unwrap(),
            epochs: None,
        });
        let split = Split { train: data.clone(), validation: None };
        let go_on = &mut |_| ControlFlow::Continue(());
        let regression = fit(&Solver::default(), &split, parts.collect(), 0, go_on).unwrap();
        let regression = regression[task].head.clone();
        let head = match blend {
            Some(blend) => blend.of(&regression, &data.labelled(task)),
            None => regression,
        };
        blends += usize::from(blend.is_some());
        let expected = head.at_temperature(temperature.unwrap()).unwrap();
        let embedding: Vec<f32> = (0..WIDTH).map(|component| (component as f32).sin()).collect();
        let pairs = learnt.head.probabilities(&embedding).into_iter();
        for (found, expected) in pairs.zip(expected.probabilities(&embedding)) {
            // The fits ended on different ways to the same minimum.
            assert!((found - expected).abs() < 2e-3, "{found} is not {expected}");
        }
    }
    assert!(blends > 0);
}

#[test]
fn the_same_input_gives_the_same_bits() {
    let data = data(120);
    for (plan, held_out) in [
        (defaults(), every_fifth(120)),
        (adam(Some(3)), every_fifth(120)),
        (adam(Some(3)), vec![false; 120]),
    ] {
        let first = run(&plan, &data, &held_out);
        assert_eq!(run(&plan, &data, &held_out), first);
    }
}

#[test]
fn without_held_out_rows_scores_come_from_the_cross_validation() {
    let data = data(60);
    for l2 in [Strength::Auto, Strength::Given(0.5)] {
        let plan = Plan { l2, ..defaults() };
        let evaluation = run(&plan, &data, &[false; 60]).remove(0).evaluation;
        assert_eq!((evaluation.on, evaluation.rows), (Evidence::CrossValidation, 60));
        assert_eq!(evaluation.cross_validation.is_empty(), l2 != Strength::Auto);
        assert!(evaluation.temperature.is_some());
    }
}

#[test]
fn a_handful_of_rows_is_learnt_without_choice_or_calibration() {
    let data = data(6);
    let learnt = run(&defaults(), &data, &[false; 6]);
    for (task, learnt) in learnt.iter().enumerate() {
        let evaluation = &learnt.evaluation;
        assert_eq!((evaluation.on, evaluation.accuracy), (Evidence::Training, 1.0));
        assert_eq!(evaluation.temperature, None);
        assert_eq!(evaluation.l2, Some(fallback(&data, task)));
    }
}

#[test]
fn adam_without_calibration_and_held_out_rows_is_its_bare_loop() {
    let data = data(60);
    let plan = adam(None);
    let parts = unpenalised(&data, None);
    let split = Split { train: data.clone(), validation: None };
    let go_on = &mut |_| ControlFlow::Continue(());
    let expected = fit(&plan.solver, &split, parts, plan.seed, go_on).unwrap();
    let mut reports = 0;
    let found = learn(&plan, data.clone(), &[false; 60], starts(&data), &mut |step| {
        assert!(matches!(step, Step::Epoch(_)), "{step:?}");
        reports += 1;
        ControlFlow::Continue(())
    });
    for (found, expected) in found.unwrap().heads.iter().zip(&expected) {
        assert_eq!(found.head, expected.head);
        assert_eq!(found.evaluation.temperature, None);
    }
    assert_eq!(reports, 200);
}

#[test]
fn adam_is_refit_for_as_long_as_was_best() {
    let data = data(120);
    let held_out = every_fifth(120);
    let plan = adam(Some(3));
    let learnt = run(&plan, &data, &held_out);
    let go_on = &mut |_| ControlFlow::Continue(());
    let twins =
        fit(&plan.solver, &data.split(&held_out), unpenalised(&data, None), plan.seed, go_on)
            .unwrap();
    let all = Split { train: data.clone(), validation: None };
    for (task, (learnt, twin)) in learnt.iter().zip(&twins).enumerate() {
        assert!(twin.epoch < 200, "{}", twin.epoch);
        let parts = unpenalised(&data, Some(twin.epoch));
        let refit = fit(&plan.solver, &all, parts, plan.seed, go_on).unwrap();
        assert_eq!(learnt.head, refit[task].head);
        let stop = EarlyStop { epochs: twin.epoch, by: StoppedBy::HeldOut, rows: 24 };
        assert_eq!(learnt.evaluation.early_stopping, Some(stop));
    }
}

#[test]
fn a_patience_without_enough_held_out_rows_is_told_by_a_cross_validation() {
    let data = data(60);
    let nine = (0..60).map(|row| row % 7 == 0).collect::<Vec<bool>>();
    for (held_out, count) in [(vec![false; 60], 0), (nine, 9)] {
        let learnt = run(&adam(Some(3)), &data, &held_out);
        let split = data.split(&held_out);
        for (task, learnt) in learnt.iter().enumerate() {
            let stop = learnt.evaluation.early_stopping.unwrap();
            assert_eq!((stop.by, stop.rows), (StoppedBy::CrossValidation, 60 - count));
            assert!((1..200).contains(&stop.epochs), "{stop:?}");
            // The final head is the bare loop's on all rows, afresh, for as many epochs.
            let blank = heads(&data).into_iter().map(|head| {
                let (weights, bias) = (head.weights() * 0.0, head.bias() * 0.0);
                let head = head.with_parameters(weights, bias).unwrap();
                Part::Train { head, l2: 0.0, epochs: Some(stop.epochs) }
            });
            let all = Split { train: data.clone(), validation: None };
            let go_on = &mut |_| ControlFlow::Continue(());
            let bare = fit(&adam(None).solver, &all, blank.collect(), 7, go_on).unwrap();
            assert_eq!(learnt.head.weights(), bare[task].head.weights());
        }
        let on = if count == 0 { Evidence::CrossValidation } else { Evidence::HeldOut };
        let scored = split.validation.map_or(60, |rows| rows.rows());
        assert_eq!((learnt[0].evaluation.on, learnt[0].evaluation.rows), (on, scored));
    }
}

#[test]
fn a_patience_with_a_handful_of_rows_goes_on_to_the_end_and_says_so() {
    let data = data(6);
    for learnt in run(&adam(Some(3)), &data, &[false; 6]) {
        let stop = EarlyStop { epochs: 200, by: StoppedBy::TooFewRows, rows: 6 };
        assert_eq!(learnt.evaluation.early_stopping, Some(stop));
    }
    for plan in [defaults(), adam(None)] {
        assert_eq!(run(&plan, &data, &[false; 6])[0].evaluation.early_stopping, None);
    }
}

#[test]
fn adam_is_calibrated_on_the_held_out_rows_when_asked() {
    let data = data(120);
    let plan = Plan { calibrate: true, ..adam(None) };
    let evaluation = run(&plan, &data, &every_fifth(120)).remove(0).evaluation;
    // Two hundred epochs without a penalty are far too sure of themselves.
    assert!(evaluation.temperature.unwrap() > 1.2, "{:?}", evaluation.temperature);
    let before = Plan { calibrate: false, ..plan };
    let before = run(&before, &data, &every_fifth(120)).remove(0).evaluation;
    assert!(evaluation.loss < before.loss);
    assert_eq!(evaluation.uncalibrated_error, Some(before.calibration_error));
    assert_eq!(evaluation.accuracy, before.accuracy);
}

#[test]
fn a_frozen_head_stays_bit_equal_and_is_still_scored() {
    let data = data(120);
    let [fine, coarse, tags] = heads(&data).try_into().unwrap();
    let thresholds = vec![0.45, 0.5, 0.55, 0.6];
    let tags = tags.with_decision(Decision::Sigmoid { thresholds: thresholds.into() }).unwrap();
    let freeze = |head: &Head| Start::Freeze(head.clone());
    let starts = vec![train_from(fine.clone()), freeze(&coarse), freeze(&tags)];
    let go_on = &mut |_| ControlFlow::Continue(());
    let learning = learn(&defaults(), data.clone(), &every_fifth(120), starts, go_on).unwrap();
    let (learnt, held_out) = (learning.heads, learning.held_out.unwrap());
    assert_eq!(held_out, data.split(&every_fifth(120)).validation.unwrap());
    assert_ne!(learnt[0].head, fine);
    for (learnt, head) in learnt[1..].iter().zip([coarse, tags]) {
        assert_eq!(learnt.head, head);
        assert_eq!(learnt.twin, Some(head));
        let evaluation = &learnt.evaluation;
        assert_eq!((evaluation.on, evaluation.rows), (Evidence::HeldOut, 24));
        assert_eq!((evaluation.temperature, evaluation.l2), (None, None));
    }
    assert_eq!(learnt[2].evaluation.labels[3].decided.unwrap().threshold, 0.6);
}

#[test]
fn learning_stops_at_whichever_step_it_is_told_to() {
    let data = data(120);
    type Chosen = fn(&Step) -> bool;
    let steps: [Chosen; 3] = [
        |step| matches!(step, Step::CrossValidation(_)),
        |step| matches!(step, Step::Epoch(_)),
        |step| matches!(step, Step::Refit),
    ];
    for chosen in steps {
        let mut told = 0;
        let stopped =
            learn(&defaults(), data.clone(), &every_fifth(120), starts(&data), &mut |step| {
                assert_eq!(told, 0, "it went on to {step:?}");
                if !chosen(&step) {
                    return ControlFlow::Continue(());
                }
                told += 1;
                ControlFlow::Break(())
            });
        assert!(matches!(stopped, Err(FitError::Cancelled { .. })), "{stopped:?}");
        assert_eq!(told, 1);
    }
}

#[test]
fn the_cross_validations_of_all_tasks_are_counted_together() {
    let data = data(120);
    for plan in [defaults(), Plan { l2: Strength::Given(0.1), ..defaults() }, adam(Some(3))] {
        let (mut stages, mut fits) = (Vec::new(), 0);
        let on_step = &mut |step| {
            match step {
                Step::CrossValidation(stage) => stages.push(stage),
                Step::Epoch(_) | Step::Refit => fits += 1,
            }
            ControlFlow::Continue(())
        };
        learn(&plan, data.clone(), &[false; 120], starts(&data), on_step).unwrap();
        assert!(stages.is_sorted_by_key(|stage| stage.done), "{stages:?}");
        assert!(stages.iter().all(|stage| stage.done < stage.total));
        // What was guessed of the tasks to come is at least what they took.
        assert!(stages.is_sorted_by(|one, next| one.total >= next.total), "{stages:?}");
        assert!(fits > 0);
    }
}

#[test]
fn balanced_classes_find_more_of_a_rare_one() {
    let rows = 200;
    let mut generator = ChaCha8Rng::seed_from_u64(4);
    let rare = |row: usize| row.is_multiple_of(20);
    let embeddings = Array2::from_shape_fn((rows, 2), |(row, column)| {
        2.0 * generator.random::<f32>() - 1.0 + if rare(row) && column == 0 { 0.8 } else { 0.0 }
    });
    let classes = (0..rows).map(|row| Some(usize::from(rare(row)))).collect();
    let data = Dataset::new(embeddings).unwrap().with_task("rare", 2, classes).unwrap();
    let recall = |data: &Dataset| {
        run(&defaults(), data, &[false; 200]).remove(0).evaluation.labels[1].recall
    };
    let (plain, balanced) = (recall(&data), recall(&data.clone().balanced()));
    assert!(balanced >= plain + 0.3, "{plain} {balanced}");
}

/// Rows with a rare tag, which is hard to tell, a common one and one without any signal.
fn tagged(rows: usize, seed: u64) -> Dataset {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let has = |row: usize| [row.is_multiple_of(10), row.is_multiple_of(3), row % 7 < 2];
    let embeddings = Array2::from_shape_fn((rows, 4), |(row, column)| {
        let signal = if column < 2 && has(row)[column] { [0.8, 1.2][column] } else { 0.0 };
        2.0 * generator.random::<f32>() - 1.0 + signal
    });
    let set = |row| (0..3).filter(|&tag| has(row)[tag]).collect();
    let sets = (0..rows).map(|row| Some(set(row))).collect();
    Dataset::new(embeddings).unwrap().with_multi_label_task("tags", 3, sets).unwrap()
}

fn thresholds(head: &Head) -> Vec<f32> {
    head.decision().thresholds().unwrap().to_vec()
}

#[test]
fn thresholds_find_rare_labels_on_rows_that_nobody_has_seen() {
    let data = tagged(600, 1);
    let unseen = tagged(6000, 2);
    for calibrate in [true, false] {
        let plan = Plan { calibrate, ..defaults() };
        let learnt = run(&plan, &data, &[false; 600]).remove(0);
        let f1 = |head: &Head| {
            let predictions = Predictions::of(head, &unseen.labelled(0));
            Evaluation::of(&predictions, head.labels(), Evidence::HeldOut).unwrap().macro_f1
        };
        let (chosen, even) = (f1(&learnt.head), f1(&learnt.head.clone().undecided()));
        assert!(chosen > even + 0.1, "{chosen} {even}");
        assert!(thresholds(&learnt.head)[0] < 0.4, "{:?}", thresholds(&learnt.head));
        let told = learnt.evaluation.labels.iter().map(|label| label.decided.unwrap().threshold);
        assert_eq!(told.collect::<Vec<_>>(), thresholds(&learnt.head));
        assert_eq!(learnt.evaluation.temperature.is_some(), calibrate);
    }
}

#[test]
fn thresholds_are_chosen_by_held_out_rows_where_there_is_no_cross_validation() {
    let data = tagged(600, 1);
    let plan = adam(None);
    let alone = run(&plan, &data, &[false; 600]).remove(0);
    assert_eq!(thresholds(&alone.head), [0.5; 3], "only rows that it was fit on");
    let held_out: Vec<bool> = (0..600).map(|row| row % 600 >= 300).collect();
    let learnt = run(&plan, &data, &held_out).remove(0);
    assert_ne!(thresholds(&learnt.head), [0.5; 3]);
    assert_eq!(learnt.twin.unwrap().decision(), learnt.head.decision());
}

#[test]
fn balanced_labels_find_more_of_a_rare_one() {
    let data = tagged(600, 1);
    let plan = adam(None);
    let recall =
        |data: &Dataset| run(&plan, data, &[false; 600]).remove(0).evaluation.labels[0].recall;
    let (plain, balanced) = (recall(&data), recall(&data.clone().balanced()));
    assert!(balanced >= plain + 0.3, "{plain} {balanced}");
}
