//! The Open Inference Protocol, version 2, over HTTP, as KServe and Triton speak it: text in (BYTES),
//! embeddings out (FP32), with the extension for binary tensor data.

mod body;
mod infer;

use axum::Json as Answer;
use axum::extract::State;
use serde::Serialize;

pub use infer::infer;

use crate::http::AppState;
use crate::http::error::Problem;
use crate::http::parameters::Segment;
use crate::readiness::Phase;

/// The tensor that a request has.
const INPUT: &str = "text";

/// The tensor that an answer has.
const OUTPUT: &str = "embedding";

#[derive(Serialize)]
pub struct Server {
    name: &'static str,
    version: &'static str,
    extensions: [&'static str; 1],
}

pub async fn server() -> Answer<Server> {
    let extensions = ["binary_tensor_data"];
    Answer(Server { name: "polyhead", version: env!("CARGO_PKG_VERSION"), extensions })
}

#[derive(Serialize)]
pub struct Model {
    name: String,
    platform: &'static str,
    inputs: [Tensor; 1],
    outputs: [Tensor; 1],
}

#[derive(Serialize)]
struct Tensor {
    name: &'static str,
    datatype: &'static str,
    /// -1 stands for any number.
    shape: Vec<i64>,
}

pub async fn model(
    State(state): State<AppState>,
    Segment(model): Segment,
) -> Result<Answer<Model>, Problem> {
    let info = state.encoder(Some(&model))?.info();
    let width = info.dimensions as i64;
    Ok(Answer(Model {
        name: info.name.clone(),
        platform: "onnxruntime_onnx",
        inputs: [Tensor { name: INPUT, datatype: "BYTES", shape: vec![-1] }],
        outputs: [Tensor { name: OUTPUT, datatype: "FP32", shape: vec![-1, width] }],
    }))
}

#[derive(Serialize)]
pub struct Ready {
    name: String,
    ready: bool,
}

/// A model is ready when the server is.
pub async fn ready(
    State(state): State<AppState>,
    Segment(model): Segment,
) -> Result<Answer<Ready>, Problem> {
    let name = state.encoder(Some(&model))?.info().name.clone();
    match state.readiness.phase() {
        Phase::Ready => Ok(Answer(Ready { name, ready: true })),
        Phase::Starting | Phase::Draining | Phase::Failed => {
            Err(Problem::unavailable("draining", "the server is shutting down"))
        }
    }
}
