//! Examples: recorded from a server, and asked of one again by a test.

use serde::Deserialize;
use serde_json::{Value, json};

use super::events;

/// Written by `tests/service/description_examples.rs`.
const RECORDED: &str = include_str!("examples.json");

/// A request and its answer.
#[derive(Deserialize)]
struct Example {
    /// Such as `POST /embed`.
    operation: String,
    /// `null` where there was no body.
    request: Value,
    status: u16,
    media_type: String,
    answer: Value,
}

/// Puts each example to its operation.
pub fn add(document: &mut Value) {
    let examples: Vec<Example> =
        serde_json::from_str(RECORDED).expect("a test has read the examples");
    for (index, example) in examples.into_iter().enumerate() {
        let Example { operation, request, status, media_type, answer } = example;
        let Some((method, path)) = operation.split_once(' ') else { continue };
        let operation = &mut document["paths"][path][method.to_lowercase()];
        let name = format!("example-{}", index + 1);
        if !request.is_null() && status < 400 {
            let content = &mut operation["requestBody"]["content"]["application/json"];
            content["examples"][&name] = json!({"value": request});
        }
        let content = &mut operation["responses"][status.to_string()]["content"][&media_type];
        match (media_type.as_str(), &answer) {
            ("text/event-stream", Value::String(stream)) => {
                for (number, event) in events::recorded(stream).into_iter().enumerate() {
                    let name = format!("{name}-event-{}", number + 1);
                    content["examples"][name] = json!({"value": event});
                }
            }
            _ => content["examples"][name] = json!({"value": answer}),
        }
    }
}
