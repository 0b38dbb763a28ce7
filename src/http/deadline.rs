//! How long a request may take: what its header asks for, within what the configuration allows.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::encoder::Deadline;
use crate::http::AppState;
use crate::http::body::pace::Pace;
use crate::http::error::Problem;

/// Milliseconds after which the client no longer wants an answer.
const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout-ms");

/// Gives a request its [`Deadline`], which handlers find in its extensions, and answers 504 when it
/// has passed. Dropping the request's future withdraws what it has queued.
pub async fn deadline(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let most = state.config.server.request_timeout;
    let deadline = Deadline::after(requested(request.headers())?.unwrap_or(most).min(most));
    request.extensions_mut().insert(deadline);
    let answer = tokio::time::timeout_at(deadline.moment().into(), next.run(request)).await;
    Ok(answer.unwrap_or_else(|_| Problem::timed_out(deadline.allowed()).into_response()))
}

/// In place of [`deadline`] where a body may take long to arrive: it has to keep its [`Pace`], and its
/// handler bounds the time from its end to the answer. What a client asks for counts from the beginning.
pub async fn upload(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let asked = requested(request.headers())?;
    request.extensions_mut().insert(Pace::new(state.config.server.request_timeout));
    let answer = next.run(request);
    match asked {
        Some(asked) => {
            let answer = tokio::time::timeout(asked, answer).await;
            Ok(answer.unwrap_or_else(|_| Problem::timed_out(asked).into_response()))
        }
        None => Ok(answer.await),
    }
}

/// What the client asks for, if it does.
fn requested(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    let mut values = headers.get_all(REQUEST_TIMEOUT).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let milliseconds = value.to_str().ok().and_then(|text| text.parse::<u64>().ok());
    match milliseconds.filter(|&milliseconds| milliseconds > 0) {
        Some(milliseconds) if values.next().is_none() => {
            Ok(Some(Duration::from_millis(milliseconds)))
        }
        _ => {
            let detail = format!(
                "{REQUEST_TIMEOUT} is not valid; allowed: one whole number of milliseconds, 1 or more"
            );
            Err(Problem::malformed("invalid_timeout", detail).at(REQUEST_TIMEOUT.as_str()))
        }
    }
}
