//! Probabilities that mean what they say: Guo et al., On Calibration of Modern Neural Networks, 2017.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::heads::head::sigmoid;
use crate::training::dataset::Truth;
use crate::training::predictions::{Judgement, Predictions};

/// Bins of a reliability diagram, as wide as each other.
const BINS: usize = 15;

/// The range of temperatures. Scores that deserve to be flattened or sharpened further come from too
/// few rows to tell.
const TEMPERATURES: (f64, f64) = (0.05, 20.0);

/// The standard deviation of ln T that is taken for granted: a few rows cannot make the temperature
/// extreme, while hundreds outweigh it.
const SPREAD: f64 = 0.5;

/// The temperature T for which the probabilities by logits / T have the least cross-entropy, summed over
/// rows by their weights, plus (ln T)² / (2 · 0.5²): the most probable one where ln T is normal
/// beforehand. `None` without rows.
///
/// Newton's method in ln (1 / T), kept within a shrinking bracket.
pub fn temperature(predictions: &Predictions) -> Option<f64> {
    if predictions.is_empty() {
        return None;
    }
    let (mut low, mut high) = ((1.0 / TEMPERATURES.1).ln(), (1.0 / TEMPERATURES.0).ln());
    let mut log = 0.0_f64;
    for _ in 0..50 {
        let sharpness = log.exp();
        let (slope, curvature) = slope_and_curvature(predictions, sharpness);
        let prior = (SPREAD * SPREAD).recip();
        let slope = sharpness * slope + prior * log;
        let curvature = sharpness * sharpness * curvature + slope.max(0.0) + prior;
        if slope > 0.0 {
            high = log
        } else {
            low = log
        }
        let newton = log - slope / curvature;
        let next = if low < newton && newton < high { newton } else { (low + high) / 2.0 };
        let done = (next - log).abs() < 1e-7;
        log = next;
        if done {
            break;
        }
    }
    Some((-log).exp())
}

/// Of the summed cross-entropies, in the sharpness. For a row of a single-label task `E[z] − z` of the
/// right class, and the variance of z, where z is the row's logits and E is by softmax(sharpness · z).
/// For each label of a multi-label one (p − truth) · z and p(1 − p) · z² with p = σ(sharpness · z).
fn slope_and_curvature(predictions: &Predictions, sharpness: f64) -> (f64, f64) {
    let (mut slope, mut curvature) = (0.0, 0.0);
    for row in predictions.rows() {
        let Truth::Class(class) = *row.truth else {
            for Judgement { logit, applies, weight } in row.judgements() {
                let p = sigmoid(sharpness * logit);
                slope += weight * (p - f64::from(u8::from(applies))) * logit;
                curvature += weight * p * (1.0 - p) * logit * logit;
            }
            continue;
        };
        let greatest = row.greatest();
        let (mut sum, mut first, mut second) = (0.0, 0.0, 0.0);
        for logit in row.logits() {
            let above = logit - greatest;
            let power = (sharpness * above).exp();
            sum += power;
            first += power * above;
            second += power * above * above;
        }
        let mean = first / sum;
        slope += row.weight * (mean - (row.logit(class) - greatest));
        curvature += row.weight * (second / sum - mean * mean);
    }
    (slope, curvature)
}

/// The answers whose confidence lies in one of 15 bins of equal width: a point of a reliability
/// diagram (Guo et al., figure 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReliabilityBin {
    pub answers: u64,
    /// Their mean confidence.
    pub confidence: f64,
    /// The share of them that is right.
    pub accuracy: f64,
}

