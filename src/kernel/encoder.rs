//! The encoder itself: packed weights, and the way from token ids to vectors.

use std::arch::x86_64::{__m512, _mm512_add_ps};
use std::ops::Range;

use super::attention::Attention;
use super::buffer::Buffer;
use super::gelu::gelu;
use super::layer_norm::LayerNorm;
use super::linear::PackedLinear;
use super::product::{BLOCK, MatrixUnit, ROWS};
use super::states::States;
use super::vector::{LANES, load, store, store_bf16};
use crate::encoder::folder::Pooling;
use crate::encoder::readout::Readout;
use crate::onnx::bert::weights::{BertShape, BertWeights, LayerWeights, Norm};

/// Tokens that go through the layers together: enough to spread the reading of the weights, few
/// enough for their activations to stay in a core's cache.
const GROUP_TOKENS: usize = 256;

/// Weights in the matrix unit's order. Read-only, to be shared by all threads.
pub(super) struct Packed {
    shape: BertShape,
    pooling: Pooling,
    /// Vectors of all tokens: vocabulary × hidden.
    words: Buffer<f32>,
    /// Vector of each position, the segment's added: positions × hidden.
    positions: Buffer<f32>,
    norm: LayerNorm,
    layers: Vec<Layer>,
}

struct Layer {
    /// Queries, keys and values side by side.
    projection: PackedLinear,
    attention_output: PackedLinear,
    attention_norm: LayerNorm,
    intermediate: PackedLinear,
    output: PackedLinear,
    output_norm: LayerNorm,
}

/// What one thread works in.
pub(super) struct Work {
    /// The residual stream in f32, rows `stride` elements apart.
    residual: Buffer<f32>,
    stride: usize,
    states: States,
    projected: States,
    inner: States,
    attention: Attention,
}

impl Packed {
    pub fn new(weights: &BertWeights, pooling: Pooling) -> Packed {
        let shape = weights.shape;
        let mut positions = copy(&weights.positions);
        for position in positions.chunks_exact_mut(shape.hidden) {
            for (value, segment) in position.iter_mut().zip(&weights.segment) {
                *value += segment;
            }
        }
        Packed {
            shape,
            pooling,
            words: copy(&weights.words),
            positions,
            norm: layer_norm(&weights.embeddings_norm, &vec![0.0; shape.hidden], shape.eps),
            layers: weights.layers.iter().map(|layer| Layer::new(layer, &shape)).collect(),
        }
    }

    pub fn shape(&self) -> &BertShape {
        &self.shape
    }

    /// Encodes sentences, group by group.
    ///
    /// `ids` holds all sentences' tokens, `ends` where each ends; both were checked. `vectors` gets
    /// sentences × hidden, or tokens × hidden, as `readout` has it.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub fn encode(
        &self,
        unit: &impl MatrixUnit,
        work: &mut Work,
        (ids, ends): (&[u32], &[usize]),
        readout: Readout,
        vectors: &mut [f32],
    ) {
        let hidden = self.shape.hidden;
        let (mut start, mut rest, mut room) = (0, ends, vectors);
        while let Some(first) = rest.first() {
            let fits = |end: &&usize| **end - start <= GROUP_TOKENS.max(first - start);
            let sentences = rest.iter().take_while(fits).count();
            let (group, later) = rest.split_at(sentences);
            let end = group[sentences - 1];
            self.forward(unit, work, &ids[start..end], group.iter().map(|end| end - start));
            let size = readout.vectors(sentences, end - start) * hidden;
            let (vectors, others) = room.split_at_mut(size);
            match readout {
                Readout::Sentence => {
                    let mut from = 0;
                    for (end, vector) in group.iter().zip(vectors.chunks_exact_mut(hidden)) {
                        work.pool(self.pooling, from..end - start, vector);
                        from = end - start;
                    }
                }
                Readout::Tokens => work.copy_states(hidden, vectors),
            }
            (start, rest, room) = (end, later, others);
        }
    }

    /// Runs one group; its last states are left in the residual stream. `ends` are those of the
    /// group's sentences within it.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    fn forward(
        &self,
        unit: &impl MatrixUnit,
        work: &mut Work,
        ids: &[u32],
        ends: impl Iterator<Item = usize> + Clone,
    ) {
        let rows = ids.len();
        work.reserve(rows, &self.shape);
        let starts = std::iter::once(0).chain(ends.clone());
        let sentences = starts.zip(ends).map(|(start, end)| start..end);
        self.embed(work, ids, sentences.clone());
        for layer in &self.layers {
            let Work { residual, stride, states, projected, attention, .. } = work;
            layer.projection.tiles(unit, states, rows, |column, first, tile| {
                let bias = layer.projection.bias_of(column);
                for (row, sums) in tile.as_chunks().0[..ROWS.min(rows - first)].iter().enumerate() {
                    let [low, high] = biased(sums, bias);
                    store_bf16(projected.line_mut(column, first + row), low, high);
                }
            });
            for sentence in sentences.clone() {
                attention.apply(unit, projected, sentence, states);
            }
            layer.attention_output.add(unit, states, rows, (residual, *stride));
            work.normalize(&layer.attention_norm, rows);

            let Work { residual, stride, states, inner, .. } = work;
            layer.intermediate.tiles(unit, states, rows, |column, first, tile| {
                let bias = layer.intermediate.bias_of(column);
                for (row, sums) in tile.as_chunks().0[..ROWS.min(rows - first)].iter().enumerate() {
                    let [low, high] = biased(sums, bias);
                    store_bf16(inner.line_mut(column, first + row), gelu(low), gelu(high));
                }
            });
            layer.output.add(unit, inner, rows, (residual, *stride));
            work.normalize(&layer.output_norm, rows);
        }
    }
}

