//! A BERT encoder as plain as it can be, and random models: what the fused encoder is tested against.
//!
//! Textbook loops over rows of numbers; nothing is packed, blocked or padded. `rounded` states in
//! what form a matrix operand is multiplied: [`exactly`], or [`to_bf16`] as the fused encoder does,
//! at the same places, so that only the order of sums is left between the two.

use half::bf16;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::states::States;
use crate::encoder::folder::Pooling;
use crate::onnx::bert::config::Activation;
use crate::onnx::bert::weights::{BertShape, BertWeights, LayerWeights, Linear, Norm};

/// How a matrix operand is rounded.
pub type Rounding = fn(f32) -> f32;

/// One row for each token.
pub type Rows = Vec<Vec<f32>>;

/// A quiet NaN in bf16: what no result may depend on.
pub const NAN: u16 = 0x7fc1;

pub fn exactly(value: f32) -> f32 {
    value
}

/// To nearest, ties to even.
pub fn to_bf16(value: f32) -> f32 {
    bf16::from_f32(value).to_f32()
}

/// The embedding of one sentence, not normalised.
pub fn encode(weights: &BertWeights, pooling: Pooling, ids: &[u32], rounded: Rounding) -> Vec<f32> {
    pool(pooling, &token_states(weights, ids, rounded))
}

/// The embedding that the states of a sentence's tokens make.
pub fn pool(pooling: Pooling, states: &Rows) -> Vec<f32> {
    match pooling {
        Pooling::Cls => states[0].clone(),
        Pooling::Mean => {
            let sum = |i| states.iter().map(|state| f64::from(state[i])).sum::<f64>();
            (0..states[0].len()).map(|i| (sum(i) / states.len() as f64) as f32).collect()
        }
    }
}

/// What the last layer makes of each token.
pub fn token_states(weights: &BertWeights, ids: &[u32], rounded: Rounding) -> Rows {
    let BertShape { hidden, heads, eps, .. } = weights.shape;
    let mut states: Rows = Vec::new();
    for (position, &id) in ids.iter().enumerate() {
        let word = &weights.words[id as usize * hidden..][..hidden];
        let position = &weights.positions[position * hidden..][..hidden];
        let sum = (0..hidden).map(|i| word[i] + (position[i] + weights.segment[i])).collect();
        states.push(sum);
    }
    normalize(&mut states, &weights.embeddings_norm, eps);
    for layer in &weights.layers {
        // Scores in powers of two: the factor is rounded together with the weights.
        let scale = std::f32::consts::LOG2_E / ((hidden / heads) as f32).sqrt();
        let inputs = round(&states, rounded);
        let queries = round(&linear(&inputs, &layer.query, scale, rounded), rounded);
        let keys = round(&linear(&inputs, &layer.key, 1.0, rounded), rounded);
        let values = round(&linear(&inputs, &layer.value, 1.0, rounded), rounded);
        let mut context = vec![Vec::new(); ids.len()];
        for head in 0..heads {
            let columns = head * hidden / heads..(head + 1) * hidden / heads;
            let of = |rows: &Rows| -> Rows {
                rows.iter().map(|row| row[columns.clone()].to_vec()).collect()
            };
            let (keys, values) = (of(&keys), of(&values));
            for (query, context) in of(&queries).iter().zip(&mut context) {
                let attended = attend(query, &keys, &values, rounded);
                context.extend(attended.iter().map(|&value| value as f32));
            }
        }
        let context = round(&context, rounded);
        add(&mut states, &linear(&context, &layer.attention_output, 1.0, rounded));
        normalize(&mut states, &layer.attention_norm, eps);

        let mut inner = linear(&round(&states, rounded), &layer.intermediate, 1.0, rounded);
        inner.iter_mut().flatten().for_each(|value| *value = gelu(f64::from(*value)) as f32);
        add(&mut states, &linear(&round(&inner, rounded), &layer.output, 1.0, rounded));
        normalize(&mut states, &layer.output_norm, eps);
    }
    states
}

/// factor · (weight · x + bias) for each x.
pub fn linear(inputs: &Rows, layer: &Linear, factor: f32, rounded: Rounding) -> Rows {
    let mut outputs = vec![vec![0.0; layer.bias.len()]; inputs.len()];
    let width = layer.weight.len() / layer.bias.len();
    for (output, row) in layer.weight.chunks_exact(width).enumerate() {
        let row: Vec<f32> = row.iter().map(|weight| rounded(weight * factor)).collect();
        for (input, outputs) in inputs.iter().zip(&mut outputs) {
            outputs[output] = dot(input, &row) + layer.bias[output] * factor;
        }
    }
    outputs
}

