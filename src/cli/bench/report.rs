//! What the bench found. As JSON, this is what `--json` prints; docs/benchmarking.md explains it.

use serde::Serialize;

use crate::config::Precision;
use crate::encoder::ModelInfo;

use super::machine::Machine;
use super::parity::Parity;
use super::spread::{Latency, Spread};
use super::workload::Shape;

#[derive(Serialize)]
pub struct Report {
    /// Polyhead's version.
    pub polyhead: &'static str,
    /// ONNX Runtime's own description of its build.
    pub runtime: &'static str,
    pub machine: Machine,
    /// Samples of each figure.
    pub repeats: usize,
    pub models: Vec<Model>,
}

/// What the machine can do at most, in floating-point operations per second.
#[derive(Serialize)]
pub struct Peak {
    pub arithmetic: &'static str,
    /// The precision whose shares are shares of this.
    pub precision: &'static str,
    pub one_worker: Spread,
    /// Of as many threads at once as there are workers.
    pub all_workers: Spread,
}

#[derive(Serialize)]
pub struct Model {
    pub name: String,
    /// Operations of a token in linear layers: two for each element of their weights. `None` where
    /// the model's `config.json` does not tell its sizes.
    pub linear_flops_per_token: Option<usize>,
    /// Measured in the same rounds as the model.
    pub peaks: Vec<Peak>,
    pub precisions: Vec<Row>,
}

/// A precision of a model: measured, or why not.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Row {
    Measured(Box<Measured>),
    Unavailable { precision: Precision, unavailable: String },
}

impl Row {
    pub fn measured(&self) -> Option<&Measured> {
        match self {
            Row::Measured(measured) => Some(measured),
            Row::Unavailable { .. } => None,
        }
    }
}

#[derive(Serialize)]
pub struct Measured {
    pub precision: Precision,
    pub info: ModelInfo,
    /// Workers of `all_workers`.
    pub workers: usize,
    /// `None` for fp32 itself and where the model cannot be had in fp32.
    pub cosine_to_fp32: Option<Parity>,
    pub shapes: Vec<Figures>,
}

/// The figures of one shape.
#[derive(Serialize)]
pub struct Figures {
    #[serde(flatten)]
    pub shape: Shape,
    pub one_worker: Throughput,
    pub all_workers: Throughput,
    /// Of one request at a time, with all workers.
    pub latency: Latency,
}

#[derive(Serialize)]
pub struct Throughput {
    /// Real tokens, special ones included, padding not.
    pub tokens_per_second: Spread,
    /// Of the greatest sample of the peak; `None` where no peak of this precision can be measured.
    pub share_of_peak: Option<f64>,
}

impl Throughput {
    /// `flops_per_token` over `peak`, both where they are known, give the share.
    pub fn new(samples: &[f64], flops_per_token: Option<usize>, peak: Option<Spread>) -> Self {
        let tokens_per_second = Spread::of(samples);
        let share =
            |(flops, peak): (usize, Spread)| tokens_per_second.median * flops as f64 / peak.max;
        Self { tokens_per_second, share_of_peak: flops_per_token.zip(peak).map(share) }
    }
}
