//! Texts in, embeddings out: loaded models behind one queue and one set of worker threads.
//!
//! An [`Engine`] owns the threads; an [`Encoder`] is one model of it, cheap to share. A request is
//! admitted by tokens, tokenised, queued, cut into micro-batches, run, and finished (dimensions,
//! normalisation); or the states of its tokens are read out as they are. The encoder knows neither
//! heads nor HTTP.
//!
//! **Whose turn it is.** Interactive requests come before bulk ones, and these before training, at
//! every micro-batch; a micro-batch that runs is not interrupted, but is small. Training waits for a
//! moment in which no requests come. So that none starves, a class that waits gets a micro-batch after
//! 16 of better classes. Requests of a class take turns.

pub mod batch;
mod batcher;
mod deadline;
mod embeddings;
mod error;
mod fingerprint;
pub mod folder;
mod form;
mod info;
mod meter;
mod micro_batch;
mod model;
mod pace;
pub mod pooling;
pub mod readout;
mod request;
pub mod session;
mod token_ids;
mod token_states;
pub mod tokenizer;
mod tokens;
mod worker;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};

pub use crate::encoder::deadline::Deadline;
pub use crate::encoder::embeddings::{EmbedOptions, Embeddings, Spent};
pub use crate::encoder::error::{EncodeError, LoadError};
pub use crate::encoder::info::ModelInfo;
pub use crate::encoder::meter::metered;
pub use crate::encoder::model::ModelSpec;
pub use crate::encoder::request::Class;
pub use crate::encoder::token_states::TokenStates;

use crate::encoder::batcher::Batcher;
use crate::encoder::form::Candidates;
use crate::encoder::info::Running;
use crate::encoder::model::Model;
use crate::encoder::readout::Readout;
use crate::encoder::request::{Request, Terms, Vectors};
use crate::encoder::session::Runtime;
use crate::encoder::tokenizer::{Tokenizer, Tokens, Truncation};
use crate::encoder::worker::Context;
use crate::metrics::{Metrics, ModelInfoLabels, ModelLabel};

/// How the engine cuts and bounds its work.
#[derive(Clone, Copy, Debug)]
pub struct EngineSettings {
    /// Worker threads; each holds a session of every model, but not weights of its own.
    pub workers: usize,
    /// The most tokens of a micro-batch, padding included.
    pub batch_tokens: usize,
    /// About the longest time that a micro-batch may take, so that others need not wait for long.
    pub batch_time: Duration,
    /// Tokens that may be admitted at a time.
    pub queue_tokens: usize,
    /// Tokens of one request.
    pub tokens_per_request: usize,
}

/// Models that have been read from their folders, to be opened by [`Engine::start`].
pub struct Models(Vec<(Model, Candidates)>);

impl Models {
    /// Reads all models. Blocks for as long as the disk takes.
    pub fn read(specs: &[ModelSpec]) -> Result<Models, LoadError> {
        specs.iter().map(Model::load).collect::<Result<_, _>>().map(Models)
    }
}

/// All loaded models and the threads that run them. Dropping it answers whatever is queued
/// with [`EncodeError::Stopped`] and joins the workers, which blocks for a micro-batch at most.
pub struct Engine {
    encoders: BTreeMap<String, Arc<Encoder>>,
    batcher: Arc<Batcher>,
    threads: Vec<JoinHandle<()>>,
    faults: mpsc::UnboundedReceiver<String>,
}

