//! The tile unit's state and what instructions do to it.
//!
//! Semantics and faults: Intel, Software Developer's Manual, volume 2, the pages of the
//! instructions and section 2.10, "Intel AMX Instruction Exception Classes".

use std::arch::x86_64::*;
use std::{mem, ptr};

use super::decoding::Instruction;
use crate::kernel::product::tile_element;

const TILES: usize = 8;
const ROWS: usize = 16;
const ROW_BYTES: usize = 64;

/// A row: 16 f32, or 16 pairs of bf16 with the even one low.
type Row = [u32; 16];

/// The tiles of one thread.
pub struct TileUnit {
    configured: bool,
    tiles: [Tile; TILES],
}

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Tile {
    /// Beyond the configured shape there are zeros.
    contents: [Row; ROWS],
    rows: usize,
    row_bytes: usize,
}

impl Tile {
    const NONE: Self = Self { contents: [[0; 16]; ROWS], rows: 0, row_bytes: 0 };
}

impl TileUnit {
    /// As TILERELEASE leaves it.
    pub const RELEASED: Self = Self { configured: false, tiles: [Tile::NONE; TILES] };

    /// Does what `instruction` does.
    ///
    /// # Errors
    ///
    /// Why a CPU would raise an exception instead.
    ///
    /// # Safety
    ///
    /// As for the instruction: the memory that it reads and writes must be there.
    pub unsafe fn execute(&mut self, instruction: Instruction) -> Result<(), &'static str> {
        match instruction {
            Instruction::LoadConfiguration { from } => {
                let from = ptr::with_exposed_provenance::<[u8; 64]>(from as usize);
                // SAFETY: the caller's promise.
                self.configure(&unsafe { from.read() })
            }
            Instruction::Release => {
                *self = Self::RELEASED;
                Ok(())
            }
            Instruction::Zero { tile } => {
                self.usable(tile)?;
                self.tiles[tile].contents = Tile::NONE.contents;
                Ok(())
            }
            Instruction::Load { tile, from, stride } => {
                self.movable(tile)?;
                let tile = &mut self.tiles[tile];
                tile.contents = Tile::NONE.contents;
                for (row, at) in tile.contents[..tile.rows].iter_mut().zip(rows(from, stride)) {
                    let from = ptr::with_exposed_provenance::<u8>(at);
                    let row = row.as_mut_ptr().cast::<u8>();
                    // SAFETY: a row holds 64 bytes or more; the rest is the caller's promise.
                    unsafe { row.copy_from_nonoverlapping(from, tile.row_bytes) };
                }
                Ok(())
            }
            Instruction::Store { tile, to, stride } => {
                self.movable(tile)?;
                let tile = &self.tiles[tile];
                for (row, at) in tile.contents[..tile.rows].iter().zip(rows(to, stride)) {
                    let to = ptr::with_exposed_provenance_mut::<u8>(at);
                    let row = row.as_ptr().cast::<u8>();
                    // SAFETY: a row holds 64 bytes or more; the rest is the caller's promise.
                    unsafe { to.copy_from_nonoverlapping(row, tile.row_bytes) };
                }
                Ok(())
            }
            Instruction::MultiplyBf16 { sum, left, right } => self.multiply(sum, left, right),
        }
    }

    fn configure(&mut self, configuration: &[u8; 64]) -> Result<(), &'static str> {
        let [palette, start_row, ..] = *configuration;
        *self = Self::RELEASED;
        match palette {
            0 => return Ok(()),
            1 => {}
            _ => return Err("LDTILECFG: this palette does not exist"),
        }
        if start_row != 0 {
            // A CPU would go on from there in the next load; only a system's handler wants that.
            return Err("LDTILECFG: a start row other than 0 is not emulated");
        }
        let mut reserved = [2..16, 32..48, 56..64].into_iter().flatten();
        if reserved.any(|at| configuration[at] != 0) {
            return Err("LDTILECFG: a reserved byte is not 0");
        }
        for (number, tile) in self.tiles.iter_mut().enumerate() {
            let at = 16 + 2 * number;
            tile.row_bytes =
                usize::from(u16::from_le_bytes([configuration[at], configuration[at + 1]]));
            tile.rows = usize::from(configuration[48 + number]);
            if tile.row_bytes > ROW_BYTES || tile.rows > ROWS {
                return Err("LDTILECFG: a tile is larger than 16 rows of 64 bytes");
            }
            if (tile.row_bytes == 0) != (tile.rows == 0) {
                return Err("LDTILECFG: a tile has rows or columns, but not both");
            }
        }
        self.configured = true;
        Ok(())
    }

    fn usable(&self, tile: usize) -> Result<(), &'static str> {
        if !self.configured {
            return Err("no tiles are configured");
        }
        if self.tiles[tile].rows == 0 { Err("this tile is not configured") } else { Ok(()) }
    }

    fn movable(&self, tile: usize) -> Result<(), &'static str> {
        self.usable(tile)?;
        let whole = self.tiles[tile].row_bytes.is_multiple_of(4);
        if whole { Ok(()) } else { Err("a tile's row is not a multiple of 4 bytes long") }
    }

    /// TDPBF16PS.
    fn multiply(&mut self, sum: usize, left: usize, right: usize) -> Result<(), &'static str> {
        for tile in [sum, left, right] {
            self.movable(tile)?;
        }
        let Ok([sum, left, right]) = self.tiles.get_disjoint_mut([sum, left, right]) else {
            return Err("TDPBF16PS: its three tiles must differ");
        };
        let fits = sum.rows == left.rows
            && sum.row_bytes == right.row_bytes
            && left.row_bytes / 4 == right.rows;
        if !fits {
            return Err("TDPBF16PS: the shapes of its tiles do not fit");
        }
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the CPU has AVX-512.
            unsafe { multiply_vectors(sum, left, right) };
        } else {
            for row in 0..sum.rows {
                multiply_row(sum, left, right, row);
            }
        }
        Ok(())
    }
}

