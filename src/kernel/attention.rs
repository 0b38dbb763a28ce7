//! Attention of one sentence's tokens on each other, head by head.

use std::arch::x86_64::{
    __m512i, _mm512_mul_ps, _mm512_permutex2var_epi16, _mm512_set1_ps, _mm512_shuffle_i32x4,
    _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};
use std::ops::Range;

use super::buffer::Buffer;
use super::linear::Tile;
use super::product::{BLOCK, LINES, MatrixUnit, Operands, PACKED_BLOCK, ROWS, TILE};
use super::softmax::softmax;
use super::states::States;
use super::vector::{LANES, load, load_line, store_bf16, store_line};

/// Where a head's keys and values are packed and its scores stand.
pub(super) struct Attention {
    heads: usize,
    /// Blocks of a head's width: 1 or 2.
    blocks: usize,
    /// Packed keys: for each 32 keys, the blocks of the head's width.
    keys: Buffer<u16>,
    /// Packed values: for each block of the head's width, the blocks of 32 keys.
    values: Buffer<u16>,
    /// Scores of 32 queries.
    scores: Buffer<f32>,
    /// Attention weights of 32 queries, for each 32 keys a block of 32 lines.
    weights: Buffer<u16>,
}

/// Elements of one block of attention weights.
const WEIGHTS: usize = ROWS * BLOCK;

impl Attention {
    pub fn empty() -> Attention {
        Attention {
            heads: 0,
            blocks: 0,
            keys: Buffer::zeroed(0),
            values: Buffer::zeroed(0),
            scores: Buffer::zeroed(0),
            weights: Buffer::zeroed(0),
        }
    }

    /// From now on there are `heads` heads of `blocks` × 32 columns.
    pub fn divide(&mut self, heads: usize, blocks: usize) {
        (self.heads, self.blocks) = (heads, blocks);
    }

    /// softmax(q kᵀ) v for all heads of the sentence whose tokens are `rows`.
    ///
    /// The columns of `projected` are the queries of all heads, then their keys, then their values;
    /// queries are scaled by log2(e) / √d already. The result goes to the same rows of `context`.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub fn apply(
        &mut self,
        unit: &impl MatrixUnit,
        projected: &States,
        rows: Range<usize>,
        context: &mut States,
    ) {
        let key_blocks = rows.len().div_ceil(BLOCK);
        self.keys.reserve(key_blocks * self.blocks * PACKED_BLOCK);
        self.values.reserve(key_blocks * self.blocks * PACKED_BLOCK);
        self.scores.reserve(ROWS * stride(key_blocks));
        self.weights.reserve(key_blocks * WEIGHTS);
        for head in 0..self.heads {
            self.pack(projected, head, &rows);
            for first in rows.clone().step_by(ROWS) {
                self.queries(unit, projected, head, (first, &rows), context);
            }
        }
    }

    /// Packs the keys and values of a head; what lies beyond the sentence is zero.
    #[target_feature(enable = "avx512f,avx512bw")]
    fn pack(&mut self, projected: &States, head: usize, rows: &Range<usize>) {
        const NOTHING: [u16; BLOCK] = [0; BLOCK];
        let columns = self.heads * self.blocks;
        let key_blocks = rows.len().div_ceil(BLOCK);
        let line = |column: usize, token: usize| {
            if token < rows.len() { projected.line(column, rows.start + token) } else { &NOTHING }
        };
        for block in 0..self.blocks {
            let key_column = columns + head * self.blocks + block;
            let value_column = key_column + columns;
            for key_block in 0..key_blocks {
                let first = key_block * BLOCK;
                let packed = (key_block * self.blocks + block) * PACKED_BLOCK;
                let packed = &mut self.keys[packed..][..PACKED_BLOCK];
                for (half, tile) in packed.chunks_exact_mut(TILE).enumerate() {
                    let tokens = first + half * LINES;
                    transpose(|key| line(key_column, tokens + key), tile);
                }
                let packed = (block * key_blocks + key_block) * PACKED_BLOCK;
                let (left, right) = self.values[packed..][..PACKED_BLOCK].split_at_mut(TILE);
                let lines = left.as_chunks_mut().0.iter_mut().zip(right.as_chunks_mut().0);
                for (pair, (left, right)) in lines.enumerate() {
                    let token = first + 2 * pair;
                    let pair = [line(value_column, token), line(value_column, token + 1)];
                    interleave(pair, left, right);
                }
            }
        }
    }

    /// Attends from up to 32 queries, from row `first` on, to all keys.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    fn queries(
        &mut self,
        unit: &impl MatrixUnit,
        projected: &States,
        head: usize,
        (first, rows): (usize, &Range<usize>),
        context: &mut States,
    ) {
        let keys = rows.len();
        let key_blocks = keys.div_ceil(BLOCK);
        let queries = (rows.end - first).min(ROWS);
        let stride = stride(key_blocks);
        let column = head * self.blocks;

        let packed = self.keys.chunks_exact(self.blocks * PACKED_BLOCK);
        for (key_block, packed) in packed.take(key_blocks).enumerate() {
            let operands = Operands {
                a: projected.from(column, first),
                a_stride: projected.stride(),
                b: packed,
                next_b: None,
                rows: queries,
            };
            operands.write(unit, &mut self.scores[key_block * BLOCK..], stride);
        }

        let mut shares = [0.0; ROWS];
        for (query, share) in shares[..queries].iter_mut().enumerate() {
            let scores = &self.scores[query * stride..][..key_blocks * BLOCK];
            let sum = softmax(scores, keys, &mut self.weights[query * BLOCK..], WEIGHTS);
            *share = 1.0 / sum;
        }

        for block in 0..self.blocks {
            let packed = block * key_blocks * PACKED_BLOCK;
            let operands = Operands {
                a: &self.weights,
                a_stride: WEIGHTS,
                b: &self.values[packed..][..key_blocks * PACKED_BLOCK],
                next_b: None,
                rows: queries,
            };
            let mut tile: Tile = [0.0; ROWS * BLOCK];
            operands.write(unit, &mut tile, BLOCK);
            let sums = tile.as_chunks::<LANES>().0.as_chunks::<2>().0;
            for (query, ([low, high], share)) in sums.iter().zip(&shares[..queries]).enumerate() {
                let share = _mm512_set1_ps(*share);
                let line = context.line_mut(column + block, first + query);
                store_bf16(line, _mm512_mul_ps(load(low), share), _mm512_mul_ps(load(high), share));
            }
        }
    }
}

