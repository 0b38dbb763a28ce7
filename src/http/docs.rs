//! `GET /docs`: a page that shows the [description](crate::http::description) and sends trial requests.
//! All of it is in the program; nothing else is loaded, and its policy lets nothing else run.

use std::sync::LazyLock;

use axum::http::{HeaderName, header};
use axum::response::Html;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("docs/page.css");
const SCRIPT: &str = include_str!("docs/page.js");

static PAGE: LazyLock<String> = LazyLock::new(|| {
    let page = include_str!("docs/page.html");
    page.replace("/* style */", STYLE).replace("/* script */", SCRIPT)
});

/// The page's own style and script, known by their hashes, and requests to this server: nothing else.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; style-src {}; script-src {}; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
});

/// Shows this description as a page, where requests can be tried.
#[utoipa::path(
    get, path = "/docs", tag = "operations", operation_id = "docs",
    responses((status = 200, description = "A page", body = String, content_type = "text/html")),
)]
pub async fn docs() -> ([(HeaderName, &'static str); 2], Html<&'static str>) {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, Html(PAGE.as_str()))
}

/// As a policy names an inline style or script.
fn hash(text: &str) -> String {
    format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)))
}
