//! The events of a job's stream, each with its data.

use serde_json::{Map, Value, json};

/// Describes each event. OpenAPI 3.1 has no word of its own for a stream; as its tools mostly do, the schema is
/// that of one event. Its data is JSON in a text.
pub fn add(document: &mut Value) {
    let answer = &mut document["paths"]["/train/{id}/events"]["get"]["responses"]["200"];
    answer["content"]["text/event-stream"]["schema"] = json!({"oneOf": [
        event("state", "StateEvent", None),
        event("progress", "Progress", None),
        event("epoch", "EpochReport", Some(json!({"type": "string", "pattern": "^[0-9]+$"}))),
        event("end", "JobView", Some(json!({"const": "end"}))),
    ]});
}

/// The events of a recorded stream, each as its fields.
pub fn recorded(stream: &str) -> Vec<Value> {
    let fields = |event: &str| {
        let fields = event.lines().filter_map(|line| line.split_once(": "));
        fields.map(|(name, value)| (name.to_owned(), json!(value))).collect::<Map<_, _>>()
    };
    stream.split_terminator("\n\n").map(|event| fields(event).into()).collect()
}

fn event(name: &str, data: &str, id: Option<Value>) -> Value {
    let reference = format!("#/components/schemas/{data}");
    let data = json!({
        "type": "string", "contentMediaType": "application/json",
        "contentSchema": {"$ref": reference},
    });
    let mut properties =
        Map::from_iter([("event".to_owned(), json!({"const": name})), ("data".to_owned(), data)]);
    properties.extend(id.map(|id| ("id".to_owned(), id)));
    let required: Vec<&String> = properties.keys().collect();
    json!({"type": "object", "title": name, "required": required, "properties": properties})
}
