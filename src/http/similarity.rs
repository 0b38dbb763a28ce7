//! `POST /similarity`: how alike a sentence and others are, in the shape of text-embeddings-inference.

use axum::extract::State;
use axum::{Extension, Json as Answer};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::encoder::{Deadline, EmbedOptions};
use crate::http::body::{Json, object};
use crate::http::cost::{Cost, Meter};
use crate::http::embed::{Direction, truncation};
use crate::http::error::Problem;
use crate::http::inputs::check_texts;
use crate::http::{AppState, prompt};

/// What a client asks `/similarity` for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SimilarityRequest {
    #[serde(deserialize_with = "object::one")]
    inputs: Sentences,
    #[serde(default, deserialize_with = "object::one")]
    parameters: Parameters,
    /// The default one if it is left out.
    model: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Sentences {
    source_sentence: String,
    sentences: Vec<String>,
}

/// As those of `/embed`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = SimilarityParameters)]
#[serde(deny_unknown_fields)]
struct Parameters {
    truncate: Option<bool>,
    truncation_direction: Option<Direction>,
    prompt_name: Option<String>,
}

/// Compares a sentence with others: the cosine of its embedding and each of theirs.
#[utoipa::path(
    post, path = "/similarity", tag = "text-embeddings-inference",
    request_body = SimilarityRequest,
    responses(
        (status = 200, description = "One cosine a sentence, in their order", body = Vec<f32>),
        (status = 404, description = "unknown_model"),
        (status = 422, description = "no_inputs, too_many_inputs, empty_input, invalid_input, input_too_long, too_many_tokens, unknown_prompt"),
        (status = 429, description = "queue_full"),
        (status = 503, description = "draining"),
    ),
)]
pub async fn similarity(
    State(state): State<AppState>,
    Extension(deadline): Extension<Deadline>,
    Json(request): Json<SimilarityRequest>,
) -> Result<(Cost, Answer<Vec<f32>>), Problem> {
    answer(&state, deadline, request).await
}

/// The cosine of the source sentence's embedding and each of the others.
pub async fn answer(
    state: &AppState,
    deadline: Deadline,
    request: SimilarityRequest,
) -> Result<(Cost, Answer<Vec<f32>>), Problem> {
    let encoder = state.encoder(request.model.as_deref())?;
    let SimilarityRequest { inputs, parameters, .. } = request;
    if inputs.sentences.is_empty() {
        let detail = "there are no sentences to compare the source sentence with";
        return Err(Problem::invalid("no_inputs", detail).at("inputs.sentences"));
    }
    // The source sentence is the first of those that are embedded.
    let renamed = |problem: Problem| {
        problem.naming_inputs("inputs.sentences", |index| match index.checked_sub(1) {
            Some(index) => format!("inputs.sentences[{index}]"),
            None => "inputs.source_sentence".to_owned(),
        })
    };
    let mut texts = vec![inputs.source_sentence];
    texts.extend(inputs.sentences);
    let class = check_texts(&texts, &state.config).map_err(renamed)?;
    let meter = Meter::start(&texts);
    let name = parameters.prompt_name.as_deref();
    prompt::put_before(&mut texts, encoder.info(), name)
        .map_err(|problem| problem.at("parameters.prompt_name"))?;
    let options = EmbedOptions {
        truncation: truncation(parameters.truncate, parameters.truncation_direction),
        prompted: true,
        normalize: Some(true),
        ..EmbedOptions::new(class, deadline)
    };
    let embedded = encoder.embed(texts, options).await;
    let embeddings = embedded.map_err(|error| renamed(error.into()))?;
    let cost = meter.read(encoder.info(), embeddings.tokens, embeddings.spent);
    let mut rows = embeddings.rows();
    let source = rows.next().unwrap_or_default();
    Ok((cost, Answer(rows.map(|row| dot(source, row)).collect())))
}

/// Of vectors of length 1, the cosine of their angle.
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let products = left.iter().zip(right).map(|(&left, &right)| f64::from(left) * f64::from(right));
    products.sum::<f64>() as f32
}
