//! The routes of the infinity server that its clients call: `POST /embeddings`, `GET /models`.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json as Answer};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::encoder::{Deadline, ModelInfo};
use crate::http::body::Json;
use crate::http::error::Problem;
use crate::http::texts_or_ids::TextsOrIds;
use crate::http::vectors::Encoding;
use crate::http::{AppState, openai};

/// What infinity's client calls the model if it is not told of one.
const NO_MODEL: &str = "default/not-specified";

/// What a client asks `/embeddings` for.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = InfinityEmbeddingsRequest)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingsRequest {
    input: TextsOrIds,
    /// The default one if it is left out, or `default/not-specified`.
    model: Option<String>,
    encoding_format: Option<Encoding>,
    /// 0 stands for all.
    #[serde(default)]
    dimensions: usize,
    #[serde(default, rename = "modality")]
    _modality: Modality,
    #[serde(default, rename = "user")]
    #[schema(value_type = Value)]
    _user: IgnoredAny,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Modality {
    #[default]
    Text,
}

/// Embeds texts, in the shape of OpenAI.
#[utoipa::path(
    post, path = "/embeddings", tag = "infinity", operation_id = "infinity_embeddings",
    request_body = EmbeddingsRequest,
    responses(
        (status = 200, description = "One embedding an input, in the order of the inputs", body = openai::embeddings::EmbeddingsResponse),
        (status = 404, description = "unknown_model"),
        (status = 422, description = "no_inputs, too_many_inputs, empty_input, invalid_input, invalid_token_ids, too_many_tokens, invalid_dimensions"),
        (status = 429, description = "queue_full"),
        (status = 503, description = "draining"),
    ),
)]
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

#[derive(Serialize, ToSchema)]
#[schema(as = InfinityModelList)]
pub struct ModelList {
    object: &'static str,
    data: Vec<Model>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = InfinityModel)]
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

/// Lists the models, as infinity does.
#[utoipa::path(
    get, path = "/models", tag = "infinity", operation_id = "infinity_models",
    responses((status = 200, description = "All models, by name", body = ModelList)),
)]
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
