//! Activations in bf16, as the matrix unit wants them: blocks of 32 columns, a row a cache line.

use super::buffer::Buffer;
use super::product::{BLOCK, ROWS};

/// Rows × columns of bf16 values; columns are a multiple of [`BLOCK`].
pub(super) struct States {
    values: Buffer<u16>,
    stride: usize,
}

impl States {
    pub fn empty() -> States {
        States { values: Buffer::zeroed(0), stride: 0 }
    }

    /// Makes room. Rows get company of [`ROWS`] more, so that a product may begin at any row. What
    /// was inside is lost.
    pub fn reserve(&mut self, rows: usize, columns: usize) {
        // One line more from block to block: an even power of two would send the same row of all
        // blocks to the same few sets of the cache.
        self.stride = (rows.next_multiple_of(ROWS) + ROWS + 1) * BLOCK;
        self.values.reserve(columns / BLOCK * self.stride);
    }

    /// Elements from one block to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// From a row of a block on, through all that comes after it.
    #[inline]
    pub fn from(&self, block: usize, row: usize) -> &[u16] {
        &self.values[block * self.stride + row * BLOCK..]
    }

    /// A row of a block.
    #[inline]
    pub fn line(&self, block: usize, row: usize) -> &[u16; BLOCK] {
        self.from(block, row).first_chunk().expect("a row has a line in each block")
    }

    /// A row of a block.
    #[inline]
    pub fn line_mut(&mut self, block: usize, row: usize) -> &mut [u16; BLOCK] {
        let line = self.values[block * self.stride + row * BLOCK..].first_chunk_mut();
        line.expect("a row has a line in each block")
    }
}