/// The bins that have answers, by rising confidence. Confidence is the probability of the most probable
/// label. In a multi-label task each label of each row is an answer: its probability is held against
/// how often the label applies.
pub fn reliability(predictions: &Predictions) -> Vec<ReliabilityBin> {
    // Sums first.
    let mut bins = [ReliabilityBin::default(); BINS];
    let mut add = |confidence: f64, right: bool| {
        let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
        bins[bin].answers += 1;
        bins[bin].confidence += confidence;
        bins[bin].accuracy += f64::from(u8::from(right));
    };
    for row in predictions.rows() {
        match row.truth {
            Truth::Class(_) => add(row.confidence(), row.is_right()),
            Truth::Set(_) => row.judgements().for_each(|it| add(sigmoid(it.logit), it.applies)),
        }
    }
    let met = bins.into_iter().filter(|bin| bin.answers > 0);
    let mean = |bin: ReliabilityBin| ReliabilityBin {
        confidence: bin.confidence / bin.answers as f64,
        accuracy: bin.accuracy / bin.answers as f64,
        ..bin
    };
    met.map(mean).collect()
}

/// The expected calibration error: the mean over answers of how far, in the answer's bin, the mean
/// confidence is from the accuracy (Guo et al., equation 3). 0 without answers.
pub fn expected_calibration_error(bins: &[ReliabilityBin]) -> f64 {
    let gap = |bin: &ReliabilityBin| bin.answers as f64 * (bin.confidence - bin.accuracy).abs();
    let answers: u64 = bins.iter().map(|bin| bin.answers).sum();
    bins.iter().map(gap).sum::<f64>() / answers.max(1) as f64
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2};

    use super::*;
    use crate::heads::head::Decision;

    /// Ten rows of each of three certainties, whose odds of a to b are `odds`; of each ten rows, the
    /// first of the counts are a.
    fn predictions(odds: [f64; 3], right: [usize; 3]) -> Predictions {
        repeated(1, odds, right)
    }

    /// The same so many times.
    fn repeated(times: usize, odds: [f64; 3], right: [usize; 3]) -> Predictions {
        (0..times).map(|_| once(odds, right)).reduce(Predictions::joined).unwrap()
    }

    fn calibration_error(predictions: &Predictions) -> f64 {
        expected_calibration_error(&reliability(predictions))
    }

    fn none() -> Predictions {
        Predictions::new(Array2::zeros((0, 2)), Vec::new(), Decision::Softmax)
    }

    fn once(odds: [f64; 3], right: [usize; 3]) -> Predictions {
        let of_odds = |(odds, right): (f64, usize)| {
            let logits =
                Array2::from_shape_fn(
                    (10, 2),
                    |(_, class)| {
                        if class == 0 { odds.ln() as f32 } else { 0.0 }
                    },
                );
            let truths = (0..10).map(|row| Truth::Class(usize::from(row >= right)));
            Predictions::new(logits, truths.collect(), Decision::Softmax)
        };
        odds.into_iter().zip(right).map(of_odds).reduce(Predictions::joined).unwrap()
    }

    #[test]
    fn the_temperature_turns_overconfident_odds_into_true_ones() {
        // True odds of 4, 9 and 1.5 to 1, told as their third powers.
        let found = temperature(&repeated(1000, [64.0, 729.0, 3.375], [8, 9, 6])).unwrap();
        assert!((found / 3.0 - 1.0).abs() < 0.01, "{found}");
        let calm = repeated(1000, [2.0, 3.0, 1.5f64.sqrt()], [8, 9, 6]);
        let found = temperature(&calm).unwrap();
        assert!((found / 0.5 - 1.0).abs() < 0.01, "{found}");
    }

    #[test]
    fn a_few_rows_do_not_make_a_temperature_extreme() {
        // All right, and as good as all wrong: without a prior there is no end.
        let right = temperature(&predictions([2.0; 3], [10; 3])).unwrap();
        assert!((0.2..0.8).contains(&right), "{right}");
        let wrong = temperature(&predictions([2.0; 3], [0; 3])).unwrap();
        assert!((1.2..5.0).contains(&wrong), "{wrong}");
        assert_eq!(temperature(&none()), None);
    }

    #[test]
    fn the_calibration_error_is_the_mean_gap_between_confidence_and_accuracy() {
        // Confidences of 0.8, 0.9 and 0.6; of ten rows each, 8, 7 and 6 are right.
        let found = calibration_error(&predictions([4.0, 9.0, 1.5], [8, 7, 6]));
        assert!((found - 0.2 / 3.0).abs() < 1e-6, "{found}");
        // 0.81 and 0.82 share a bin, in which one makes up for the other: 8.1 − 7 + 8.2 − 9.
        let odds = [81.0 / 19.0, 41.0 / 9.0, 1.5];
        let found = calibration_error(&predictions(odds, [7, 9, 6]));
        assert!((found - 0.01).abs() < 1e-6, "{found}");
        assert_eq!(calibration_error(&none()), 0.0);
    }

    #[test]
    fn a_reliability_diagram_has_a_point_for_each_bin_that_is_met() {
        let found = reliability(&predictions([9.0, 1.5, 9.0], [8, 6, 6]));
        let points: Vec<_> = found.iter().map(|bin| (bin.answers, bin.accuracy)).collect();
        assert_eq!(points, [(10, 0.6), (20, 0.7)]);
        let confidences = [0.6, 0.9];
        for (bin, expected) in found.iter().zip(confidences) {
            // Logits are single precision.
            assert!((bin.confidence - expected).abs() < 1e-6, "{bin:?}");
        }
        assert_eq!(reliability(&none()), []);
    }

    /// So many rows of one label with these odds, to so many of each ten of which it applies.
    fn sets(times: usize, odds: [f64; 3], applies: [usize; 3]) -> Predictions {
        let of_odds = |(odds, applies): (f64, usize)| {
            let logits = Array2::from_elem((10 * times, 1), odds.ln() as f32);
            let truth =
                |row: usize| Truth::Set(if row % 10 < applies { [0].into() } else { [].into() });
            let thresholds = Array1::from_elem(1, 0.5);
            let truths = (0..10 * times).map(truth).collect();
            Predictions::new(logits, truths, Decision::Sigmoid { thresholds })
        };
        odds.into_iter().zip(applies).map(of_odds).reduce(Predictions::joined).unwrap()
    }

    #[test]
    fn the_temperature_turns_overconfident_odds_of_sets_into_true_ones() {
        // True odds of 4 to 1, 1 to 9 and 1.5 to 1, told as their third powers.
        let found = temperature(&sets(1000, [64.0, 1.0 / 729.0, 3.375], [8, 1, 6])).unwrap();
        assert!((found / 3.0 - 1.0).abs() < 0.01, "{found}");
        let calm = sets(1000, [2.0, 1.0 / 3.0, 1.5f64.sqrt()], [8, 1, 6]);
        let found = temperature(&calm).unwrap();
        assert!((found / 0.5 - 1.0).abs() < 0.01, "{found}");
    }

    #[test]
    fn the_temperature_is_the_minimum_of_the_loss_and_the_prior() {
        let weighted = |predictions: Predictions, temperature: f64| {
            let rows = predictions.at_temperature(temperature);
            let loss: f64 = rows.rows().map(|row| row.weighted_cross_entropy()).sum();
            loss + temperature.ln().powi(2) / (2.0 * SPREAD * SPREAD)
        };
        for predictions in
            [predictions([64.0, 729.0, 3.375], [8, 9, 6]), sets(1, [64.0, 0.1, 3.0], [5, 4, 6])]
        {
            let found = temperature(&predictions).unwrap();
            let at = |factor: f64| weighted(predictions.clone(), factor * found);
            assert!(at(1.0) < at(0.99) && at(1.0) < at(1.01), "{found}");
        }
    }

    #[test]
    fn the_calibration_error_of_sets_is_over_all_labels() {
        // Probabilities of 0.8, 0.1 and 0.6, to which the label applies 8, 3 and 6 times in ten.
        let found = calibration_error(&sets(2, [4.0, 1.0 / 9.0, 1.5], [8, 3, 6]));
        assert!((found - 0.2 / 3.0).abs() < 1e-6, "{found}");
    }
}
