//! The product as it is defined, element by element.

use super::Product;

/// Computes `product` element by element, exactly as defined.
///
/// # Safety
///
/// What [`Product`] says of its fields must be true.
pub unsafe fn reference(product: &Product) {
    for row in 0..product.rows.next_multiple_of(16) {
        for column in 0..32 {
            let element = product.c.wrapping_add(row * product.c_stride + column);
            // SAFETY: `row` is below the rounded rows, `column` below 32: within C.
            let mut sum = if product.accumulate { unsafe { element.read() } } else { 0.0 };
            for block in 0..product.blocks {
                let left = product.a.wrapping_add(block * product.a_stride + row * 32);
                let tile = product.b.wrapping_add(block * 1024 + column / 16 * 512);
                let right = tile.wrapping_add(column % 16 * 2);
                sum = tile_element(
                    sum,
                    // SAFETY: `block` is below `blocks`, the pair below 16: within A and B.
                    (0..16).map(|pair| unsafe {
                        (
                            left.add(2 * pair).cast::<[u16; 2]>().read_unaligned(),
                            right.add(32 * pair).cast::<[u16; 2]>().read_unaligned(),
                        )
                    }),
                );
            }
            // SAFETY: as above.
            unsafe { element.write(sum) };
        }
    }
}

/// What one `TDPBF16PS` makes of an element: `sum` plus the products of `pairs` of bf16.
pub fn tile_element(sum: f32, pairs: impl Iterator<Item = ([u16; 2], [u16; 2])>) -> f32 {
    let mut even = 0.0;
    let mut odd = 0.0;
    for (left, right) in pairs {
        even = multiply_add(widen(left[0]), widen(right[0]), even);
        odd = multiply_add(widen(left[1]), widen(right[1]), odd);
    }
    flush(flush(sum) + flush(even + odd))
}

/// A bf16 as f32, a denormal as zero.
fn widen(bits: u16) -> f32 {
    flush(f32::from_bits(u32::from(bits) << 16))
}

/// `value`, a denormal as the zero of its sign. A sum of two f32 needs no more to be flushed: one
/// that is too small for a normal number is exact.
fn flush(value: f32) -> f32 {
    if value.abs() < f32::MIN_POSITIVE { 0.0f32.copysign(value) } else { value }
}

/// `a · b + c` for factors of bf16, rounded once, denormal results flushed.
///
/// The manual calls a result denormal that is so after rounding to 24 bits as if the exponent had
/// no bounds (volume 1, "Numeric Underflow Exception"). Just below the smallest normal number, that
/// differs from rounding to a denormal, which has fewer bits there and may round up to normal.
fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    let rounded = a.mul_add(b, c);
    if rounded.abs() == f32::MIN_POSITIVE {
        // In f64 the product of two bf16 is exact, and so is the sum wherever this comparison is
        // close: its terms then span fewer than 53 bits.
        let exact = f64::from(a) * f64::from(b) + f64::from(c);
        let least = f64::from(f32::MIN_POSITIVE) - f64::from(f32::MIN_POSITIVE) * 2f64.powi(-25);
        if exact.abs() < least {
            return 0.0f32.copysign(rounded);
        }
    }
    flush(rounded)
}

#[cfg(test)]
mod tests {
    use std::arch::asm;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Round to nearest, all exceptions masked, denormals to zero when read and when written.
    const FLUSHING: u32 = 0x1f80 | 1 << 15 | 1 << 6;

    #[test]
    fn flushed_arithmetic_is_that_of_a_cpu_told_to_flush() {
        assert!(is_x86_feature_detected!("fma"), "this check needs a CPU with FMA");
        let mut generator = ChaCha8Rng::seed_from_u64(1);
        for round in 0..1_000_000 {
            // Half of the factors from all bit patterns, half such that products and sums fall
            // about the smallest normal number.
            let near = |exponent: u32, bits: u32| bits & 0x807f_ffff | exponent << 23;
            let [a, b, c]: [u32; 3] = generator.random();
            let (a, b, c) = if round % 2 == 0 {
                (a, b, c)
            } else {
                let split = generator.random_range(50..78);
                (near(split, a), near(128 - split, b), near(generator.random_range(0..4), c))
            };
            // Factors of bf16: up to 8 significant bits, often fewer, so that ties occur.
            let coarse = |bits: u32| f32::from_bits(bits & (0xffff_0000 << (bits % 8)));
            let (a, b) = (widen((coarse(a).to_bits() >> 16) as u16), coarse(b));
            let b = flush(b);
            let c = flush(if round % 3 == 0 { coarse(c) } else { f32::from_bits(c) });

            assert_same(multiply_add(a, b, c), cpu_multiply_add(a, b, c), &[a, b, c]);
            assert_same(flush(flush(a) + c), cpu_add(a, c), &[a, c]);
        }
    }

    #[test]
    fn a_result_that_only_a_denormal_s_coarseness_rounds_up_is_flushed() {
        // 2^-126 - 2^-150: halfway between the largest denormal and the smallest normal number,
        // and itself a number of 24 bits.
        let (a, b, c) = (2f32.powi(-75), -2f32.powi(-75), f32::MIN_POSITIVE);
        assert_eq!(a.mul_add(b, c), f32::MIN_POSITIVE);
        assert_eq!(multiply_add(a, b, c), 0.0);
        // 2^-126 - 2^-151 rounds up to normal, whatever the exponent's bounds.
        let a = 2f32.powi(-76);
        assert_eq!(multiply_add(a, b, c), f32::MIN_POSITIVE);
    }

    /// Equal bits, or not a number both: which one is nobody's promise.
    fn assert_same(ours: f32, cpu: f32, terms: &[f32]) {
        let same = ours.to_bits() == cpu.to_bits() || ours.is_nan() && cpu.is_nan();
        assert!(same, "{ours:e} ({:08x}), CPU {cpu:e}, of {terms:?}", ours.to_bits());
    }

    fn cpu_multiply_add(a: f32, b: f32, c: f32) -> f32 {
        let mut sum = c;
        let mut saved = 0u32;
        // SAFETY: the CPU has FMA; the control register is as before when the block ends.
        unsafe {
            asm!(
                "stmxcsr [{saved}]",
                "ldmxcsr [{flushing}]",
                "vfmadd231ss {sum}, {a}, {b}",
                "ldmxcsr [{saved}]",
                saved = in(reg) &raw mut saved,
                flushing = in(reg) &FLUSHING,
                sum = inout(xmm_reg) sum,
                a = in(xmm_reg) a,
                b = in(xmm_reg) b,
                options(nostack),
            );
        }
        sum
    }

    fn cpu_add(a: f32, b: f32) -> f32 {
        let mut sum = a;
        let mut saved = 0u32;
        // SAFETY: the control register is as before when the block ends.
        unsafe {
            asm!(
                "stmxcsr [{saved}]",
                "ldmxcsr [{flushing}]",
                "addss {sum}, {b}",
                "ldmxcsr [{saved}]",
                saved = in(reg) &raw mut saved,
                flushing = in(reg) &FLUSHING,
                sum = inout(xmm_reg) sum,
                b = in(xmm_reg) b,
                options(nostack),
            );
        }
        sum
    }
}
