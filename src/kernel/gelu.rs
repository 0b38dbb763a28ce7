//! The activation of a BERT: x · Φ(x), Φ the normal distribution's cumulative function.

use std::arch::x86_64::{
    __m512, _CMP_NLT_UQ, _mm512_cmp_ps_mask, _mm512_fmadd_ps, _mm512_fmsub_ps, _mm512_maskz_mul_ps,
    _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps, _mm512_set1_ps,
};

/// Below -`LIMIT` Φ counts as 0: x · Φ(x) is then within 1.6e-5 of 0. Above `LIMIT` it stays what
/// it is there as fitted, 5.4e-6 less than 1.
const LIMIT: f32 = 4.5;

/// Φ(x) - 1/2 = x · P(t), t = 2x²/`LIMIT`² - 1, lowest power first.
///
/// Minimax in x · Φ(x) over ±`LIMIT` by Lawson's iteration; the largest error is 9.4e-6, in f32
/// arithmetic. A bf16 value has a relative step of 3.9e-3.
const COEFFICIENTS: [f32; 10] = [
    1.569_054_9e-1,
    -7.718_288e-2,
    5.466_118e-2,
    -4.029_489_3e-2,
    2.870_844_7e-2,
    -1.820_698_4e-2,
    9.940_814e-3,
    -6.533_102_5e-3,
    4.795_273_3e-3,
    -1.683_426_2e-3,
];

/// GELU of sixteen values, through Φ and not its tanh approximation.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn gelu(x: __m512) -> __m512 {
    let limit = _mm512_set1_ps(LIMIT);
    let lowest = _mm512_set1_ps(-LIMIT);
    let clamped = _mm512_max_ps(lowest, _mm512_min_ps(limit, x));
    let scaled = _mm512_mul_ps(clamped, _mm512_set1_ps(2.0 / (LIMIT * LIMIT)));
    let t = _mm512_fmsub_ps(clamped, scaled, _mm512_set1_ps(1.0));
    let (last, rest) = COEFFICIENTS.split_last().expect("there are coefficients");
    let mut sum = _mm512_set1_ps(*last);
    for coefficient in rest.iter().rev() {
        sum = _mm512_fmadd_ps(sum, t, _mm512_set1_ps(*coefficient));
    }
    let phi = _mm512_fmadd_ps(clamped, sum, _mm512_set1_ps(0.5));
    // Not less than the lowest: also NaN, which stays NaN.
    let inside = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(x, lowest);
    _mm512_maskz_mul_ps(inside, x, phi)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::reference;
    use crate::kernel::vector::{load, store};

    fn of(x: f32) -> f32 {
        assert!(is_x86_feature_detected!("avx512f"));
        let mut values = [0.0; 16];
        // SAFETY: the CPU has AVX-512.
        unsafe { store(&mut values, gelu(load(&[x; 16]))) };
        values[7]
    }

    #[test]
    fn it_follows_the_error_function() {
        if !is_x86_feature_detected!("avx512f") {
            return println!("NOT CHECKED: this CPU has no AVX-512");
        }
        for step in -60_000..=60_000 {
            let x = step as f32 * 1e-4;
            let expected = reference::gelu(f64::from(x));
            // The fit's 9.4e-6 inside the limit, 4.5 · Φ(-4.5) = 1.53e-5 below it, and above it what
            // Φ(4.5) as fitted falls short of 1.
            let tolerance = (5.5e-6 * expected).max(1.6e-5);
            let found = f64::from(of(x));
            assert!((found - expected).abs() <= tolerance, "at {x}: {found}, not {expected}");
        }
    }

    #[test]
    fn far_values_are_zero_or_themselves_and_nan_stays() {
        if !is_x86_feature_detected!("avx512f") {
            return println!("NOT CHECKED: this CPU has no AVX-512");
        }
        assert_eq!(of(-1e30), 0.0);
        assert_eq!(of(f32::NEG_INFINITY), 0.0);
        // Φ(4.5) as fitted is 5.4e-6 less than 1.
        assert!((of(1e30) / 1e30 - 1.0).abs() < 5.5e-6);
        assert_eq!(of(f32::INFINITY), f32::INFINITY);
        assert!(of(f32::NAN).is_nan());
    }
}
