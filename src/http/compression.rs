//! Bodies in gzip and zstd, both ways. What a body may hold is counted once it is unpacked: a small one
//! that unpacks to gigabytes ends at the same limit as any other.

use std::io;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::TryStreamExt;
use tokio_util::io::{ReaderStream, StreamReader};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{And, NotForContentType, Predicate, SizeAbove};

use crate::http::error::Problem;

/// Bytes below which an answer is sent as it is.
const SMALL: u64 = 1024;

/// Bytes that are unpacked at a time.
const PIECE: usize = 64 << 10;

/// Packs answers as their clients accept it, but for event streams, which would be held back.
pub fn answers() -> CompressionLayer<And<SizeAbove, NotForContentType>> {
    // Most clients accept gzip without anybody having asked for it: it has to be cheap.
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(SMALL).and(NotForContentType::SSE))
}

/// How a body is packed.
#[derive(Clone, Copy)]
enum Coding {
    Gzip,
    Zstd,
    Identity,
}

const KNOWN: [(&str, Coding); 3] =
    [("gzip", Coding::Gzip), ("zstd", Coding::Zstd), ("identity", Coding::Identity)];

/// Unpacks a request's body as it is read, or refuses what cannot be unpacked. tower-http's layer leaves
/// all behind the first member of a gzip file unread, of which the likes of `pigz` and `cat` make many.
pub async fn unpack(mut request: Request, next: Next) -> Response {
    let mut codings = request.headers().get_all(header::CONTENT_ENCODING).iter();
    let coding = match (codings.next(), codings.next()) {
        (None, _) => return next.run(request).await,
        (Some(only), None) => only.as_bytes(),
        (Some(_), Some(_)) => b"several",
    };
    let known = KNOWN.into_iter().find(|(known, _)| coding.eq_ignore_ascii_case(known.as_bytes()));
    let Some((_, coding)) = known else { return unknown(&String::from_utf8_lossy(coding)) };
    request.headers_mut().remove(header::CONTENT_ENCODING);
    if !matches!(coding, Coding::Identity) {
        // It tells of the packed body.
        request.headers_mut().remove(header::CONTENT_LENGTH);
    }
    next.run(request.map(|body| coding.unpacked(body))).await
}

impl Coding {
    fn unpacked(self, body: Body) -> Body {
        let packed =
            |body: Body| StreamReader::new(body.into_data_stream().map_err(io::Error::other));
        match self {
            Coding::Identity => body,
            Coding::Gzip => {
                let mut decoder = GzipDecoder::new(packed(body));
                decoder.multiple_members(true);
                Body::from_stream(ReaderStream::with_capacity(decoder, PIECE))
            }
            Coding::Zstd => {
                let mut decoder = ZstdDecoder::new(packed(body));
                decoder.multiple_members(true);
                Body::from_stream(ReaderStream::with_capacity(decoder, PIECE))
            }
        }
    }
}

fn unknown(coding: &str) -> Response {
    let detail = format!("the content-encoding is {coding}; allowed: one of gzip, zstd, identity");
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    let problem = Problem::new(status, "unsupported_content_encoding", detail);
    ([(header::ACCEPT_ENCODING, "gzip, zstd")], problem).into_response()
}
