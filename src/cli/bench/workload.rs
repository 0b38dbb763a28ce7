//! What is measured with: sentences as token ids, in requests of a set shape.

use std::f64::consts::TAU;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::encoder::{EncodeError, Encoder};

/// Plain English, written for this purpose, one sentence a line.
const SENTENCES: &str = include_str!("sentences.txt");

/// Sentences to a request of a file's.
const FILE_REQUEST: usize = 32;

/// Different requests of one shape: more than one, so that no cache knows the answer.
const VARIANTS: usize = 8;

/// One sentence's token ids, special ones included.
pub type Sentence = Vec<u32>;

/// Requests that are sent one after the other, over and over.
pub struct Workload {
    pub shape: Shape,
    pub requests: Vec<Vec<Sentence>>,
}

/// What the requests of a workload look like.
#[derive(Clone, Debug, Serialize)]
pub struct Shape {
    pub name: String,
    /// Sentences of a request; the last one of a file may have fewer.
    pub sentences: usize,
    /// Tokens of a sentence on average, special ones included.
    pub tokens_per_sentence: f64,
}

impl Workload {
    fn new(name: String, requests: Vec<Vec<Sentence>>) -> Workload {
        let lengths = requests.iter().flatten().map(Vec::len);
        let tokens: usize = lengths.clone().sum();
        let shape = Shape {
            name,
            sentences: requests[0].len(),
            tokens_per_sentence: tokens as f64 / lengths.count() as f64,
        };
        Workload { shape, requests }
    }
}

/// The text that is measured on.
pub enum Corpus {
    /// The sentences of this file, cut and joined to set lengths.
    BuiltIn,
    /// A user's own, as they are.
    File(Vec<String>),
}

impl Corpus {
    /// The lines of a file that are not blank.
    pub fn read(file: &Path) -> anyhow::Result<Corpus> {
        let text = fs::read_to_string(file)
            .with_context(|| format!("cannot read the sentences in {}", file.display()))?;
        let lines: Vec<String> =
            text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
        if lines.is_empty() {
            bail!("{} has no sentences: expected one a line", file.display());
        }
        Ok(Corpus::File(lines))
    }

    /// The workloads that a model can take.
    pub fn workloads(&self, encoder: &Encoder) -> anyhow::Result<Vec<Workload>> {
        match self {
            Corpus::File(_) => {
                let sentences = self.sample(encoder)?;
                let requests = sentences.chunks(FILE_REQUEST).map(<[_]>::to_vec).collect();
                Ok(vec![Workload::new("sentences".to_owned(), requests)])
            }
            Corpus::BuiltIn => Ok(set_shapes(&Cutter::new(encoder)?)),
        }
    }

    /// Sentences to compare embeddings on: all of a file's, else one of each length from a single
    /// token beside the special ones up to 256, or to the model's limit.
    pub fn sample(&self, encoder: &Encoder) -> anyhow::Result<Vec<Sentence>> {
        match self {
            Corpus::File(lines) => {
                let ids: Result<_, EncodeError> =
                    lines.iter().map(|line| encoder.token_ids(line)).collect();
                Ok(ids?)
            }
            Corpus::BuiltIn => {
                let cutter = Cutter::new(encoder)?;
                let longest = cutter.longest.min(256);
                Ok((3..=longest).map(|length| cutter.cut(length, 7 * length)).collect())
            }
        }
    }
}

fn set_shapes(cutter: &Cutter) -> Vec<Workload> {
    let mut workloads = Vec::new();
    for (sentences, tokens) in [(1, 16), (32, 16), (8, 128), (1, 512)] {
        if tokens > cutter.longest {
            continue;
        }
        let requests = (0..VARIANTS).map(|variant| {
            let cut = |it: usize| cutter.cut(tokens, (variant * sentences + it) * tokens);
            (0..sentences).map(cut).collect()
        });
        workloads.push(Workload::new(format!("{sentences}×{tokens}"), requests.collect()));
    }
    workloads.push(Workload::new("ragged".to_owned(), ragged(cutter)));
    workloads
}

