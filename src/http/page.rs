//! The page to try the server with, at `/`: hand-written HTML, CSS and ES modules, built into the
//! program. It talks to the same routes as every other client and loads nothing from elsewhere.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::http::error::Problem;
use crate::http::parameters::Segment;
use crate::sha256::Sha256Sum;

/// The files below `src/http/page`.
#[derive(RustEmbed)]
#[folder = "src/http/page"]
pub(super) struct Files;

/// Nothing but this server's own files and answers; no inline script or style; in no frame.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Shows the page to try the server with.
#[utoipa::path(
    get, path = "/", tag = "operations", operation_id = "page",
    params(("if-none-match" = Option<String>, Header, description = "The `etag` of what the client has")),
    responses(
        (status = 200, description = "The page", body = String, content_type = "text/html"),
        (status = 304, description = "What the client has still holds"),
    ),
)]
pub async fn index(headers: HeaderMap) -> Result<Response, Problem> {
    file(Segment("index.html".to_owned()), headers).await
}

/// Gives what the page is made of.
#[utoipa::path(
    get, path = "/page/{path}", tag = "operations", operation_id = "page_file",
    params(
        ("path" = String, Path, description = "The file, whose name may have slashes"),
        ("if-none-match" = Option<String>, Header, description = "The `etag` of what the client has"),
    ),
    responses(
        (
            status = 200, description = "The file",
            content(
                (String = "text/html"), (String = "text/css"), (String = "text/javascript"),
                (String = "text/csv"), (String = "image/svg+xml"),
            ),
        ),
        (status = 304, description = "What the client has still holds"),
        (status = 404, description = "unknown_route"),
    ),
)]
pub async fn file(Segment(path): Segment, headers: HeaderMap) -> Result<Response, Problem> {
    respond(Files::get(&path), &path, &headers)
}

/// A file of a page. A browser keeps it and asks each time whether it still holds: it does until the
/// program is another one.
pub(super) fn respond(
    file: Option<EmbeddedFile>,
    path: &str,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let Some(file) = file else {
        let detail = format!("the page has no file {path:?}");
        return Err(Problem::not_found("unknown_route", detail));
    };
    let etag = etag(&file);
    let kept = headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes());
    let about: [(HeaderName, String); 4] = [
        (ETAG, etag),
        (CACHE_CONTROL, "no-cache".to_owned()),
        (CONTENT_TYPE, content_type(&file)),
        (CONTENT_SECURITY_POLICY, POLICY.to_owned()),
    ];
    Ok(match kept {
        true => (StatusCode::NOT_MODIFIED, about).into_response(),
        false => (about, file.data).into_response(),
    })
}

/// The beginning of the content's SHA-256.
fn etag(file: &EmbeddedFile) -> String {
    let sum = Sha256Sum::from(file.metadata.sha256_hash()).to_string();
    format!("\"{}\"", &sum[..16])
}

fn content_type(file: &EmbeddedFile) -> String {
    format!("{}; charset=utf-8", file.metadata.mimetype())
}
