//! The only place where errors become status codes: `application/problem+json` (RFC 9457) with a
//! stable `code`.

use std::fmt;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::causes::Causes;
use crate::encoder::EncodeError;
use crate::encoder::tokenizer::TokenizerError;
use crate::heads::follow::FollowError;
use crate::heads::head::HeadError;
use crate::heads::task::TaskError;
use crate::metrics::Rejection;
use crate::store::StoreError;

/// What a client is told when its request is not answered as asked.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    /// Stable, for programs.
    code: &'static str,
    /// What was wrong and what is allowed, for people.
    detail: String,
    /// Where in the request, such as `inputs[3]`.
    position: Option<String>,
    /// The request was turned away without being worked on.
    rejection: Option<Rejection>,
    /// Seconds after which the client may come again.
    retry_after: Option<u64>,
    /// What a client has to show (RFC 9110, section 11.6.1).
    challenge: Option<&'static str>,
}

/// What a [`Problem`] says, in the extensions of its response, for whoever puts it in another shape.
#[derive(Clone, Debug)]
pub struct Facts {
    pub code: &'static str,
    pub detail: String,
    pub position: Option<String>,
}

/// For people: the position, if there is one, and what is wrong there.
impl fmt::Display for Facts {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match &self.position {
            Some(position) => write!(formatter, "{position}: {}", self.detail),
            None => formatter.write_str(&self.detail),
        }
    }
}

/// A [`Problem`] as it is sent.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(in crate::http) struct Body<'a> {
    /// `about:blank`, by which RFC 9457 means that `title` is that of the status.
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    /// Stable, for programs.
    code: &'static str,
    /// What was wrong and what is allowed, for people.
    detail: &'a str,
    /// Where in the request, such as `inputs[3]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<&'a str>,
    /// What TEI's clients read instead of `detail` and `code`.
    error: &'a str,
    error_type: ErrorType,
}

/// What kind of error it is, as text-embeddings-inference tells them apart.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
enum ErrorType {
    Unhealthy,
    Backend,
    Overloaded,
    Validation,
    Tokenizer,
    /// There are no inputs.
    Empty,
}

impl ErrorType {
    fn of(status: StatusCode, code: &str) -> ErrorType {
        match (status, code) {
            (StatusCode::TOO_MANY_REQUESTS, _) => ErrorType::Overloaded,
            (StatusCode::SERVICE_UNAVAILABLE, _) => ErrorType::Unhealthy,
            (_, "no_inputs") => ErrorType::Empty,
            (_, "invalid_input") => ErrorType::Tokenizer,
            _ if status.is_server_error() => ErrorType::Backend,
            _ => ErrorType::Validation,
        }
    }
}

