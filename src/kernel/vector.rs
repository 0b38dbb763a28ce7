//! Sixteen f32 at a time: AVX-512 with slices for pointers.

use std::arch::x86_64::{
    __m512, __m512i, _mm512_cvtne2ps_pbh, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_storeu_ps,
    _mm512_storeu_si512,
};

use super::product::BLOCK;

/// f32 values of a register.
pub(super) const LANES: usize = 16;

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load(from: &[f32; LANES]) -> __m512 {
    // SAFETY: the array is 64 bytes long; the load needs no alignment.
    unsafe { _mm512_loadu_ps(from.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store(to: &mut [f32; LANES], values: __m512) {
    // SAFETY: the array is 64 bytes long; the store needs no alignment.
    unsafe { _mm512_storeu_ps(to.as_mut_ptr(), values) }
}

/// One line of a block: 32 bf16 values.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load_line(from: &[u16; BLOCK]) -> __m512i {
    // SAFETY: the array is 64 bytes long; the load needs no alignment.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store_line(to: &mut [u16; BLOCK], line: __m512i) {
    // SAFETY: the array is 64 bytes long; the store needs no alignment.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), line) }
}

/// Rounds 32 values to bf16, to nearest, ties to even.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) fn store_bf16(to: &mut [u16; BLOCK], low: __m512, high: __m512) {
    let line = _mm512_cvtne2ps_pbh(high, low);
    // SAFETY: both are 512 bits without invalid values.
    store_line(to, unsafe { std::mem::transmute::<std::arch::x86_64::__m512bh, __m512i>(line) });
}
