//! `POST /v2/embed`, in the shape of Cohere's API.

use std::collections::{BTreeMap, BTreeSet};

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::encoder::tokenizer::Truncation;
use crate::encoder::{Deadline, EmbedOptions, Embeddings, ModelInfo};
use crate::http::body::Json;
use crate::http::cost::Meter;
use crate::http::error::Problem;
use crate::http::inputs::check_texts;
use crate::http::vectors::{self, Encoding, Vector};
use crate::http::{AppState, prompt};

/// What a client asks `/v2/embed` for.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CohereEmbedRequest)]
#[serde(deny_unknown_fields)]
pub struct EmbedRequest {
    texts: Vec<String>,
    /// The default one if it is left out.
    model: Option<String>,
    input_type: Option<InputType>,
    /// `float` by default.
    #[serde(default = "float")]
    #[schema(min_items = 1)]
    embedding_types: BTreeSet<EmbeddingType>,
    /// Keeps so many leading elements.
    #[schema(minimum = 1)]
    output_dimension: Option<usize>,
    #[serde(default)]
    truncate: Truncate,
    /// Requests of few texts come first in any case.
    #[serde(default, rename = "priority")]
    #[schema(value_type = Value)]
    _priority: IgnoredAny,
}

/// What the embeddings are for. A model that has a prompt for that gets it before each text.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum InputType {
    SearchDocument,
    SearchQuery,
    Classification,
    Clustering,
}

impl InputType {
    /// What models call such a prompt.
    fn prompt_names(self) -> &'static [&'static str] {
        match self {
            InputType::SearchDocument => &["search_document", "document", "passage"],
            InputType::SearchQuery => &["search_query", "query"],
            InputType::Classification => &["classification"],
            InputType::Clustering => &["clustering"],
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum EmbeddingType {
    Float,
    Base64,
    /// One bit an element, 1 where it is above 0, the first one highest; as i8.
    Binary,
    /// The same as u8.
    Ubinary,
}

/// The end at which a longer text is cut, if any.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Truncate {
    None,
    Start,
    #[default]
    End,
}

fn float() -> BTreeSet<EmbeddingType> {
    [EmbeddingType::Float].into()
}

#[derive(Serialize, ToSchema)]
#[schema(as = CohereEmbeddings)]
struct EmbedResponse<'a> {
    id: String,
    response_type: &'static str,
    embeddings: BTreeMap<EmbeddingType, Vec<Row<'a>>>,
    texts: &'a [String],
    meta: Meta,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CohereEmbedding)]
#[serde(untagged)]
enum Row<'a> {
    Vector(Vector<'a>),
    Signed(Vec<i8>),
    Unsigned(Vec<u8>),
}

#[derive(Serialize, ToSchema)]
struct Meta {
    api_version: ApiVersion,
    billed_units: BilledUnits,
}

#[derive(Serialize, ToSchema)]
struct ApiVersion {
    version: &'static str,
}

#[derive(Serialize, ToSchema)]
struct BilledUnits {
    input_tokens: usize,
}

