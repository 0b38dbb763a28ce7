//! ONNX Runtime: loading its library, opening a graph, running it. Only this module names the `ort`
//! crate.

mod feed;
mod outputs;
mod weights;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::ep::{self, ExecutionProvider};
use ort::memory::DeviceType;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::Provider;
use crate::encoder::batch::{PaddedBatch, RaggedBatch};
use crate::encoder::readout::Readout;
use crate::encoder::session::feed::Feed;
use crate::encoder::session::outputs::Selected;
use crate::kernel::FusedEncoder;
use crate::onnx::OnnxError;

pub(crate) use outputs::OUTPUTS;
pub use outputs::{Output, OutputKind};
pub use weights::SharedGraph;

/// The variable that keeps ONNX Runtime from contacting its maker. It has to be set before the
/// library is loaded; switching telemetry off through the API alone changes nothing.
pub const DISABLE_TELEMETRY: &str = "ORT_DISABLE_TELEMETRY";

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
    #[error("the graph has no output with the states of tokens")]
    NoTokenStates,
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

/// A graph opened for one thread.
pub struct Session {
    inner: ort::session::Session,
    embedding: Selected,
    token_states: Option<Selected>,
    device: Device,
    feed: Feed,
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
        let embedding = Selected::find(&inner, Readout::Sentence)?.ok_or_else(|| {
            let names: Vec<&str> = inner.outputs().iter().map(|output| output.name()).collect();
            SessionError::NoOutput(names.join(", "))
        })?;
        let token_states = Selected::find(&inner, Readout::Tokens)?;
        Ok(Session { inner, embedding, token_states, device, feed })
    }

    pub fn device(&self) -> Device {
        self.device
    }

    /// The name of the output that embeddings are read from.
    pub fn output(&self) -> &str {
        &self.embedding.name
    }

    /// The name of the output that may hold the states of tokens, if there is one.
    pub fn token_output(&self) -> Option<&str> {
        self.token_states.as_ref().map(|selected| selected.name.as_str())
    }

    pub fn wants_token_type_ids(&self) -> bool {
        matches!(self.feed, Feed::Padded { token_type_ids: true, .. })
    }

    /// Runs one micro-batch and hands what came out to `read`, without a copy.
    pub fn run<T>(
        &mut self,
        batch: &RaggedBatch,
        readout: Readout,
        read: impl FnOnce(Output<'_>) -> T,
    ) -> Result<T, SessionError> {
        let selected = match readout {
            Readout::Sentence => &mut self.embedding,
            Readout::Tokens => self.token_states.as_mut().ok_or(SessionError::NoTokenStates)?,
        };
        let inputs = self.feed.inputs(batch, readout)?;
        let outputs = self.inner.run_with_options(inputs, &selected.run_options)?;
        let (shape, values) = outputs[selected.name.as_str()].try_extract_tensor::<f32>()?;
        let output = Output::new(readout, batch, shape, values)?;
        let before = *selected.width.get_or_insert(output.width);
        if before != output.width {
            return Err(SessionError::Width { before, now: output.width });
        }
        Ok(read(output))
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
