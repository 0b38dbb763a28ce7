//! The whole configuration as one type.
//!
//! `config.toml` at the root of the repository documents every key with its default, its unit and
//! what is allowed. [`Config::load`] reads such a file, lets the environment override any key of it,
//! and reports everything that is wrong at once.

mod auth;
mod defaults;
mod environment;
mod key;
pub mod keys_file;
mod load;
mod plain_keys;
mod problem;
mod rules;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::encoder::folder::Pooling;
use crate::heads::task::{Kind, NewLabels, Task, TaskLimits};
use crate::telemetry::LogFilter;

pub use auth::{AuthConfig, KeyConfig, Open};
pub use environment::variables;
pub use problem::{ConfigError, Problem};

/// Everything that an operator can set. Relative paths start at the process's working directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The model of requests and tasks that name none.
    pub default_model: String,
    pub server: ServerConfig,
    pub auth: AuthConfig,
    pub log: LogConfig,
    pub runtime: RuntimeConfig,
    pub batching: BatchingConfig,
    pub limits: LimitsConfig,
    pub store: StoreConfig,
    pub training: TrainingConfig,
    /// By name; never empty once loaded.
    pub models: BTreeMap<String, ModelConfig>,
    /// By name.
    pub tasks: BTreeMap<String, TaskConfig>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Port 0 lets the system choose one.
    #[serde(deserialize_with = "text::socket_address")]
    pub listen: SocketAddr,
    /// A request that is not answered by then gets 504; its header may ask for less time.
    #[serde(with = "text::duration")]
    pub request_timeout: Duration,
    /// Origins of the web pages that may call the server from a browser; `*` stands for all.
    pub cors_origins: Vec<String>,
    pub tls: TlsConfig,
    pub shutdown: ShutdownConfig,
}

/// Both or neither; without them, HTTP is spoken in the clear.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// A PEM file: the server's certificate and those that lead to an authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// A PEM file: the certificate's private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// How long to go on serving while readiness already answers 503.
    #[serde(with = "text::duration")]
    pub delay: Duration,
    /// How long requests in flight may take after that.
    #[serde(with = "text::duration")]
    pub grace: Duration,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    pub format: LogFormat,
    #[serde(deserialize_with = "text::log_filter")]
    pub level: LogFilter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeConfig {
    /// ONNX Runtime's shared library.
    pub library: PathBuf,
    /// Worker threads, each with a session of every model; 0 stands for one per available core.
    /// [`RuntimeConfig::worker_threads`] resolves it.
    pub workers: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BatchingConfig {
    /// The most tokens of one micro-batch; a single longer input makes a batch of its own.
    #[schema(value_type = usize, minimum = 1)]
    pub batch_tokens: NonZeroUsize,
    /// About the longest time that one micro-batch may take; more than zero.
    #[serde(with = "text::duration")]
    #[schema(value_type = String)]
    pub batch_time: Duration,
    /// The most tokens that may be waiting or in work; requests beyond it get 429.
    #[schema(value_type = usize, minimum = 1)]
    pub queue_tokens: NonZeroUsize,
    /// Requests with at most so many inputs overtake larger ones.
    pub interactive_inputs: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Bytes of a request body, except that of `/train`.
    #[schema(value_type = usize, minimum = 1)]
    pub body_bytes: NonZeroUsize,
    #[schema(value_type = usize, minimum = 1)]
    pub inputs_per_request: NonZeroUsize,
    /// At most [`BatchingConfig::queue_tokens`], as admission is all or nothing.
    #[schema(value_type = usize, minimum = 1)]
    pub tokens_per_request: NonZeroUsize,
    /// Bytes of a body of `/train`.
    #[schema(value_type = usize, minimum = 1)]
    pub train_body_bytes: NonZeroUsize,
    /// Bytes of all bodies that are being read or worked on; each fits alone.
    #[schema(value_type = usize, minimum = 1)]
    pub body_bytes_in_flight: NonZeroUsize,
    /// Open connections; further ones wait to be accepted.
    #[schema(value_type = usize, minimum = 1)]
    pub connections: NonZeroUsize,
    #[schema(value_type = usize, minimum = 1)]
    pub examples_per_job: NonZeroUsize,
    /// Each of them is recorded.
    #[schema(value_type = usize, minimum = 1)]
    pub epochs_per_job: NonZeroUsize,
    #[schema(value_type = usize, minimum = 1)]
    pub tasks: NonZeroUsize,
    /// At least 2.
    #[schema(value_type = usize, minimum = 1)]
    pub labels_per_task: NonZeroUsize,
    /// Bytes of a label's name in UTF-8.
    #[schema(value_type = usize, minimum = 1)]
    pub label_bytes: NonZeroUsize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// Where head versions, jobs and examples are kept.
    pub url: String,
    /// Whether the texts of examples are kept, or their embeddings and hashes alone.
    pub texts: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingConfig {
    /// Jobs that may wait; further ones get 429.
    pub queued_jobs: NonZeroUsize,
    pub on_restart: OnRestart,
    /// How long the replica that runs a job may be silent before another one takes the job over.
    #[serde(with = "text::duration")]
    pub lease: Duration,
    /// Whether a head that was never trained answers with its seeded random weights instead of 409.
    pub serve_untrained: bool,
}

/// What becomes of a job that was running when its server was killed or crashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnRestart {
    /// It goes back to the queue, ahead of younger jobs, and runs again from its start.
    Resume,
    /// It is marked failed, with the reason.
    Fail,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// A folder in the sentence-transformers layout; never empty once loaded.
    #[serde(default)]
    pub path: PathBuf,
    #[serde(default)]
    pub precision: Precision,
    #[serde(default)]
    pub provider: Provider,
    /// The weights inside the folder (`.onnx` or `.safetensors`); `None` looks in the usual places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// `None` follows the folder's `1_Pooling/config.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooling: Option<Pooling>,
    /// Whether embeddings have length 1; `None` follows the folder's `modules.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalize: Option<bool>,
    /// Tokens of an input, special ones included; `None` follows the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_seq_length: Option<NonZeroUsize>,
}

/// The arithmetic of a model's forward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// What the weights' file holds: safetensors run as `fp32`, an ONNX export as it is.
    #[default]
    Auto,
    Fp32,
    Bf16,
    Int8,
}

