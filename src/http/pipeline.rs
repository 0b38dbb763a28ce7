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

use crate::encoder::Deadline;
use crate::http::body::{JsonText, decode};
use crate::http::error::Problem;
use crate::http::predict::Answers;
use crate::http::{AppState, embed, predict, similarity};

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

/// Embeds texts; compares sentences where `inputs` is an object; else classifies where there are
/// `parameters`, which a request to embed has beside its inputs.
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
