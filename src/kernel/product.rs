//! The one matrix product that all others are made of, and its operands' order in memory.
//!
//! bf16 in, f32 sums. Activations (A) lie in blocks of 32 columns, one row a cache line; weights (B)
//! are packed into strips of 32 columns, each a run of 32 × 32 blocks, each two tiles of 16 columns
//! in which pairs of rows alternate: the order that TDPBF16PS and VDPBF16PS want.

#[cfg(all(test, target_arch = "x86_64"))]
mod reference;

#[cfg(all(test, target_arch = "x86_64"))]
pub(super) use reference::{reference, tile_element};

/// Columns of a block; bf16 values of a cache line.
pub(super) const BLOCK: usize = 32;
/// Columns of a tile, and pairs of rows.
pub(super) const LINES: usize = 16;
/// Elements of a tile.
pub(super) const TILE: usize = LINES * BLOCK;
/// Elements of a packed block: two tiles.
pub(super) const PACKED_BLOCK: usize = 2 * TILE;
/// Rows of C that one product computes at most.
pub(super) const ROWS: usize = 32;
/// Rows of A and C come in multiples of this: what lies in the rows that fill the last one up does
/// not matter, but must be there.
pub(super) const ROW_GRANULE: usize = 16;

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

/// What multiplies.
pub(super) trait MatrixUnit {
    /// Computes a product. Every row sums in the same order, whatever its place and company.
    ///
    /// # Safety
    /// A, B and C are there, as [`Product`] describes them, for the rows rounded up to
    /// [`ROW_GRANULE`]; C overlaps neither.
    unsafe fn multiply(&self, product: &Product);
}

/// A, B and how much of them, as checked slices.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a> {
    /// From A's first row and block on.
    pub a: &'a [u16],
    pub a_stride: usize,
    /// A whole strip.
    pub b: &'a [u16],
    /// The strip that comes next.
    pub next_b: Option<&'a [u16]>,
    pub rows: usize,
}

impl Operands<'_> {
    /// Writes the product to `c`, whose rows lie `c_stride` elements apart.
    #[inline]
    pub fn write(self, unit: &impl MatrixUnit, c: &mut [f32], c_stride: usize) {
        self.multiply(unit, c, c_stride, false);
    }

    /// Adds the product to `c`.
    #[inline]
    pub fn add(self, unit: &impl MatrixUnit, c: &mut [f32], c_stride: usize) {
        self.multiply(unit, c, c_stride, true);
    }

    #[inline]
    fn multiply(self, unit: &impl MatrixUnit, c: &mut [f32], c_stride: usize, accumulate: bool) {
        let Operands { a, a_stride, b, next_b, rows } = self;
        let blocks = b.len() / PACKED_BLOCK;
        assert!((1..=ROWS).contains(&rows) && blocks > 0, "there is something to multiply");
        let padded = rows.next_multiple_of(ROW_GRANULE);
        assert!(a.len() >= (blocks - 1) * a_stride + padded * BLOCK, "A holds its rows");
        assert!(c.len() >= (padded - 1) * c_stride + BLOCK, "C holds its rows");
        let product = Product {
            a: a.as_ptr(),
            a_stride,
            b: b.as_ptr(),
            c: c.as_mut_ptr(),
            c_stride,
            blocks,
            rows,
            accumulate,
            next_b: next_b.map_or(std::ptr::null(), <[u16]>::as_ptr),
        };
        // SAFETY: B holds `blocks` packed blocks by the definition of `blocks`, A and C their rows
        // by the assertions; C is borrowed uniquely.
        unsafe { unit.multiply(&product) }
    }
}
