//! The matrix primitive on AVX512-BF16: the same operands as on AMX, on vector registers.

use std::arch::x86_64::{
    __m512, __m512bh, _MM_HINT_T1, _mm_prefetch, _mm512_dpbf16_ps, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_storeu_ps,
};

use super::product::{BLOCK, LINES, MatrixUnit, PACKED_BLOCK, Product, TILE};

/// Rows of C that stay in registers: 8 × 2 accumulators leave room for B's line and A's pair.
const ROWS: usize = 8;

/// The proof that this CPU has AVX512-BF16, and what of AVX-512 the whole encoder is compiled for.
#[derive(Clone, Copy)]
pub(super) struct Avx512Bf16(());

impl Avx512Bf16 {
    /// The unit, where the CPU has it.
    pub fn detect() -> Option<Avx512Bf16> {
        (is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512bf16"))
        .then_some(Avx512Bf16(()))
    }
}

impl MatrixUnit for Avx512Bf16 {
    #[inline]
    unsafe fn multiply(&self, product: &Product) {
        // SAFETY: `self` proves the features; the caller answers for the pointers.
        unsafe { multiply(product) }
    }
}

#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn multiply(product: &Product) {
    for first in (0..product.rows).step_by(ROWS) {
        let last = first + ROWS >= product.rows;
        // SAFETY: rows are readable and writable up to the next multiple of 16, hence of `ROWS`.
        unsafe { rows(product, first, last) };
    }
}

/// The `ROWS` rows from `first` on. `prefetch`es the next strip on the way.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn rows(product: &Product, first: usize, prefetch: bool) {
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    // SAFETY: the caller promises that these rows of C may be read and written.
    let c = unsafe { product.c.add(first * product.c_stride) };
    if product.accumulate {
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: row `first + row` of C, 32 columns.
            unsafe {
                let c = c.add(row * product.c_stride);
                *sums = [_mm512_loadu_ps(c), _mm512_loadu_ps(c.add(16))];
            }
        }
    }
    for block in 0..product.blocks {
        // SAFETY: block `block` of A, rows `first..first + ROWS`, and of B.
        let (a, b) = unsafe {
            (
                product.a.add(block * product.a_stride + first * BLOCK),
                product.b.add(block * PACKED_BLOCK),
            )
        };
        if prefetch && !product.next_b.is_null() {
            let next = product.next_b.wrapping_add(block * PACKED_BLOCK);
            for line in 0..2 * LINES {
                _mm_prefetch::<_MM_HINT_T1>(next.wrapping_add(line * BLOCK).cast());
            }
        }
        for pair in 0..LINES {
            // SAFETY: line `pair` of each of the block's two tiles.
            let (left, right) =
                unsafe { (line(b.add(pair * BLOCK)), line(b.add(TILE + pair * BLOCK))) };
            for (row, sums) in sums.iter_mut().enumerate() {
                // SAFETY: pair `pair` of a row of 32 elements; u32 reads need no alignment here.
                let a = unsafe { a.add(row * BLOCK + 2 * pair).cast::<i32>().read_unaligned() };
                // SAFETY: both are 512 bits without invalid values.
                let a: __m512bh = unsafe { std::mem::transmute(_mm512_set1_epi32(a)) };
                sums[0] = _mm512_dpbf16_ps(sums[0], a, left);
                sums[1] = _mm512_dpbf16_ps(sums[1], a, right);
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        // SAFETY: row `first + row` of C, 32 columns.
        unsafe { store(c.add(row * product.c_stride), *sums) };
    }
}

#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn line(from: *const u16) -> __m512bh {
    // SAFETY: the caller passes the address of 32 elements; the types have the same bits.
    unsafe { std::mem::transmute(_mm512_loadu_si512(from.cast())) }
}

#[target_feature(enable = "avx512f")]
unsafe fn store(to: *mut f32, sums: [__m512; 2]) {
    // SAFETY: the caller passes the address of 32 elements.
    unsafe {
        _mm512_storeu_ps(to, sums[0]);
        _mm512_storeu_ps(to.add(16), sums[1]);
    }
}