impl Packed {
    /// Sums the vectors of tokens and positions and normalises them.
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn embed(&self, work: &mut Work, ids: &[u32], sentences: impl Iterator<Item = Range<usize>>) {
        let hidden = self.shape.hidden;
        for sentence in sentences {
            for (position, row) in sentence.enumerate() {
                let word = &self.words[ids[row] as usize * hidden..][..hidden];
                let position = &self.positions[position * hidden..][..hidden];
                let sum = &mut work.residual[row * work.stride..][..hidden];
                let parts = word.as_chunks::<LANES>().0.iter().zip(position.as_chunks().0);
                for (sum, (word, position)) in sum.as_chunks_mut().0.iter_mut().zip(parts) {
                    store(sum, _mm512_add_ps(load(word), load(position)));
                }
            }
        }
        work.normalize(&self.norm, ids.len());
    }
}

impl Work {
    /// Room for nothing yet.
    pub fn empty() -> Work {
        Work {
            residual: Buffer::zeroed(0),
            stride: 0,
            states: States::empty(),
            projected: States::empty(),
            inner: States::empty(),
            attention: Attention::empty(),
        }
    }

    /// Makes room for a model's rows, whatever model was here before.
    fn reserve(&mut self, rows: usize, shape: &BertShape) {
        // One vector more: a row of a power of two would crowd the cache's sets.
        self.stride = shape.hidden + LANES;
        self.attention.divide(shape.heads, shape.hidden / shape.heads / BLOCK);
        self.residual.reserve(rows.next_multiple_of(ROWS) * self.stride);
        self.states.reserve(rows, shape.hidden);
        self.projected.reserve(rows, 3 * shape.hidden);
        self.inner.reserve(rows, shape.intermediate);
    }

    /// Normalises the rows of the residual stream, and rounds them for the next matrix product.
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn normalize(&mut self, norm: &LayerNorm, rows: usize) {
        let hidden = norm.gamma.len();
        for (row, values) in self.residual.chunks_exact_mut(self.stride).take(rows).enumerate() {
            let values = &mut values[..hidden];
            norm.apply(values);
            let pairs = values.as_chunks::<LANES>().0.as_chunks::<2>().0;
            for (block, [low, high]) in pairs.iter().enumerate() {
                store_bf16(self.states.line_mut(block, row), load(low), load(high));
            }
        }
    }

    /// The states of the first rows, as many as there is room for: rows × hidden.
    fn copy_states(&self, hidden: usize, into: &mut [f32]) {
        let rows = self.residual.chunks_exact(self.stride);
        for (into, row) in into.chunks_exact_mut(hidden).zip(rows) {
            into.copy_from_slice(&row[..hidden]);
        }
    }

    /// The vector of the sentence in `rows`.
    #[target_feature(enable = "avx512f")]
    fn pool(&self, pooling: Pooling, rows: Range<usize>, vector: &mut [f32]) {
        let hidden = vector.len();
        let mut states = rows.clone().map(|row| &self.residual[row * self.stride..][..hidden]);
        match pooling {
            Pooling::Cls => vector.copy_from_slice(states.next().expect("a sentence has tokens")),
            Pooling::Mean => {
                vector.fill(0.0);
                for state in states {
                    let sums = vector.as_chunks_mut::<LANES>().0.iter_mut();
                    for (sum, value) in sums.zip(state.as_chunks().0) {
                        store(sum, _mm512_add_ps(load(sum), load(value)));
                    }
                }
                vector.iter_mut().for_each(|sum| *sum /= rows.len() as f32);
            }
        }
    }
}

impl Layer {
    fn new(weights: &LayerWeights, shape: &BertShape) -> Layer {
        let hidden = shape.hidden;
        // Folded into the queries: softmax then takes powers of two, and no score is scaled.
        let scale = std::f32::consts::LOG2_E / ((hidden / shape.heads) as f32).sqrt();
        let projection = [(&weights.query, scale), (&weights.key, 1.0), (&weights.value, 1.0)];
        let norm = |norm, bias: &[f32]| layer_norm(norm, bias, shape.eps);
        Layer {
            projection: PackedLinear::pack(&projection, hidden),
            attention_output: PackedLinear::pack(&[(&weights.attention_output, 1.0)], hidden),
            attention_norm: norm(&weights.attention_norm, &weights.attention_output.bias),
            intermediate: PackedLinear::pack(&[(&weights.intermediate, 1.0)], hidden),
            output: PackedLinear::pack(&[(&weights.output, 1.0)], shape.intermediate),
            output_norm: norm(&weights.output_norm, &weights.output.bias),
        }
    }
}

fn layer_norm(norm: &Norm, bias: &[f32], eps: f32) -> LayerNorm {
    LayerNorm { bias: copy(bias), gamma: copy(&norm.gamma), beta: copy(&norm.beta), eps }
}

fn copy(values: &[f32]) -> Buffer<f32> {
    let mut buffer = Buffer::zeroed(values.len());
    buffer.copy_from_slice(values);
    buffer
}

#[inline]
#[target_feature(enable = "avx512f")]
fn biased(sums: &[f32; BLOCK], bias: &[f32; BLOCK]) -> [__m512; 2] {
    let [low, high] = halves(sums);
    let [low_bias, high_bias] = halves(bias);
    [_mm512_add_ps(load(low), load(low_bias)), _mm512_add_ps(load(high), load(high_bias))]
}

#[inline]
fn halves(values: &[f32; BLOCK]) -> [&[f32; LANES]; 2] {
    let (low, high) = values.as_chunks::<LANES>().0.split_at(1);
    [&low[0], &high[0]]
}

#[cfg(test)]
mod tests;
