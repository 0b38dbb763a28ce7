//! The form of an answer that a request accepts (RFC 9110, section 12.5.1).

use axum::http::{HeaderMap, header};
use headers_accept::Accept;
use mediatype::{MediaType, Name, names};

/// A form in which embeddings are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    /// Bare little-endian f32.
    Raw,
    /// A file of NumPy's.
    Npy,
}

/// NumPy's files have no registered media type: this is what they are mostly called.
const X_NPY: Name = Name::new_unchecked("x-npy");

/// What comes first is taken where a client does not mind.
const FORMATS: [Format; 3] = [Format::Json, Format::Raw, Format::Npy];

impl Format {
    /// The one that the client likes best; JSON where it does not say, or says something else.
    pub fn accepted(headers: &HeaderMap) -> Format {
        let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let accepted = values.collect::<Vec<&str>>().join(",");
        let Ok(accept) = accepted.parse::<Accept>() else { return Format::Json };
        let media_types = FORMATS.map(Format::media_type);
        let best = accept.negotiate(&media_types);
        let format = FORMATS.into_iter().find(|format| Some(&format.media_type()) == best);
        format.unwrap_or(Format::Json)
    }

    pub fn media_type(self) -> MediaType<'static> {
        match self {
            Format::Json => MediaType::new(names::APPLICATION, names::JSON),
            Format::Raw => MediaType::new(names::APPLICATION, names::OCTET_STREAM),
            Format::Npy => MediaType::new(names::APPLICATION, X_NPY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(accept: &str) -> Format {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        Format::accepted(&headers)
    }

    #[test]
    fn the_form_that_a_client_likes_best_is_taken() {
        for (accept, format) in [
            ("application/octet-stream", Format::Raw),
            ("application/x-npy", Format::Npy),
            ("application/json", Format::Json),
            ("*/*", Format::Json),
            ("application/*", Format::Json),
            ("text/html", Format::Json),
            ("", Format::Json),
            ("gibberish", Format::Json),
            ("application/json;q=0.5, application/octet-stream", Format::Raw),
            ("application/octet-stream;q=0.5, application/json", Format::Json),
            ("application/x-npy;q=0.9, */*;q=0.1", Format::Npy),
            ("application/x-npy;q=0, */*", Format::Json),
            ("text/html, Application/Octet-Stream; q=0.8", Format::Raw),
        ] {
            assert_eq!(accepted(accept), format, "{accept}");
        }
        assert_eq!(Format::accepted(&HeaderMap::new()), Format::Json);
    }
}