/// softmax₂(query · keys) · values: powers of 2 in place of e.
pub fn attend(query: &[f32], keys: &Rows, values: &Rows, rounded: Rounding) -> Vec<f64> {
    let score = |key: &Vec<f32>| -> f64 {
        query.iter().zip(key).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum()
    };
    let scores: Vec<f64> = keys.iter().map(score).collect();
    let powers = softmax(&scores);
    let sum: f64 = powers.iter().sum();
    let mut attended = vec![0.0; values[0].len()];
    for (power, value) in powers.iter().zip(values) {
        let power = f64::from(rounded(*power as f32));
        attended.iter_mut().zip(value).for_each(|(sum, &value)| *sum += power * f64::from(value));
    }
    attended.iter_mut().for_each(|value| *value /= sum);
    attended
}

/// 2^(score - largest score).
pub fn softmax(scores: &[f64]) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    scores.iter().map(|score| (score - largest).exp2()).collect()
}

/// (x − mean) / √(variance + eps) · gamma + beta.
pub fn layer_norm(row: &[f64], norm: &Norm, eps: f32) -> Vec<f64> {
    let elements = row.len() as f64;
    let mean = row.iter().sum::<f64>() / elements;
    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / elements;
    let deviation = (variance + f64::from(eps)).sqrt();
    let affine = norm.gamma.iter().zip(&norm.beta);
    let affine = affine.map(|(&gamma, &beta)| (f64::from(gamma), f64::from(beta)));
    row.iter().zip(affine).map(|(x, (gamma, beta))| (x - mean) / deviation * gamma + beta).collect()
}

/// x · Φ(x); Φ by its Taylor series about 0, which converges for every x.
pub fn gelu(x: f64) -> f64 {
    if x.abs() > 6.5 {
        // Φ(-6.5) is 4e-11.
        return x.max(0.0);
    }
    let (mut term, mut sum, mut n) = (x, x, 1.0);
    while term.abs() > 1e-13 {
        term *= -x * x / (2.0 * n);
        sum += term / (2.0 * n + 1.0);
        n += 1.0;
    }
    x * (0.5 + sum / (2.0 * std::f64::consts::PI).sqrt())
}

/// The cosine of the angle between two vectors; NaN where one of them holds NaN.
pub fn cosine(left: &[f32], right: &[f32]) -> f64 {
    assert_eq!(left.len(), right.len());
    let product = |left: &[f32], right: &[f32]| -> f64 {
        left.iter().zip(right).map(|(&l, &r)| f64::from(l) * f64::from(r)).sum()
    };
    product(left, right) / (product(left, left) * product(right, right)).sqrt()
}

/// The largest difference between two vectors; NaN where one of them holds NaN.
pub fn largest_error(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    let errors = left.iter().zip(right).map(|(left, right)| (left - right).abs());
    errors.fold(0.0, |largest, error| if error <= largest { largest } else { error })
}

/// Numbers that are the same in every run.
pub struct Random(ChaCha8Rng);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Uniform with this standard deviation.
    pub fn number(&mut self, deviation: f32) -> f32 {
        // From -√3 to √3 the deviation is 1.
        (self.0.random::<f32>() - 0.5) * 12_f32.sqrt() * deviation
    }

    pub fn numbers(&mut self, count: usize, deviation: f32) -> Vec<f32> {
        (0..count).map(|_| self.number(deviation)).collect()
    }

    pub fn rows(&mut self, rows: usize, columns: usize, deviation: f32) -> Rows {
        (0..rows).map(|_| self.numbers(columns, deviation)).collect()
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }

    pub fn linear(&mut self, outputs: usize, inputs: usize, deviation: f32) -> Linear {
        let weight = self.numbers(outputs * inputs, deviation / (inputs as f32).sqrt());
        Linear { weight, bias: self.numbers(outputs, 0.1) }
    }

    pub fn norm(&mut self, width: usize) -> Norm {
        let gamma = self.numbers(width, 0.2).into_iter().map(|gamma| 1.0 + gamma).collect();
        Norm { gamma, beta: self.numbers(width, 0.2) }
    }

    pub fn sentence(&mut self, tokens: usize, vocabulary: usize) -> Vec<u32> {
        (0..tokens).map(|_| self.below(vocabulary) as u32).collect()
    }

    /// A model whose numbers are as large as those of trained ones: attention is far from uniform
    /// (scores have a deviation of 2), each layer changes the residual stream by about its own size.
    pub fn model(&mut self, shape: BertShape) -> BertWeights {
        let hidden = shape.hidden;
        BertWeights {
            shape,
            words: self.numbers(shape.vocabulary * hidden, 0.05),
            positions: self.numbers(shape.max_positions * hidden, 0.02),
            segment: self.numbers(hidden, 0.02),
            embeddings_norm: self.norm(hidden),
            layers: (0..shape.layers).map(|_| self.layer(&shape)).collect(),
        }
    }

    fn layer(&mut self, shape: &BertShape) -> LayerWeights {
        let hidden = shape.hidden;
        LayerWeights {
            query: self.linear(hidden, hidden, 1.4),
            key: self.linear(hidden, hidden, 1.4),
            value: self.linear(hidden, hidden, 1.0),
            attention_output: self.linear(hidden, hidden, 1.0),
            attention_norm: self.norm(hidden),
            intermediate: self.linear(shape.intermediate, hidden, 1.0),
            output: self.linear(hidden, shape.intermediate, 1.5),
            output_norm: self.norm(hidden),
        }
    }
}