impl Precision {
    /// As users write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Fp32 => "fp32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }
}

/// Where a model's forward pass runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// CUDA where it is present, else the CPU.
    #[default]
    Auto,
    Cpu,
    Cuda,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskConfig {
    /// `None` stands for [`Config::default_model`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// At least two once loaded, or one of a multi-label task; in the order of the head's output units.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Whether a text may have any number of the labels; by default it has exactly one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multi_label: Option<bool>,
    /// The least probability, 0 to 1, at which `/classify` gives a label; a request may say another.
    /// `None` leaves it to the head: a multi-label one has a threshold for each label, others have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
    /// Whether examples may bring further labels; by default they may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_labels: Option<NewLabels>,
}

impl Config {
    /// The tasks that the configuration declares, in the order of their names.
    pub fn declared_tasks(&self) -> Vec<Task> {
        self.tasks
            .iter()
            .map(|(name, task)| Task {
                name: name.clone(),
                model: task.model.as_ref().unwrap_or(&self.default_model).clone(),
                labels: task.labels.clone(),
                kind: task.kind(),
                new_labels: task.new_labels.unwrap_or_default(),
                threshold: task.threshold,
            })
            .collect()
    }
}

impl TaskConfig {
    pub fn kind(&self) -> Kind {
        match self.multi_label {
            Some(true) => Kind::MultiLabel,
            Some(false) | None => Kind::SingleLabel,
        }
    }
}

impl LimitsConfig {
    /// What bounds a task, declared here or made over HTTP.
    pub fn task_limits(&self) -> TaskLimits {
        TaskLimits { labels: self.labels_per_task.get(), label_bytes: self.label_bytes.get() }
    }
}

impl RuntimeConfig {
    /// Inference threads of each model; where the file says 0, one per core that this process may
    /// use, which follows CPU affinity and cgroup quotas.
    pub fn worker_threads(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.workers)
            .or_else(|| std::thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN)
    }
}

impl ModelConfig {
    /// A model of which only the folder is known.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            precision: Precision::Auto,
            provider: Provider::Auto,
            file: None,
            pooling: None,
            normalize: None,
            max_seq_length: None,
        }
    }
}
