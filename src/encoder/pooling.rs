//! Token states to sentence vectors, and the finishing of these. Pure.

use crate::encoder::folder::Pooling;

/// Below this length a vector counts as zero and is left as it is: the `eps` of PyTorch's
/// `torch.nn.functional.normalize`, which sentence-transformers calls.
const SMALLEST_NORM: f32 = 1e-12;

/// Pools the states of one sentence.
///
/// `states` is row-major, tokens × width; rows from `tokens` on are padding and are not read.
/// `into` has `width` elements.
pub fn pool(pooling: Pooling, states: &[f32], tokens: usize, into: &mut [f32]) {
    let width = into.len();
    match pooling {
        Pooling::Cls => into.copy_from_slice(&states[..width]),
        Pooling::Mean => {
            into.fill(0.0);
            for state in states.chunks_exact(width).take(tokens) {
                for (sum, value) in into.iter_mut().zip(state) {
                    *sum += value;
                }
            }
            into.iter_mut().for_each(|sum| *sum /= tokens as f32);
        }
    }
}

/// The Euclidean length, accumulated in f64.
pub fn norm(vector: &[f32]) -> f32 {
    vector.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt() as f32
}

/// Scales a vector to length 1.
pub fn normalize(vector: &mut [f32]) {
    let norm = norm(vector).max(SMALLEST_NORM);
    vector.iter_mut().for_each(|value| *value /= norm);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_never_read() {
        let states = [1.0, 2.0, 3.0, 6.0, f32::NAN, f32::NAN];
        let mut mean = [0.0; 2];
        pool(Pooling::Mean, &states, 2, &mut mean);
        assert_eq!(mean, [2.0, 4.0]);
        let mut first = [0.0; 2];
        pool(Pooling::Cls, &states, 2, &mut first);
        assert_eq!(first, [1.0, 2.0]);
    }

    #[test]
    fn a_normalised_vector_has_length_one_and_a_zero_vector_stays() {
        let mut vector = [3.0, 4.0];
        normalize(&mut vector);
        assert_eq!(vector, [0.6, 0.8]);
        let mut zero = [0.0, 0.0];
        normalize(&mut zero);
        assert_eq!(zero, [0.0, 0.0]);
    }
}
