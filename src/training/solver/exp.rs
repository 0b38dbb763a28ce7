//! exp in a form that compilers turn into vector instructions, which the library's does not become.

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

#[cfg(test)]
mod tests {
    use super::*;

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
