//! The public face: everything that comes from outside is checked here.

use std::sync::Arc;

use super::encoder::{Packed, Work};
use super::error::{BatchError, Unfit};
use super::instructions::{Instructions, Set};
use crate::encoder::folder::Pooling;
use crate::encoder::readout::Readout;
use crate::onnx::bert::config::Activation;
use crate::onnx::bert::weights::{BertShape, BertWeights, LayerWeights, Linear, Norm};

/// The longest sentence, in tokens, that any model may have.
const LONGEST: usize = 512;
const WIDEST: usize = 1024;
const DEEPEST: usize = 24;

/// A BERT with its weights packed for the matrix instructions. Cloning shares them.
#[derive(Clone)]
pub struct FusedEncoder {
    packed: Arc<Packed>,
    instructions: Instructions,
}

/// What one thread works in; grows to what the largest batch needs. Any model may use it.
pub struct Scratch(Work);

impl FusedEncoder {
    /// Packs the weights.
    ///
    /// # Errors
    /// What about the model's shape does not fit, or that the weights do not fit the shape.
    pub fn new(
        weights: &BertWeights,
        pooling: Pooling,
        instructions: Instructions,
    ) -> Result<FusedEncoder, Unfit> {
        check(&weights.shape)?;
        if !has_sizes_of_shape(weights) {
            return Err(Unfit::Weights);
        }
        let packed = Arc::new(Packed::new(weights, pooling));
        Ok(FusedEncoder { packed, instructions })
    }

    /// Elements of an embedding, and of a token's state.
    pub fn width(&self) -> usize {
        self.packed.shape().hidden
    }

    /// What it multiplies with.
    pub fn instructions(&self) -> Instructions {
        self.instructions
    }

    /// Memory for one thread.
    pub fn scratch(&self) -> Scratch {
        Scratch(Work::empty())
    }

    /// Encodes sentences, without normalising.
    ///
    /// `ids` are the tokens of all sentences one after another, `ends` where each sentence ends in
    /// them; `vectors` gets the [`Readout`], row-major: sentences × width, or tokens × width.
    ///
    /// # Errors
    /// An id beyond the vocabulary, a sentence without tokens or with more than the model takes,
    /// slices that do not fit together.
    pub fn encode(
        &self,
        scratch: &mut Scratch,
        ids: &[u32],
        ends: &[usize],
        readout: Readout,
        vectors: &mut [f32],
    ) -> Result<(), BatchError> {
        self.check(ids, ends)?;
        let needed = readout.vectors(ends.len(), ids.len()) * self.width();
        if vectors.len() != needed {
            return Err(BatchError::Room { found: vectors.len(), needed });
        }
        let work = &mut scratch.0;
        match self.instructions.0 {
            Set::Amx(amx, _) => {
                let tiles = amx.configure();
                // SAFETY: `Set::Amx` holds the proof of the AVX-512 features too.
                unsafe { self.packed.encode(&tiles, work, (ids, ends), readout, vectors) }
            }
            // SAFETY: the unit is the proof of the features.
            Set::Avx512Bf16(unit) => unsafe {
                self.packed.encode(&unit, work, (ids, ends), readout, vectors);
            },
        }
        Ok(())
    }

    fn check(&self, ids: &[u32], ends: &[usize]) -> Result<(), BatchError> {
        let shape = self.packed.shape();
        let tokens = ids.len();
        let mut start = 0;
        for (sentence, &end) in ends.iter().enumerate() {
            if end < start || end > tokens {
                return Err(BatchError::End { sentence, end, tokens });
            }
            let longest = shape.max_positions;
            if !(1..=longest).contains(&(end - start)) {
                return Err(BatchError::Length { sentence, tokens: end - start, longest });
            }
            start = end;
        }
        if start != tokens {
            return Err(BatchError::Rest { end: start, tokens });
        }
        let vocabulary = shape.vocabulary;
        if let Some(position) = ids.iter().position(|&id| id as usize >= vocabulary) {
            return Err(BatchError::Token { position, id: ids[position], vocabulary });
        }
        Ok(())
    }
}

fn check(shape: &BertShape) -> Result<(), Unfit> {
    let whole = |size: usize| size > 0 && size.is_multiple_of(32);
    if !whole(shape.hidden) || shape.hidden > WIDEST {
        return Err(Unfit::Hidden(shape.hidden));
    }
    if !whole(shape.intermediate) {
        return Err(Unfit::Intermediate(shape.intermediate));
    }
    let head = shape.hidden / shape.heads.max(1);
    if !matches!(head, 32 | 64) || head * shape.heads != shape.hidden {
        return Err(Unfit::HeadWidth(head));
    }
    if !(1..=DEEPEST).contains(&shape.layers) {
        return Err(Unfit::Layers(shape.layers));
    }
    if !(1..=LONGEST).contains(&shape.max_positions) {
        return Err(Unfit::Positions(shape.max_positions));
    }
    match shape.activation {
        Activation::Gelu => Ok(()),
        Activation::GeluTanh | Activation::Relu => Err(Unfit::Activation),
    }
}

fn has_sizes_of_shape(weights: &BertWeights) -> bool {
    let BertShape { vocabulary, hidden, layers, intermediate, max_positions, .. } = weights.shape;
    let linear = |linear: &Linear, outputs: usize, inputs: usize| {
        linear.weight.len() == outputs * inputs && linear.bias.len() == outputs
    };
    let norm = |norm: &Norm| norm.gamma.len() == hidden && norm.beta.len() == hidden;
    let layer = |layer: &LayerWeights| {
        let square = [&layer.query, &layer.key, &layer.value, &layer.attention_output];
        square.into_iter().all(|matrix| linear(matrix, hidden, hidden))
            && linear(&layer.intermediate, intermediate, hidden)
            && linear(&layer.output, hidden, intermediate)
            && norm(&layer.attention_norm)
            && norm(&layer.output_norm)
    };
    weights.words.len() == vocabulary * hidden
        && weights.positions.len() == max_positions * hidden
        && weights.segment.len() == hidden
        && norm(&weights.embeddings_norm)
        && weights.layers.len() == layers
        && weights.layers.iter().all(layer)
}

#[cfg(test)]
mod tests;