/// Embeds texts, in the shape of Cohere.
#[utoipa::path(
    post, path = "/v2/embed", tag = "Cohere", operation_id = "cohere_embed",
    request_body = EmbedRequest,
    responses(
        (status = 200, description = "One embedding a text, in each form that was asked for", body = EmbedResponse),
        (status = 404, description = "unknown_model"),
        (status = 422, description = "no_inputs, too_many_inputs, empty_input, invalid_input, input_too_long, too_many_tokens, no_embedding_types, invalid_dimensions"),
        (status = 429, description = "queue_full"),
        (status = 503, description = "draining"),
    ),
)]
pub async fn embed(
    State(state): State<AppState>,
    Extension(deadline): Extension<Deadline>,
    Json(request): Json<EmbedRequest>,
) -> Result<Response, Problem> {
    let renamed = |problem: Problem| problem.naming_inputs_of("texts");
    let encoder = state.encoder(request.model.as_deref())?;
    let class = check_texts(&request.texts, &state.config).map_err(renamed)?;
    if request.embedding_types.is_empty() {
        let detail = "embedding_types is empty; leave it out for float";
        return Err(Problem::invalid("no_embedding_types", detail).at("embedding_types"));
    }
    let meter = Meter::start(&request.texts);
    let mut texts = request.texts.clone();
    prompt::put_before(
        &mut texts,
        encoder.info(),
        prompt_name(encoder.info(), request.input_type),
    )?;
    let options = EmbedOptions {
        truncation: match request.truncate {
            Truncate::None => Truncation::Refuse,
            Truncate::Start => Truncation::Left,
            Truncate::End => Truncation::Right,
        },
        prompted: true,
        dimensions: request.output_dimension,
        ..EmbedOptions::new(class, deadline)
    };
    let embedded = encoder.embed(texts, options).await;
    let embeddings = embedded.map_err(|error| match Problem::from(error) {
        problem if problem.is_at("dimensions") => problem.at("output_dimension"),
        problem => renamed(problem),
    })?;
    let cost = meter.read(encoder.info(), embeddings.tokens, embeddings.spent);
    let values = embeddings.values.len() * request.embedding_types.len();
    let EmbedRequest { texts, embedding_types, .. } = request;
    let write = move || to_json(&embeddings, &texts, embedding_types);
    Ok((cost, vectors::respond(values, write).await?).into_response())
}

/// The model's own prompt for what the embeddings are for, if it has one.
fn prompt_name(model: &ModelInfo, input_type: Option<InputType>) -> Option<&'static str> {
    let mut names = input_type?.prompt_names().iter().copied();
    names.find(|&name| model.prompts.contains_key(name))
}

fn to_json(
    embeddings: &Embeddings,
    texts: &[String],
    types: BTreeSet<EmbeddingType>,
) -> serde_json::Result<Vec<u8>> {
    let all = |kind| (kind, embeddings.rows().map(|row| written(row, kind)).collect());
    serde_json::to_vec(&EmbedResponse {
        id: Uuid::now_v7().to_string(),
        response_type: "embeddings_by_type",
        embeddings: types.into_iter().map(all).collect(),
        texts,
        meta: Meta {
            api_version: ApiVersion { version: "2" },
            billed_units: BilledUnits { input_tokens: embeddings.tokens },
        },
    })
}

fn written(row: &[f32], kind: EmbeddingType) -> Row<'_> {
    match kind {
        EmbeddingType::Float => Row::Vector(Vector::new(row, Encoding::Float)),
        EmbeddingType::Base64 => Row::Vector(Vector::new(row, Encoding::Base64)),
        EmbeddingType::Ubinary => Row::Unsigned(bits(row)),
        // Cohere's signed form is the unsigned one less 128.
        EmbeddingType::Binary => {
            Row::Signed(bits(row).into_iter().map(|byte| (byte ^ 0x80) as i8).collect())
        }
    }
}

/// Eight elements a byte, 1 where one is above 0, the first one in the highest bit (as NumPy's
/// `packbits`); what is missing from the last byte is 0.
fn bits(row: &[f32]) -> Vec<u8> {
    let byte = |eight: &[f32]| {
        let bit = |(place, &value): (usize, &f32)| u8::from(value > 0.0) << (7 - place);
        eight.iter().enumerate().map(bit).sum()
    };
    row.chunks(8).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_packed_as_numpy_packs_them() {
        // numpy.packbits(numpy.array([.1, -.1, .1, .1, 0, -1, 2, 3, -1, 1]) > 0)
        let row = [0.1, -0.1, 0.1, 0.1, 0.0, -1.0, 2.0, 3.0, -1.0, 1.0];
        assert_eq!(bits(&row), [179, 64]);
        let Row::Signed(signed) = written(&row, EmbeddingType::Binary) else { panic!() };
        assert_eq!(signed, [51, -64]);
    }
}
