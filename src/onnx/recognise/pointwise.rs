//! Which activation a chain of operators is.
//!
//! Exports write GELU in many ways: halved before or after, a division or a product, powers or
//! products. So the chain is computed for a grid of numbers and compared with what it could be.

use std::rc::Rc;

use crate::onnx::bert::config::Activation;

/// The numbers at which functions are compared: dense where activations bend, and far outside.
pub(super) fn grid() -> Rc<[f64]> {
    let dense = (-1200..=1200).map(|step| f64::from(step) / 100.0);
    dense.chain([-1e4, -300.0, -40.0, 40.0, 300.0, 1e4]).collect()
}

/// What an activation makes of the [`grid`].
pub(super) fn values(activation: Activation) -> Rc<[f64]> {
    grid().iter().map(|&x| apply(activation, x)).collect()
}

/// The activation with these values at [`grid`].
pub(super) fn activation(values: &[f64]) -> Option<Activation> {
    /// What rounding of constants to f32 can change; the two forms of GELU differ by up to 5e-4.
    const TOLERANCE: f64 = 1e-6;

    let is = |&activation: &Activation| {
        let expected = grid();
        values.iter().zip(expected.iter()).all(|(&found, &x)| {
            let expected = apply(activation, x);
            (found - expected).abs() <= TOLERANCE * x.abs().max(1.0)
        })
    };
    [Activation::Gelu, Activation::GeluTanh, Activation::Relu].into_iter().find(is)
}

fn apply(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Gelu => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        }
        Activation::Relu => x.max(0.0),
    }
}

/// Operators with one input that activations are made of.
pub(super) fn unary(operator: &str) -> Option<fn(f64) -> f64> {
    Some(match operator {
        "Erf" => erf,
        "Tanh" => f64::tanh,
        "Neg" => |x| -x,
        _ => return None,
    })
}

/// Operators with two inputs that activations are made of.
pub(super) fn binary(operator: &str) -> Option<fn(f64, f64) -> f64> {
    Some(match operator {
        "Add" => |a, b| a + b,
        "Sub" => |a, b| a - b,
        "Mul" => |a, b| a * b,
        "Div" => |a, b| a / b,
        "Pow" => f64::powf,
        _ => return None,
    })
}

/// The error function, to within 1.5e-7. Grid and reference use the same one, so that a graph is
/// judged by what it does around it.
///
/// Source: Abramowitz and Stegun, *Handbook of Mathematical Functions*, formula 7.1.26.
fn erf(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 5] =
        [1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592];
    let t = 1.0 / (1.0 + 0.3275911 * x.abs());
    let polynomial = COEFFICIENTS.iter().fold(0.0, |sum, coefficient| sum * t + coefficient) * t;
    x.signum() * (1.0 - polynomial * (-x * x).exp())
}
