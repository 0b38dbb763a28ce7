//! The guard at the door: a key that is known and good for what is asked, as `Authorization: Bearer KEY`
//! (RFC 6750). Where no keys are configured, everybody may come in.

pub(super) mod access;
mod rate_headers;

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Span;

use crate::auth::{Exceeded, Key, Keyring, Kind, Scope};
use crate::encoder::metered;
use crate::http::AppState;
use crate::http::error::Problem;
use crate::metrics::KeyLabel;

/// Lets a request through that may ask for what it asks for. What is no route needs no key: there is
/// nothing to be had.
///
/// # Errors
/// 401 without a key that is known, 403 with one that is not good for this, 429 with one that has asked for
/// too much.
pub async fn guard(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let open = &state.config.auth.open;
    let needed = route.and_then(|route| access::scope(request.method(), route, open));
    let Some(scope) = needed.filter(|_| state.keyring.guards()) else {
        return Ok(next.run(request).await);
    };
    let key = identify(&state.keyring, request.headers())?;
    Span::current().record("key", &key.name);
    let label = KeyLabel { key: key.name.clone() };
    state.metrics.key_requests.get_or_create(&label).inc();
    let tokens = state.metrics.key_tokens.get_or_create(&label).clone();
    let rates = Arc::clone(&key.rates);
    let charge = move |count: usize| {
        rates.charge(count, Instant::now());
        tokens.inc_by(count as u64);
    };
    let mut response = match admit(&key, scope) {
        Ok(()) => metered(charge, next.run(request)).await,
        Err(problem) => problem.into_response(),
    };
    rate_headers::add(&key.rates.standings(Instant::now()), response.headers_mut());
    Ok(response)
}

/// Whether the key may do this now.
fn admit(key: &Key, scope: Scope) -> Result<(), Problem> {
    key.rates.admit(Instant::now()).map_err(|exceeded| rate_limited(key, exceeded))?;
    if key.has(scope) { Ok(()) } else { Err(insufficient(key, scope)) }
}

/// What is asked of a client that brought no key.
const BRING_ONE: &str = r#"Bearer realm="polyhead""#;

/// What is said of a key that is not known.
const BRING_ANOTHER: &str = r#"Bearer realm="polyhead", error="invalid_token""#;

/// The key that a request came with. It is not repeated in any error.
fn identify(keyring: &Keyring, headers: &HeaderMap) -> Result<Arc<Key>, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        let detail = "this needs an API key; send it in the header `authorization: Bearer KEY`";
        return Err(Problem::unauthorized(BRING_ONE, detail));
    };
    let credentials = value.to_str().ok().and_then(|value| value.split_once(' '));
    let token = credentials
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    let Some(token) = token.filter(|token| !token.is_empty() && values.next().is_none()) else {
        let detail = "the header authorization is not valid; allowed: one, `Bearer KEY`";
        return Err(Problem::unauthorized(BRING_ONE, detail).at("authorization"));
    };
    keyring.find(token).ok_or_else(|| {
        let detail = "the API key is not known, or no longer";
        Problem::unauthorized(BRING_ANOTHER, detail).at("authorization")
    })
}

fn rate_limited(key: &Key, exceeded: Exceeded) -> Problem {
    let Exceeded { kind, limit, wait } = exceeded;
    let what = match kind {
        Kind::Requests => "requests",
        Kind::Tokens => "tokens",
    };
    let detail = format!(
        "the API key {:?} may ask for {limit} {what} a minute and has used them up; retry after {wait:.1?}",
        key.name
    );
    Problem::rate_limited(wait, detail)
}

fn insufficient(key: &Key, scope: Scope) -> Problem {
    let challenge = match scope {
        Scope::Infer => r#"Bearer realm="polyhead", error="insufficient_scope", scope="infer""#,
        Scope::Train => r#"Bearer realm="polyhead", error="insufficient_scope", scope="train""#,
        Scope::Admin => r#"Bearer realm="polyhead", error="insufficient_scope", scope="admin""#,
    };
    let detail = format!(
        "this needs the scope {scope}, which the API key {:?} does not have; its scopes: {}",
        key.name,
        key.scopes()
    );
    Problem::insufficient_scope(challenge, detail)
}
