//! Changes of single schemas.

use serde_json::Value;

/// Puts another schema in a place and leaves what is said of it.
pub fn redefine(place: &mut Value, mut schema: Value) {
    if let Some(said) = place.get("description") {
        schema["description"] = said.clone();
    }
    *place = schema;
}

/// Takes null from what a schema allows.
pub fn never_null(schema: &mut Value) {
    if let Some(types) = schema.get("type").and_then(Value::as_array) {
        let mut types = types.iter().filter(|it| *it != "null").cloned();
        schema["type"] = types.next().unwrap_or_default();
    }
    if let Some(choices) = schema.get_mut("oneOf").and_then(Value::as_array_mut) {
        choices.retain(|choice| choice["type"] != "null");
        if let [only] = &choices[..] {
            let only = only.clone();
            redefine(schema, only);
        }
    }
}
