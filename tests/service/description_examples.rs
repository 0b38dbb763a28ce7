//! The description's examples are what a server answers: this one is asked again.

use std::fs;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::app::{TestApp, in_repository, seed_examples};

/// Where the examples are.
const FILE: &str = "src/http/description/examples.json";

/// What renews them and what is made of them.
const RENEW: &str = "POLYHEAD_RENEW=1 cargo test --locked --test service description_examples && cargo run --locked -- openapi > docs/openapi.json";

/// What is another at each time and on each machine.
const VOLATILE: [&str; 15] = [
    "id",
    "job",
    "created_at",
    "started_at",
    "finished_at",
    "added_at",
    "embedding",
    "fitting",
    "runtime",
    "workers",
    "seconds_left",
    "created",
    "fused",
    "not_fused",
    "tokenization_workers",
];

/// Kernels differ in the order of their sums; what a fit makes of that is less than this.
const TOLERANCE: f64 = 1e-3;

/// A request by an operation, such as `POST /embed`, and what came of it.
async fn ask(app: &TestApp, operation: &str, job: &str, request: Value) -> Value {
    let (method, path) = operation.split_once(' ').unwrap();
    let method: Method = method.parse().unwrap();
    let at = path.replace("{task}", "topic").replace("{model}", "minilm");
    let at = at.replace("{id}", job);
    let mut sent = app.request(method, &at);
    if !request.is_null() {
        sent = sent.json(&request);
    }
    let answer = sent.send().await.unwrap();
    let status = answer.status().as_u16();
    let media_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
    let media_type = media_type.split(';').next().unwrap().to_owned();
    let text = answer.text().await.unwrap();
    let answer = serde_json::from_str(&text).unwrap_or(Value::String(text));
    json!({
        "operation": operation, "request": request,
        "status": status, "media_type": media_type, "answer": answer,
    })
}

/// All examples, in an order in which each finds what it asks for.
async fn examples() -> Vec<Value> {
    // From the repository's folder, as the configuration of `make run` has it.
    let model = polyhead::config::ModelConfig::at("models/all-MiniLM-L6-v2");
    let app = TestApp::on(tempdir().unwrap(), model, |config| {
        let model = config.models.remove("model").unwrap();
        let precision = polyhead::config::Precision::Fp32;
        config
            .models
            .insert("minilm".to_owned(), polyhead::config::ModelConfig { precision, ..model });
        config.default_model = "minilm".to_owned();
    })
    .await;
    let mut all = Vec::new();
    let text = "Shares fell sharply after the bad news.";
    let embed = json!({"inputs": ["This is extremely fun."], "dimensions": 8});
    all.push(ask(&app, "POST /embed", "", embed).await);
    all.push(ask(&app, "POST /embed", "", json!({"inputs": ["This is fun.", ""]})).await);
    all.push(ask(&app, "POST /classify", "", json!({"inputs": text})).await);
    let job = json!({"examples": seed_examples(), "epochs": 2});
    let dry_run = json!({"examples": seed_examples(), "epochs": 2, "dry_run": true});
    all.push(ask(&app, "POST /train", "", dry_run).await);
    let accepted = ask(&app, "POST /train", "", job).await;
    let id = accepted["answer"]["id"].as_str().unwrap().to_owned();
    all.push(accepted);
    app.ended(&id).await;
    for (operation, request) in [
        ("GET /train", json!(null)),
        ("GET /train/{id}", json!(null)),
        ("GET /train/{id}/events", json!(null)),
        ("DELETE /train/{id}", json!(null)),
        ("POST /classify", json!({"inputs": text, "top_k": 1})),
        (
            "POST /classify",
            json!({
                "inputs": "The striker scored twice.", "labels": ["sport", "finance"],
                "template": "This text is about {}.",
            }),
        ),
        ("GET /heads", json!(null)),
        ("GET /heads/{task}", json!(null)),
        ("PUT /heads/{task}", json!({"labels": ["Finance", "Entertainment", "Technology"]})),
        ("POST /heads/{task}/promote", json!({"version": 1})),
        ("POST /heads/{task}/rollback", json!({})),
        ("GET /examples", json!(null)),
        ("DELETE /examples", json!({"texts": ["The weather ruined my mood today."]})),
        ("POST /v1/embeddings", json!({"input": "This is extremely fun.", "dimensions": 8})),
        (
            "POST /v1/embeddings",
            json!({"input": "This is extremely fun.", "model": "text-embedding-3-small"}),
        ),
        ("GET /v1/models", json!(null)),
        ("GET /v1/models/{model}", json!(null)),
        ("POST /embeddings", json!({"input": "This is extremely fun.", "dimensions": 8})),
        ("GET /models", json!(null)),
        (
            "POST /v2/embed",
            json!({
                "texts": ["This is extremely fun."], "input_type": "search_query",
                "embedding_types": ["float", "ubinary"], "output_dimension": 8,
            }),
        ),
        ("POST /v2/embed", json!({"texts": []})),
        ("GET /v2", json!(null)),
        ("GET /v2/models/{model}", json!(null)),
        ("GET /v2/models/{model}/ready", json!(null)),
        (
            "POST /v2/models/{model}/infer",
            json!({
                "inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["This is extremely fun."]}],
                "parameters": {"dimensions": 8},
            }),
        ),
        ("POST /predict", json!({"inputs": text, "task": "topic"})),
        ("POST /heads/{task}/predict", json!({"inputs": text, "parameters": {"top_k": 1}})),
        ("GET /heads/{task}/info", json!(null)),
        (
            "POST /similarity",
            json!({
                "inputs": {
                    "source_sentence": text,
                    "sentences": ["The stock market crashed.", "The film was a masterpiece."],
                },
            }),
        ),
        ("POST /", json!({"inputs": "This is extremely fun.", "dimensions": 8})),
        ("POST /tokenize", json!({"inputs": "Shares fell."})),
        ("POST /decode", json!({"ids": [101, 6661, 3062, 1012, 102]})),
        ("GET /info", json!(null)),
        ("GET /livez", json!(null)),
        ("GET /startupz", json!(null)),
        ("GET /readyz", json!(null)),
    ] {
        all.push(ask(&app, operation, &id, request).await);
    }
    all
}

#[tokio::test]
async fn the_examples_are_what_a_server_answers() {
    let fresh = Value::Array(examples().await);
    let file = in_repository(FILE);
    if std::env::var_os("POLYHEAD_RENEW").is_some() {
        fs::write(&file, format!("{fresh:#}\n")).unwrap();
    }
    let kept: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    if let Some(difference) = difference(&kept, &fresh) {
        panic!("{FILE} is not current: {difference}; renew it: {RENEW}");
    }
}

/// Where two values differ, if they do.
fn difference(kept: &Value, fresh: &Value) -> Option<String> {
    match (kept, fresh) {
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
            let compared = a.iter().filter(|(name, _)| !VOLATILE.contains(&name.as_str()));
            compared
                .into_iter()
                .find_map(|(name, kept)| Some(format!("{name}: {}", difference(kept, &b[name])?)))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).find_map(|(kept, fresh)| difference(kept, fresh))
        }
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            ((a - b).abs() > TOLERANCE).then(|| format!("{a} is {b} now"))
        }
        // A stream of events, or a sentence about a job: what is in them is compared elsewhere.
        (Value::String(a), Value::String(b)) if a.starts_with("event:") || a.contains("job ") => {
            (a.lines().next() != b.lines().next() && !a.contains("job "))
                .then(|| format!("{a:?} is {b:?} now"))
        }
        _ => (kept != fresh).then(|| format!("{kept} is {fresh} now")),
    }
}
