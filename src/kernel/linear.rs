//! A linear layer: weights packed once, applied to many rows.

use half::bf16;

use super::buffer::Buffer;
use super::product::{BLOCK, LINES, MatrixUnit, Operands, PACKED_BLOCK, ROWS, TILE};
use super::states::States;
use crate::onnx::bert::weights::Linear;

/// A matrix in the matrix unit's order, and a bias.
pub(super) struct PackedLinear {
    strips: Buffer<u16>,
    /// Elements of a strip: 32 outputs of all inputs.
    strip: usize,
    bias: Buffer<f32>,
}

/// The f32 result of one product: 32 rows × 32 columns.
pub(super) type Tile = [f32; ROWS * BLOCK];

impl PackedLinear {
    /// Packs layers that share their `inputs` side by side; each is multiplied by its factor.
    /// Inputs and outputs are multiples of 32.
    pub fn pack(layers: &[(&Linear, f32)], inputs: usize) -> PackedLinear {
        let outputs: usize = layers.iter().map(|(linear, _)| linear.bias.len()).sum();
        let strip = inputs * BLOCK;
        let mut strips = Buffer::zeroed(outputs / BLOCK * strip);
        let mut bias = Buffer::zeroed(outputs);
        let rows = layers.iter().flat_map(|&(linear, factor)| {
            let rows = linear.weight.chunks_exact(inputs);
            rows.zip(&linear.bias).map(move |(row, bias)| (row, bias, factor))
        });
        for (output, (row, row_bias, factor)) in rows.enumerate() {
            bias[output] = row_bias * factor;
            let tile = output % BLOCK / LINES * TILE + output % LINES * 2;
            let strip = &mut strips[output / BLOCK * strip..][..strip];
            for (input, weight) in row.iter().enumerate() {
                let line = input / BLOCK * PACKED_BLOCK + input % BLOCK / 2 * BLOCK + input % 2;
                strip[tile + line] = bf16::from_f32(weight * factor).to_bits();
            }
        }
        PackedLinear { strips, strip, bias }
    }

    /// The biases of a strip.
    #[inline]
    pub fn bias_of(&self, strip: usize) -> &[f32; BLOCK] {
        self.bias.as_chunks().0.get(strip).expect("a strip has 32 biases")
    }

    /// Multiplies `rows` rows; `each` gets every tile of the result with its strip and first row.
    #[inline]
    pub fn tiles(
        &self,
        unit: &impl MatrixUnit,
        states: &States,
        rows: usize,
        mut each: impl FnMut(usize, usize, &Tile),
    ) {
        let mut tile: Tile = [0.0; ROWS * BLOCK];
        self.operands(states, rows, |strip, first, operands| {
            operands.write(unit, &mut tile, BLOCK);
            each(strip, first, &tile);
        });
    }

    /// Adds the product of `rows` rows to `sums`, whose rows lie `stride` elements apart. The bias
    /// is left out.
    #[inline]
    pub fn add(
        &self,
        unit: &impl MatrixUnit,
        states: &States,
        rows: usize,
        (sums, stride): (&mut [f32], usize),
    ) {
        self.operands(states, rows, |strip, first, operands| {
            operands.add(unit, &mut sums[first * stride + strip * BLOCK..], stride);
        });
    }

    /// All products that make up the layer: a strip stays in the cache for all rows.
    #[inline]
    fn operands(
        &self,
        states: &States,
        rows: usize,
        mut each: impl FnMut(usize, usize, Operands<'_>),
    ) {
        let strips = || self.strips.chunks_exact(self.strip);
        let next = strips().skip(1).map(Some).chain([None]);
        for (index, (strip, next)) in strips().zip(next).enumerate() {
            for first in (0..rows).step_by(ROWS) {
                let operands = Operands {
                    a: states.from(0, first),
                    a_stride: states.stride(),
                    b: strip,
                    next_b: next.filter(|_| first == 0),
                    rows: (rows - first).min(ROWS),
                };
                each(index, first, operands);
            }
        }
    }
}

#[cfg(test)]
mod tests;
