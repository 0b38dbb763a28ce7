//! Worker threads: each owns a session of every model and runs one micro-batch after another. The
//! models' weights are held once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use tokio::sync::mpsc;

use crate::encoder::batch::RaggedBatch;
use crate::encoder::batcher::Batcher;
use crate::encoder::form::Form;
use crate::encoder::info::TokenOutput;
use crate::encoder::micro_batch::MicroBatch;
use crate::encoder::model::Model;
use crate::encoder::readout::Readout;
use crate::encoder::session::{Device, OutputKind, Runtime, Session, SessionError};
use crate::encoder::tokenizer::{self, Truncation};
use crate::encoder::{EncodeError, LoadError, pooling};
use crate::metrics::{Metrics, ModelLabel};

/// Embeddings whose lengths are all this close to 1 count as normalised by the graph itself.
const UNIT_LENGTH_TOLERANCE: f32 = 1e-3;

/// What a first forward pass shows of a model.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    pub width: usize,
    pub kind: OutputKind,
    pub output: String,
    pub token_states: Option<TokenOutput>,
    pub token_type_ids: bool,
    /// Whether the graph's own output already has length 1.
    pub normalized_in_graph: bool,
    pub device: Device,
}

/// What every worker needs to start.
#[derive(Clone)]
pub(crate) struct Context {
    pub runtime: Runtime,
    pub models: Arc<[Model]>,
    pub batcher: Arc<Batcher>,
    pub metrics: Arc<Metrics>,
    /// Where a worker that dies says why.
    pub faults: mpsc::UnboundedSender<String>,
}

/// Starts `count` workers, each with sessions that have run every model on real sentences.
///
/// The sessions are opened one after another: meanwhile ONNX Runtime holds a graph's weights twice.
pub(crate) fn start(
    count: usize,
    context: &Context,
    forms: Vec<Form>,
) -> Result<(Vec<JoinHandle<()>>, Vec<Probe>), LoadError> {
    let mut workers: Vec<Worker> = (0..count).map(|_| Worker::default()).collect();
    let mut probes = Vec::with_capacity(forms.len());
    for (model, form) in context.models.iter().zip(forms) {
        let sessions =
            form.open(&context.runtime, model, count).map_err(|source| model.failed(source))?;
        let mut seen = None;
        for (worker, mut session) in workers.iter_mut().zip(sessions) {
            let is_first = seen.is_none();
            seen = Some(probe(&mut session, model)?);
            // All sessions run the same graph: what one of them can, the others can too.
            if is_first {
                reach_limits(&mut session, model)?;
            }
            worker.sessions.push(session);
        }
        probes.push(seen.expect("there is at least one worker"));
    }
    let mut threads = Vec::with_capacity(count);
    for (number, worker) in workers.into_iter().enumerate() {
        let thread = Builder::new().name(format!("worker-{number}")).spawn({
            let context = context.clone();
            move || worker.run_supervised(&context)
        });
        match thread {
            Ok(thread) => threads.push(thread),
            Err(error) => return Err(stop(context, threads, LoadError::Thread(error))),
        }
    }
    Ok((threads, probes))
}

/// Ends the workers that did start, so that none outlives a failed start.
fn stop(context: &Context, threads: Vec<JoinHandle<()>>, error: LoadError) -> LoadError {
    context.batcher.abort();
    for thread in threads {
        // A panic has already been reported as the error.
        let _ = thread.join();
    }
    error
}

#[derive(Default)]
struct Worker {
    /// One of every model.
    sessions: Vec<Session>,
    batch: RaggedBatch,
}

