//! The order of the measurements: all precisions of a model take turns, round by round, so that
//! whatever else the machine does hits them alike.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::app::model_spec;
use crate::config::{Config, Precision};
use crate::encoder::session::Runtime;
use crate::encoder::{LoadError, ModelSpec, Models};
use crate::onnx::GraphPrecision;

use super::contender::{Contender, Loaded};
use super::flops::linear_flops_per_token;
use super::measure::Driver;
use super::parity::{self, Parity};
use super::peak::{self, Arithmetic};
use super::report::{Figures, Measured, Model, Peak, Row, Throughput};
use super::spread::{Latency, Spread};
use super::workload::{Corpus, Workload};

/// What is to be measured, and with what.
pub struct Plan<'a> {
    pub config: &'a Config,
    pub runtime: &'a Runtime,
    pub driver: Driver,
    pub corpus: Corpus,
    /// In the order of the report.
    pub precisions: Vec<Precision>,
    /// Samples of each figure, at least 1.
    pub repeats: usize,
}

impl Plan<'_> {
    /// Measures one model of the configuration in every precision that can be had.
    ///
    /// # Errors
    /// The model cannot be read at all, or fails while it runs.
    pub fn measure(&self, name: &str) -> anyhow::Result<Model> {
        let progress = progress(name);
        let spec = model_spec(name, &self.config.models[name]);
        let loaded: Vec<(Precision, Result<Contender, LoadError>)> = self
            .precisions
            .iter()
            .map(|&precision| {
                progress.set_message(format!("{}: loading", precision.as_str()));
                (precision, self.load(&spec, precision))
            })
            .collect();
        let contenders: Vec<&Contender> =
            loaded.iter().filter_map(|it| it.1.as_ref().ok()).collect();
        if contenders.is_empty() {
            // What is wrong with the model itself is no matter of precision.
            Models::read(&[ModelSpec { precision: Precision::Auto, ..spec.clone() }])?;
        }
        let parities = self.parities(&spec, &contenders, &progress)?;
        let (samples, peaks) = self.samples(&contenders, &progress)?;
        progress.finish_and_clear();

        let flops = linear_flops_per_token(&spec.path);
        let mut measured = contenders.iter().zip(parities).zip(samples).map(
            |((contender, cosine_to_fp32), samples)| {
                let info = contender.all.encoder().info().clone();
                let peak = peaks.iter().find(|peak| peak.precision == info.precision.as_str());
                Measured {
                    precision: contender.precision,
                    workers: contender.all.workers,
                    info,
                    cosine_to_fp32,
                    shapes: samples.into_iter().map(|it| it.figures(flops, peak)).collect(),
                }
            },
        );
        let mut row = |(precision, loaded): &(Precision, Result<Contender, LoadError>)| match loaded
        {
            Ok(_) => {
                let measured = measured.next().expect("whatever was loaded was measured");
                Row::Measured(Box::new(measured))
            }
            Err(error) => {
                Row::Unavailable { precision: *precision, unavailable: error.to_string() }
            }
        };
        let precisions = loaded.iter().map(&mut row).collect();
        Ok(Model { name: name.to_owned(), linear_flops_per_token: flops, peaks, precisions })
    }

    fn load(&self, spec: &ModelSpec, precision: Precision) -> Result<Contender, LoadError> {
        let spec = ModelSpec { precision, ..spec.clone() };
        Contender::load(self.runtime, self.config, &spec)
    }

    /// How close each contender is to fp32.
    fn parities(
        &self,
        spec: &ModelSpec,
        contenders: &[&Contender],
        progress: &ProgressBar,
    ) -> anyhow::Result<Vec<Option<Parity>>> {
        let is_fp32 = |it: &&&Contender| it.all.encoder().info().precision == GraphPrecision::Fp32;
        if contenders.iter().all(|it| is_fp32(&it)) {
            return Ok(vec![None; contenders.len()]);
        }
        progress.set_message("comparing with fp32");
        let measured = contenders.iter().find(is_fp32).copied();
        // The reference is needed although nobody may want it measured.
        let unmeasured = match measured {
            Some(_) => None,
            None => self.load(spec, Precision::Fp32).ok(),
        };
        let Some(fp32) = measured.or(unmeasured.as_ref()) else {
            return Ok(vec![None; contenders.len()]);
        };
        let embed = |of: &Loaded| -> anyhow::Result<_> {
            let sentences = self.corpus.sample(of.encoder())?;
            parity::embed(&self.driver, of.encoder(), &sentences)
        };
        let reference = embed(&fp32.all)?;
        let parity = |it: &&Contender| match is_fp32(&it) {
            true => Ok(None),
            false => Ok(Some(parity::compare(&embed(&it.all)?, &reference))),
        };
        contenders.iter().map(parity).collect()
    }

    /// Samples of every shape for each contender, and of the machine's peaks in between.
    fn samples(
        &self,
        contenders: &[&Contender],
        progress: &ProgressBar,
    ) -> anyhow::Result<(Vec<Vec<Samples>>, Vec<Peak>)> {
        let of = |it: &&Contender| -> anyhow::Result<Vec<Samples>> {
            let workloads = self.corpus.workloads(it.all.encoder())?;
            Ok(workloads.into_iter().map(Samples::of).collect())
        };
        let mut all: Vec<Vec<Samples>> = contenders.iter().map(of).collect::<Result<_, _>>()?;
        let mut peaks: Vec<PeakSamples> = peak::measurable().map(PeakSamples::of).collect();
        let figures = all.iter().map(Vec::len).sum::<usize>();
        progress.set_length(figures as u64 * (1 + self.repeats as u64));
        for round in 0..=self.repeats {
            let workers = self.config.runtime.worker_threads().get();
            if round > 0 {
                peaks.iter_mut().for_each(|peak| peak.take(workers));
            }
            // All have the same shapes: they are one model's.
            for shape in 0..all.first().map_or(0, Vec::len) {
                for (contender, samples) in contenders.iter().zip(&mut all) {
                    let samples = &mut samples[shape];
                    let precision = contender.precision.as_str();
                    progress.set_message(format!("{precision}, {}", samples.workload.shape.name));
                    match round {
                        0 => samples.warm_up(&self.driver, contender)?,
                        _ => samples.take(&self.driver, contender)?,
                    }
                    progress.inc(1);
                }
            }
        }
        Ok((all, peaks.into_iter().map(PeakSamples::peak).collect()))
    }
}