/// Requests of 64 sentences whose lengths are those of real text: log-normal, the median 20 tokens,
/// the mean 25.
fn ragged(cutter: &Cutter) -> Vec<Vec<Sentence>> {
    const MEDIAN: f64 = 20.0;
    // The mean of a log-normal distribution is median · exp(σ²/2).
    const SIGMA: f64 = 0.668;
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let mut sentence = || {
        // Box and Muller, 1958: a normal variate from two uniform ones.
        let (radius, angle) = (1.0 - random.random::<f64>(), random.random::<f64>());
        let normal = (-2.0 * radius.ln()).sqrt() * (TAU * angle).cos();
        let length = (MEDIAN * (SIGMA * normal).exp()).round() as usize;
        cutter.cut(length.clamp(3, cutter.longest), random.random_range(0..cutter.words.len()))
    };
    (0..VARIANTS).map(|_| (0..64).map(|_| sentence()).collect()).collect()
}

/// Cuts sentences of exact lengths out of the built-in text.
struct Cutter {
    first: u32,
    last: u32,
    /// The whole text without special tokens.
    words: Vec<u32>,
    longest: usize,
}

impl Cutter {
    fn new(encoder: &Encoder) -> anyhow::Result<Cutter> {
        let mut words = Vec::new();
        let (mut first, mut last) = (0, 0);
        for sentence in SENTENCES.lines() {
            // Encoders of sentences put one special token before them and one after.
            if let [before, inside @ .., after] = &*encoder.token_ids(sentence)? {
                (first, last) = (*before, *after);
                words.extend_from_slice(inside);
            }
        }
        let longest = encoder.info().max_seq_length;
        if words.is_empty() || longest < 3 {
            bail!("model {} takes too few tokens to be measured", encoder.info().name);
        }
        Ok(Cutter { first, last, words, longest })
    }

    /// A sentence of `length` ≥ 2 tokens, special ones included, from somewhere in the text.
    fn cut(&self, length: usize, start: usize) -> Sentence {
        let inside = self.words.iter().cycle().skip(start % self.words.len());
        [self.first]
            .into_iter()
            .chain(inside.take(length - 2).copied())
            .chain([self.last])
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cutter(longest: usize) -> Cutter {
        Cutter { first: 101, last: 102, words: (0..1000).collect(), longest }
    }

    #[test]
    fn set_shapes_have_exact_lengths_and_none_that_the_model_does_not_take() {
        let names = |longest| -> Vec<String> {
            set_shapes(&cutter(longest)).into_iter().map(|it| it.shape.name).collect()
        };
        assert_eq!(names(512), ["1×16", "32×16", "8×128", "1×512", "ragged"]);
        assert_eq!(names(256), ["1×16", "32×16", "8×128", "ragged"]);
        assert_eq!(names(12), ["ragged"]);
        let shapes = set_shapes(&cutter(512));
        assert!(shapes[2].requests.iter().all(|request| request.len() == 8));
        assert!(shapes[2].requests.iter().flatten().all(|sentence| sentence.len() == 128));
        assert_ne!(shapes[2].requests[0], shapes[2].requests[1]);
        assert_eq!(shapes[0].requests[1][0][..3], [101, 16, 17]);
    }

    #[test]
    fn ragged_lengths_are_those_of_real_text_and_always_the_same() {
        let requests = ragged(&cutter(256));
        assert_eq!(requests, ragged(&cutter(256)));
        let mut lengths: Vec<usize> = requests.iter().flatten().map(Vec::len).collect();
        lengths.sort_unstable();
        assert_eq!(lengths.len(), 512);
        // The standard error of the median of 512 such lengths is about 0.75 tokens, of the mean 0.7.
        let mean = lengths.iter().sum::<usize>() as f64 / 512.0;
        assert!((17..=23).contains(&lengths[256]), "{}", lengths[256]);
        assert!((22.5..27.5).contains(&mean), "{mean}");
        assert!(lengths[0] >= 3 && lengths[511] <= 256);
    }
}
