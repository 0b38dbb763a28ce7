//! A forward pass over sample tokens: which inputs of a layer's matrices are far wider than others.
//!
//! A trained BERT has a few channels whose values exceed all others many times, whatever the text:
//! random tokens show the same ones as real text does, so neither text nor tokenizer is needed.
//! Source: Dettmers et al., *LLM.int8()* (<https://arxiv.org/abs/2208.07339>), which keeps such
//! channels out of 8-bit arithmetic too.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    checkpoint::Checkpoint,
    config::{Activation, BertConfig},
    weights::{LayerWeights, Linear, Norm},
};
use crate::onnx::error::OnnxError;

/// The sample: more tokens do not change which channels are wide.
const SENTENCES: usize = 8;
const TOKENS: usize = 16;

/// States of the sample's tokens, before the layer that comes next.
pub(super) struct Sample {
    states: Vec<f32>,
    /// Tokens of one sentence.
    tokens: usize,
    heads: usize,
    eps: f32,
    activation: Activation,
}

/// The largest magnitude of each input of a layer's matrices.
pub(super) struct Peaks {
    /// Of the layer's input, which queries, keys and values are made from.
    pub states: Vec<f32>,
    /// Of the states between attention and feed-forward.
    pub middle: Vec<f32>,
    /// Of what the activation gives.
    pub activated: Vec<f32>,
}

impl Sample {
    /// The embeddings of random tokens.
    pub fn embed(checkpoint: &Checkpoint) -> Result<Self, OnnxError> {
        let config = &checkpoint.config;
        let (words, positions) = (checkpoint.words()?, checkpoint.positions()?);
        let segments = checkpoint.segments()?;
        let tokens = TOKENS.min(config.max_position_embeddings);
        let width = config.hidden_size;
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let mut states = Vec::with_capacity(SENTENCES * tokens * width);
        for place in (0..SENTENCES).flat_map(|_| 0..tokens) {
            let word = random.random_range(0..config.vocab_size);
            let word = &words[word * width..][..width];
            let position = &positions[place * width..][..width];
            let sum = word.iter().zip(position).zip(&segments);
            states.extend(sum.map(|((word, position), segment)| word + position + segment));
        }
        let BertConfig { num_attention_heads, layer_norm_eps, hidden_act, .. } = *config;
        let mut sample = Self {
            states,
            tokens,
            heads: num_attention_heads,
            eps: layer_norm_eps,
            activation: hidden_act,
        };
        sample.normalise(&checkpoint.embeddings_norm()?);
        Ok(sample)
    }

    /// Goes through one layer.
    pub fn pass(&mut self, layer: &LayerWeights) -> Peaks {
        let width = layer.query.bias.len();
        let states = peaks(&self.states, width);
        let context = self.attend(layer);
        self.add(&linear(&context, &layer.attention_output));
        self.normalise(&layer.attention_norm);

        let middle = peaks(&self.states, width);
        let mut inner = linear(&self.states, &layer.intermediate);
        inner.iter_mut().for_each(|x| *x = activate(self.activation, *x));
        let activated = peaks(&inner, layer.intermediate.bias.len());
        self.add(&linear(&inner, &layer.output));
        self.normalise(&layer.output_norm);
        Peaks { states, middle, activated }
    }

    /// softmax(q kᵀ / √d) v for every head of every sentence.
    fn attend(&self, layer: &LayerWeights) -> Vec<f32> {
        let width = layer.query.bias.len();
        let head_width = width / self.heads;
        let scale = (head_width as f32).sqrt();
        let [query, key, value] =
            [&layer.query, &layer.key, &layer.value].map(|of| linear(&self.states, of));
        let mut context = vec![0.0; query.len()];
        for (sentence, head) in (0..SENTENCES).flat_map(|s| (0..self.heads).map(move |h| (s, h))) {
            let at = |token: usize| (sentence * self.tokens + token) * width + head * head_width;
            for token in 0..self.tokens {
                let query = &query[at(token)..][..head_width];
                let keys = (0..self.tokens).map(|other| &key[at(other)..][..head_width]);
                let shares = softmax(keys.map(|key| dot(query, key) / scale).collect());
                let context = &mut context[at(token)..][..head_width];
                for (other, share) in shares.into_iter().enumerate() {
                    let value = &value[at(other)..][..head_width];
                    context.iter_mut().zip(value).for_each(|(sum, value)| *sum += share * value);
                }
            }
        }
        context
    }

    fn add(&mut self, output: &[f32]) {
        self.states.iter_mut().zip(output).for_each(|(state, output)| *state += output);
    }

    fn normalise(&mut self, norm: &Norm) {
        let width = norm.gamma.len() as f32;
        for row in self.states.chunks_exact_mut(norm.gamma.len()) {
            let mean = row.iter().sum::<f32>() / width;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / width;
            let scale = 1.0 / (variance + self.eps).sqrt();
            for (x, (gamma, beta)) in row.iter_mut().zip(norm.gamma.iter().zip(&norm.beta)) {
                *x = (*x - mean) * scale * gamma + beta;
            }
        }
    }
}

/// The largest magnitude in each column.
fn peaks(rows: &[f32], width: usize) -> Vec<f32> {
    let mut peaks = vec![0.0_f32; width];
    for row in rows.chunks_exact(width) {
        peaks.iter_mut().zip(row).for_each(|(peak, x)| *peak = peak.max(x.abs()));
    }
    peaks
}

fn linear(rows: &[f32], linear: &Linear) -> Vec<f32> {
    let outputs = linear.bias.len();
    let inputs = linear.weight.len() / outputs;
    let mut results = vec![0.0; rows.len() / inputs * outputs];
    // Each row of the weight is read once, for all tokens.
    let weights = linear.weight.chunks_exact(inputs).zip(&linear.bias);
    for (output, (weight, bias)) in weights.enumerate() {
        for (token, row) in rows.chunks_exact(inputs).enumerate() {
            results[token * outputs + output] = dot(row, weight) + bias;
        }
    }
    results
}

/// In eight sums, which the compiler can keep in one register.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0_f32; 8];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

fn softmax(mut scores: Vec<f32>) -> Vec<f32> {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.iter_mut().for_each(|score| *score = (*score - highest).exp());
    let sum: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
    scores
}

/// GELU in its tanh form stands for both: they differ by less than 0.001.
fn activate(activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::Gelu | Activation::GeluTanh => {
            let inner = (2.0 / std::f32::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        }
        Activation::Relu => x.max(0.0),
    }
}
