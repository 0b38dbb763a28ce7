//! Softmax of one row of scores, to bf16.

use std::arch::x86_64::{
    __m512, __mmask16, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT, _mm512_add_ps,
    _mm512_fmadd_ps, _mm512_mask_blend_ps, _mm512_maskz_mov_ps, _mm512_max_ps,
    _mm512_reduce_add_ps, _mm512_reduce_max_ps, _mm512_roundscale_ps, _mm512_scalef_ps,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_sub_ps,
};

use super::product::BLOCK;
use super::vector::{LANES, load, store_bf16};

/// Below this power, 2ˣ counts as 2 to this power, which bf16 rounds to nothing beside the 1 of the
/// row's largest score.
const LOWEST_POWER: f32 = -150.0;

/// 2ˣ for |x| ≤ 1/2, lowest power first: minimax in the relative error, 2.6e-6, by Lawson's
/// iteration. A bf16 value has a relative step of 3.9e-3.
const COEFFICIENTS: [f32; 5] = [0.999_999_3, 0.693_121_8, 0.240_247_45, 5.591_786e-2, 9.570_102e-3];

/// Writes 2^(score - largest score) of the first `keys` scores to `weights`, 0 beyond them, and
/// returns their sum.
///
/// The largest is subtracted first: scores of real models pass 60 in powers of two, where the sum
/// would leave f32 behind. `scores` has a multiple of [`BLOCK`] elements. Line `n` of the weights,
/// for the keys from 32 · n on, goes to `weights[n * stride..]`, 32 elements.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) fn softmax(scores: &[f32], keys: usize, weights: &mut [u16], stride: usize) -> f32 {
    let (vectors, _) = scores.as_chunks::<LANES>();
    let lowest = _mm512_set1_ps(f32::NEG_INFINITY);
    let mut largest = lowest;
    for (index, vector) in vectors.iter().enumerate() {
        let inside = inside(keys, index);
        largest = _mm512_max_ps(largest, _mm512_mask_blend_ps(inside, lowest, load(vector)));
    }
    let largest = _mm512_set1_ps(_mm512_reduce_max_ps(largest));
    let mut sums = [_mm512_setzero_ps(); 2];
    for (line, pair) in vectors.as_chunks::<2>().0.iter().enumerate() {
        let mut powers = [_mm512_setzero_ps(); 2];
        for (half, vector) in pair.iter().enumerate() {
            let power = exp2(_mm512_sub_ps(load(vector), largest));
            powers[half] = _mm512_maskz_mov_ps(inside(keys, 2 * line + half), power);
            sums[half] = _mm512_add_ps(sums[half], powers[half]);
        }
        let to = weights[line * stride..].first_chunk_mut::<BLOCK>();
        store_bf16(to.expect("there is a line for each block of keys"), powers[0], powers[1]);
    }
    _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1]))
}

/// Which lanes of vector `index` are within the first `keys`.
#[inline]
fn inside(keys: usize, index: usize) -> __mmask16 {
    let lanes = keys.saturating_sub(index * LANES).min(LANES);
    (u32::MAX >> 1 >> (31 - lanes)) as __mmask16
}

/// 2ˣ for x ≤ 0.
#[inline]
#[target_feature(enable = "avx512f")]
fn exp2(x: __m512) -> __m512 {
    const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    let x = _mm512_max_ps(_mm512_set1_ps(LOWEST_POWER), x);
    let whole = _mm512_roundscale_ps::<NEAREST>(x);
    let rest = _mm512_sub_ps(x, whole);
    let (last, lower) = COEFFICIENTS.split_last().expect("there are coefficients");
    let mut sum = _mm512_set1_ps(*last);
    for coefficient in lower.iter().rev() {
        sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(*coefficient));
    }
    _mm512_scalef_ps(sum, whole)
}

#[cfg(test)]
mod tests;
