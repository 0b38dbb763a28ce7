//! `/info` for people and programs, `/metrics` for Prometheus.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::{BatchingConfig, LimitsConfig};
use crate::encoder::ModelInfo;
use crate::http::AppState;
use crate::metrics;

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
pub async fn info(State(state): State<AppState>) -> impl IntoResponse {
    let config = &state.config;
    let heads = state.heads.snapshot();
    Json(Info {
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
    })
    .into_response()
}

/// Tells the metrics, for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    responses((status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text")),
)]
pub async fn metrics(State(state): State<AppState>) -> impl IntoResponse {
    // All encoders share one queue. Taken here, the figures are never stale ones.
    let queued = state.encoders.values().next().map_or(0, |encoder| encoder.admitted_tokens());
    state.metrics.queue_tokens.set(queued as i64);
    state.metrics.heads_lag.set(state.follower.lag().as_secs_f64());
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], state.metrics.encode())
}
