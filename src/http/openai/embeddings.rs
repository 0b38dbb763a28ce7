//! `POST /v1/embeddings`.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::encoder::{Deadline, EmbedOptions, Embeddings};
use crate::http::AppState;
use crate::http::body::Json;
use crate::http::cost::Meter;
use crate::http::error::Problem;
use crate::http::inputs::{check_count, check_texts};
use crate::http::texts_or_ids::TextsOrIds;
use crate::http::vectors::{self, Encoding, Vector};

/// What a client asks `/v1/embeddings` for.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OpenAiEmbeddingsRequest)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingsRequest {
    /// Token ids are the model's own, special tokens included, as `/tokenize` gives them.
    input: TextsOrIds,
    /// The default one if it is left out.
    model: Option<String>,
    encoding_format: Option<Encoding>,
    /// Keeps so many leading elements.
    #[schema(minimum = 1)]
    dimensions: Option<usize>,
    /// Whoever the client asks for: of no use here.
    #[serde(default, rename = "user")]
    #[schema(value_type = Value)]
    _user: IgnoredAny,
}

/// What is to be embedded, and how it is to be told.
pub struct Wanted {
    pub input: TextsOrIds,
    pub model: Option<String>,
    pub encoding: Encoding,
    pub dimensions: Option<usize>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OpenAiEmbeddings)]
pub struct EmbeddingsResponse<'a> {
    object: &'static str,
    data: Vec<Embedding<'a>>,
    model: &'a str,
    usage: Usage,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OpenAiEmbedding)]
struct Embedding<'a> {
    object: &'static str,
    index: usize,
    embedding: Vector<'a>,
}

#[derive(Serialize, ToSchema)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// Embeds texts, or texts that the client has tokenised by itself.
#[utoipa::path(
    post, path = "/v1/embeddings", tag = "OpenAI", operation_id = "openai_embeddings",
    request_body = EmbeddingsRequest,
    responses(
        (status = 200, description = "One embedding an input, in the order of the inputs", body = EmbeddingsResponse),
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
    let EmbeddingsRequest { input, model, encoding_format, dimensions, .. } = request;
    let encoding = encoding_format.unwrap_or_default();
    answer(&state, deadline, Wanted { input, model, encoding, dimensions }).await
}

/// Embeds and answers in OpenAI's shape.
pub async fn answer(
    state: &AppState,
    deadline: Deadline,
    wanted: Wanted,
) -> Result<Response, Problem> {
    let renamed = |problem: Problem| problem.naming_inputs_of("input");
    let encoder = state.encoder(wanted.model.as_deref())?;
    let info = encoder.info();
    let options = |class| EmbedOptions {
        dimensions: wanted.dimensions,
        ..EmbedOptions::new(class, deadline)
    };
    let (meter, embedded) = match wanted.input {
        TextsOrIds::Texts(texts) => {
            let class = check_texts(&texts, &state.config).map_err(renamed)?;
            let meter = Meter::start(&texts);
            (meter, encoder.embed(texts, options(class)).await)
        }
        TextsOrIds::Ids(sentences) => {
            let class = check_count(sentences.len(), &state.config).map_err(renamed)?;
            (Meter::start(&[]), encoder.embed_tokens(sentences, options(class)).await)
        }
    };
    let embeddings = embedded.map_err(|error| renamed(error.into()))?;
    let cost = meter.read(info, embeddings.tokens, embeddings.spent);
    let (model, encoding) = (info.name.clone(), wanted.encoding);
    let values = embeddings.values.len();
    let write = move || to_json(&embeddings, &model, encoding);
    Ok((cost, vectors::respond(values, write).await?).into_response())
}

fn to_json(
    embeddings: &Embeddings,
    model: &str,
    encoding: Encoding,
) -> serde_json::Result<Vec<u8>> {
    let embedding = |(index, row)| Embedding {
        object: "embedding",
        index,
        embedding: Vector::new(row, encoding),
    };
    serde_json::to_vec(&EmbeddingsResponse {
        object: "list",
        data: embeddings.rows().enumerate().map(embedding).collect(),
        model,
        usage: Usage { prompt_tokens: embeddings.tokens, total_tokens: embeddings.tokens },
    })
}
