//! exp and ln(1 + x) in forms that compilers turn into vector instructions, which the library's do not
//! become.

/// 1/12! down to 1/0!: the Taylor series of exp, the highest power first.
const TAYLOR: [f64; 13] = [
    1.0 / 479_001_600.0,
    1.0 / 39_916_800.0,
    1.0 / 3_628_800.0,
    1.0 / 362_880.0,
    1.0 / 40_320.0,
    1.0 / 5_040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
    1.0,
    1.0,
];

/// exp(x) for x of at most 0, to within 1e-15 of itself; 0 below −708, where normal numbers end.
///
/// 2ᵏ · exp(r) with |r| ≤ ln 2 / 2, and exp(r) by its Taylor series.
#[inline]
pub(super) fn exp(x: f64) -> f64 {
    // 1.5 · 2⁵². Adding it leaves no bits for a fraction: what is added is rounded to a whole number.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    // ln 2 in two parts, the first with so few bits that k times it is exact (fdlibm, e_exp.c).
    const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let clamped = x.max(-708.0);
    let shifted = clamped * std::f64::consts::LOG2_E + ROUND;
    let k = shifted - ROUND;
    let r = (clamped - k * LN_2_HIGH) - k * LN_2_LOW;
    let series = TAYLOR.iter().fold(0.0, |sum, coefficient| sum * r + coefficient);
    let exponent = (shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(1023)) << 52;
    let power = series * f64::from_bits(exponent);
    if x < -708.0 { 0.0 } else { power }
}

/// 1/31, 1/29, … 1/1: the series of artanh(s) / s in s², the highest power first.
const ARTANH: [f64; 16] = [
    1.0 / 31.0,
    1.0 / 29.0,
    1.0 / 27.0,
    1.0 / 25.0,
    1.0 / 23.0,
    1.0 / 21.0,
    1.0 / 19.0,
    1.0 / 17.0,
    1.0 / 15.0,
    1.0 / 13.0,
    1.0 / 11.0,
    1.0 / 9.0,
    1.0 / 7.0,
    1.0 / 5.0,
    1.0 / 3.0,
    1.0,
];

/// ln(1 + x) for x from 0 to 1, to within 1e-15 of itself.
///
/// 2 · artanh(x / (2 + x)), whose argument is at most 1/3, by its series.
#[inline]
pub(super) fn ln_1p(x: f64) -> f64 {
    let s = x / (2.0 + x);
    let square = s * s;
    2.0 * s * ARTANH.iter().fold(0.0, |sum, coefficient| sum * square + coefficient)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ln_1p_agrees_with_the_librarys() {
        let steps = (0..=100_000).map(|step| 1e-5 * f64::from(step));
        for x in steps.chain((1..700).map(|power| f64::from(-power).exp())) {
            let (found, expected) = (ln_1p(x), x.ln_1p());
            assert!((found - expected).abs() <= 1e-15 * expected, "{x}: {found} is not {expected}");
        }
    }

    #[test]
    fn exp_agrees_with_the_librarys() {
        for step in 0..=708_000 {
            let x = -1e-3 * f64::from(step);
            let (found, expected) = (exp(x), x.exp());
            assert!((found / expected - 1.0).abs() < 1e-15, "{x}: {found} is not {expected}");
        }
        assert_eq!(exp(0.0), 1.0);
        for x in [-709.0, -1e300, f64::NEG_INFINITY] {
            assert_eq!(exp(x), 0.0);
        }
    }
}
