//! What an orchestrator asks: alive, started, ready.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::error::Problem;
use crate::readiness::{Phase, Readiness};

/// What a health check finds.
#[derive(Serialize, ToSchema)]
#[schema(as = Health)]
struct Status {
    status: &'static str,
    /// Only while it is out of reach: training waits for it, nothing else does.
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<&'static str>,
}

impl Status {
    fn of(status: &'static str) -> Response {
        Json(Status { status, store: None }).into_response()
    }
}

/// The process runs: independent of load, training and the store.
#[utoipa::path(
    get, path = "/livez", tag = "operations",
    responses((status = 200, description = "The process runs", body = Status)),
)]
pub async fn live() -> Response {
    Status::of("alive")
}

/// The models are loaded and warmed, and the heads are there.
#[utoipa::path(
    get, path = "/startupz", tag = "operations",
    responses(
        (status = 200, description = "Everything is loaded", body = Status),
        (status = 503, description = "starting"),
    ),
)]
pub async fn started(State(readiness): State<Readiness>) -> Response {
    match readiness.phase() {
        Phase::Starting => not_ready("starting", "the store and the models are being loaded"),
        Phase::Ready | Phase::Draining | Phase::Failed => Status::of("started"),
    }
}

/// Requests are welcome. Training never changes this answer; a store that is away is told, and no
/// reason to send requests elsewhere.
#[utoipa::path(
    get, path = "/readyz", tag = "operations",
    responses(
        (status = 200, description = "Requests are welcome", body = Status),
        (status = 503, description = "starting, draining, failed"),
    ),
)]
pub async fn ready(State(readiness): State<Readiness>) -> Response {
    match readiness.phase() {
        Phase::Ready => {
            let store = readiness.is_store_away().then_some("unreachable");
            Json(Status { status: "ready", store }).into_response()
        }
        Phase::Starting => not_ready("starting", "the store and the models are being loaded"),
        Phase::Draining => not_ready("draining", "the server is shutting down"),
        Phase::Failed => not_ready("failed", "a part of the server died; it is about to end"),
    }
}

fn not_ready(code: &'static str, detail: &str) -> Response {
    Problem::unavailable(code, detail).into_response()
}
