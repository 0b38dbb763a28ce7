//! Taking samples: throughput with every worker busy, latency of one request at a time.

use std::future::ready;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};

use crate::encoder::tokenizer::Truncation;
use crate::encoder::{Class, EmbedOptions, Embeddings, EncodeError, Encoder};

use super::workload::{Sentence, Workload};

/// About how long one sample takes, where a few requests do not take longer.
const SAMPLE: Duration = Duration::from_millis(250);

/// Requests in work for each worker: one that runs and one that waits.
const IN_FLIGHT: usize = 2;

/// Requests that each worker does in a sample, at least: the last ones leave some worker without
/// work, which must not weigh much.
const LEAST_REQUESTS: usize = 8;

/// Sends requests to encoders, from the calling thread.
pub struct Driver {
    runtime: tokio::runtime::Runtime,
    interactive_inputs: usize,
}

impl Driver {
    /// Requests of at most `interactive_inputs` sentences are sent as interactive ones, as the
    /// server does.
    pub fn new(interactive_inputs: usize) -> std::io::Result<Driver> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        Ok(Driver { runtime, interactive_inputs })
    }

    /// The model's own embeddings of one request.
    pub fn embed(
        &self,
        encoder: &Encoder,
        request: &[Sentence],
    ) -> Result<Embeddings, EncodeError> {
        self.runtime.block_on(self.request(encoder, request))
    }

    /// Warms up, and finds how many requests fill a sample with so many `workers` busy.
    pub fn calibrate(
        &self,
        encoder: &Encoder,
        workload: &Workload,
        workers: usize,
    ) -> Result<usize, EncodeError> {
        let started = Instant::now();
        let mut requests = 0;
        let warming = workload.requests.iter().cycle().take_while(|_| {
            requests += 1;
            started.elapsed() < SAMPLE
        });
        self.send(encoder, warming, IN_FLIGHT * workers)?;
        let rate = requests as f64 / started.elapsed().as_secs_f64();
        let fitting = (rate * SAMPLE.as_secs_f64()) as usize;
        Ok(fitting.max(LEAST_REQUESTS * workers))
    }

    /// Tokens per second, with two requests in work for each of so many `workers`.
    pub fn throughput(
        &self,
        encoder: &Encoder,
        workload: &Workload,
        workers: usize,
        requests: usize,
    ) -> Result<f64, EncodeError> {
        let started = Instant::now();
        let sent = workload.requests.iter().cycle().take(requests);
        let tokens = self.send(encoder, sent, IN_FLIGHT * workers)?;
        Ok(tokens as f64 / started.elapsed().as_secs_f64())
    }

    /// How long each request took when nothing else was asked for.
    pub fn latencies(
        &self,
        encoder: &Encoder,
        workload: &Workload,
    ) -> Result<Vec<Duration>, EncodeError> {
        const LEAST: usize = 5;
        let started = Instant::now();
        let mut times = Vec::new();
        for request in workload.requests.iter().cycle() {
            let sent = Instant::now();
            self.embed(encoder, request)?;
            times.push(sent.elapsed());
            if times.len() >= LEAST && started.elapsed() >= SAMPLE {
                break;
            }
        }
        Ok(times)
    }

    /// Sends requests, so many at a time; returns their tokens.
    fn send<'a>(
        &self,
        encoder: &Encoder,
        requests: impl Iterator<Item = &'a Vec<Sentence>>,
        at_a_time: usize,
    ) -> Result<usize, EncodeError> {
        let sending = stream::iter(requests)
            .map(|request| self.request(encoder, request))
            .buffer_unordered(at_a_time)
            .try_fold(0, |tokens, embeddings| ready(Ok(tokens + embeddings.tokens)));
        self.runtime.block_on(sending)
    }

    fn request<'e>(
        &self,
        encoder: &'e Encoder,
        request: &[Sentence],
    ) -> impl Future<Output = Result<Embeddings, EncodeError>> + use<'e> {
        let interactive = request.len() <= self.interactive_inputs;
        let options = EmbedOptions {
            class: if interactive { Class::Interactive } else { Class::Bulk },
            truncation: Truncation::Refuse,
            prompted: false,
            normalize: None,
            dimensions: None,
            deadline: None,
        };
        encoder.embed_tokens(request.to_vec(), options)
    }
}