/// Addresses of rows.
fn rows(start: u64, stride: u64) -> impl Iterator<Item = usize> {
    (0..).map(move |row| start.wrapping_add(stride.wrapping_mul(row)) as usize)
}

/// One row of TDPBF16PS, as it is defined.
fn multiply_row(sum: &mut Tile, left: &Tile, right: &Tile, row: usize) {
    let halves = |pair: u32| [pair as u16, (pair >> 16) as u16];
    for column in 0..sum.row_bytes / 4 {
        let pairs = (0..right.rows)
            .map(|pair| (halves(left.contents[row][pair]), halves(right.contents[pair][column])));
        let element = &mut sum.contents[row][column];
        *element = tile_element(f32::from_bits(*element), pairs).to_bits();
    }
}

/// TDPBF16PS with rows as vectors. A row in which a result is, or may have been rounded from, a
/// denormal is done again by [`multiply_row`]: everywhere else flushing changes nothing.
#[target_feature(enable = "avx512f")]
fn multiply_vectors(sum: &mut Tile, left: &Tile, right: &Tile) {
    let columns = ((1u32 << (sum.row_bytes / 4)) - 1) as __mmask16;
    let small = _mm512_set1_epi32(f32::MIN_POSITIVE.to_bits().cast_signed());
    let right_halves = right.contents.map(|row| widen(row));
    for row in 0..sum.rows {
        let left_halves = widen(left.contents[row]).map(|half| elements(half));
        let factors = left_halves[0].iter().zip(&left_halves[1]).zip(&right_halves);
        let [mut even, mut odd] = [_mm512_setzero_ps(); 2];
        let mut least = _mm512_set1_epi32(-1);
        for ((&left_even, &left_odd), &[right_even, right_odd]) in factors.take(right.rows) {
            even = _mm512_fmadd_ps(_mm512_set1_ps(left_even), right_even, even);
            least = _mm512_min_epu32(least, smallness(even));
            odd = _mm512_fmadd_ps(_mm512_set1_ps(left_odd), right_odd, odd);
            least = _mm512_min_epu32(least, smallness(odd));
        }
        let product = _mm512_add_ps(even, odd);
        least = _mm512_min_epu32(least, smallness(product));
        let before = _mm512_castsi512_ps(flushed(vector(sum.contents[row])));
        let after = _mm512_add_ps(before, product);
        least = _mm512_min_epu32(least, smallness(after));
        if _mm512_mask_cmplt_epu32_mask(columns, least, small) != 0 {
            multiply_row(sum, left, right, row);
        } else {
            let after = _mm512_maskz_mov_ps(columns, after);
            sum.contents[row] = elements(after).map(f32::to_bits);
        }
    }
}

/// Below the bits of the smallest normal number where a magnitude is that number or a denormal;
/// zero, which is harmless, wraps around to the largest.
#[target_feature(enable = "avx512f")]
fn smallness(values: __m512) -> __m512i {
    let magnitude = _mm512_and_si512(_mm512_castps_si512(values), _mm512_set1_epi32(i32::MAX));
    _mm512_sub_epi32(magnitude, _mm512_set1_epi32(1))
}

/// Denormals as zeros of their sign.
#[target_feature(enable = "avx512f")]
fn flushed(values: __m512i) -> __m512i {
    let exponent = _mm512_set1_epi32(f32::INFINITY.to_bits().cast_signed());
    let normal = _mm512_test_epi32_mask(values, exponent);
    _mm512_mask_and_epi32(values, !normal, values, _mm512_set1_epi32(i32::MIN))
}

/// The even and the odd bf16 of each pair as f32, denormals as zeros.
#[target_feature(enable = "avx512f")]
fn widen(pairs: Row) -> [__m512; 2] {
    let even = _mm512_slli_epi32::<16>(vector(pairs));
    let odd = _mm512_and_si512(vector(pairs), _mm512_set1_epi32(i32::from(u16::MAX) << 16));
    [even, odd].map(|half| _mm512_castsi512_ps(flushed(half)))
}

#[target_feature(enable = "avx512f")]
fn vector(row: Row) -> __m512i {
    // SAFETY: both are 64 bytes, of which all values are valid.
    unsafe { mem::transmute(row) }
}

#[target_feature(enable = "avx512f")]
fn elements(vector: __m512) -> [f32; 16] {
    // SAFETY: both are 64 bytes, of which all values are valid.
    unsafe { mem::transmute(vector) }
}

#[cfg(test)]
mod tests;
