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
