//! What one row adds to the objective.

use super::exp::{exp, ln_1p};
use crate::training::dataset::{Balance, Truth};

/// How a row does.
pub(super) struct Loss {
    /// Its cross-entropy in nats, times its weights.
    pub(super) value: f64,
    /// Its cross-entropy.
    pub(super) unweighted: f64,
    /// Whether it is answered rightly: between equal logits the first answers, and a label applies
    /// that is as likely as not.
    pub(super) right: bool,
}

/// Turns one row's logits into its residuals: the slope of its value in each of them, probability less
/// truth times weight.
pub(super) fn residual(
    logits: &mut [f64],
    truth: &Truth,
    weight: f64,
    balance: &[Balance],
) -> Loss {
    match truth {
        Truth::Class(class) => softmax(logits, *class, weight),
        Truth::Set(present) => sigmoids(logits, present, weight, balance),
    }
}

/// −ln of the softmax at the row's class.
fn softmax(row: &mut [f64], class: usize, weight: f64) -> Loss {
    let greatest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let own = row[class] - greatest;
    let right = own == 0.0 && row[..class].iter().all(|&logit| logit < greatest);
    row.iter_mut().for_each(|value| *value = exp(*value - greatest));
    let sum: f64 = row.iter().sum();
    row.iter_mut().for_each(|value| *value *= weight / sum);
    row[class] -= weight;
    let cross_entropy = sum.ln() - own;
    Loss { value: weight * cross_entropy, unweighted: cross_entropy, right }
}

/// Summed over labels, −ln σ(z) where the label applies and −ln σ(−z) where it does not.
///
/// With the sign of its logit turned, a label that applies is one that does not: all labels go the
/// same way through one loop, and what is different for the few that apply is put right.
fn sigmoids(row: &mut [f64], present: &[usize], weight: f64, balance: &[Balance]) -> Loss {
    let (mut value, mut unweighted, mut reached, mut even) = (0.0, 0.0, 0, 0);
    for &class in present {
        let logit = -row[class];
        value += (balance[class].present - balance[class].absent) * softplus(logit);
        // It reaches the threshold whichever way it is turned.
        even += usize::from(logit == 0.0);
        row[class] = logit;
    }
    for (logit, balance) in row.iter_mut().zip(balance) {
        let power = exp(-logit.abs());
        let share = if *logit >= 0.0 { 1.0 } else { power };
        let loss = logit.max(0.0) + ln_1p(power);
        reached += usize::from(*logit >= 0.0);
        unweighted += loss;
        value += balance.absent * loss;
        *logit = weight * balance.absent * (share / (1.0 + power));
    }
    for &class in present {
        row[class] *= -balance[class].present / balance[class].absent;
    }
    Loss { value: weight * value, unweighted, right: reached == even }
}

/// ln(1 + exp(z)) = −ln σ(−z), without overflow.
fn softplus(logit: f64) -> f64 {
    logit.max(0.0) + ln_1p(exp(-logit.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVEN: [Balance; 3] = [Balance { present: 1.0, absent: 1.0 }; 3];

    fn assert_close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }

    #[test]
    fn each_label_that_applies_or_not_costs_what_its_sigmoid_says() {
        // Probabilities of 3/4, 1/5 and 1/2, of which the first and the last apply.
        let mut logits = [3f64.ln(), -(4f64.ln()), 0.0];
        let loss = residual(&mut logits, &Truth::Set([0, 2].into()), 2.0, &EVEN);
        let expected = (4.0f64 / 3.0).ln() + 1.25f64.ln() + 2f64.ln();
        assert_close(loss.unweighted, expected);
        assert_close(loss.value, 2.0 * expected);
        for (found, expected) in logits.into_iter().zip([-0.5, 0.4, -1.0]) {
            assert_close(found, expected);
        }
    }

    #[test]
    fn labels_count_by_their_balance() {
        let balance = [Balance { present: 5.0, absent: 0.25 }; 2];
        let mut logits = [3f64.ln(), -(4f64.ln())];
        let loss = residual(&mut logits, &Truth::Set([0].into()), 2.0, &balance);
        assert_close(loss.unweighted, (4.0f64 / 3.0).ln() + 1.25f64.ln());
        assert_close(loss.value, 2.0 * (5.0 * (4.0f64 / 3.0).ln() + 0.25 * 1.25f64.ln()));
        assert_close(logits[0], -2.0 * 5.0 * 0.25);
        assert_close(logits[1], 2.0 * 0.25 * 0.2);
    }

    #[test]
    fn a_set_is_right_when_exactly_its_labels_are_as_likely_as_not() {
        let right = |logits: [f64; 3], set: &[usize]| {
            residual(&mut logits.clone(), &Truth::Set(set.into()), 1.0, &EVEN).right
        };
        assert!(right([1.0, -1.0, 0.0], &[0, 2]));
        assert!(right([-1.0, -1.0, -1e-9], &[]));
        for set in [&[0][..], &[2], &[0, 1, 2], &[]] {
            assert!(!right([1.0, -1.0, 0.0], set), "{set:?}");
        }
    }

    #[test]
    fn the_surest_of_logits_neither_overflow_nor_vanish() {
        for logit in [800.0, 1e30] {
            let mut logits = [logit, -logit, logit];
            let loss = residual(&mut logits, &Truth::Set([0, 1].into()), 1.0, &EVEN);
            assert_eq!(loss.unweighted, 2.0 * logit);
            assert_eq!(logits, [0.0, -1.0, 1.0]);
        }
        // Far below the smallest difference to 1.
        let loss = residual(&mut [60.0], &Truth::Set([0].into()), 1.0, &EVEN[..1]);
        assert!((loss.unweighted / (-60f64).exp() - 1.0).abs() < 1e-12);
    }
}
