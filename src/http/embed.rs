//! `POST /embed`, in the shape of text-embeddings-inference.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::encoder::tokenizer::Truncation;
use crate::encoder::{Deadline, EmbedOptions, Embeddings};
use crate::http::AppState;
use crate::http::body::Json;
use crate::http::cost::Meter;
use crate::http::error::Problem;
use crate::http::format::Format;
use crate::http::inputs::Inputs;
use crate::http::{prompt, vectors};
use crate::npy;

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

/// Embeds sentences.
///
/// `Accept: application/octet-stream` asks for a binary answer: the rows one after another as
/// little-endian f32. `Accept: application/x-npy` asks for the same as a file of NumPy's.
#[utoipa::path(
    post, path = "/embed", tag = "embeddings",
    request_body = EmbedRequest,
    responses(
        (
            status = 200, description = "One embedding an input, in the order of the inputs",
            content(
                (Vec<Vec<f32>> = "application/json"),
                (Vec<u8> = "application/octet-stream"),
                (Vec<u8> = "application/x-npy"),
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
    answer(&state, deadline, &headers, request).await
}

/// Embeds and answers in the form that the headers ask for.
pub async fn answer(
    state: &AppState,
    deadline: Deadline,
    headers: &HeaderMap,
    request: EmbedRequest,
) -> Result<Response, Problem> {
    let encoder = state.encoder(request.model.as_deref())?;
    let (mut texts, class) = request.inputs.check(&state.config)?;
    let meter = Meter::start(&texts);
    prompt::put_before(&mut texts, encoder.info(), request.prompt_name.as_deref())?;
    let options = EmbedOptions {
        truncation: truncation(request.truncate, request.truncation_direction),
        prompted: true,
        normalize: request.normalize,
        dimensions: request.dimensions,
        ..EmbedOptions::new(class, deadline)
    };
    let embeddings = encoder.embed(texts, options).await?;
    let cost = meter.read(encoder.info(), embeddings.tokens, embeddings.spent);
    let answer = match Format::accepted(headers) {
        Format::Json => {
            let values = embeddings.values.len();
            let write = move || vectors::list(values, &embeddings.rows().collect::<Vec<&[f32]>>());
            vectors::respond(values, write).await?
        }
        binary => in_binary(binary, &embeddings),
    };
    Ok((cost, answer).into_response())
}

/// What becomes of longer inputs; unless a request says otherwise, their end is cut off.
pub fn truncation(truncate: Option<bool>, direction: Option<Direction>) -> Truncation {
    match (truncate, direction) {
        (Some(false), _) => Truncation::Refuse,
        (_, Some(Direction::Left)) => Truncation::Left,
        _ => Truncation::Right,
    }
}

/// The rows one after another as little-endian f32.
fn in_binary(format: Format, embeddings: &Embeddings) -> Response {
    let (rows, width) = (embeddings.rows().len(), embeddings.width);
    let mut bytes = match format {
        Format::Npy => npy::header(rows, width),
        Format::Raw | Format::Json => Vec::new(),
    };
    bytes.extend(vectors::bytes(&embeddings.values));
    let (media_type, shape) = (format.media_type().to_string(), format!("{rows},{width}"));
    ([(header::CONTENT_TYPE.as_str(), &media_type), (SHAPE, &shape)], bytes).into_response()
}