/// One loaded model.
pub struct Encoder {
    index: usize,
    models: Arc<[Model]>,
    info: ModelInfo,
    tokens_per_request: usize,
    batcher: Arc<Batcher>,
    /// Bounds the threads that tokenise at a time to the number of workers.
    tokenizing: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl Engine {
    /// Opens the models and starts the workers, whose sessions have each run once by then.
    ///
    /// Blocks for some tenths of a second for each worker and model. A process must not end
    /// meanwhile: ONNX Runtime would crash.
    pub fn start(
        runtime: Runtime,
        models: Models,
        settings: EngineSettings,
        metrics: Arc<Metrics>,
    ) -> Result<Engine, LoadError> {
        let mut forms = Vec::new();
        let mut settled = Vec::new();
        for (model, candidates) in models.0 {
            let (form, not_fused) = candidates.settle(&runtime, &model)?;
            settled.push((model, Running::new(&form, not_fused)));
            forms.push(form);
        }
        let (models, running): (Vec<Model>, Vec<Running>) = settled.into_iter().unzip();
        let models: Arc<[Model]> = models.into();
        let batcher = Arc::new(Batcher::new(settings));
        let (fault, faults) = mpsc::unbounded_channel();
        let context = Context {
            runtime,
            models: Arc::clone(&models),
            batcher: Arc::clone(&batcher),
            metrics: Arc::clone(&metrics),
            faults: fault,
        };
        let (threads, probes) = worker::start(settings.workers, &context, forms)?;
        let mut engine = Engine { encoders: BTreeMap::new(), batcher, threads, faults };
        let tokenizing = Arc::new(Semaphore::new(settings.workers));
        for (index, ((model, running), probe)) in models.iter().zip(running).zip(probes).enumerate()
        {
            let encoder = Encoder {
                index,
                models: Arc::clone(&models),
                info: ModelInfo::new(model, running, probe)?,
                tokens_per_request: settings.tokens_per_request,
                batcher: Arc::clone(&engine.batcher),
                tokenizing: Arc::clone(&tokenizing),
                metrics: Arc::clone(&metrics),
            };
            let labels = ModelInfoLabels {
                model: model.name.clone(),
                precision: encoder.info.precision.as_str().to_owned(),
                provider: encoder.info.provider.as_str().to_owned(),
            };
            metrics.model.get_or_create(&labels).set(1);
            engine.encoders.insert(model.name.clone(), Arc::new(encoder));
        }
        Ok(engine)
    }

    /// The models by name.
    pub fn encoders(&self) -> &BTreeMap<String, Arc<Encoder>> {
        &self.encoders
    }

    /// Waits until a worker dies and says why; a sound engine never answers.
    pub async fn fault(&mut self) -> String {
        match self.faults.recv().await {
            Some(reason) => reason,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.batcher.abort();
        for thread in self.threads.drain(..) {
            // A worker's panic was reported as a fault.
            let _ = thread.join();
        }
    }
}

impl Encoder {
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Embeds texts.
    ///
    /// Dropping the future withdraws the request: what has not been encoded by then never is.
    pub async fn embed(
        &self,
        texts: Vec<String>,
        options: EmbedOptions,
    ) -> Result<Embeddings, EncodeError> {
        let finish = self.finish(options)?;
        let (vectors, lengths) = self.encode_texts(texts, Readout::Sentence, options).await?;
        let tokens = lengths.iter().sum();
        Ok(finish.apply(Embeddings::new(vectors, self.info.dimensions, tokens)))
    }

    /// Tokenises texts, runs them and gives what is read out for them, with the tokens of each.
    async fn encode_texts(
        &self,
        mut texts: Vec<String>,
        readout: Readout,
        options: EmbedOptions,
    ) -> Result<(Vectors, Vec<usize>), EncodeError> {
        if let Some(prompt) = self.model().folder.default_prompt().filter(|_| !options.prompted) {
            texts.iter_mut().for_each(|text| text.insert_str(0, prompt));
        }
        let estimate = texts.iter().map(|text| self.model().tokenizer.estimate(text)).sum();
        // Training is bounded by its own, one job and one chunk at a time; it must not fail because
        // clients are busy, nor for limits that are meant for them.
        let mut admission = match options.class {
            Class::Training => None,
            class @ (Class::Interactive | Class::Bulk) => {
                Some(self.batcher.admit(class, estimate)?)
            }
        };
        let (sentences, tokenizing) = self.tokenize(texts, options).await?;
        let lengths: Vec<usize> = sentences.iter().map(Vec::len).collect();
        if let Some(admission) = &mut admission {
            let (tokens, allowed) = (lengths.iter().sum(), self.most_tokens(readout));
            if tokens > allowed {
                return Err(EncodeError::TooManyTokens { tokens, allowed });
            }
            admission.correct_to(tokens)?;
        }
        let mut vectors = self.run(sentences, readout, options).await?;
        drop(admission);
        vectors.spent.tokenizing = tokenizing;
        Ok((vectors, lengths))
    }

    /// Queues tokenised sentences and waits for what is read out for them, row-major.
    async fn run(
        &self,
        sentences: Vec<Vec<u32>>,
        readout: Readout,
        options: EmbedOptions,
    ) -> Result<Vectors, EncodeError> {
        let width = self.width(readout)?;
        let terms = Terms {
            model: self.index,
            class: options.class,
            layout: self.info.batching,
            readout,
            deadline: options.deadline,
        };
        meter::count(sentences.iter().map(Vec::len).sum());
        let (request, answer) = Request::new(terms, sentences, width);
        self.batcher.submit(request)?;
        answer.await.map_err(|_| EncodeError::Stopped)?
    }

    /// Tokens of all models that are admitted and not yet answered.
    pub fn admitted_tokens(&self) -> usize {
        self.batcher.admitted()
    }

    fn model(&self) -> &Model {
        &self.models[self.index]
    }

    /// Checks what is asked of the finished vectors before any work is done.
    fn finish(&self, options: EmbedOptions) -> Result<Finish, EncodeError> {
        let width = self.info.dimensions;
        let dimensions = options.dimensions.unwrap_or(width);
        if dimensions == 0 || dimensions > width {
            return Err(EncodeError::Dimensions { width });
        }
        let normalize = options.normalize.unwrap_or(self.info.normalize);
        if !normalize && self.info.normalized_in_graph {
            return Err(EncodeError::NormalizedInGraph);
        }
        Ok(Finish { dimensions, normalize })
    }

    /// Tokenises short texts at once, which is not worth another thread's wake-up, and long ones on
    /// such a thread: they would hold up the async runtime. Requests take turns there, so that a
    /// large one does not hold up the others, and ends when its caller goes away. Tells how long it took.
    async fn tokenize(
        &self,
        texts: Vec<String>,
        options: EmbedOptions,
    ) -> Result<(Vec<Vec<u32>>, Duration), EncodeError> {
        let mut tokens: Vec<Tokens> = Vec::with_capacity(texts.len());
        let mut spent = Duration::ZERO;
        let truncation = options.truncation;
        if self.model().tokenizer.is_quick(&texts) {
            let started = Instant::now();
            tokens = encode(&self.model().tokenizer, &texts, 0..texts.len(), truncation)?;
            spent = started.elapsed();
        } else {
            let texts: Arc<[String]> = texts.into();
            for turn in tokenizer::turns(&texts) {
                let permit = Arc::clone(&self.tokenizing).acquire_owned().await;
                let permit = permit.map_err(|_| EncodeError::Stopped)?;
                options.deadline.map_or(Ok(()), Deadline::check)?;
                let started = Instant::now();
                let (models, model) = (Arc::clone(&self.models), self.index);
                let texts = Arc::clone(&texts);
                let tokenizing = tokio::task::spawn_blocking(move || {
                    let _permit = permit;
                    encode(&models[model].tokenizer, &texts, turn, truncation)
                });
                tokens.extend(tokenizing.await.map_err(|_| EncodeError::Stopped)??);
                spent += started.elapsed();
            }
        }
        let label = ModelLabel { model: self.info.name.clone() };
        self.metrics.tokenize_duration.get_or_create(&label).observe(spent.as_secs_f64());
        let truncated = tokens.iter().filter(|tokens| tokens.truncated).count();
        self.metrics.truncated_inputs.get_or_create(&label).inc_by(truncated as u64);
        Ok((tokens.into_iter().map(|tokens| tokens.ids).collect(), spent))
    }
}

fn encode(
    tokenizer: &Tokenizer,
    texts: &[String],
    range: Range<usize>,
    truncation: Truncation,
) -> Result<Vec<Tokens>, EncodeError> {
    let encode = |index: usize| {
        let tokens = tokenizer.encode(&texts[index], truncation);
        tokens.map_err(|source| EncodeError::Input { index, source })
    };
    range.map(encode).collect()
}

/// What is left to do to a model's own vectors.
#[derive(Clone, Copy)]
struct Finish {
    dimensions: usize,
    normalize: bool,
}

impl Finish {
    fn apply(self, mut embeddings: Embeddings) -> Embeddings {
        if self.dimensions < embeddings.width {
            embeddings.values =
                embeddings.rows().flat_map(|row| &row[..self.dimensions]).copied().collect();
            embeddings.width = self.dimensions;
        }
        if self.normalize {
            embeddings.values.chunks_exact_mut(self.dimensions).for_each(pooling::normalize);
        }
        embeddings
    }
}
