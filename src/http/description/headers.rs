//! Headers that many operations take or give.

use serde_json::{Map, Value, json};

use crate::auth::Scope;

/// Routes that tell in headers what an answer cost, as text-embeddings-inference does.
const COSTED: [&str; 9] = [
    "/",
    "/embed",
    "/embed_all",
    "/embeddings",
    "/heads/{task}/predict",
    "/predict",
    "/similarity",
    "/v1/embeddings",
    "/v2/embed",
];

/// The same, below a model's name.
const INFER: &str = "/v2/models/{model}/infer";

/// What they tell then.
const COST: [&str; 8] = [
    "x-compute-type",
    "x-compute-characters",
    "x-compute-tokens",
    "x-compute-time",
    "x-total-time",
    "x-tokenization-time",
    "x-queue-time",
    "x-inference-time",
];

/// How a key's rates stand, where it has such.
const RATES: [&str; 6] = [
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
];

/// The headers that answers refer to.
pub fn components() -> Value {
    let text = || json!({"type": "string"});
    let whole = || json!({"type": "integer", "minimum": 0});
    let always = [
        (
            "x-request-id",
            "The request's own id, or the one that it was given; it is in the server's log",
            text(),
        ),
        ("retry-after", "Seconds after which to come again", whole()),
        (
            "www-authenticate",
            "What is asked for (RFC 6750)",
            json!({"type": "string", "pattern": "^Bearer "}),
        ),
        ("x-compute-type", "The execution provider, such as `cpu`", text()),
        ("x-compute-characters", "Characters of the inputs; 0 for token ids", whole()),
        ("x-compute-tokens", "Tokens that were encoded", whole()),
        ("x-compute-time", "Milliseconds from the decoded request to the embeddings", whole()),
        ("x-total-time", "The same", whole()),
        ("x-tokenization-time", "Milliseconds of it for tokens", whole()),
        ("x-queue-time", "Milliseconds of it in the queue", whole()),
        ("x-inference-time", "Milliseconds of it in the encoder", whole()),
    ];
    let where_limited = [
        ("x-ratelimit-limit-requests", "Requests that the key may send in a minute", whole()),
        ("x-ratelimit-remaining-requests", "How many of these are left", whole()),
        ("x-ratelimit-reset-requests", "When all are there again, such as `1.5s`", text()),
        ("x-ratelimit-limit-tokens", "Tokens that the key may have encoded in a minute", whole()),
        ("x-ratelimit-remaining-tokens", "How many of these are left", whole()),
        ("x-ratelimit-reset-tokens", "When all are there again, such as `1.5s`", text()),
    ];
    let header = |required: bool, (name, description, schema): (&str, &str, Value)| {
        let header = json!({"description": description, "required": required, "schema": schema});
        (name.to_owned(), header)
    };
    let always = always.into_iter().map(|it| header(true, it));
    always.chain(where_limited.into_iter().map(|it| header(false, it))).collect()
}

/// Adds them to all answers of an operation.
pub fn add(path: &str, scope: Option<Scope>, operation: &mut Map<String, Value>) {
    let costs = operation.contains_key("requestBody") && (path == INFER || COSTED.contains(&path));
    let answers = operation["responses"].as_object_mut().into_iter().flatten();
    for (status, answer) in answers {
        let mut refer = |names: &[&str]| {
            for name in names {
                answer["headers"][*name] = json!({"$ref": format!("#/components/headers/{name}")});
            }
        };
        refer(&["x-request-id"]);
        match status.as_str() {
            "200" if costs => refer(&COST),
            "429" | "503" => refer(&["retry-after"]),
            "401" | "403" => refer(&["www-authenticate"]),
            _ => {}
        }
        // Who brought no key that is known has no rates.
        if scope.is_some() && status != "401" {
            refer(&RATES);
        }
    }
    if path == INFER {
        let parameters = operation["parameters"].as_array_mut();
        parameters.into_iter().for_each(|it| it.push(json_length()));
    }
}

/// The parameter of every operation that has a deadline.
pub fn deadline() -> Value {
    json!({
        "name": "x-request-timeout-ms", "in": "header", "required": false,
        "description": "Milliseconds after which the client no longer wants an answer; at most the server's own time",
        "schema": {"type": "integer", "format": "uint64", "minimum": 1, "maximum": u64::MAX},
    })
}

fn json_length() -> Value {
    json!({
        "name": "inference-header-content-length", "in": "header", "required": false,
        "description": "Of a body with a tensor in bytes: how many of its bytes are JSON",
        "schema": {"type": "integer", "minimum": 1},
    })
}
