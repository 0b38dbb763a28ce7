//! `GET /v1/models` and `/v1/models/{model}`.

use axum::Json as Answer;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::encoder::ModelInfo;
use crate::http::AppState;
use crate::http::error::Problem;
use crate::http::parameters::Segment;

#[derive(Serialize, ToSchema)]
#[schema(as = OpenAiModelList)]
pub struct ModelList {
    object: &'static str,
    data: Vec<Model>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OpenAiModel)]
pub struct Model {
    /// What requests call it.
    id: String,
    object: &'static str,
    /// When this server was started, in seconds since 1970: nothing else is known of all models.
    created: i64,
    owned_by: &'static str,
}

impl Model {
    fn of(info: &ModelInfo, state: &AppState) -> Model {
        Model {
            id: info.name.clone(),
            object: "model",
            created: state.started_at.as_second(),
            owned_by: "polyhead",
        }
    }
}

/// Lists the models.
#[utoipa::path(
    get, path = "/v1/models", tag = "OpenAI", operation_id = "openai_models",
    responses((status = 200, description = "All models, by name", body = ModelList)),
)]
pub async fn list(State(state): State<AppState>) -> Answer<ModelList> {
    let models = state.encoders.values().map(|encoder| Model::of(encoder.info(), &state));
    Answer(ModelList { object: "list", data: models.collect() })
}

/// Shows a model.
#[utoipa::path(
    get, path = "/v1/models/{model}", tag = "OpenAI", operation_id = "openai_model",
    params(("model" = String, Path, description = "The model's name")),
    responses(
        (status = 200, description = "The model", body = Model),
        (status = 404, description = "unknown_model"),
    ),
)]
pub async fn show(
    State(state): State<AppState>,
    Segment(model): Segment,
) -> Result<Answer<Model>, Problem> {
    let encoder = state.encoder(Some(&model))?;
    Ok(Answer(Model::of(encoder.info(), &state)))
}
