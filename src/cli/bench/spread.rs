//! What repeated measurements come to.

use std::time::Duration;

use serde::Serialize;

/// The median of repeated measurements, and the least and the greatest of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// Of at least one finite value.
    pub fn of(values: &[f64]) -> Spread {
        let sorted = sorted(values);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
            _ => sorted[middle],
        };
        Spread { median, min: sorted[0], max: sorted[sorted.len() - 1] }
    }
}

/// How long single requests took, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    /// Requests that were timed. With fewer than 100 of them, `p99` is the slowest.
    pub requests: usize,
}

impl Latency {
    /// Of at least one request.
    pub fn of(times: &[Duration]) -> Latency {
        let seconds: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
        let sorted = sorted(&seconds);
        // Nearest rank: the least value that so large a share of all does not exceed.
        let percentile = |share: f64| sorted[(share * sorted.len() as f64).ceil() as usize - 1];
        Latency { p50: percentile(0.5), p99: percentile(0.99), requests: sorted.len() }
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_does_not_depend_on_the_order_and_halves_an_even_middle() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 8.0]).median, 3.0);
        assert_eq!(Spread::of(&[7.0]), Spread { median: 7.0, min: 7.0, max: 7.0 });
    }

    #[test]
    fn percentiles_are_measured_times() {
        let times: Vec<Duration> = (1..=200).rev().map(Duration::from_secs).collect();
        assert_eq!(Latency::of(&times), Latency { p50: 100.0, p99: 198.0, requests: 200 });
        let few = Latency::of(&times[..3]);
        assert_eq!(few, Latency { p50: 199.0, p99: 200.0, requests: 3 });
    }
}
