//! One strip of a matrix product: what linear layers and attention are made of.

#[cfg(all(test, target_arch = "x86_64"))]
mod reference;

#[cfg(all(test, target_arch = "x86_64"))]
pub(super) use reference::{reference, tile_element};

/// `C = A·B`, or `C += A·B`, for up to 32 rows and exactly 32 columns: bf16 factors, f32 sums.
///
/// A is rows × 32·[`blocks`](Self::blocks), B is 32·blocks × 32, C is rows × 32. A block is 32
/// steps of the inner dimension.
///
/// # How it is summed
///
/// As Intel's manual defines `TDPBF16PS` (Software Developer's Manual, volume 2), block after
/// block in ascending order. Within a block an element has two sums that start at zero: the even
/// inner indices, ascending, go to one, the odd ones to the other, each step one fused
/// multiply-add. The even sum plus the odd sum is then added to the element. All of it in f32,
/// rounded to nearest even, with denormals taken as zeros wherever they are read or would be
/// written. So a row's bits depend on that row of A and on B alone: not on the row's place, nor on
/// how many others there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product {
    /// A: bits of bf16. Within a block rows lie 32 elements (64 bytes) apart, without gaps.
    pub a: *const u16,
    /// Elements from one block of A to the next.
    pub a_stride: usize,
    /// B: bits of bf16, packed. Blocks of 2 KB without gaps, each two tiles of 1 KB: columns 0..16,
    /// then 16..32. A tile is 16 lines of 64 bytes; line `p` holds, for each of its 16 columns, the
    /// rows `2p` and `2p + 1`.
    pub b: *const u16,
    /// C.
    pub c: *mut f32,
    /// Elements from one row of C to the next.
    pub c_stride: usize,
    /// Blocks of the inner dimension; at least 1.
    pub blocks: usize,
    /// 1..=32. A must be readable and C writable for rows rounded up to 16: what lies there is
    /// computed upon and overwritten too.
    pub rows: usize,
    /// Whether the product is added to what C holds.
    pub accumulate: bool,
    /// Where the next strip of B begins, as long as this one, to be drawn towards the cache
    /// meanwhile; null for none. Never dereferenced.
    pub next_b: *const u16,
}