/// Seconds after which a client that was turned away may come again. The queue drains in far less;
/// `Retry-After` knows no fractions.
const RETRY_AFTER: u64 = 1;

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Problem {
        let detail = detail.into();
        Problem {
            status,
            code,
            detail,
            position: None,
            rejection: None,
            retry_after: None,
            challenge: None,
        }
    }

    /// The body cannot be read as what it claims to be.
    pub fn malformed(code: &'static str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// The body can be read but asks for something that is not allowed.
    pub fn invalid(code: &'static str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    pub fn not_found(code: &'static str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, code, detail)
    }

    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, code, detail)
    }

    pub fn too_large(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
    }

    /// A queue is full.
    pub fn too_many(
        rejection: Rejection,
        code: &'static str,
        detail: impl Into<String>,
    ) -> Problem {
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, code, detail);
        Problem { rejection: Some(rejection), retry_after: Some(RETRY_AFTER), ..problem }
    }

    /// The key has used up what it may ask for in a minute; `wait` is the time until it may come again.
    pub fn rate_limited(wait: Duration, detail: impl Into<String>) -> Problem {
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail);
        // Rounded up: who comes too early is refused again.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let rejection = Some(Rejection::RateLimited);
        Problem { rejection, retry_after: Some(seconds.max(RETRY_AFTER)), ..problem }
    }

    /// There is no key that counts; `challenge` says how to bring one.
    pub fn unauthorized(challenge: &'static str, detail: impl Into<String>) -> Problem {
        let problem = Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
        Problem { rejection: Some(Rejection::Unauthorized), challenge: Some(challenge), ..problem }
    }

    /// The key is not good for this; `challenge` says which scope is.
    pub fn insufficient_scope(challenge: &'static str, detail: impl Into<String>) -> Problem {
        let problem = Problem::new(StatusCode::FORBIDDEN, "insufficient_scope", detail);
        let rejection = Some(Rejection::InsufficientScope);
        Problem { rejection, challenge: Some(challenge), ..problem }
    }

    /// The server is not ready yet, or no longer.
    pub fn unavailable(code: &'static str, detail: impl Into<String>) -> Problem {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail);
        let rejection = Some(Rejection::Unready);
        Problem { rejection, retry_after: Some(RETRY_AFTER), ..problem }
    }

    /// The request did not arrive in time.
    pub fn too_slow(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", detail)
    }

    /// The deadline passed before there was an answer.
    pub fn timed_out(allowed: Duration) -> Problem {
        let detail = format!(
            "not answered within {allowed:?}; the header x-request-timeout-ms allows for another time, but never more than the server's request_timeout"
        );
        Problem::new(StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded", detail)
    }

    /// Something that is ours: the cause is logged here, once, and never shown to the client. The
    /// request id is on the span that surrounds every request.
    pub fn internal(cause: &dyn std::fmt::Display) -> Problem {
        tracing::error!(%cause, "a request failed");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the server failed; its log has the cause under this answer's x-request-id",
        )
    }

    /// The stable code and what it was for, without the position.
    pub fn reason(self) -> (&'static str, String) {
        (self.code, self.detail)
    }

    /// Says where in the request the fault is.
    pub fn at(self, position: impl Into<String>) -> Problem {
        Problem { position: Some(position.into()), ..self }
    }

    pub fn is_at(&self, position: &str) -> bool {
        self.position.as_deref() == Some(position)
    }

    /// Tells of inputs under the names that the request has for them: `list` for all of them, `one` for
    /// each.
    pub fn naming_inputs(self, list: &str, one: impl FnOnce(usize) -> String) -> Problem {
        let index =
            |position: &str| position.strip_prefix("inputs[")?.strip_suffix(']')?.parse().ok();
        match self.position.as_deref() {
            Some("inputs") => self.at(list),
            Some(position) => match index(position) {
                Some(index) => self.at(one(index)),
                None => self,
            },
            None => self,
        }
    }

    /// The same where each stands in `list`, such as `texts[3]`.
    pub fn naming_inputs_of(self, list: &str) -> Problem {
        self.naming_inputs(list, |index| format!("{list}[{index}]"))
    }

    /// Says in which part of the request the position counts.
    pub fn within(self, part: &str) -> Problem {
        let position = match &self.position {
            Some(position) => format!("{part}, {position}"),
            None => part.to_owned(),
        };
        self.at(position)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            position: self.position.as_deref(),
            error: &self.detail,
            error_type: ErrorType::of(self.status, self.code),
        };
        let mut response = (self.status, Json(body)).into_response();
        let media_type = HeaderValue::from_static("application/problem+json");
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, media_type);
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(challenge) = self.challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        let Problem { code, detail, position, .. } = self;
        response.extensions_mut().insert(Facts { code, detail, position });
        if let Some(rejection) = self.rejection {
            // For the metrics, which are taken where the response passes by.
            response.extensions_mut().insert(rejection);
        }
        response
    }
}

