//! The two parts of a body: JSON, and behind it the tensors that are told in bytes.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderName};

use crate::http::AppState;
use crate::http::body::{self, JsonText};
use crate::http::error::Problem;

/// Bytes of the JSON part, where there is another one.
pub const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// A body in its two parts.
pub struct TwoParts {
    pub json: JsonText,
    pub tensors: Bytes,
}

impl FromRequest<AppState> for TwoParts {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<TwoParts, Problem> {
        let Some(length) = json_length(request.headers())? else {
            let json = JsonText::from_request(request, state).await?;
            return Ok(TwoParts { json, tensors: Bytes::new() });
        };
        let mut json = body::read(request, state.config.limits.body_bytes.get()).await?;
        if length > json.len() {
            let detail =
                format!("{JSON_LENGTH} is {length}, but the body has {} bytes", json.len());
            return Err(invalid(detail));
        }
        let tensors = json.split_off(length);
        Ok(TwoParts { json: JsonText::from(json), tensors })
    }
}

fn json_length(headers: &HeaderMap) -> Result<Option<usize>, Problem> {
    let Some(value) = headers.get(JSON_LENGTH) else { return Ok(None) };
    let length = value.to_str().ok().and_then(|text| text.parse().ok());
    let detail = || format!("{JSON_LENGTH} is not valid; allowed: a whole number of bytes");
    length.map(Some).ok_or_else(|| invalid(detail()))
}

fn invalid(detail: String) -> Problem {
    Problem::malformed("invalid_json_length", detail).at(JSON_LENGTH.as_str())
}

/// The strings of a BYTES tensor: each behind its length in four bytes, little-endian.
///
/// # Errors
/// What is wrong, in words.
pub fn strings(mut bytes: &[u8]) -> Result<Vec<String>, String> {
    let mut strings = Vec::new();
    while !bytes.is_empty() {
        let Some((length, rest)) = bytes.split_first_chunk() else {
            return Err("the length of a string is cut off".to_owned());
        };
        let length = u32::from_le_bytes(*length) as usize;
        let Some((string, rest)) = rest.split_at_checked(length) else {
            return Err(format!("a string of {length} bytes is cut off after {}", rest.len()));
        };
        let string = std::str::from_utf8(string).map_err(|error| {
            format!(
                "string {} is not UTF-8: invalid byte at {}",
                strings.len(),
                error.valid_up_to()
            )
        })?;
        strings.push(string.to_owned());
        bytes = rest;
    }
    Ok(strings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_stand_behind_their_lengths() {
        let bytes = b"\x03\0\0\0abc\0\0\0\0\x02\0\0\0\xc3\xa9";
        assert_eq!(strings(bytes).unwrap(), ["abc", "", "é"]);
        assert_eq!(strings(b"").unwrap(), [""; 0]);
    }

    #[test]
    fn strings_that_are_cut_off_or_not_utf8_are_refused() {
        for (bytes, told) in [
            (&b"\x03\0\0"[..], "length of a string is cut off"),
            (b"\x03\0\0\0ab", "a string of 3 bytes is cut off after 2"),
            (b"\xff\xff\xff\xff", "4294967295 bytes"),
            (b"\x01\0\0\0a\x01\0\0\0\xe9", "string 1 is not UTF-8: invalid byte at 0"),
        ] {
            let error = strings(bytes).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
