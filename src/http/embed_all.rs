//! `POST /embed_all`: a vector for each token, in the shape of text-embeddings-inference.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::encoder::Deadline;
use crate::http::AppState;
use crate::http::body::Json;
use crate::http::cost::Meter;
use crate::http::embed::{Direction, truncation};
use crate::http::error::Problem;
use crate::http::inputs::Inputs;
use crate::http::{prompt, vectors};

/// What a client asks `/embed_all` for; what is not described here is as for `/embed`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmbedAllRequest {
    #[serde(alias = "sentences")]
    inputs: Inputs,
    truncate: Option<bool>,
    truncation_direction: Option<Direction>,
    prompt_name: Option<String>,
    model: Option<String>,
    /// Clients send it here too: of no use, for these vectors never are.
    #[serde(rename = "normalize")]
    _normalize: Option<bool>,
}

/// Embeds each token of texts, special ones included.
#[utoipa::path(
    post, path = "/embed_all", tag = "embeddings",
    request_body = EmbedAllRequest,
    responses(
        (
            status = 200, description = "For each input, in their order, a vector for each token",
            body = Vec<Vec<Vec<f32>>>,
        ),
        (status = 404, description = "unknown_model"),
        (status = 422, description = "no_inputs, too_many_inputs, empty_input, invalid_input, input_too_long, too_many_tokens, unknown_prompt, no_token_states"),
        (status = 429, description = "queue_full"),
        (status = 503, description = "draining"),
    ),
)]
pub async fn embed_all(
    State(state): State<AppState>,
    Extension(deadline): Extension<Deadline>,
    Json(request): Json<EmbedAllRequest>,
) -> Result<Response, Problem> {
    let encoder = state.encoder(request.model.as_deref())?;
    let (mut texts, class) = request.inputs.check(&state.config)?;
    let meter = Meter::start(&texts);
    prompt::put_before(&mut texts, encoder.info(), request.prompt_name.as_deref())?;
    let truncation = truncation(request.truncate, request.truncation_direction);
    let states = encoder.token_states(texts, truncation, class, deadline).await?;
    let cost = meter.read(encoder.info(), states.tokens(), states.spent);
    let values = states.values.len();
    let write = move || {
        let texts: Vec<Vec<&[f32]>> = states.texts().map(Iterator::collect).collect();
        vectors::list(values, &texts)
    };
    Ok((cost, vectors::respond(values, write).await?).into_response())
}
