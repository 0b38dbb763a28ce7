//! How each route may refuse: what its annotation tells, and what holds for all of its kind.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::headers;
use crate::auth::Scope;
use crate::http::dialect::{Dialect, openai_code};

/// Answered by the gate, before anything is loaded and without the layers of the others.
const HEALTH_CHECKS: [&str; 6] =
    ["/livez", "/readyz", "/startupz", "/health", "/v2/health/live", "/v2/health/ready"];

/// The codes of each status.
type Codes = BTreeMap<u16, Vec<String>>;

/// Completes the answers of an operation, which needs `scope` where there are keys. An annotation gives
/// the codes of a status, with commas between them, in place of a description.
pub fn add(path: &str, scope: Option<Scope>, operation: &mut Map<String, Value>) {
    let mut codes = annotated(operation);
    let has = |codes: &Codes, status: StatusCode, code: &str| {
        codes.get(&status.as_u16()).is_some_and(|known| known.iter().any(|it| it == code))
    };
    let encodes = has(&codes, StatusCode::TOO_MANY_REQUESTS, "queue_full");
    let stores = has(&codes, StatusCode::SERVICE_UNAVAILABLE, "store_unavailable");
    let mut tell = |status: StatusCode, told: &[&str]| {
        let known = codes.entry(status.as_u16()).or_default();
        known.extend(told.iter().map(|&code| code.to_owned()));
        known.sort_unstable();
        known.dedup();
    };
    let is_application = !HEALTH_CHECKS.contains(&path);
    if is_application {
        tell(StatusCode::SERVICE_UNAVAILABLE, &["starting"]);
    }
    if scope.is_some() {
        tell(StatusCode::UNAUTHORIZED, &["unauthorized"]);
        tell(StatusCode::FORBIDDEN, &["insufficient_scope"]);
        tell(StatusCode::TOO_MANY_REQUESTS, &["rate_limited"]);
    }
    if encodes || stores {
        tell(StatusCode::INTERNAL_SERVER_ERROR, &["internal"]);
    }
    let body = operation.get("requestBody");
    if encodes || stores || body.is_some() {
        tell(StatusCode::GATEWAY_TIMEOUT, &["deadline_exceeded"]);
    }
    let has_deadline = is_application && operation["tags"][0] != "operations";
    if has_deadline {
        tell(StatusCode::BAD_REQUEST, &["invalid_timeout"]);
    }
    if has_parameter(operation, "path") {
        tell(StatusCode::BAD_REQUEST, &["invalid_path"]);
    }
    if has_parameter(operation, "query") {
        tell(StatusCode::UNPROCESSABLE_ENTITY, &["invalid_query"]);
    }
    if let Some(body) = body {
        tell(StatusCode::BAD_REQUEST, &["unreadable_body"]);
        tell(StatusCode::PAYLOAD_TOO_LARGE, &["body_too_large"]);
        tell(StatusCode::TOO_MANY_REQUESTS, &["bodies_full"]);
        tell(StatusCode::UNSUPPORTED_MEDIA_TYPE, &["unsupported_content_encoding"]);
        if body["content"]["application/json"].is_object() {
            tell(StatusCode::BAD_REQUEST, &["invalid_json", "invalid_utf8"]);
            tell(StatusCode::UNPROCESSABLE_ENTITY, &["invalid_request"]);
        }
        if body["required"] == true {
            tell(StatusCode::UNSUPPORTED_MEDIA_TYPE, &["unsupported_media_type"]);
            if body["content"]["application/json"].is_object() {
                tell(StatusCode::BAD_REQUEST, &["empty_body"]);
            }
        }
    }
    if has_deadline {
        let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
        parameters.as_array_mut().into_iter().for_each(|it| it.push(headers::deadline()));
    }
    let answers = operation["responses"].as_object_mut().expect("an operation has answers");
    for (status, codes) in codes {
        answers.insert(status.to_string(), refusal(path, status, codes));
    }
}

fn annotated(operation: &Map<String, Value>) -> Codes {
    let answers = operation["responses"].as_object().into_iter().flatten();
    let codes = answers.filter_map(|(status, answer)| {
        let status: u16 = status.parse().ok().filter(|&status| status >= 400)?;
        let codes = answer["description"].as_str()?.split(", ").map(str::to_owned);
        Some((status, codes.collect()))
    });
    codes.collect()
}

fn has_parameter(operation: &Map<String, Value>, place: &str) -> bool {
    let parameters = operation.get("parameters").and_then(Value::as_array);
    parameters.is_some_and(|parameters| parameters.iter().any(|it| it["in"] == place))
}

/// In the shape that the route's clients read.
fn refusal(path: &str, status: u16, mut codes: Vec<String>) -> Value {
    let reason = StatusCode::from_u16(status).unwrap_or_default();
    let dialect = Dialect::of(path);
    if let Some(Dialect::OpenAi) = dialect {
        codes = codes.iter().map(|code| openai_code(reason, code).to_owned()).collect();
        codes.dedup();
    }
    let listed: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
    let reason = reason.canonical_reason().unwrap_or("Error");
    let (media_type, schema) = match dialect {
        None => (
            "application/problem+json",
            json!({"allOf": [
                {"$ref": "#/components/schemas/Problem"},
                {"properties": {"status": {"const": status}, "code": {"enum": codes}}},
            ]}),
        ),
        Some(Dialect::OpenAi) => (
            "application/json",
            json!({"allOf": [
                {"$ref": "#/components/schemas/OpenAiProblem"},
                {"properties": {"error": {"properties": {"code": {"enum": codes}}}}},
            ]}),
        ),
        Some(Dialect::Cohere) => {
            ("application/json", json!({"$ref": "#/components/schemas/CohereProblem"}))
        }
    };
    json!({
        "description": format!("{reason}: {}", listed.join(", ")),
        "content": {media_type: {"schema": schema}},
    })
}
