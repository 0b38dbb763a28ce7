//! What requests may have: the configuration's limits, and what their texts have to look like.

use serde_json::{Value, json};

use super::schema::redefine;
use crate::config::LimitsConfig;
use crate::http::open_inference::{INPUT, OUTPUT};

/// All white space, as Rust's `trim` has it, for a class of characters. What `\s` means is for each
/// dialect of regular expressions to say.
macro_rules! white {
    () => {
        r"\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
    };
}

/// At least one visible character.
const VISIBLE: &str = concat!("[^", white!(), "]");

/// No white space at either end.
const TRIMMED: &str = concat!("^[^", white!(), r"]([\s\S]*[^", white!(), "])?$");

/// The same, and no character that no database stores.
const STORED: &str = concat!(r"^[^\u0000", white!(), r"]([^\u0000]*[^\u0000", white!(), "])?$");

/// A visible character, and none that no database stores.
const VISIBLE_AND_STORED: &str = concat!(r"^[^\u0000]*[^\u0000", white!(), r"][^\u0000]*$");

/// Exactly one place for a label.
const TEMPLATE: &str = r"^(?:[^{]|\{+[^{}])*\{*\{\}(?:[^{]|\{+[^{}])*\{*$";

/// Names with commas between them, the encoder's among them.
const WITH_ENCODER: &str = r"^([^,]*,)*\s*encoder\s*(,[^,]*)*$";

/// Adds them to the schemas of the components.
pub fn add(schemas: &mut Value, limits: &LimitsConfig) {
    limit_inputs(schemas, limits.inputs_per_request.get());
    limit_labels(schemas, limits);
    limit_training(&mut schemas["TrainRequest"]["properties"], limits);
    let example = &mut schemas["Example"]["properties"];
    example["text"]["pattern"] = json!(VISIBLE_AND_STORED);
    example["labels"]["minProperties"] = json!(1);
    schemas["ClassifyRequest"]["properties"]["template"]["pattern"] = json!(TEMPLATE);
    name_tensors(schemas);
    tell_numbers_apart(&mut schemas["CohereEmbedding"]);
}

/// The texts of all requests, however each calls them.
fn limit_inputs(schemas: &mut Value, most: usize) {
    let text = json!({"type": "string", "pattern": VISIBLE});
    let list = |item: &Value, most: usize| json!({"type": "array", "items": item, "minItems": 1, "maxItems": most});
    let id = json!({"type": "integer", "format": "uint32"});
    let ids = json!({"type": "array", "items": id, "minItems": 1});
    let texts = list(&text, most);
    redefine(&mut schemas["Inputs"], json!({"oneOf": [text, texts]}));
    let any = json!({"oneOf": [text, texts, ids, list(&ids, most)]});
    redefine(&mut schemas["TextsOrIds"], any);
    let alone = json!({"type": "array", "items": text, "minItems": 1, "maxItems": 1});
    redefine(&mut schemas["PredictInputs"], json!({"oneOf": [text, list(&alone, most)]}));
    let mut put = |name: &str, field: &str, schema: Value| {
        redefine(&mut schemas[name]["properties"][field], schema);
    };
    put("CohereEmbedRequest", "texts", texts);
    let any_ids = json!({"type": "array", "items": id});
    put("DecodeRequest", "ids", json!({"oneOf": [ids, list(&any_ids, most)]}));
    put("Sentences", "source_sentence", text.clone());
    // The one that they are compared with counts, too.
    put("Sentences", "sentences", list(&text, most.saturating_sub(1).max(1)));
    let row = json!({"oneOf": [text, list(&text, most)]});
    put("InputTensor", "data", json!({"type": ["array", "null"], "items": row, "minItems": 1}));
}

fn limit_labels(schemas: &mut Value, limits: &LimitsConfig) {
    for (request, pattern) in [("HeadDefinition", STORED), ("ClassifyRequest", TRIMMED)] {
        let labels = &mut schemas[request]["properties"]["labels"];
        labels["maxItems"] = json!(limits.labels_per_task);
        labels["uniqueItems"] = json!(true);
        labels["items"]["pattern"] = json!(pattern);
        labels["items"]["maxLength"] = json!(limits.label_bytes);
    }
    // A form that is named twice is told once.
    let forms = schemas["CohereEmbedRequest"]["properties"]["embedding_types"].as_object_mut();
    forms.and_then(|forms| forms.remove("uniqueItems"));
}

fn limit_training(fields: &mut Value, limits: &LimitsConfig) {
    fields["examples"]["maxItems"] = json!(limits.examples_per_job);
    fields["epochs"]["maximum"] = json!(limits.epochs_per_job);
    // A list of names, or names with commas between them.
    let (nothing, joined) = (json!({"type": "null"}), json!({"type": "string"}));
    let listed = json!({"type": "array", "items": joined});
    fields["task"]["oneOf"] = json!([nothing, listed, joined]);
    let (mut listed, mut joined) = (listed, joined);
    listed["contains"] = json!({"const": "encoder"});
    joined["pattern"] = json!(WITH_ENCODER);
    fields["freeze"]["oneOf"] = json!([nothing, listed, joined]);
}

/// The tensors that there are.
fn name_tensors(schemas: &mut Value) {
    for (tensor, field, only) in [
        ("InputTensor", "name", INPUT),
        ("InputTensor", "datatype", "BYTES"),
        ("WantedTensor", "name", OUTPUT),
    ] {
        schemas[tensor]["properties"][field]["enum"] = json!([only]);
    }
}

/// Whole numbers are also numbers: several forms may fit.
fn tell_numbers_apart(forms: &mut Value) {
    let choices = forms["oneOf"].take();
    *forms = json!({"anyOf": choices, "description": forms["description"]});
}
