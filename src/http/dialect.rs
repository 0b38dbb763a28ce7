//! Errors in the shape that the clients of a route read. All are
//! [`Problem`](crate::http::error::Problem)s; what is put in another shape here has the same status and
//! headers.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::error::Facts;

/// Whose clients call a route.
#[derive(Clone, Copy)]
pub enum Dialect {
    /// `{"error": {"message", "type", "param", "code"}}`
    OpenAi,
    /// `{"message"}`
    Cohere,
}

impl Dialect {
    /// By the path, so that it also holds where there is no route; `None` for problem details.
    pub fn of(path: &str) -> Option<Dialect> {
        match path {
            "/v2/embed" => Some(Dialect::Cohere),
            // infinity's routes have OpenAI's errors.
            "/embeddings" | "/models" | "/v1" => Some(Dialect::OpenAi),
            _ => path.starts_with("/v1/").then_some(Dialect::OpenAi),
        }
    }
}

/// Puts errors in the shape of the route that was asked.
pub async fn translate(request: Request, next: Next) -> Response {
    let dialect = Dialect::of(request.uri().path());
    let mut response = next.run(request).await;
    match (dialect, response.extensions_mut().remove::<Facts>()) {
        (Some(Dialect::OpenAi), Some(facts)) => {
            let error = OpenAiError::new(response.status(), &facts);
            with_body(response, &OpenAiBody { error })
        }
        (Some(Dialect::Cohere), Some(facts)) => {
            with_body(response, &CohereBody { message: facts.to_string() })
        }
        _ => response,
    }
}

fn with_body(response: Response, body: &impl Serialize) -> Response {
    let (mut parts, _) = response.into_parts();
    let (written, body) = axum::Json(body).into_response().into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.extend(written.headers);
    Response::from_parts(parts, Body::new(body))
}

#[derive(Serialize, ToSchema)]
#[schema(as = OpenAiProblem)]
pub(super) struct OpenAiBody<'a> {
    error: OpenAiError<'a>,
}

#[derive(Serialize, ToSchema)]
struct OpenAiError<'a> {
    /// What was wrong and what is allowed, for people.
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    /// Where in the request the fault is.
    param: Option<&'a str>,
    /// Stable, for programs.
    code: &'static str,
}

impl<'a> OpenAiError<'a> {
    fn new(status: StatusCode, facts: &'a Facts) -> OpenAiError<'a> {
        let kind = match status {
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            _ if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        let code = openai_code(status, facts.code);
        OpenAiError { message: &facts.detail, kind, param: facts.position.as_deref(), code }
    }
}

/// OpenAI's own word where it has one, else ours.
pub fn openai_code(status: StatusCode, code: &str) -> &str {
    match (status, code) {
        (StatusCode::UNAUTHORIZED, _) => "invalid_api_key",
        (StatusCode::TOO_MANY_REQUESTS, _) => "rate_limit_exceeded",
        (_, "unknown_model") => "model_not_found",
        (_, code) => code,
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = CohereProblem)]
pub(super) struct CohereBody {
    /// What was wrong, where, and what is allowed.
    message: String,
}
