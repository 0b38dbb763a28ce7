//! The Open Inference Protocol, version 2, over HTTP, as KServe and Triton speak it: text in (BYTES),
//! embeddings out (FP32), with the extension for binary tensor data.

mod body;
pub(super) mod infer;

use axum::Json as Answer;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

pub use infer::infer;

use crate::http::AppState;
use crate::http::error::Problem;
use crate::http::parameters::Segment;
use crate::readiness::Phase;

/// The tensor that a request has.
pub(super) const INPUT: &str = "text";

/// The tensor that an answer has.
pub(super) const OUTPUT: &str = "embedding";

#[derive(Serialize, ToSchema)]
#[schema(as = InferenceServer)]
pub struct Server {
    name: &'static str,
    version: &'static str,
    extensions: [&'static str; 1],
}

/// Tells of the server.
#[utoipa::path(
    get, path = "/v2", tag = "Open Inference Protocol", operation_id = "inference_server",
    responses((status = 200, description = "Its name, version and extensions", body = Server)),
)]
pub async fn server() -> Answer<Server> {
    let extensions = ["binary_tensor_data"];
    Answer(Server { name: "polyhead", version: env!("CARGO_PKG_VERSION"), extensions })
}

#[derive(Serialize, ToSchema)]
#[schema(as = InferenceModel)]
pub struct Model {
    name: String,
    platform: &'static str,
    inputs: [Tensor; 1],
    outputs: [Tensor; 1],
}

#[derive(Serialize, ToSchema)]
struct Tensor {
    name: &'static str,
    datatype: &'static str,
    /// -1 stands for any number.
    shape: Vec<i64>,
}

/// Tells of a model: the tensors that it takes and gives.
#[utoipa::path(
    get, path = "/v2/models/{model}", tag = "Open Inference Protocol", operation_id = "inference_model",
    params(("model" = String, Path, description = "The model's name")),
    responses(
        (status = 200, description = "Its tensors", body = Model),
        (status = 404, description = "unknown_model"),
    ),
)]
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

#[derive(Serialize, ToSchema)]
#[schema(as = InferenceModelReady)]
pub struct Ready {
    name: String,
    ready: bool,
}

/// A model is ready when the server is.
#[utoipa::path(
    get, path = "/v2/models/{model}/ready", tag = "Open Inference Protocol", operation_id = "inference_model_ready",
    params(("model" = String, Path, description = "The model's name")),
    responses(
        (status = 200, description = "The model is ready", body = Ready),
        (status = 404, description = "unknown_model"),
        (status = 503, description = "draining"),
    ),
)]
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
