//! How each route may refuse: what its annotation tells, and what holds for all of its kind.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

/// Answered by the gate, before anything is loaded and without the layers of the others.
const HEALTH_CHECKS: [&str; 4] = ["/livez", "/readyz", "/startupz", "/health"];

/// The codes of each status.
type Codes = BTreeMap<u16, Vec<String>>;

/// Completes the answers of an operation. An annotation gives the codes of a status, with commas
/// between them, in place of a description.
pub fn add(path: &str, operation: &mut Map<String, Value>) {
    let mut codes = annotated(operation);
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
    let has_deadline = is_application && operation["tags"][0] != "operations";
    if has_deadline {
        tell(StatusCode::BAD_REQUEST, &["invalid_timeout"]);
        tell(StatusCode::INTERNAL_SERVER_ERROR, &["internal"]);
        tell(StatusCode::GATEWAY_TIMEOUT, &["deadline_exceeded"]);
    }
    if has_parameter(operation, "path") {
        tell(StatusCode::BAD_REQUEST, &["invalid_path"]);
    }
    if has_parameter(operation, "query") {
        tell(StatusCode::UNPROCESSABLE_ENTITY, &["invalid_query"]);
    }
    if let Some(body) = operation.get("requestBody") {
        tell(StatusCode::BAD_REQUEST, &["unreadable_body"]);
        tell(StatusCode::PAYLOAD_TOO_LARGE, &["body_too_large"]);
        tell(StatusCode::TOO_MANY_REQUESTS, &["bodies_full"]);
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
        parameters.as_array_mut().into_iter().for_each(|it| it.push(deadline()));
    }
    let answers = operation["responses"].as_object_mut().expect("an operation has answers");
    for (status, codes) in codes {
        answers.insert(status.to_string(), refusal(status, &codes));
    }
    for answer in answers.values_mut() {
        answer["headers"]["x-request-id"] = header(
            "The request's own id, or the one that it was given; it is in the server's log",
            json!({"type": "string"}),
        );
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

fn deadline() -> Value {
    json!({
        "name": "x-request-timeout-ms", "in": "header", "required": false,
        "description": "Milliseconds after which the client no longer wants an answer; at most the server's own time",
        "schema": {"type": "integer", "format": "uint64", "minimum": 1, "maximum": u64::MAX},
    })
}

fn refusal(status: u16, codes: &[String]) -> Value {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let listed: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
    let mut headers = json!({});
    if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
        let seconds = json!({"type": "integer", "minimum": 0});
        headers["retry-after"] = header("Seconds after which to come again", seconds);
    }
    json!({
        "description": format!("{}: {}", reason.unwrap_or("Error"), listed.join(", ")),
        "headers": headers,
        "content": {"application/problem+json": {"schema": {"allOf": [
            {"$ref": "#/components/schemas/Problem"},
            {"properties": {"status": {"const": status}, "code": {"enum": codes}}},
        ]}}},
    })
}

fn header(description: &str, schema: Value) -> Value {
    json!({"description": description, "required": true, "schema": schema})
}
