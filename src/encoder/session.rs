//! ONNX Runtime: loading its library, opening a graph, running it. Only this module names the `ort`
//! crate.

mod feed;
mod weights;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::ep::{self, ExecutionProvider};
use ort::memory::DeviceType;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions};
use ort::value::{Outlet, ValueType};
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::Provider;
use crate::encoder::batch::{PaddedBatch, RaggedBatch};
use crate::encoder::folder::Pooling;
use crate::encoder::pooling;
use crate::encoder::session::feed::Feed;
use crate::kernel::FusedEncoder;
use crate::onnx::OnnxError;

pub use weights::SharedGraph;

/// The variable that keeps ONNX Runtime from contacting its maker. It has to be set before the
/// library is loaded; switching telemetry off through the API alone changes nothing.
pub const DISABLE_TELEMETRY: &str = "ORT_DISABLE_TELEMETRY";

/// The outputs that hold sentence embeddings or token states, by the names that exporters give them,
/// the first one found is read.
pub(crate) const OUTPUTS: [&str; 3] =
    ["sentence_embedding", "last_hidden_state", "token_embeddings"];

/// The execution provider that really runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    Cpu,
    Cuda,
}

impl Device {
    /// As users write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Device::Cpu => "cpu",
            Device::Cuda => "cuda",
        }
    }
}

/// What a graph's output holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputKind {
    /// One state per token: batch × tokens × width. Pooling is ours.
    TokenStates,
    /// One vector per sentence: batch × width.
    Pooled,
}

/// Why the library or a graph could not be used.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error(
        "ONNX Runtime's library {} is missing; run `make models`, or set `runtime.library` to where it lies",
        .0.display()
    )]
    LibraryMissing(PathBuf),
    #[error("ONNX Runtime's library {} cannot be loaded: {cause}", path.display())]
    LibraryUnusable { path: PathBuf, cause: String },
    #[error("ONNX Runtime is already loaded from {}: a process loads it once", .0.display())]
    OtherLibraryLoaded(PathBuf),
    #[error("{DISABLE_TELEMETRY}=1 must be in the environment before ONNX Runtime is loaded")]
    TelemetryNotDisabled,
    #[error(
        "provider = \"cuda\", but the library {} was built without CUDA; set `runtime.library` to the library of the onnxruntime-gpu package, or provider to \"cpu\" or \"auto\"",
        .0.display()
    )]
    CudaNotBuilt(PathBuf),
    #[error("provider = \"cuda\", but CUDA does not work here: {0}; allowed: cpu, auto")]
    CudaUnusable(String),
    #[error("the graph has no input {0}; an encoder needs input_ids and attention_mask")]
    NoInput(&'static str),
    #[error(
        "the graph wants the input {0}, which is not known; known: input_ids, attention_mask, token_type_ids"
    )]
    UnknownInput(String),
    #[error(
        "the graph has no usable output (found: {0}); expected sentence_embedding (batch × width) or last_hidden_state (batch × tokens × width)"
    )]
    NoOutput(String),
    #[error(transparent)]
    Graph(#[from] OnnxError),
    #[error("ONNX Runtime refused: {0}")]
    Runtime(#[from] ort::Error),
    #[error(
        "the graph's output has the shape {found:?} for {sentences} sentences of at most {tokens} tokens"
    )]
    OutputShape { found: Vec<i64>, sentences: usize, tokens: usize },
    #[error("the graph's embeddings do not have one width: {now} here, {before} before")]
    Width { before: usize, now: usize },
    #[error("its embeddings are zero, or no finite numbers: the weights are damaged")]
    Meaningless,
}

/// ONNX Runtime's library, loaded; one per process.
#[derive(Clone)]
pub struct Runtime {
    environment: Environment,
    library: Arc<Path>,
}

/// A process has one environment for good: a second is an error even after the first was dropped.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

impl Runtime {
    /// Loads the library at `library`, or returns what an earlier call has loaded from there.
    pub fn load(library: &Path) -> Result<Runtime, SessionError> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = loaded.as_ref() {
            return if *runtime.library == *library {
                Ok(runtime.clone())
            } else {
                Err(SessionError::OtherLibraryLoaded(runtime.library.to_path_buf()))
            };
        }
        if std::env::var_os(DISABLE_TELEMETRY).is_none_or(|value| value != "1") {
            return Err(SessionError::TelemetryNotDisabled);
        }
        if !library.is_file() {
            return Err(SessionError::LibraryMissing(library.to_owned()));
        }
        let unusable =
            |cause: String| SessionError::LibraryUnusable { path: library.to_owned(), cause };
        let environment = ort::init_from(library)
            .map_err(|cause| unusable(cause.to_string()))?
            .with_name("polyhead")
            .with_telemetry(false)
            .build()
            .map_err(|cause| unusable(cause.to_string()))?;
        let runtime = Runtime { environment, library: library.into() };
        *loaded = Some(runtime.clone());
        Ok(runtime)
    }

    /// The library's own description of its build.
    pub fn build_info(&self) -> &'static str {
        ort::info()
    }

    fn has_cuda(&self) -> bool {
        ep::CUDA::is_available().unwrap_or(false)
    }
}

