//! The routes of the infinity server that its clients call: `POST /embeddings`, `GET /models`.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json as Answer};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::encoder::{Deadline, ModelInfo};
use crate::http::body::Json;
use crate::http::error::Problem;
use crate::http::texts_or_ids::TextsOrIds;
use crate::http::vectors::Encoding;
use crate::http::{AppState, openai};

/// What infinity's client calls the model if it is not told of one.
const NO_MODEL: &str = "default/not-specified";

/// What a client asks `/embeddings` for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingsRequest {
    input: TextsOrIds,
    model: Option<String>,
    encoding_format: Option<Encoding>,
    /// 0 stands for all.
    #[serde(default)]
    dimensions: usize,
    #[serde(default, rename = "modality")]
    _modality: Modality,
    #[serde(default, rename = "user")]
    _user: IgnoredAny,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Modality {
    #[default]
    Text,
}

pub async fn embeddings(
    State(state): State<AppState>,
    Extension(deadline): Extension<Deadline>,
    Json(request): Json<EmbeddingsRequest>,
) -> Result<Response, Problem> {
    let wanted = openai::Wanted {
        input: request.input,
        model: request.model.filter(|model| model != NO_MODEL),
        encoding: request.encoding_format.unwrap_or_default(),
        dimensions: Some(request.dimensions).filter(|&dimensions| dimensions > 0),
    };
    openai::answer(&state, deadline, wanted).await
}

#[derive(Serialize)]
pub struct ModelList {
    object: &'static str,
    data: Vec<Model>,
}

#[derive(Serialize)]
struct Model {
    id: String,
    stats: BTreeMap<&'static str, usize>,
    object: &'static str,
    /// Its clients take no other.
    owned_by: &'static str,
    created: i64,
    backend: &'static str,
    capabilities: [&'static str; 1],
}

pub async fn models(State(state): State<AppState>) -> Answer<ModelList> {
    let queued = state.queued_tokens();
    let model = |info: &ModelInfo| Model {
        id: info.name.clone(),
        stats: [("queued_tokens", queued)].into(),
        object: "model",
        owned_by: "infinity",
        created: state.started_at.as_second(),
        backend: "onnxruntime",
        capabilities: ["embed"],
    };
    let data = state.encoders.values().map(|encoder| model(encoder.info())).collect();
    Answer(ModelList { object: "list", data })
}
