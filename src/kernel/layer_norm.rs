//! Layer normalisation of one row (Ba et al., <https://arxiv.org/abs/1607.06450>).

use std::arch::x86_64::{
    __m512, _mm512_add_ps, _mm512_fmadd_ps, _mm512_mul_ps, _mm512_reduce_add_ps, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_sub_ps,
};

use super::buffer::Buffer;
use super::vector::{LANES, load, store};

/// (x + bias - mean) / √(variance + eps) · gamma + beta; the bias is that of the layer before.
pub(super) struct LayerNorm {
    pub bias: Buffer<f32>,
    pub gamma: Buffer<f32>,
    pub beta: Buffer<f32>,
    pub eps: f32,
}

impl LayerNorm {
    /// Normalises a row of as many elements as `gamma` has, a multiple of 32.
    #[target_feature(enable = "avx512f")]
    pub fn apply(&self, row: &mut [f32]) {
        let elements = row.len() as f32;
        let (rows, _) = row.as_chunks_mut::<LANES>();
        let (bias, _) = self.bias.as_chunks::<LANES>();
        // Two sums at a time: one addition need not wait for the last one.
        let mut sums = [_mm512_setzero_ps(); 2];
        for (pair, bias) in rows.as_chunks_mut::<2>().0.iter_mut().zip(bias.as_chunks::<2>().0) {
            for ((values, bias), sum) in pair.iter_mut().zip(bias).zip(&mut sums) {
                let value = _mm512_add_ps(load(values), load(bias));
                *sum = _mm512_add_ps(*sum, value);
                store(values, value);
            }
        }
        let mean = _mm512_set1_ps(total(sums) / elements);
        // A second pass for the variance: E[x²] - E[x]² would lose digits.
        let mut squares = [_mm512_setzero_ps(); 2];
        for pair in rows.as_chunks::<2>().0 {
            for (values, square) in pair.iter().zip(&mut squares) {
                let centred = _mm512_sub_ps(load(values), mean);
                *square = _mm512_fmadd_ps(centred, centred, *square);
            }
        }
        let scale = _mm512_set1_ps(1.0 / (total(squares) / elements + self.eps).sqrt());
        let (gamma, _) = self.gamma.as_chunks::<LANES>();
        let (beta, _) = self.beta.as_chunks::<LANES>();
        for ((values, gamma), beta) in rows.iter_mut().zip(gamma).zip(beta) {
            let centred = _mm512_mul_ps(_mm512_sub_ps(load(values), mean), scale);
            store(values, _mm512_fmadd_ps(centred, load(gamma), load(beta)));
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn total(sums: [__m512; 2]) -> f32 {
    _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1]))
}

#[cfg(test)]
mod tests;