impl Worker {
    /// Works until the queue is closed. A panic ends the worker, fails what is queued and is
    /// reported: callers get an answer and the process can end with a reason.
    fn run_supervised(mut self, context: &Context) {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            while let Some(batch) = context.batcher.next() {
                self.encode(&batch, context);
            }
        }));
        if outcome.is_err() {
            context.batcher.abort();
            let thread = std::thread::current();
            let name = thread.name().unwrap_or("worker");
            // The receiver is gone only when the process is ending anyway.
            let _ = context.faults.send(format!("{name} panicked"));
        }
    }

    fn encode(&mut self, batch: &MicroBatch, context: &Context) {
        let model = &context.models[batch.model];
        let metrics = &context.metrics;
        let label = ModelLabel { model: model.name.clone() };
        let started = Instant::now();
        let queue_duration = metrics.queue_duration.get_or_create_owned(&label);
        for item in &batch.items {
            let waited = started.duration_since(item.queued_at);
            queue_duration.observe(waited.as_secs_f64());
        }

        // Counted beforehand: whoever has an answer finds its tokens there.
        let (tokens, padded) = (batch.tokens(), batch.padded_tokens());
        metrics.batch_tokens.get_or_create(&label).observe(padded as f64);
        metrics.tokens.get_or_create(&label).inc_by(tokens as u64);
        metrics.padding_tokens.get_or_create(&label).inc_by((padded - tokens) as u64);

        self.batch.clear();
        batch.items.iter().for_each(|item| self.batch.push(&item.ids));
        let pooling = model.folder.pooling;
        let delivered = self.sessions[batch.model].run(&self.batch, batch.readout, |output| {
            for (sentence, item) in batch.items.iter().enumerate() {
                let vectors = output.vectors(sentence, pooling);
                match vectors.iter().all(|value| value.is_finite()) {
                    true => item.deliver(&vectors, started),
                    false => item.fail(EncodeError::NotFinite),
                }
            }
        });
        if let Err(error) = delivered {
            tracing::error!(model = model.name, %error, "a micro-batch failed");
            batch.items.iter().for_each(|item| item.fail(EncodeError::Inference));
        }

        let time = started.elapsed();
        context.batcher.finished(batch, time);
        metrics.inference_duration.get_or_create(&label).observe(time.as_secs_f64());
    }
}

/// The longest sentence that [`reach_limits`] runs: a table of positions has seldom more, and
/// attention takes the square of it in memory.
const LONGEST_TRIAL: usize = 512;

/// Runs the shortest sentence that there can be, and one with the most tokens and the greatest ids
/// that a request may have. The graph's tables may be smaller than the files beside it say; else only
/// a user's request would show it.
fn reach_limits(session: &mut Session, model: &Model) -> Result<(), LoadError> {
    let padding = model.folder.pad_token_id;
    let last = model.tokenizer.vocabulary_size().saturating_sub(1);
    let highest = u32::try_from(last).unwrap_or(u32::MAX).max(padding);
    let tokens = model.folder.max_seq_length.min(LONGEST_TRIAL);
    for ids in [vec![padding], vec![highest; tokens]] {
        let mut batch = RaggedBatch::new();
        batch.push(&ids);
        session.run(&batch, Readout::Sentence, |_| ()).map_err(|source| LoadError::Limits {
            model: model.name.clone(),
            file: model.folder.weights.path().to_owned(),
            tokens: ids.len(),
            highest,
            source: source.into(),
        })?;
    }
    Ok(())
}

fn probe(session: &mut Session, model: &Model) -> Result<Probe, LoadError> {
    let mut batch = RaggedBatch::new();
    for text in ["A first forward pass.", "Another one, with other words"] {
        let tokens = model.tokenizer.encode(text, Truncation::Right).map_err(|source| {
            let file = tokenizer::file_in(&model.folder.path);
            LoadError::NoTokens { model: model.name.clone(), file, source }
        })?;
        batch.push(&tokens.ids);
    }
    let failed = |source| model.failed(source);
    let (width, kind, lengths) = session
        .run(&batch, Readout::Sentence, |output| {
            let norm = |row| pooling::norm(&output.vectors(row, model.folder.pooling));
            (output.width, output.kind(), (0..batch.len()).map(norm).collect::<Vec<f32>>())
        })
        .map_err(failed)?;
    if lengths.iter().any(|&length| length == 0.0 || !length.is_finite()) {
        return Err(failed(SessionError::Meaningless));
    }
    let unit = lengths.iter().all(|length| (length - 1.0).abs() < UNIT_LENGTH_TOLERANCE);
    Ok(Probe {
        width,
        kind,
        output: session.output().to_owned(),
        token_states: probe_tokens(session, &batch, model),
        token_type_ids: session.wants_token_type_ids(),
        normalized_in_graph: kind == OutputKind::Pooled && unit,
        device: session.device(),
    })
}

/// The output with the states of tokens, if there is one that can be read.
fn probe_tokens(session: &mut Session, batch: &RaggedBatch, model: &Model) -> Option<TokenOutput> {
    let output_name = session.token_output()?.to_owned();
    match session.run(batch, Readout::Tokens, |output| output.width) {
        Ok(dimensions) => Some(TokenOutput { output_name, dimensions }),
        Err(cause) => {
            // No reason to do without the model's embeddings.
            tracing::warn!(model = model.name, output_name, %cause, "no states of tokens");
            None
        }
    }
}