/// What has been measured of a shape so far.
struct Samples {
    workload: Workload,
    /// Requests of a throughput sample, of one worker and of all.
    requests: [usize; 2],
    one_worker: Vec<f64>,
    all_workers: Vec<f64>,
    latencies: Vec<Duration>,
}

impl Samples {
    fn of(workload: Workload) -> Samples {
        Samples {
            workload,
            requests: [0; 2],
            one_worker: Vec::new(),
            all_workers: Vec::new(),
            latencies: Vec::new(),
        }
    }

    fn warm_up(&mut self, driver: &Driver, contender: &Contender) -> anyhow::Result<()> {
        for (requests, of) in self.requests.iter_mut().zip([&contender.one, &contender.all]) {
            *requests = driver.calibrate(of.encoder(), &self.workload, of.workers)?;
        }
        Ok(())
    }

    fn take(&mut self, driver: &Driver, contender: &Contender) -> anyhow::Result<()> {
        let workload = &self.workload;
        let throughput = |of: &Loaded, requests: usize| {
            driver.throughput(of.encoder(), workload, of.workers, requests)
        };
        self.one_worker.push(throughput(&contender.one, self.requests[0])?);
        self.all_workers.push(throughput(&contender.all, self.requests[1])?);
        self.latencies.extend(driver.latencies(contender.all.encoder(), workload)?);
        Ok(())
    }

    fn figures(self, flops: Option<usize>, peak: Option<&Peak>) -> Figures {
        let (one, all) = (peak.map(|it| it.one_worker), peak.map(|it| it.all_workers));
        Figures {
            shape: self.workload.shape,
            one_worker: Throughput::new(&self.one_worker, flops, one),
            all_workers: Throughput::new(&self.all_workers, flops, all),
            latency: Latency::of(&self.latencies),
        }
    }
}

/// What has been measured of a peak so far.
struct PeakSamples {
    arithmetic: Arithmetic,
    one_worker: Vec<f64>,
    all_workers: Vec<f64>,
}

impl PeakSamples {
    fn of(arithmetic: Arithmetic) -> PeakSamples {
        PeakSamples { arithmetic, one_worker: Vec::new(), all_workers: Vec::new() }
    }

    fn take(&mut self, workers: usize) {
        self.one_worker.push(self.arithmetic.sample(1));
        self.all_workers.push(self.arithmetic.sample(workers));
    }

    fn peak(self) -> Peak {
        Peak {
            arithmetic: self.arithmetic.name,
            precision: self.arithmetic.precision.as_str(),
            one_worker: Spread::of(&self.one_worker),
            all_workers: Spread::of(&self.all_workers),
        }
    }
}

/// A bar on standard error; none where that is no terminal.
fn progress(model: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {percent:>3}% {msg:20}")
        .expect("the template is well-formed");
    ProgressBar::new(0).with_style(style).with_prefix(model.to_owned())
}
