//! The one matrix product that all others are made of, and its operands' order in memory.
//!
//! bf16 in, f32 sums. Activations (A) lie in blocks of 32 columns, one row a cache line; weights (B)
//! are packed into strips of 32 columns, each a run of 32 × 32 blocks, each two tiles of 16 columns
//! in which pairs of rows alternate: the order that TDPBF16PS and VDPBF16PS want.

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

/// C = A · B or C += A · B, for at most 32 rows and exactly 32 columns.
#[derive(Clone, Copy)]
pub(super) struct Product {
    /// A: rows lie [`BLOCK`] elements apart.
    pub a: *const u16,
    /// Elements from one block of A to the next.
    pub a_stride: usize,
    /// B: `blocks` packed blocks, one after another.
    pub b: *const u16,
    pub c: *mut f32,
    /// Elements from one row of C to the next.
    pub c_stride: usize,
    /// Blocks of A's columns and of B's rows.
    pub blocks: usize,
    /// 1 to [`ROWS`]. A and C must be there for rows up to the next multiple of [`ROW_GRANULE`].
    pub rows: usize,
    /// Whether the product is added to what C holds.
    pub accumulate: bool,
    /// What will be B next, to be drawn towards the cache meanwhile; never read.
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
