//! The most that the machine can multiply and add, measured: what a share is a share of.

use std::hint::black_box;
use std::time::{Duration, Instant};

use pulp::{Arch, Simd, WithSimd};

use crate::kernel::Instructions;
use crate::onnx::GraphPrecision;

/// A kind of arithmetic whose peak can be measured here.
pub struct Arithmetic {
    pub name: &'static str,
    /// The models whose speed it bounds.
    pub precision: GraphPrecision,
    /// Works for about so long on the calling thread; returns floating-point operations per second.
    one_thread: fn(Duration) -> f64,
}

/// What this machine and this build of polyhead can measure.
pub fn measurable() -> impl Iterator<Item = Arithmetic> {
    let f32_fma = Arithmetic {
        name: "f32 multiply-add",
        precision: GraphPrecision::Fp32,
        one_thread: f32_fma,
    };
    let bf16 = Instructions::detect().ok().map(|instructions| Arithmetic {
        name: instructions.as_str(),
        precision: GraphPrecision::Bf16,
        one_thread: bf16_products,
    });
    std::iter::once(f32_fma).chain(bf16)
}

impl Arithmetic {
    /// Floating-point operations per second of so many threads at the same time.
    pub fn sample(&self, threads: usize) -> f64 {
        /// Long enough for the clock to settle under wide vectors.
        const TIME: Duration = Duration::from_millis(60);
        std::thread::scope(|scope| {
            let run = || scope.spawn(|| (self.one_thread)(TIME));
            let running: Vec<_> = (0..threads).map(|_| run()).collect();
            running.into_iter().map(|it| it.join().expect("it only computes")).sum()
        })
    }
}

/// Random numbers, not zeros: a CPU multiplies those faster, having less to switch.
fn bf16_products(time: Duration) -> f64 {
    Instructions::detect().map_or(0.0, |instructions| instructions.product_flops(time))
}

/// Independent sums: enough to cover the latency of a multiply-add (4 cycles) times the units (2),
/// few enough for AVX2's 16 registers.
const SUMS: usize = 12;

const STEPS: usize = 10_000;

fn f32_fma(time: Duration) -> f64 {
    let arch = Arch::new();
    let (mut operations, started) = (0, Instant::now());
    while started.elapsed() < time {
        operations += arch.dispatch(MultiplyAdd);
    }
    operations as f64 / started.elapsed().as_secs_f64()
}

/// [`STEPS`] multiply-adds into each of [`SUMS`] registers; returns how many operations that was.
struct MultiplyAdd;

impl WithSimd for MultiplyAdd {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
        // The compiler must not know the factors, nor that the sums are thrown away. These stay
        // finite: x → 0.9x + 0.1.
        let (factor, term) = black_box((0.9, 0.1));
        let (factor, term) = (simd.splat_f32s(factor), simd.splat_f32s(term));
        let mut sums = [simd.splat_f32s(black_box(0.5)); SUMS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = simd.mul_add_f32s(*sum, factor, term);
            }
        }
        black_box(sums);
        2 * S::F32_LANES * SUMS * STEPS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_arithmetic_gives_a_rate() {
        for arithmetic in measurable() {
            let rate = arithmetic.sample(1);
            // No machine that runs this is slower than 1 MFLOP/s or faster than 1 PFLOP/s a core.
            assert!((1e6..1e15).contains(&rate), "{}: {rate}", arithmetic.name);
        }
    }
}
