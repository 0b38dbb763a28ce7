//! `POST /embed`, in the shape of text-embeddings-inference.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::task::spawn_blocking;
use utoipa::ToSchema;

use crate::encoder::tokenizer::Truncation;
use crate::encoder::{Deadline, EmbedOptions, Embeddings};
use crate::http::AppState;
use crate::http::body::Json;
use crate::http::error::Problem;
use crate::http::inputs::Inputs;

/// What a client asks `/embed` for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmbedRequest {
    /// One text, or a list of them. `sentences` is another name for the field.
    #[serde(alias = "sentences")]
    inputs: Inputs,
    /// Whether embeddings have length 1; the model's own habit by default.
    normalize: Option<bool>,
    /// Whether longer inputs are cut to the model's limit (the default) or refused.
    truncate: Option<bool>,
    /// The end that is cut off; the right one by default.
    truncation_direction: Option<Direction>,
    /// Keeps so many leading elements.
    #[schema(minimum = 1)]
    dimensions: Option<usize>,
    /// The name of one of the model's prompts, which is put before each input.
    prompt_name: Option<String>,
    /// The default one if it is left out.
    model: Option<String>,
}

/// The end at which a longer input is cut.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
pub enum Direction {
    #[serde(alias = "left")]
    Left,
    #[serde(alias = "right")]
    Right,
}

/// Names the rows and columns of a binary answer, such as `3,384`.
const SHAPE: &str = "x-embeddings-shape";

const BINARY: &str = "application/octet-stream";

/// Embeds sentences.
///
/// `Accept: application/octet-stream` asks for a binary answer: the rows one after another as
/// little-endian f32.
#[utoipa::path(
    post, path = "/embed", tag = "embeddings",
    request_body = EmbedRequest,
    responses(
        (
            status = 200, description = "One embedding an input, in the order of the inputs",
            content(
                (Vec<Vec<f32>> = "application/json"),
                (Vec<u8> = "application/octet-stream"),
            ),
            headers(("x-embeddings-shape", description = "Of a binary answer: rows and columns, such as `3,384`")),
        ),
        (status = 404, description = "unknown_model"),
        (status = 422, description = "no_inputs, too_many_inputs, empty_input, invalid_input, input_too_long, too_many_tokens, unknown_prompt, invalid_dimensions, normalized_in_graph"),
        (status = 429, description = "queue_full"),
        (status = 503, description = "draining"),
    ),
)]
pub async fn embed(
    State(state): State<AppState>,
    Extension(deadline): Extension<Deadline>,
    headers: HeaderMap,
    Json(request): Json<EmbedRequest>,
) -> Result<Response, Problem> {
    let encoder = state.encoder(request.model.as_deref())?;
    let (mut texts, class) = request.inputs.check(&state.config)?;
    if let Some(name) = &request.prompt_name {
        let prompts = &encoder.info().prompts;
        let prompt = prompts.get(name).ok_or_else(|| unknown_prompt(name, prompts.keys()))?;
        texts.iter_mut().for_each(|text| text.insert_str(0, prompt));
    }
    let truncation = match (request.truncate, request.truncation_direction) {
        (Some(false), _) => Truncation::Refuse,
        (_, Some(Direction::Left)) => Truncation::Left,
        _ => Truncation::Right,
    };
    let options = EmbedOptions {
        class,
        deadline: Some(deadline),
        truncation,
        normalize: request.normalize,
        dimensions: request.dimensions,
    };
    let embeddings = encoder.embed(texts, options).await?;
    if wants_binary(&headers) { Ok(binary(&embeddings)) } else { json(embeddings).await }
}

/// Numbers that are written in place: some half a millisecond's work. More of them would hold up the
/// async runtime, and with it the answers to others.
const VALUES_IN_PLACE: usize = 1 << 14;

async fn json(embeddings: Embeddings) -> Result<Response, Problem> {
    let text = if embeddings.values.len() <= VALUES_IN_PLACE {
        to_json(&embeddings)
    } else {
        spawn_blocking(move || to_json(&embeddings))
            .await
            .map_err(|cause| Problem::internal(&cause))?
    };
    let text = text.map_err(|cause| Problem::internal(&cause))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

fn to_json(embeddings: &Embeddings) -> serde_json::Result<Vec<u8>> {
    /// Bytes of most numbers between -1 and 1, and of the comma after them.
    const BYTES: usize = 13;
    let mut text = Vec::with_capacity(embeddings.values.len() * BYTES);
    serde_json::to_writer(&mut text, &embeddings.rows().collect::<Vec<&[f32]>>())?;
    Ok(text)
}

/// The rows one after another as little-endian f32.
fn binary(embeddings: &Embeddings) -> Response {
    let bytes: Vec<u8> = embeddings.values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let shape = format!("{},{}", embeddings.rows().len(), embeddings.width);
    ([(header::CONTENT_TYPE.as_str(), BINARY), (SHAPE, &shape)], bytes).into_response()
}

fn wants_binary(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .map(HeaderValue::as_bytes)
        .is_some_and(|accept| accept.starts_with(BINARY.as_bytes()))
}

fn unknown_prompt<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Problem {
    let known: Vec<&str> = known.map(String::as_str).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let detail = format!("the model has no prompt {name:?}; its prompts: {known}");
    Problem::invalid("unknown_prompt", detail).at("prompt_name")
}
