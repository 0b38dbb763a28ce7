//! What Prometheus scrapes: every metric of the process, registered once.
//!
//! Names follow Prometheus' conventions: prefix `polyhead_`, base units, `_total` for counters.
//! Labels come from closed sets: routes, status codes, configured models, existing tasks.

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::AtomicU64;

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    pub method: String,
    /// The route's pattern, never the path as the client wrote it.
    pub route: String,
    pub code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ModelLabel {
    pub model: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TaskLabel {
    pub task: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StateLabel {
    pub state: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RejectionLabel {
    pub reason: Rejection,
}

/// An API key by its name in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KeyLabel {
    pub key: String,
}

/// A file that is read again when it changes: `keys`, `certificate`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FileLabel {
    pub file: &'static str,
}

/// Why a request was turned away without being worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rejection {
    QueueFull,
    JobsFull,
    BodiesFull,
    /// No key, or none that is known.
    Unauthorized,
    InsufficientScope,
    RateLimited,
    /// The server was draining.
    Unready,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ModelInfoLabels {
    pub model: String,
    pub precision: String,
    pub provider: String,
}

/// Handles to all metrics; cheap to use from any thread.
pub struct Metrics {
    registry: Registry,
    pub request_duration: Family<RequestLabels, Histogram, fn() -> Histogram>,
    pub requests_in_flight: Gauge,
    pub requests_rejected: Family<RejectionLabel, Counter>,
    pub key_requests: Family<KeyLabel, Counter>,
    pub key_tokens: Family<KeyLabel, Counter>,
    pub unused_files: Family<FileLabel, Gauge>,
    pub tokenize_duration: Family<ModelLabel, Histogram, fn() -> Histogram>,
    pub queue_duration: Family<ModelLabel, Histogram, fn() -> Histogram>,
    pub inference_duration: Family<ModelLabel, Histogram, fn() -> Histogram>,
    pub batch_tokens: Family<ModelLabel, Histogram, fn() -> Histogram>,
    pub tokens: Family<ModelLabel, Counter>,
    pub padding_tokens: Family<ModelLabel, Counter>,
    pub truncated_inputs: Family<ModelLabel, Counter>,
    pub queue_tokens: Gauge,
    pub head_version: Family<TaskLabel, Gauge>,
    pub head_swaps: Family<TaskLabel, Counter>,
    pub heads_lag: Gauge<f64, AtomicU64>,
    pub store_up: Gauge,
    pub jobs: Family<StateLabel, Gauge>,
    pub epoch_loss: Family<TaskLabel, Gauge<f64, AtomicU64>>,
    pub model: Family<ModelInfoLabels, Gauge>,
}

impl Metrics {
    #[expect(
        clippy::new_without_default,
        reason = "a process has one; none comes about by default"
    )]
    pub fn new() -> Metrics {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("polyhead"),
            request_duration: Family::new_with_constructor(durations),
            requests_in_flight: Gauge::default(),
            requests_rejected: Family::default(),
            key_requests: Family::default(),
            key_tokens: Family::default(),
            unused_files: Family::default(),
            tokenize_duration: Family::new_with_constructor(durations),
            queue_duration: Family::new_with_constructor(durations),
            inference_duration: Family::new_with_constructor(durations),
            batch_tokens: Family::new_with_constructor(token_counts),
            tokens: Family::default(),
            padding_tokens: Family::default(),
            truncated_inputs: Family::default(),
            queue_tokens: Gauge::default(),
            head_version: Family::default(),
            head_swaps: Family::default(),
            heads_lag: Gauge::default(),
            store_up: Gauge::default(),
            jobs: Family::default(),
            epoch_loss: Family::default(),
            model: Family::default(),
        };
        metrics.register();
        metrics
    }

    /// All metrics in the OpenMetrics text format; see [`CONTENT_TYPE`].
    pub fn encode(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a String cannot fail");
        text
    }

    fn register(&mut self) {
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        let registry = &mut self.registry;
        registry.register("build", "The running program", build);
        let mut seconds = |name: &str, help: &str, metric: &Family<_, _, _>| {
            registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
        };
        seconds("tokenize_duration", "Time to tokenise a request", &self.tokenize_duration);
        seconds("queue_duration", "Time a request waits for a worker", &self.queue_duration);
        seconds(
            "inference_duration",
            "Time of one micro-batch in the model",
            &self.inference_duration,
        );
        registry.register_with_unit(
            "request_duration",
            "Time from a request's headers to its answer's",
            Unit::Seconds,
            self.request_duration.clone(),
        );
        registry.register(
            "requests_in_flight",
            "Requests being answered",
            self.requests_in_flight.clone(),
        );
        registry.register(
            "requests_rejected",
            "Requests turned away at once",
            self.requests_rejected.clone(),
        );
        registry.register(
            "key_requests",
            "Requests that came with an API key, by its name",
            self.key_requests.clone(),
        );
        registry.register(
            "key_tokens",
            "Tokens encoded for who came with an API key, by its name",
            self.key_tokens.clone(),
        );
        registry.register(
            "unused_files",
            "1 while a file that has changed cannot be used, and what it held before holds on",
            self.unused_files.clone(),
        );
        registry.register(
            "batch_tokens",
            "Tokens of a micro-batch, padding included",
            self.batch_tokens.clone(),
        );
        registry.register("tokens", "Tokens encoded, without padding", self.tokens.clone());
        registry.register(
            "padding_tokens",
            "Padding encoded for nothing",
            self.padding_tokens.clone(),
        );
        registry.register(
            "truncated_inputs",
            "Inputs cut to the model's limit",
            self.truncated_inputs.clone(),
        );
        registry.register(
            "queue_tokens",
            "Tokens admitted and not yet answered",
            self.queue_tokens.clone(),
        );
        registry.register(
            "head_version",
            "The live version of each task",
            self.head_version.clone(),
        );
        registry.register("head_swaps", "Versions that went live", self.head_swaps.clone());
        registry.register_with_unit(
            "heads_lag",
            "Time since the live heads were last known to be those of a store that replicas share",
            Unit::Seconds,
            self.heads_lag.clone(),
        );
        registry.register("store_up", "1 while the store can be reached", self.store_up.clone());
        registry.register("jobs", "Training jobs by state", self.jobs.clone());
        registry.register(
            "epoch_loss",
            "Training loss of each task after the latest epoch",
            self.epoch_loss.clone(),
        );
        registry.register(
            "model",
            "1 for each loaded model, with the precision and provider really in use",
            self.model.clone(),
        );
    }
}

impl EncodeLabelValue for Rejection {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        let reason = match self {
            Rejection::QueueFull => "queue_full",
            Rejection::JobsFull => "jobs_full",
            Rejection::BodiesFull => "bodies_full",
            Rejection::Unauthorized => "unauthorized",
            Rejection::InsufficientScope => "insufficient_scope",
            Rejection::RateLimited => "rate_limited",
            Rejection::Unready => "unready",
        };
        reason.encode(encoder)
    }
}

/// 100 µs to 52 s in doublings: from one short sentence to the largest request.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(1e-4, 2.0, 20))
}

/// 2 tokens (an empty input) to 16,384 in doublings.
fn token_counts() -> Histogram {
    Histogram::new(exponential_buckets(2.0, 2.0, 14))
}