/// How to open a graph.
#[derive(Clone, Copy, Debug)]
pub struct SessionOptions {
    pub provider: Provider,
    /// The id that fills sentences up to the longest of their batch.
    pub pad_token_id: u32,
}

/// What a graph made of the sentences of a batch.
pub struct Output<'a> {
    pub kind: OutputKind,
    pub width: usize,
    sentences: usize,
    /// Row-major: sentences × width, or sentences × tokens × width.
    values: &'a [f32],
}

impl<'a> Output<'a> {
    /// The vector of a sentence of so many `tokens`, pooled here where the graph has not done so.
    pub fn vector(
        &self,
        sentence: usize,
        tokens: usize,
        pooling: Option<Pooling>,
    ) -> Cow<'a, [f32]> {
        let size = self.values.len() / self.sentences;
        let values = &self.values[sentence * size..][..size];
        match self.kind {
            OutputKind::Pooled => values.into(),
            OutputKind::TokenStates => {
                let mut vector = vec![0.0; self.width];
                // Without a pooling the model is refused right after its first forward pass.
                pooling::pool(pooling.unwrap_or(Pooling::Mean), values, tokens, &mut vector);
                vector.into()
            }
        }
    }
}

/// A graph opened for one thread.
pub struct Session {
    inner: ort::session::Session,
    run_options: RunOptions<HasSelectedOutputs>,
    output: String,
    device: Device,
    feed: Feed,
    /// Of the first output: callers count on that of the others.
    width: Option<usize>,
}

impl Session {
    /// Opens `graph` for one thread, on the device that the provider comes to.
    ///
    /// # Errors
    /// With [`Provider::Cuda`], that CUDA is not built in or does not work. [`Provider::Auto`] takes
    /// the CPU then.
    pub fn open(
        runtime: &Runtime,
        graph: &SharedGraph,
        options: SessionOptions,
    ) -> Result<Session, SessionError> {
        let (inner, device) = match options.provider {
            Provider::Cpu => open_on_cpu(runtime, graph)?,
            Provider::Cuda if !runtime.has_cuda() => {
                return Err(SessionError::CudaNotBuilt(runtime.library.to_path_buf()));
            }
            Provider::Cuda => open_on_cuda(runtime, graph)?,
            // That CUDA is built in does not mean that it works: only opening the graph tells.
            Provider::Auto if runtime.has_cuda() => {
                open_on_cuda(runtime, graph).or_else(|cause| {
                    tracing::warn!(%cause, "CUDA is built in but unusable; running on the CPU");
                    open_on_cpu(runtime, graph)
                })?
            }
            Provider::Auto => open_on_cpu(runtime, graph)?,
        };
        let feed = Feed::Padded {
            batch: PaddedBatch::default(),
            pad_token_id: options.pad_token_id,
            token_type_ids: check_inputs(&inner)?,
        };
        Session::new(inner, device, feed)
    }

    /// Opens the graph that consists of the fused encoder, for one thread.
    pub fn open_fused(runtime: &Runtime, encoder: &FusedEncoder) -> Result<Session, SessionError> {
        let domain = encoder.domain()?;
        let mut builder = on_cpu(runtime)?.with_operators(domain).map_err(ort::Error::from)?;
        let inner = builder.commit_from_memory(&encoder.graph())?;
        Session::new(inner, Device::Cpu, Feed::Ragged)
    }

    fn new(
        inner: ort::session::Session,
        device: Device,
        feed: Feed,
    ) -> Result<Session, SessionError> {
        let output = choose_output(&inner)?;
        let selected = OutputSelector::no_default().with(&output);
        let run_options = RunOptions::new()?.with_outputs(selected);
        Ok(Session { inner, run_options, output, device, feed, width: None })
    }

    pub fn device(&self) -> Device {
        self.device
    }

    /// The name of the output that is read.
    pub fn output(&self) -> &str {
        &self.output
    }

    pub fn wants_token_type_ids(&self) -> bool {
        matches!(self.feed, Feed::Padded { token_type_ids: true, .. })
    }

