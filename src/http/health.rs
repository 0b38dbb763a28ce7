//! What an orchestrator asks: alive, started, ready.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::http::error::Problem;
use crate::readiness::{Phase, Readiness};

#[derive(Serialize)]
struct Status {
    status: &'static str,
}

/// The process runs: independent of load, training and the store.
pub async fn live() -> Response {
    Json(Status { status: "alive" }).into_response()
}

/// The models are loaded and warmed, and the heads are there.
pub async fn started(State(readiness): State<Readiness>) -> Response {
    match readiness.phase() {
        Phase::Starting => not_ready("starting", "the models are being loaded"),
        Phase::Ready | Phase::Draining | Phase::Failed => {
            Json(Status { status: "started" }).into_response()
        }
    }
}

/// Requests are welcome. Training never changes this answer.
pub async fn ready(State(readiness): State<Readiness>) -> Response {
    match readiness.phase() {
        Phase::Ready => Json(Status { status: "ready" }).into_response(),
        Phase::Starting => not_ready("starting", "the models are being loaded"),
        Phase::Draining => not_ready("draining", "the server is shutting down"),
        Phase::Failed => not_ready("failed", "a part of the server died; it is about to end"),
    }
}

fn not_ready(code: &'static str, detail: &str) -> Response {
    Problem::unavailable(code, detail).into_response()
}
