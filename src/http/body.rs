//! Request bodies: read within their limit, decoded with errors that say where and why.

pub mod object;
pub mod pace;
pub mod room;

use axum::body::{BodyDataStream, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use futures::StreamExt;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::http::AppState;
use crate::http::body::pace::Pace;
use crate::http::body::room::Share;
use crate::http::error::Problem;

/// Bytes of a body from which on it takes long to decode.
const LARGE: usize = 64 << 10;

/// A JSON body.
pub struct Json<T>(pub T);

/// The bytes of a JSON body whose shape is yet to be seen.
pub struct JsonText(Bytes);

impl<T: DeserializeOwned + Send + 'static> FromRequest<AppState> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<Json<T>, Problem> {
        JsonText::from_request(request, state).await?.decode().await.map(Json)
    }
}

impl FromRequest<AppState> for JsonText {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<JsonText, Problem> {
        let media_type = media_type(request.headers());
        // As TEI and curl users expect, a body without a type is taken for JSON.
        let is_json = media_type.as_deref().is_none_or(|media_type| {
            media_type == "application/json" || media_type.ends_with("+json")
        });
        if !is_json {
            return Err(unsupported(media_type, "application/json"));
        }
        read(request, state.config.limits.body_bytes.get()).await.map(JsonText)
    }
}

impl From<Bytes> for JsonText {
    fn from(body: Bytes) -> JsonText {
        JsonText(body)
    }
}

impl JsonText {
    /// Decodes it; a large one where that holds up no other request.
    pub async fn decode<T: DeserializeOwned + Send + 'static>(self) -> Result<T, Problem> {
        decode(self.0, |body| parse_json(&body)).await
    }

    /// Shared, not copied.
    pub fn bytes(&self) -> Bytes {
        self.0.clone()
    }
}

/// Decodes a body, a large one where that holds up no other request.
pub async fn decode<T: Send + 'static>(
    body: Bytes,
    how: impl FnOnce(Bytes) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    if body.len() < LARGE {
        return how(body);
    }
    let decoding = tokio::task::spawn_blocking(move || how(body));
    decoding.await.unwrap_or_else(|_| Err(Problem::internal(&"decoding a body panicked")))
}

/// The body's bytes, or 413 where there are more than `limit`.
pub async fn read(request: Request, limit: usize) -> Result<Bytes, Problem> {
    let mut pieces = Pieces::new(request, limit)?;
    let Some(first) = pieces.next().await? else { return Ok(Bytes::new()) };
    let Some(second) = pieces.next().await? else { return Ok(first) };
    let mut body = Vec::with_capacity(pieces.announced.max(first.len() + second.len()));
    body.extend_from_slice(&first);
    body.extend_from_slice(&second);
    while let Some(piece) = pieces.next().await? {
        body.extend_from_slice(&piece);
    }
    Ok(body.into())
}

/// A body that is read piece by piece, up to a limit.
pub struct Pieces {
    body: BodyDataStream,
    limit: usize,
    /// Bytes that there will be at least.
    announced: usize,
    read: usize,
    /// Bytes that are held of what was read before.
    held: usize,
    share: Option<Share>,
    /// Of a body whose time its request's deadline does not bound.
    pace: Option<Pace>,
}

impl Pieces {
    /// # Errors
    /// 413 for one that is announced to be larger than `limit`.
    pub fn new(mut request: Request, limit: usize) -> Result<Pieces, Problem> {
        let announced = request.body().size_hint().lower();
        // Said at once, without waiting for the body.
        let announced = usize::try_from(announced).ok().filter(|&bytes| bytes <= limit);
        let announced = announced.ok_or_else(|| too_large(limit))?;
        // Room is taken for what arrives, not for what is announced: words cost nothing.
        let share = request.extensions_mut().remove::<Share>();
        let pace = request.extensions_mut().remove::<Pace>();
        let body = request.into_body().into_data_stream();
        Ok(Pieces { body, limit, announced, read: 0, held: 0, share, pace })
    }

    /// Says how many bytes are held by now of what was made of the pieces.
    ///
    /// # Errors
    /// 429 where there is no [room] for so many.
    pub fn hold(&mut self, bytes: usize) -> Result<(), Problem> {
        self.held = bytes;
        self.take_room()
    }

    /// The next piece; `None` at the body's end.
    ///
    /// # Errors
    /// 413 once there is more than the limit, 429 once there is no [room] for more, 408 for one that does
    /// not keep its [pace].
    pub async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let next = self.body.next();
        let next = match &self.pace {
            Some(pace) => pace.keep(self.read, next).await?,
            None => next.await,
        };
        let Some(piece) = next else { return Ok(None) };
        let piece = piece.map_err(|_| unreadable())?;
        self.read += piece.len();
        if self.read > self.limit {
            return Err(too_large(self.limit));
        }
        self.take_room()?;
        Ok(Some(piece))
    }

    fn take_room(&self) -> Result<(), Problem> {
        match &self.share {
            Some(share) => share.grow_to(self.read + self.held),
            None => Ok(()),
        }
    }
}

fn too_large(limit: usize) -> Problem {
    Problem::too_large(format!("the body is too large; allowed here: {limit} bytes"))
}

fn unreadable() -> Problem {
    Problem::malformed(
        "unreadable_body",
        "the body could not be read to its end: it was cut off, or is not what its content-encoding says",
    )
}

/// Decodes JSON.
///
/// # Errors
/// 400 for what is not JSON, 422 for JSON of another shape, with the position of the fault.
pub fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let detail = format!("the body is not UTF-8: invalid byte at {}", error.valid_up_to());
        Problem::malformed("invalid_utf8", detail)
    })?;
    check_is_object(text)?;
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let position = error.path().to_string();
        let cause = error.into_inner();
        if cause.is_data() {
            let problem = Problem::invalid("invalid_request", without_place(&cause));
            if position == "." { problem } else { problem.at(position) }
        } else {
            not_json(&cause)
        }
    })?;
    json.end().map_err(|cause| not_json(&cause))?;
    Ok(value)
}

/// The body's media type in lower case, without parameters.
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next()?.trim().to_ascii_lowercase())
}

/// 415 for a media type that the route does not take.
pub fn unsupported(found: Option<String>, allowed: &str) -> Problem {
    let found = found.unwrap_or_else(|| "none".to_owned());
    let detail = format!("the content-type is {found}; allowed: {allowed}");
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
}

/// Every body is an object. serde's derived decoders take lists as well, field by field, which no
/// client means, and name Rust's types where they refuse them.
fn check_is_object(text: &str) -> Result<(), Problem> {
    let found = match text.trim_ascii_start().bytes().next() {
        Some(b'{') => return Ok(()),
        Some(b'[') => "a list",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        Some(_) => "a number",
        None => {
            let detail = "the body is empty; expected a JSON object";
            return Err(Problem::malformed("empty_body", detail));
        }
    };
    serde_json::from_str::<IgnoredAny>(text).map_err(|cause| not_json(&cause))?;
    Err(Problem::invalid("invalid_request", format!("found {found}; expected an object")))
}

fn not_json(cause: &serde_json::Error) -> Problem {
    Problem::malformed("invalid_json", format!("the body is not valid JSON: {cause}"))
}

/// The message without serde_json's "at line 1 column 17": the position says it better.
fn without_place(cause: &serde_json::Error) -> String {
    let message = cause.to_string();
    match message.rfind(" at line ") {
        Some(end) => message[..end].to_owned(),
        None => message,
    }
}