/// A small vocabulary, 64 positions, GELU.
pub fn shape(hidden: usize, heads: usize, layers: usize, intermediate: usize) -> BertShape {
    BertShape {
        vocabulary: 50,
        hidden,
        layers,
        heads,
        intermediate,
        max_positions: 64,
        eps: 1e-12,
        activation: Activation::Gelu,
    }
}

/// The rows from row `first` of states on; NaN before them, after them and between.
pub fn states(rows: &Rows, first: usize) -> States {
    let (columns, end) = (rows[0].len(), first + rows.len());
    let mut states = States::empty();
    states.reserve(end, columns);
    for block in 0..columns / 32 {
        for row in 0..states.stride() / 32 {
            *states.line_mut(block, row) = [NAN; 32];
        }
        for (row, values) in (first..).zip(rows) {
            let line = std::array::from_fn(|i| bf16::from_f32(values[block * 32 + i]).to_bits());
            *states.line_mut(block, row) = line;
        }
    }
    states
}

/// Rounds all rows.
pub fn round(rows: &Rows, rounded: Rounding) -> Rows {
    rows.iter().map(|row| row.iter().map(|&value| rounded(value)).collect()).collect()
}

fn add(states: &mut Rows, rows: &Rows) {
    let states = states.iter_mut().flatten().zip(rows.iter().flatten());
    states.for_each(|(state, value)| *state += value);
}

fn normalize(states: &mut Rows, norm: &Norm, eps: f32) {
    for state in states {
        let row: Vec<f64> = state.iter().copied().map(f64::from).collect();
        *state = layer_norm(&row, norm, eps).iter().map(|&value| value as f32).collect();
    }
}

/// Eight sums side by side: one alone would wait for each addition.
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    for (left, right) in left.as_chunks::<8>().0.iter().zip(right.as_chunks::<8>().0) {
        for i in 0..8 {
            sums[i] += left[i] * right[i];
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde::Deserialize;

    use super::*;

    /// What PyTorch computed, as `tests/fixtures/tiny-bert/make.py` wrote it.
    #[derive(Deserialize)]
    struct Expected {
        token_ids: Vec<Vec<u32>>,
        embeddings: Vec<Vec<f32>>,
    }

    #[test]
    fn the_reference_computes_what_pytorch_computes() {
        for (name, pooling) in [("cls", Pooling::Cls), ("mean-normalized", Pooling::Mean)] {
            let folder = Path::new("tests/fixtures/tiny-bert").join(name);
            let read = |file: &str| std::fs::read(folder.join(file)).unwrap();
            let weights =
                BertWeights::from_safetensors(&read("config.json"), &read("model.safetensors"));
            let expected: Expected = serde_json::from_slice(&read("expected.json")).unwrap();
            for (ids, expected) in expected.token_ids.iter().zip(&expected.embeddings) {
                let mut found = encode(weights.as_ref().unwrap(), pooling, ids, exactly);
                if pooling == Pooling::Mean {
                    crate::encoder::pooling::normalize(&mut found);
                }
                // float32 sums in another order than PyTorch's, of numbers up to 4.
                let error = largest_error(&found, expected);
                assert!(error <= 1e-5, "{name}, {} tokens: {error}", ids.len());
            }
        }
    }
}