impl From<EncodeError> for Problem {
    fn from(error: EncodeError) -> Problem {
        let detail = error.to_string();
        match error {
            EncodeError::QueueFull { .. } => {
                Problem::too_many(Rejection::QueueFull, "queue_full", detail)
            }
            EncodeError::TooManyTokens { .. } => {
                Problem::invalid("too_many_tokens", detail).at("inputs")
            }
            EncodeError::Input { index, source: TokenizerError::TooLong { .. } } => {
                Problem::invalid("input_too_long", detail).at(format!("inputs[{index}]"))
            }
            EncodeError::Input { index, .. } => {
                Problem::invalid("invalid_input", detail).at(format!("inputs[{index}]"))
            }
            EncodeError::TokenCount { index, .. } | EncodeError::TokenId { index, .. } => {
                Problem::invalid("invalid_token_ids", detail).at(format!("inputs[{index}]"))
            }
            EncodeError::Dimensions { .. } => {
                Problem::invalid("invalid_dimensions", detail).at("dimensions")
            }
            EncodeError::NormalizedInGraph => {
                Problem::invalid("normalized_in_graph", detail).at("normalize")
            }
            EncodeError::NoTokenStates { .. } => {
                Problem::invalid("no_token_states", detail).at("model")
            }
            EncodeError::DeadlineExceeded { allowed } => Problem::timed_out(allowed),
            EncodeError::Stopped => Problem::unavailable("draining", detail),
            EncodeError::Inference | EncodeError::NotFinite => Problem::internal(&detail),
        }
    }
}

impl From<TaskError> for Problem {
    fn from(error: TaskError) -> Problem {
        let problem = Problem::invalid("invalid_task", error.to_string());
        match error {
            TaskError::Name(_) | TaskError::ReservedName => problem,
            TaskError::TooFewLabels { .. } | TaskError::TooManyLabels { .. } => {
                problem.at("labels")
            }
            TaskError::BlankOrPadded { index, .. }
            | TaskError::LongLabel { index, .. }
            | TaskError::DuplicateLabel { index, .. } => problem.at(format!("labels[{index}]")),
        }
    }
}

impl From<HeadError> for Problem {
    fn from(error: HeadError) -> Problem {
        let detail = error.to_string();
        match error {
            HeadError::Container(_) => Problem::malformed("invalid_safetensors", detail),
            HeadError::OtherLabels { .. } => Problem::conflict("labels_mismatch", detail),
            HeadError::OtherKind { .. } => Problem::conflict("kind_mismatch", detail),
            _ => Problem::invalid("invalid_weights", detail),
        }
    }
}

impl From<FollowError> for Problem {
    fn from(error: FollowError) -> Problem {
        match error {
            FollowError::Store(error) => error.into(),
            FollowError::Version(error) => Problem::internal(&error),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        let detail = error.to_string();
        match error {
            StoreError::QueueFull { .. } => {
                Problem::too_many(Rejection::JobsFull, "jobs_full", detail)
            }
            StoreError::UnknownTask { .. } => Problem::not_found("unknown_task", detail),
            StoreError::UnknownVersion { .. } => Problem::not_found("unknown_version", detail),
            StoreError::OtherEncoder { .. } => Problem::conflict("encoder_mismatch", detail),
            StoreError::NoEarlierVersion { .. } => Problem::conflict("no_earlier_version", detail),
            StoreError::NeverLive { .. } => Problem::conflict("never_live", detail),
            StoreError::UnknownJob { .. } => Problem::not_found("unknown_job", detail),
            StoreError::TaskInUse { .. } => Problem::conflict("task_in_use", detail),
            StoreError::TaskChanged { .. } => Problem::conflict("task_changed", detail),
            StoreError::TaskInTraining { .. } => Problem::conflict("task_in_training", detail),
            StoreError::JobState { .. } => Problem::conflict("job_ended", detail),
            StoreError::NulCharacter { .. } => Problem::invalid("nul_character", detail),
            other if other.is_outage() => {
                tracing::warn!(cause = %Causes(&other), "a request needs the database, which is away");
                let detail = "the database cannot be reached; texts are embedded and classified all the same, but what is stored, training above all, has to wait for it";
                Problem::unavailable("store_unavailable", detail)
            }
            other => Problem::internal(&Causes(&other)),
        }
    }
}