    /// Runs one micro-batch and hands what came out to `read`, without a copy.
    pub fn run<T>(
        &mut self,
        batch: &RaggedBatch,
        read: impl FnOnce(Output<'_>) -> T,
    ) -> Result<T, SessionError> {
        let inputs = self.feed.inputs(batch)?;
        let outputs = self.inner.run_with_options(inputs, &self.run_options)?;
        let (shape, values) = outputs[self.output.as_str()].try_extract_tensor::<f32>()?;
        let (sentences, tokens) = (batch.len(), batch.longest());
        let (kind, width) = match **shape {
            [rows, width] if rows == sentences as i64 && width > 0 => (OutputKind::Pooled, width),
            [rows, states, width]
                if rows == sentences as i64 && states == tokens as i64 && width > 0 =>
            {
                (OutputKind::TokenStates, width)
            }
            _ => {
                return Err(SessionError::OutputShape { found: shape.to_vec(), sentences, tokens });
            }
        };
        let width = width as usize;
        let before = *self.width.get_or_insert(width);
        if before != width {
            return Err(SessionError::Width { before, now: width });
        }
        Ok(read(Output { kind, width, sentences, values }))
    }
}

fn open_on_cpu(
    runtime: &Runtime,
    graph: &SharedGraph,
) -> Result<(ort::session::Session, Device), SessionError> {
    let mut builder = graph.share(on_cpu(runtime)?)?;
    Ok((builder.commit_from_memory(graph.bytes())?, Device::Cpu))
}

/// The weights are copied to the GPU by each session: sharing is for those on the CPU.
fn open_on_cuda(
    runtime: &Runtime,
    graph: &SharedGraph,
) -> Result<(ort::session::Session, Device), SessionError> {
    let unusable = |cause: &str| SessionError::CudaUnusable(cause.to_owned());
    let mut builder = builder(runtime)?
        .with_execution_providers([ep::CUDA::default().build().error_on_failure()])
        .map_err(|cause| unusable(cause.message()))?;
    let session = builder.commit_from_memory(graph.bytes());
    Ok((session.map_err(|cause| unusable(cause.message()))?, Device::Cuda))
}

fn on_cpu(runtime: &Runtime) -> Result<SessionBuilder, ort::Error> {
    // Named explicitly: ort's builder otherwise sets a policy by which ORT may pick any plugin.
    let cpus = runtime.environment.devices().filter(|device| {
        device.hardware_device().ty() == DeviceType::CPU
            && device.ep().is_ok_and(|name| name == "CPUExecutionProvider")
    });
    Ok(builder(runtime)?.with_devices(cpus, None)?)
}

fn builder(runtime: &Runtime) -> Result<SessionBuilder, ort::Error> {
    Ok(SessionBuilder::new(&runtime.environment)?
        // One session per worker thread: threads inside would only fight over the same cores.
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        // Lengths vary: a memory pattern per shape would only grow. The arena, which never shrinks by
        // itself, stays on: it is as large as the largest micro-batch needs, which its budget bounds.
        .with_memory_pattern(false)?
        // ORT fuses Add + LayerNormalization into an operator that is slower on the CPU since 1.30.
        .with_disabled_optimizers("SkipLayerNormFusion")?)
}

/// Whether the graph takes `token_type_ids` beside the two inputs that every encoder has.
fn check_inputs(session: &ort::session::Session) -> Result<bool, SessionError> {
    let names: Vec<&str> = session.inputs().iter().map(|input| input.name()).collect();
    for needed in ["input_ids", "attention_mask"] {
        if !names.contains(&needed) {
            return Err(SessionError::NoInput(needed));
        }
    }
    match names
        .iter()
        .find(|name| !["input_ids", "attention_mask", "token_type_ids"].contains(name))
    {
        Some(unknown) => Err(SessionError::UnknownInput((*unknown).to_owned())),
        None => Ok(names.contains(&"token_type_ids")),
    }
}

/// The output with sentence vectors if it is named so, else the one with token states, else the
/// only one there is. `pooler_output` is never taken: it is the pre-training head's, not a sentence
/// embedding.
fn choose_output(session: &ort::session::Session) -> Result<String, SessionError> {
    let outputs = session.outputs();
    let named = |name: &str| outputs.iter().find(|output| output.name() == name);
    let rank = |output: &Outlet| match output.dtype() {
        ValueType::Tensor { shape, .. } => shape.len(),
        _ => 0,
    };
    OUTPUTS
        .into_iter()
        .find_map(named)
        .or_else(|| outputs.iter().find(|output| rank(output) == 3))
        .or_else(|| {
            outputs.first().filter(|only| outputs.len() == 1 && only.name() != "pooler_output")
        })
        .map(|output| output.name().to_owned())
        .ok_or_else(|| {
            let names: Vec<&str> = outputs.iter().map(|output| output.name()).collect();
            SessionError::NoOutput(names.join(", "))
        })
}
