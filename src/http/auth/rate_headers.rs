//! How a key's rates stand, in the headers that OpenAI's clients read.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::auth::{Kind, Standing};

/// Limit, remaining and reset of a bucket.
type Names = [HeaderName; 3];

const REQUESTS: Names = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];

const TOKENS: Names = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];

/// Tells how each bucket stands; of what is not limited, nothing.
pub fn add(standings: &[Standing], headers: &mut HeaderMap) {
    for standing in standings {
        let [limit, remaining, reset] = match standing.kind {
            Kind::Requests => REQUESTS,
            Kind::Tokens => TOKENS,
        };
        headers.insert(limit, standing.limit.get().into());
        headers.insert(remaining, standing.remaining.into());
        if let Ok(value) = HeaderValue::try_from(duration(standing.reset)) {
            headers.insert(reset, value);
        }
    }
}

/// As OpenAI writes it, which is how Go does: `6m0s`, `1.5s`, `120ms`, `0s`.
fn duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let (minutes, rest) = (milliseconds / 60_000, milliseconds % 60_000);
    let seconds = rest as f64 / 1000.0;
    match (minutes, rest) {
        (0, 1..1000) => format!("{rest}ms"),
        (0, _) => format!("{seconds}s"),
        _ => format!("{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_openai_does() {
        for (milliseconds, text) in [
            (0, "0s"),
            (120, "120ms"),
            (1000, "1s"),
            (1500, "1.5s"),
            (59_999, "59.999s"),
            (60_000, "1m0s"),
            (360_250, "6m0.25s"),
        ] {
            assert_eq!(duration(Duration::from_millis(milliseconds)), text);
        }
    }
}
