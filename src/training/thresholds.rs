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
