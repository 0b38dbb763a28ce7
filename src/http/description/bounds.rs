//! What values may be: the configuration's limits, and bounds that the types of Rust have by nature.

use serde_json::{Value, json};

use super::operations;
use crate::config::{Config, LimitsConfig};

/// At least one visible character.
const VISIBLE: &str = r"\S";

/// No white space at either end.
const TRIMMED: &str = r"^\S([\s\S]*\S)?$";

/// See [`name::ALLOWED`](crate::name::ALLOWED).
const NAME: &str = "^[A-Za-z0-9_.-]{1,64}$";

/// Adds all of them.
pub fn add(document: &mut Value, config: &Config) {
    for (_, operation) in operations(document) {
        let body = operation.get_mut("requestBody").and_then(|it| it["content"].as_object_mut());
        body.into_iter().flatten().for_each(|(_, content)| never_null(&mut content["schema"]));
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten() {
            never_null(&mut parameter["schema"]);
            if parameter["name"] == "task" && parameter["in"] == "path" {
                parameter["schema"]["pattern"] = json!(NAME);
            }
        }
    }
    limit_requests(&mut document["components"]["schemas"], &config.limits);
    bound_integers(document);
    relax_optional_parts(document);
}

fn limit_requests(schemas: &mut Value, limits: &LimitsConfig) {
    let text = json!({"type": "string", "pattern": VISIBLE});
    schemas["Inputs"] = json!({
        "description": schemas["Inputs"]["description"],
        "oneOf": [
            text,
            {"type": "array", "items": text, "minItems": 1, "maxItems": limits.inputs_per_request},
        ],
    });
    for request in ["HeadDefinition", "ClassifyRequest"] {
        let labels = &mut schemas[request]["properties"]["labels"];
        labels["maxItems"] = json!(limits.labels_per_task);
        labels["uniqueItems"] = json!(true);
        labels["items"]["pattern"] = json!(TRIMMED);
        labels["items"]["maxLength"] = json!(limits.label_bytes);
    }
    let train = &mut schemas["TrainRequest"]["properties"];
    train["examples"]["maxItems"] = json!(limits.examples_per_job);
    train["epochs"]["maximum"] = json!(limits.epochs_per_job);
}

/// A parameter or a body is left out rather than null.
fn never_null(schema: &mut Value) {
    if let Some(types) = schema.get("type").and_then(Value::as_array) {
        let mut types = types.iter().filter(|it| *it != "null").cloned();
        schema["type"] = types.next().unwrap_or_default();
    }
    if let Some(choices) = schema.get_mut("oneOf").and_then(Value::as_array_mut) {
        choices.retain(|choice| choice["type"] != "null");
        if let [only] = &choices[..] {
            *schema = only.clone();
        }
    }
}

/// The greatest and least values of each format.
fn bound_integers(value: &mut Value) {
    if let Value::Object(schema) = value {
        let bounds = match schema.get("format").and_then(Value::as_str) {
            Some("uint16") => Some((json!(0), json!(u16::MAX))),
            Some("uint32") => Some((json!(0), json!(u32::MAX))),
            Some("uint64") => Some((json!(0), json!(u64::MAX))),
            Some("int64") => Some((json!(i64::MIN), json!(i64::MAX))),
            _ => None,
        };
        if let Some((least, greatest)) = bounds {
            schema.entry("minimum").or_insert(least);
            schema.entry("maximum").or_insert(greatest);
        }
    }
    each_part(value, &mut bound_integers);
}

/// An optional struct that is flattened into another one is there or not; it is never null.
fn relax_optional_parts(value: &mut Value) {
    let parts = value.get_mut("allOf").and_then(Value::as_array_mut).into_iter().flatten();
    for part in parts.filter_map(Value::as_object_mut) {
        let is_null = |choice: &Value| choice["type"] == "null";
        let choices = part.get("oneOf").and_then(Value::as_array);
        if !choices.is_some_and(|choices| choices.iter().any(is_null)) {
            continue;
        }
        if let Some(Value::Array(mut choices)) = part.remove("oneOf") {
            choices.retain(|choice| !is_null(choice));
            choices.push(json!({"type": "object"}));
            part.insert("anyOf".to_owned(), choices.into());
        }
    }
    each_part(value, &mut relax_optional_parts);
}

fn each_part(value: &mut Value, change: &mut impl FnMut(&mut Value)) {
    match value {
        Value::Object(parts) => parts.values_mut().for_each(change),
        Value::Array(parts) => parts.iter_mut().for_each(change),
        _ => {}
    }
}
