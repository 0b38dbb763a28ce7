//! `GET /docs`: a page that shows the [description](crate::http::description) and sends trial requests.
//! It has the frame and the looks of the [page] at `/`, whose files it is served with
//! below its own address: who may see the one may not see the other, if the configuration says so.

use axum::http::HeaderMap;
use axum::response::Response;
use rust_embed::RustEmbed;

use crate::http::error::Problem;
use crate::http::page;
use crate::http::parameters::Segment;

/// The files below `src/http/docs`.
#[derive(RustEmbed)]
#[folder = "src/http/docs"]
struct Files;

/// Shows this description as a page, where requests can be tried.
#[utoipa::path(
    get, path = "/docs", tag = "operations", operation_id = "docs",
    params(("if-none-match" = Option<String>, Header, description = "The `etag` of what the client has")),
    responses(
        (status = 200, description = "The page", body = String, content_type = "text/html"),
        (status = 304, description = "What the client has still holds"),
    ),
)]
pub async fn index(headers: HeaderMap) -> Result<Response, Problem> {
    file(Segment("index.html".to_owned()), headers).await
}

/// Gives what that page is made of.
#[utoipa::path(
    get, path = "/docs/{path}", tag = "operations", operation_id = "docs_file",
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
    let file = Files::get(&path).or_else(|| page::Files::get(&path));
    page::respond(file, &path, &headers)
}