/// Elements from one row of scores to the next: not a multiple of 4 KB, whose rows would crowd one
/// another out of the cache.
fn stride(key_blocks: usize) -> usize {
    key_blocks * BLOCK + LANES
}

/// Makes one tile of keys: line p holds, for each of 16 keys, its columns 2p and 2p + 1.
///
/// That is the transpose of a 16 × 16 matrix of pairs.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose<'a>(key: impl Fn(usize) -> &'a [u16; BLOCK], tile: &mut [u16]) {
    let mut rows: [__m512i; LINES] = std::array::from_fn(|index| load_line(key(index)));
    // Within each quarter of a register: pairs, then pairs of pairs.
    for four in rows.chunks_exact_mut(4) {
        let [a, b, c, d] = [four[0], four[1], four[2], four[3]];
        let [ab0, ab1] = [_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b)];
        let [cd0, cd1] = [_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d)];
        four[0] = _mm512_unpacklo_epi64(ab0, cd0);
        four[1] = _mm512_unpackhi_epi64(ab0, cd0);
        four[2] = _mm512_unpacklo_epi64(ab1, cd1);
        four[3] = _mm512_unpackhi_epi64(ab1, cd1);
    }
    // Then the quarters among four registers.
    let (lines, _) = tile.as_chunks_mut::<BLOCK>();
    for column in 0..4 {
        let [a, b, c, d] = std::array::from_fn(|four| rows[4 * four + column]);
        let low = _mm512_shuffle_i32x4::<0b10_00_10_00>(a, b);
        let high = _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b);
        let low_next = _mm512_shuffle_i32x4::<0b10_00_10_00>(c, d);
        let high_next = _mm512_shuffle_i32x4::<0b11_01_11_01>(c, d);
        store_line(&mut lines[column], _mm512_shuffle_i32x4::<0b10_00_10_00>(low, low_next));
        store_line(&mut lines[column + 4], _mm512_shuffle_i32x4::<0b10_00_10_00>(high, high_next));
        store_line(&mut lines[column + 8], _mm512_shuffle_i32x4::<0b11_01_11_01>(low, low_next));
        store_line(&mut lines[column + 12], _mm512_shuffle_i32x4::<0b11_01_11_01>(high, high_next));
    }
}

/// Makes one line of two tiles of values: for each column, the two tokens' values side by side.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn interleave(tokens: [&[u16; BLOCK]; 2], left: &mut [u16; BLOCK], right: &mut [u16; BLOCK]) {
    const fn order(from: u16) -> [u16; BLOCK] {
        let mut order = [0; BLOCK];
        let mut column = 0;
        while column < LINES {
            order[2 * column] = from + column as u16;
            // Indices from 32 on mean the second operand.
            order[2 * column + 1] = from + column as u16 + BLOCK as u16;
            column += 1;
        }
        order
    }
    const LEFT: [u16; BLOCK] = order(0);
    const RIGHT: [u16; BLOCK] = order(LINES as u16);
    let [even, odd] = tokens.map(|token| load_line(token));
    store_line(left, _mm512_permutex2var_epi16(even, load_line(&LEFT), odd));
    store_line(right, _mm512_permutex2var_epi16(even, load_line(&RIGHT), odd));
}

#[cfg(test)]
mod tests;
