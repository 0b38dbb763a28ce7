//! What values may be by nature: the bounds of Rust's types, and what parameters can be written as.

use serde_json::{Map, Value, json};

use super::operations;
use super::schema::never_null;

/// See [`name::ALLOWED`](crate::name::ALLOWED).
const NAME: &str = "^[A-Za-z0-9_.-]{1,64}$";

/// Adds all of them.
pub fn add(document: &mut Value) {
    bound_parameters(document);
    bound_integers(document);
    relax_optional_parts(document);
}

fn bound_parameters(document: &mut Value) {
    for (_, _, operation) in operations(document) {
        let body = operation.get_mut("requestBody").and_then(|it| it["content"].as_object_mut());
        body.into_iter().flatten().for_each(|(_, content)| never_null(&mut content["schema"]));
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten() {
            never_null(&mut parameter["schema"]);
            let (place, name) = (&parameter["in"], &parameter["name"]);
            if place == "path" && (name == "task" || name == "model") {
                parameter["schema"]["pattern"] = json!(NAME);
            }
            // A query string has no lists, but names with commas between them.
            if let Some(choices) = parameter["schema"]["oneOf"].as_array()
                && choices.iter().any(|choice| choice["type"] == "array")
                && let Some(joined) = choices.iter().find(|choice| choice["type"] == "string")
            {
                parameter["schema"] = joined.clone();
            }
        }
    }
}

/// The greatest and least values of each format; of a whole number without one, those of a `usize`.
fn bound_integers(value: &mut Value) {
    if let Value::Object(schema) = value {
        // The keys of objects are texts, whatever the map's are.
        schema.remove("propertyNames");
        // As the registry of formats writes them.
        if let Some(Value::String(format)) = schema.get_mut("format") {
            *format = format.replace("u-int", "uint");
        }
        let bounds = match schema.get("format").and_then(Value::as_str) {
            Some("int8") => Some((json!(i8::MIN), json!(i8::MAX))),
            Some("uint8") => Some((json!(0), json!(u8::MAX))),
            Some("uint16") => Some((json!(0), json!(u16::MAX))),
            Some("uint32") => Some((json!(0), json!(u32::MAX))),
            Some("uint64") => Some((json!(0), json!(u64::MAX))),
            Some("int64") => Some((json!(i64::MIN), json!(i64::MAX))),
            None if is_unsigned(schema) => Some((json!(0), json!(u64::MAX))),
            _ => None,
        };
        if let Some((least, greatest)) = bounds {
            schema.entry("minimum").or_insert(least);
            schema.entry("maximum").or_insert(greatest);
        }
    }
    each_part(value, &mut bound_integers);
}

fn is_unsigned(schema: &Map<String, Value>) -> bool {
    let is_integer = match schema.get("type") {
        Some(Value::Array(types)) => types.iter().any(|it| it == "integer"),
        Some(only) => only == "integer",
        None => false,
    };
    is_integer && schema.get("minimum").and_then(Value::as_f64).is_some_and(|least| least >= 0.0)
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
