//! `/info` for people and programs, `/metrics` for Prometheus.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::{BatchingConfig, LimitsConfig};
use crate::encoder::ModelInfo;
use crate::encoder::folder::Pooling;
use crate::heads::live::LiveTask;
use crate::http::error::Problem;
use crate::http::parameters::Segment;
use crate::http::{AppState, classify};
use crate::metrics;
use crate::onnx::GraphPrecision;

/// The running server in facts.
#[derive(Serialize, ToSchema)]
pub struct Info<'a> {
    version: &'static str,
    /// ONNX Runtime's build.
    runtime: &'static str,
    default_model: &'a str,
    workers: usize,
    models: Vec<&'a ModelInfo>,
    tasks: Vec<TaskInfo>,
    limits: &'a LimitsConfig,
    batching: &'a BatchingConfig,
    /// Of the default model.
    #[serde(flatten)]
    served: Served<'a>,
}

/// What clients of text-embeddings-inference want to know before they do anything.
#[derive(Serialize, ToSchema)]
pub struct Served<'a> {
    model_id: &'a str,
    model_sha: &'a str,
    model_dtype: &'static str,
    model_type: ModelType,
    max_concurrent_requests: usize,
    /// In tokens.
    max_input_length: usize,
    max_batch_tokens: usize,
    max_batch_requests: Option<usize>,
    max_client_batch_size: usize,
    /// Whether longer inputs are cut where a request does not say.
    auto_truncate: bool,
    tokenization_workers: usize,
    /// Of the sources and of the image: not known here.
    sha: Option<&'static str>,
    docker_label: Option<&'static str>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ModelType {
    Embedding { pooling: Option<&'static str> },
    Classifier { id2label: BTreeMap<usize, String>, label2id: BTreeMap<String, usize> },
}

impl<'a> Served<'a> {
    fn new(state: &'a AppState, model: &'a ModelInfo, model_type: ModelType) -> Served<'a> {
        let (limits, workers) = (&state.config.limits, state.config.runtime.worker_threads().get());
        Served {
            model_id: &model.name,
            model_sha: &model.fingerprint,
            model_dtype: match model.precision {
                GraphPrecision::Fp32 => "float32",
                GraphPrecision::Fp16 => "float16",
                GraphPrecision::Bf16 => "bfloat16",
                GraphPrecision::Int8 => "int8",
            },
            model_type,
            max_concurrent_requests: limits.connections.get(),
            max_input_length: model.max_seq_length,
            max_batch_tokens: state.config.batching.batch_tokens.get(),
            max_batch_requests: None,
            max_client_batch_size: limits.inputs_per_request.get(),
            auto_truncate: true,
            tokenization_workers: workers,
            sha: None,
            docker_label: None,
        }
    }
}

/// A task as text-embeddings-inference tells of a classifier.
#[derive(Serialize, ToSchema)]
pub struct Classifier<'a> {
    version: &'static str,
    task: &'a str,
    #[serde(flatten)]
    served: Served<'a>,
}

/// A task and its live version.
#[derive(Serialize, ToSchema)]
struct TaskInfo {
    name: String,
    model: String,
    version: i64,
}

/// Tells what runs: models with their precision and provider, tasks, limits.
#[utoipa::path(
    get, path = "/info", tag = "operations",
    responses((status = 200, description = "Models, tasks and limits", body = Info)),
)]
pub async fn info(State(state): State<AppState>) -> Result<Response, Problem> {
    let config = &state.config;
    let heads = state.heads.snapshot();
    let model = state.encoder(None)?.info();
    let model_type = ModelType::Embedding { pooling: model.pooling.map(Pooling::as_str) };
    Ok(Json(Info {
        version: env!("CARGO_PKG_VERSION"),
        runtime: state.runtime,
        default_model: &config.default_model,
        workers: config.runtime.worker_threads().get(),
        models: state.encoders.values().map(|encoder| encoder.info()).collect(),
        tasks: heads
            .values()
            .map(|live| TaskInfo {
                name: live.task.name.clone(),
                model: live.task.model.clone(),
                version: live.version.version,
            })
            .collect(),
        limits: &config.limits,
        batching: &config.batching,
        served: Served::new(&state, model, model_type),
    })
    .into_response())
}

/// Tells of a task what text-embeddings-inference tells of a classifier, for clients that take the task
/// for a server of its own.
#[utoipa::path(
    get, path = "/heads/{task}/info", tag = "text-embeddings-inference", operation_id = "classifier_info",
    params(("task" = String, Path, description = "The task's name")),
    responses(
        (status = 200, description = "The task as a classifier", body = Classifier),
        (status = 404, description = "unknown_task"),
    ),
)]
pub async fn classifier(
    State(state): State<AppState>,
    Segment(task): Segment,
) -> Result<Response, Problem> {
    let live = classify::find(&state, &task)?;
    let LiveTask { task, version, .. } = &*live;
    let labels = || version.head.labels().iter().cloned();
    let model_type = ModelType::Classifier {
        id2label: (0..).zip(labels()).collect(),
        label2id: labels().zip(0..).collect(),
    };
    Ok(Json(Classifier {
        version: env!("CARGO_PKG_VERSION"),
        task: &task.name,
        served: Served::new(&state, state.encoder(Some(&task.model))?.info(), model_type),
    })
    .into_response())
}

/// Tells the metrics, for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    responses((status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text")),
)]
pub async fn metrics(State(state): State<AppState>) -> impl IntoResponse {
    // Taken here, the figures are never stale ones.
    state.metrics.queue_tokens.set(state.queued_tokens() as i64);
    state.metrics.heads_lag.set(state.follower.lag().as_secs_f64());
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], state.metrics.encode())
}
