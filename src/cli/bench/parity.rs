//! How close embeddings are to those in fp32.

use anyhow::bail;
use serde::Serialize;

use crate::encoder::{Embeddings, Encoder};

use super::measure::Driver;
use super::workload::Sentence;

/// Cosines of embeddings to those of the same sentences in fp32.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Parity {
    pub sentences: usize,
    pub min: f64,
    pub mean: f64,
}

/// Sentences of one request: no more than any sensible limit on a request's tokens allows.
const REQUEST: usize = 32;

/// The embeddings of all sentences.
///
/// # Errors
/// The encoder fails, or gives something that is not a finite number.
pub fn embed(
    driver: &Driver,
    encoder: &Encoder,
    sentences: &[Sentence],
) -> anyhow::Result<Vec<Embeddings>> {
    let mut all = Vec::new();
    for request in sentences.chunks(REQUEST) {
        let embeddings = driver.embed(encoder, request)?;
        if !embeddings.values.iter().all(|value| value.is_finite()) {
            bail!("an embedding has elements that are not finite numbers");
        }
        all.push(embeddings);
    }
    Ok(all)
}

/// Compares embeddings of the same sentences.
pub fn compare(found: &[Embeddings], fp32: &[Embeddings]) -> Parity {
    let vectors = found.iter().flat_map(Embeddings::rows);
    let reference = fp32.iter().flat_map(Embeddings::rows);
    let cosines: Vec<f64> = vectors.zip(reference).map(|(a, b)| cosine(a, b)).collect();
    Parity {
        sentences: cosines.len(),
        min: cosines.iter().copied().fold(f64::INFINITY, f64::min),
        mean: cosines.iter().sum::<f64>() / cosines.len() as f64,
    }
}

/// The cosine of the angle between two vectors; 0 where one of them is zero.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    };
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths == 0.0 { 0.0 } else { dot(a, b) / lengths }
}

#[cfg(test)]
mod tests {
    use crate::encoder::Spent;

    use super::*;

    #[test]
    fn parity_is_the_worst_and_the_mean_cosine_whatever_the_lengths() {
        let of = |values: &[f32]| Embeddings {
            values: values.to_vec(),
            width: 2,
            tokens: 0,
            spent: Spent::default(),
        };
        let fp32 = [of(&[1.0, 0.0, 0.0, 2.0]), of(&[3.0, 4.0])];
        let same = compare(&fp32, &fp32);
        assert_eq!(same, Parity { sentences: 3, min: 1.0, mean: 1.0 });
        let other = [of(&[2.0, 0.0, 0.0, 1.0]), of(&[4.0, -3.0])];
        assert_eq!(compare(&other, &fp32), Parity { sentences: 3, min: 0.0, mean: 2.0 / 3.0 });
        assert_eq!(cosine(&[0.0, 0.0], &[1.0, 0.0]), 0.0);
    }
}
