//! What a file that says nothing stands for; `config.toml` tells the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{
    AuthConfig, BatchingConfig, Config, LimitsConfig, LogConfig, LogFormat, ModelConfig, OnRestart,
    Open, RuntimeConfig, ServerConfig, ShutdownConfig, StoreConfig, TaskConfig, TlsConfig,
    TrainingConfig,
};
use crate::encoder::folder::Pooling;
use crate::telemetry::LogFilter;

impl Default for Config {
    fn default() -> Self {
        let minilm = ModelConfig::at("models/all-MiniLM-L6-v2");
        let bert = ModelConfig {
            // Its folder does not say how its makers pool.
            pooling: Some(Pooling::Cls),
            normalize: Some(true),
            ..ModelConfig::at("models/bge-small-en-v1.5")
        };
        let topic = TaskConfig::of(&["Finance", "Entertainment", "Technology"]);
        Self {
            default_model: "minilm".to_owned(),
            server: ServerConfig::default(),
            auth: AuthConfig::default(),
            log: LogConfig::default(),
            runtime: RuntimeConfig::default(),
            batching: BatchingConfig::default(),
            limits: LimitsConfig::default(),
            store: StoreConfig::default(),
            training: TrainingConfig::default(),
            models: BTreeMap::from([("minilm".to_owned(), minilm), ("bert".to_owned(), bert)]),
            tasks: BTreeMap::from([
                ("topic".to_owned(), TaskConfig { model: Some("minilm".to_owned()), ..topic }),
                ("sentiment".to_owned(), TaskConfig::of(&["Negative", "Positive"])),
            ]),
        }
    }
}

impl TaskConfig {
    fn of(labels: &[&str]) -> Self {
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        Self { model: None, labels, multi_label: None, threshold: None, new_labels: None }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            request_timeout: Duration::from_secs(30),
            cors_origins: Vec::new(),
            tls: TlsConfig::default(),
            shutdown: ShutdownConfig::default(),
        }
    }
}

impl Default for AuthConfig {
    fn default() -> Self {
        // The page has to be seen before a key can be typed into it; figures of the traffic are nobody's
        // business.
        let open = BTreeSet::from([Open::Docs, Open::Page]);
        Self {
            file: None,
            open,
            requests_per_minute: None,
            tokens_per_minute: None,
            keys: BTreeMap::new(),
        }
    }
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { delay: Duration::ZERO, grace: Duration::from_secs(20) }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: LogFilter::default() }
    }
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self { library: PathBuf::from("lib/libonnxruntime.so"), workers: 0 }
    }
}

impl Default for BatchingConfig {
    fn default() -> Self {
        Self {
            batch_tokens: count::<2_048>(),
            batch_time: Duration::from_millis(5),
            queue_tokens: count::<262_144>(),
            interactive_inputs: 8,
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            body_bytes: count::<{ 8 << 20 }>(),
            inputs_per_request: count::<2_048>(),
            tokens_per_request: count::<131_072>(),
            train_body_bytes: count::<{ 64 << 20 }>(),
            body_bytes_in_flight: count::<{ 256 << 20 }>(),
            connections: count::<900>(),
            examples_per_job: count::<100_000>(),
            epochs_per_job: count::<10_000>(),
            tasks: count::<256>(),
            labels_per_task: count::<1_024>(),
            label_bytes: count::<256>(),
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { url: "sqlite://data/polyhead.db".to_owned(), texts: true }
    }
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            queued_jobs: count::<16>(),
            on_restart: OnRestart::Resume,
            lease: Duration::from_secs(15),
            serve_untrained: false,
        }
    }
}

const fn count<const N: usize>() -> NonZeroUsize {
    const { NonZeroUsize::new(N).expect("a default count is not 0") }
}
