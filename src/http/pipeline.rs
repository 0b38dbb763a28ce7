//! `POST /`: what Hugging Face's inference clients send to a server of which they know the address only.
//! The shape of the body says which pipeline is meant.

use std::fmt;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use utoipa::ToSchema;

use crate::encoder::Deadline;
use crate::http::body::{JsonText, decode};
use crate::http::embed::EmbedRequest;
use crate::http::error::Problem;
use crate::http::predict::{Answers, PredictRequest, Score};
use crate::http::similarity::SimilarityRequest;
use crate::http::{AppState, embed, predict, similarity};

/// What each pipeline is asked for.
#[derive(ToSchema)]
#[serde(untagged)]
pub enum PipelineRequest {
    Embed(EmbedRequest),
    Compare(SimilarityRequest),
    Classify(PredictRequest),
}

/// What each pipeline answers.
#[derive(ToSchema)]
#[serde(untagged)]
pub enum PipelineAnswer {
    /// One embedding an input.
    Embeddings(Vec<Vec<f32>>),
    /// One cosine a sentence.
    Similarities(Vec<f32>),
    /// One list of scores an input, best first.
    Scores(Vec<Vec<Score>>),
}

/// So much of a body as tells the pipelines apart.
#[derive(Default, Deserialize)]
struct Shape {
    #[serde(default)]
    inputs: InputsShape,
    parameters: Option<IgnoredAny>,
}

#[derive(Default)]
enum InputsShape {
    /// `source_sentence` and `sentences`.
    Object,
    #[default]
    Other,
}

/// Embeds, compares or classifies, as Hugging Face's clients ask a server of which they know the address
/// only.
///
/// It embeds texts; compares sentences where `inputs` is an object; else classifies where there are
/// `parameters`, whose fields a request to embed has beside its inputs.
#[utoipa::path(
    post, path = "/", tag = "Hugging Face", operation_id = "run_pipeline",
    request_body = PipelineRequest,
    responses(
        (
            status = 200, description = "What the pipeline answers",
            content(
                (PipelineAnswer = "application/json"),
                (Vec<u8> = "application/octet-stream"),
                (Vec<u8> = "application/x-npy"),
            ),
        ),
        (status = 404, description = "unknown_model, unknown_task"),
        (status = 409, description = "head_untrained, encoder_mismatch"),
        (status = 422, description = "no_inputs, too_many_inputs, empty_input, invalid_input, input_too_long, too_many_tokens, unknown_prompt, invalid_dimensions, normalized_in_graph, pairs_not_supported, ambiguous_task, invalid_top_k, too_many_scores"),
        (status = 429, description = "queue_full"),
        (status = 503, description = "draining"),
    ),
)]
pub async fn run(
    State(state): State<AppState>,
    Extension(deadline): Extension<Deadline>,
    headers: HeaderMap,
    body: JsonText,
) -> Result<Response, Problem> {
    // What is wrong with a body is told by whoever decodes all of it.
    let outline = |body: Bytes| Ok(serde_json::from_slice(&body).unwrap_or_default());
    let shape: Shape = decode(body.bytes(), outline).await?;
    match (shape.inputs, shape.parameters) {
        (InputsShape::Object, _) => {
            let answer = similarity::answer(&state, deadline, body.decode().await?).await?;
            Ok(answer.into_response())
        }
        (InputsShape::Other, Some(_)) => {
            predict::answer(&state, deadline, body.decode().await?, Answers::Pipeline).await
        }
        (InputsShape::Other, None) => {
            embed::answer(&state, deadline, &headers, body.decode().await?).await
        }
    }
}

impl<'de> Deserialize<'de> for InputsShape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<InputsShape, D::Error> {
        struct Outline;

        impl<'de> Visitor<'de> for Outline {
            type Value = InputsShape;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("an object, a list or a string")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<InputsShape, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(InputsShape::Object)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<InputsShape, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(InputsShape::Other)
            }

            fn visit_str<E>(self, _: &str) -> Result<InputsShape, E> {
                Ok(InputsShape::Other)
            }
        }

        deserializer.deserialize_any(Outline)
    }
}
