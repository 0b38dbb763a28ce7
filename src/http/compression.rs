//! Bodies in gzip and zstd, both ways. What a body may hold is counted once it is unpacked: a small one
//! that unpacks to gigabytes ends at the same limit as any other.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{And, NotForContentType, Predicate, SizeAbove};

use crate::http::error::Problem;

/// Bytes below which an answer is sent as it is.
const SMALL: u64 = 1024;

/// Packs answers as their clients accept it, but for event streams, which would be held back.
pub fn answers() -> CompressionLayer<And<SizeAbove, NotForContentType>> {
    // Most clients accept gzip without anybody having asked for it: it has to be cheap.
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(SMALL).and(NotForContentType::SSE))
}

/// Refuses what cannot be unpacked.
pub async fn check(mut request: Request, next: Next) -> Response {
    const KNOWN: [&str; 3] = ["gzip", "zstd", "identity"];
    let mut codings = request.headers().get_all(header::CONTENT_ENCODING).iter();
    let coding = match (codings.next(), codings.next()) {
        (None, _) => return next.run(request).await,
        (Some(only), None) => only.as_bytes(),
        (Some(_), Some(_)) => b"several",
    };
    let known = KNOWN.into_iter().find(|known| coding.eq_ignore_ascii_case(known.as_bytes()));
    let Some(known) = known else { return unknown(&String::from_utf8_lossy(coding)) };
    // Whoever unpacks it looks for lower case.
    request.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(known));
    next.run(request).await
}

fn unknown(coding: &str) -> Response {
    let detail = format!("the content-encoding is {coding}; allowed: one of gzip, zstd, identity");
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    let problem = Problem::new(status, "unsupported_content_encoding", detail);
    ([(header::ACCEPT_ENCODING, "gzip, zstd")], problem).into_response()
}
