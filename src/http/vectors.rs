//! How embeddings are written: as JSON numbers, in base64, or as bare bytes.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::prelude::{BASE64_STANDARD, Engine};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use utoipa::ToSchema;

use crate::http::error::Problem;

/// How a vector stands in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// A list of numbers.
    #[default]
    Float,
    /// A string: its f32 in little-endian order, in base64.
    Base64,
}

/// A vector as it stands in JSON.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Vector<'a> {
    Float(&'a [f32]),
    Base64(String),
}

impl<'a> Vector<'a> {
    pub fn new(values: &'a [f32], encoding: Encoding) -> Vector<'a> {
        match encoding {
            Encoding::Float => Vector::Float(values),
            Encoding::Base64 => Vector::Base64(BASE64_STANDARD.encode(bytes(values))),
        }
    }
}

/// Little-endian f32, one after another.
pub fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Vectors, of so many numbers in all, as JSON and nothing around them.
pub fn list(values: usize, vectors: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    /// Bytes of most numbers between -1 and 1, and of the comma after them.
    const BYTES: usize = 13;
    let mut text = Vec::with_capacity(values * BYTES);
    serde_json::to_writer(&mut text, vectors)?;
    Ok(text)
}

/// Numbers that are written in place: some half a millisecond's work. More of them would hold up the
/// async runtime, and with it the answers to others.
const VALUES_IN_PLACE: usize = 1 << 14;

/// An answer in JSON with so many numbers in it. A long one is written where that holds up no other
/// request.
pub async fn respond(
    values: usize,
    write: impl FnOnce() -> serde_json::Result<Vec<u8>> + Send + 'static,
) -> Result<Response, Problem> {
    let text = if values <= VALUES_IN_PLACE {
        write()
    } else {
        spawn_blocking(write).await.map_err(|cause| Problem::internal(&cause))?
    };
    let text = text.map_err(|cause| Problem::internal(&cause))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}
