//! The probability from which on a label of a multi-label task is an answer.

use crate::heads::head::{DEFAULT_THRESHOLD, Decision, sigmoid};
use crate::training::predictions::Predictions;

/// Rows of a label, and others, below which its threshold stays at 0.5: chosen by fewer, it is chosen by
/// chance.
const FEWEST_OF_A_LABEL: usize = 10;

/// How a head with these predictions of rows that it was not fit on decides best: for each label of a
/// multi-label task, by the threshold at which its F1 on these rows is greatest. All rows count alike, as
/// in the evaluation. Of equally good ones the nearest to 0.5.
pub fn decide(predictions: &Predictions) -> Decision {
    let decision = predictions.decision();
    let Decision::Sigmoid { thresholds } = decision else { return decision.clone() };
    let mut rows = vec![Vec::with_capacity(predictions.len()); thresholds.len()];
    for row in predictions.rows() {
        for (rows, label) in rows.iter_mut().zip(row.judgements()) {
            rows.push((sigmoid(label.logit), label.applies));
        }
    }
    Decision::Sigmoid { thresholds: rows.into_iter().map(threshold).collect() }
}

/// The best threshold for one label by its probability on each row and whether it applies there.
fn threshold(mut rows: Vec<(f64, bool)>) -> f32 {
    let support = rows.iter().filter(|&&(_, applies)| applies).count();
    if support.min(rows.len() - support) < FEWEST_OF_A_LABEL {
        return DEFAULT_THRESHOLD;
    }
    rows.sort_unstable_by(|(left, _), (right, _)| right.total_cmp(left));
    let (mut best, mut found) = (0.0, DEFAULT_THRESHOLD);
    let mut right = 0;
    for (index, &(probability, applies)) in rows.iter().enumerate() {
        right += usize::from(applies);
        let next = rows.get(index + 1).map_or(0.0, |&(next, _)| next);
        let Some(between) = between(next, probability) else { continue };
        let f1 = 2.0 * right as f64 / (index + 1 + support) as f64;
        let distance = |threshold: f32| (threshold - DEFAULT_THRESHOLD).abs();
        if f1 > best || f1 == best && distance(between) < distance(found) {
            (best, found) = (f1, between);
        }
    }
    found
}

/// A threshold that `above` reaches and `below` does not, if there is one: 0.5, or half-way.
fn between(below: f64, above: f64) -> Option<f32> {
    let default = f64::from(DEFAULT_THRESHOLD);
    let middle = if below < default && default <= above { default } else { (below + above) / 2.0 };
    let single = middle as f32;
    let fits = below < f64::from(single) && f64::from(single) <= above;
    (fits && single < 1.0).then_some(single)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2};
    use proptest::prelude::*;

    use super::*;
    use crate::heads::head::logit;
    use crate::training::dataset::Truth;

    /// Rows of a single label by its probabilities, and whether it applies.
    fn rows(probabilities: &[(f32, bool)]) -> Predictions {
        let logits = Array2::from_shape_fn((probabilities.len(), 1), |(row, _)| {
            logit(probabilities[row].0) as f32
        });
        let truths = probabilities
            .iter()
            .map(|&(_, applies)| Truth::Set(if applies { [0].into() } else { [].into() }));
        let thresholds = Array1::from_elem(1, DEFAULT_THRESHOLD);
        Predictions::new(logits, truths.collect(), Decision::Sigmoid { thresholds })
    }

    fn chosen(probabilities: &[(f32, bool)]) -> f32 {
        decide(&rows(probabilities)).thresholds().unwrap()[0]
    }

    /// `count` rows whose probabilities are spread a little around `probability`.
    fn about(probability: f32, count: usize, applies: bool) -> Vec<(f32, bool)> {
        (0..count).map(|row| (probability + 1e-3 * row as f32, applies)).collect()
    }

    #[test]
    fn the_threshold_is_where_f1_is_greatest() {
        // 20 of 25 apply around 0.4, none of 40 at 0.1: everything above 0.1 is best answered.
        let all = [about(0.4, 20, true), about(0.42, 5, false), about(0.1, 40, false)].concat();
        let found = chosen(&all);
        // Half-way between the least of the ones and the greatest of the others.
        assert!((found - (0.4 + 0.139) / 2.0).abs() < 1e-6, "{found}");
    }

    #[test]
    fn an_equally_good_threshold_nearer_to_even_is_taken() {
        // Nothing between 0.3 and 0.8.
        assert_eq!(chosen(&[about(0.8, 12, true), about(0.29, 12, false)].concat()), 0.5);
        // Between 0.612 and 0.8, of which 0.706 is half-way.
        let found = chosen(&[about(0.8, 12, true), about(0.6, 13, false)].concat());
        assert!((found - 0.706).abs() < 1e-6, "{found}");
    }

    #[test]
    fn a_label_that_is_rare_or_nearly_always_there_keeps_an_even_threshold() {
        let fewest = FEWEST_OF_A_LABEL;
        let apart = |present: usize, absent: usize| {
            chosen(&[about(0.3, present, true), about(0.1, absent, false)].concat())
        };
        assert_eq!(apart(fewest - 1, 50), 0.5);
        assert_eq!(apart(50, fewest - 1), 0.5);
        assert!(apart(fewest, 50) < 0.3);
        assert!(apart(50, fewest) < 0.3);
        assert_eq!(apart(0, 50), 0.5);
    }

    #[test]
    fn a_softmax_has_no_thresholds() {
        let one = Predictions::new(Array2::zeros((1, 2)), vec![Truth::Class(0)], Decision::Softmax);
        assert_eq!(decide(&one), Decision::Softmax);
    }

    fn f1(rows: &[(f32, bool)], threshold: f32) -> f64 {
        let (mut right, mut counted) = (0, 0);
        for &(probability, applies) in rows {
            let answered = probability >= threshold;
            right += 2 * u32::from(answered && applies);
            counted += u32::from(answered) + u32::from(applies);
        }
        f64::from(right) / f64::from(counted)
    }

    proptest! {
        #[test]
        fn no_threshold_does_better_than_the_one_that_is_chosen(
            rows in prop::collection::vec((1u8..100, prop::bool::ANY), 40..80),
        ) {
            let rows: Vec<(f32, bool)> =
                rows.into_iter().map(|(percent, applies)| (f32::from(percent) / 100.0, applies)).collect();
            let support = rows.iter().filter(|(_, applies)| *applies).count();
            prop_assume!(support.min(rows.len() - support) >= FEWEST_OF_A_LABEL);
            let found = chosen(&rows);
            // Between the hundredths, so that rounding turns no answer.
            let best = (0..100).map(|percent| f1(&rows, (f32::from(percent as u8) + 0.5) / 100.0));
            prop_assert_eq!(f1(&rows, found), best.fold(0.0, f64::max));
        }
    }
}
