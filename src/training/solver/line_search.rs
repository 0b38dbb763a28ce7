//! How far to go along a direction.

/// A place on the line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) step: f64,
    pub(super) value: f64,
    pub(super) slope: f64,
}

/// Sufficient decrease and curvature constants of the strong Wolfe conditions, as Nocedal and
/// Wright advise for quasi-Newton directions (Numerical Optimization, 2nd edition, section 3.1).
const SUFFICIENT_DECREASE: f64 = 1e-4;
const CURVATURE: f64 = 0.9;

const MOST_TRIALS: usize = 30;

/// Finds a step from `start`, where the slope is negative, that meets the strong Wolfe conditions,
/// or `None` where rounding lets no step decrease the value. `at` gives value and slope at a step;
/// its last call is at the step that is returned. The function must be convex: then a minimum lies
/// between a falling and a rising place.
pub(super) fn strong_wolfe(
    start: Point,
    first: f64,
    mut at: impl FnMut(f64) -> (f64, f64),
) -> Option<Point> {
    let mut low = start;
    let mut high: Option<Point> = None;
    let mut step = first;
    for _ in 0..MOST_TRIALS {
        let (value, slope) = at(step);
        let point = Point { step, value, slope };
        let enough = value <= start.value + SUFFICIENT_DECREASE * step * start.slope;
        if enough && slope.abs() <= -CURVATURE * start.slope {
            return Some(point);
        }
        if enough && slope < 0.0 {
            low = point;
        } else {
            high = Some(point);
        }
        step = match high {
            None => 4.0 * step,
            Some(high) => between(low, high),
        };
    }
    let decreased = low.step > 0.0;
    decreased.then(|| {
        let (value, slope) = at(low.step);
        Point { step: low.step, value, slope }
    })
}

/// The minimum of the cubic through both ends' values and slopes (Nocedal and Wright, equation
/// 3.59), kept off the ends so that the bracket always shrinks.
fn between(low: Point, high: Point) -> f64 {
    let width = high.step - low.step;
    let d1 = low.slope + high.slope - 3.0 * (low.value - high.value) / (low.step - high.step);
    let d2 = (d1 * d1 - low.slope * high.slope).sqrt();
    let share = 1.0 - (high.slope + d2 - d1) / (high.slope - low.slope + 2.0 * d2);
    // Not finite where the high end overflowed.
    let share = if share.is_finite() { share.clamp(0.1, 0.9) } else { 0.1 };
    low.step + share * width
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(first: f64, at: impl Fn(f64) -> (f64, f64)) -> Option<Point> {
        let (value, slope) = at(0.0);
        let start = Point { step: 0.0, value, slope };
        let mut last = f64::NAN;
        let found = strong_wolfe(start, first, |step| {
            last = step;
            at(step)
        });
        if let Some(found) = found {
            assert_eq!(found.step, last, "the last call must be at the step that is returned");
            assert!(found.value <= value + SUFFICIENT_DECREASE * found.step * slope);
            assert!(found.slope.abs() <= CURVATURE * slope.abs());
        }
        found
    }

    #[test]
    fn a_step_is_found_from_first_trials_far_too_short_and_far_too_long() {
        // Minimum at 3; the exponential overflows where the first trial is far beyond it.
        let at = |step: f64| ((step - 3.0).exp() - step, (step - 3.0).exp() - 1.0);
        for first in [1e-6, 1.0, 1e3, 1e9] {
            assert!(search(first, at).is_some(), "{first}");
        }
    }

    #[test]
    fn a_first_trial_that_meets_the_conditions_is_taken() {
        let at = |step: f64| ((step - 1.0).powi(2), 2.0 * (step - 1.0));
        assert_eq!(search(0.9, at).map(|point| point.step), Some(0.9));
    }

    #[test]
    fn no_step_is_found_where_none_decreases_the_value() {
        // A slope that rounding claims, on a value that only grows.
        let at = |step: f64| (step, if step == 0.0 { -1e-20 } else { 1.0 });
        assert!(search(1.0, at).is_none());
    }
}
