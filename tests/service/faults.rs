//! Faults of the server's own: told as such, without their cause, where the description says they may be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use futures::stream;
use polyhead::config::{Config, ModelConfig, Precision};
use polyhead::http::description;
use reqwest::{Body, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection};
use tempfile::tempdir;

use crate::app::{TestApp, copy_of, seed_examples, tiny};

/// All that is stored, but for what is embedded.
const TABLES: [&str; 5] = ["tasks", "head_versions", "jobs", "examples", "example_labels"];

#[tokio::test]
async fn the_routes_that_need_the_store_are_those_that_are_described_so() {
    let app = TestApp::start().await;
    app.trained(json!({"examples": seed_examples()})).await;
    app.put("/heads/spam", json!({"labels": ["spam", "ham"]})).await;
    let weights = app.request(Method::GET, "/heads/topic/weights").send().await.unwrap();
    let weights = weights.bytes().await.unwrap();
    let mut store = SqliteConnection::connect(&app.store_url()).await.unwrap();
    for table in TABLES {
        let change = format!("ALTER TABLE {table} RENAME TO gone_{table}");
        store.execute(AssertSqlSafe(change)).await.unwrap();
    }
    let document = description::of(&Config::default());
    let (mut faulty, mut described) = (BTreeSet::new(), BTreeSet::new());
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = format!("{} {path}", method.to_uppercase());
            if operation.to_string().contains("\"store_unavailable\"") {
                described.insert(name.clone());
            }
            // Configured tasks cannot be removed.
            let task = if name == "DELETE /heads/{task}" { "spam" } else { "topic" };
            let at = path.replace("{task}", task).replace("{id}", "none");
            let request = app.request(method.to_uppercase().parse().unwrap(), &at);
            let (status, problem) = told(with_body(&name, request, &weights)).await;
            if status.as_u16() == 500 {
                assert_eq!(problem["code"], "internal", "{name}: {problem}");
                assert!(!problem.to_string().contains("table"), "{name}: {problem}");
                faulty.insert(name);
            }
        }
    }
    assert_eq!(faulty, described);
}

#[tokio::test]
async fn the_routes_that_encode_are_those_that_are_described_so() {
    // Finite weights whose sum is not: of one word, where it is the tenth.
    let text = format!("{}dull", "good ".repeat(9));
    let model = copy_of(&tiny().path);
    overflow(model.path(), "embeddings.word_embeddings.weight", id_of(model.path(), "dull"));
    overflow(model.path(), "embeddings.position_embeddings.weight", 10);
    let model = ModelConfig { precision: Precision::Fp32, ..ModelConfig::at(model.path()) };
    let app = TestApp::on(tempdir().unwrap(), model, |_| {}).await;
    app.trained(json!({"examples": seed_examples()})).await;
    let document = description::of(&Config::default());
    let (mut faulty, mut described) = (BTreeSet::new(), BTreeSet::new());
    for (path, item) in document["paths"].as_object().unwrap() {
        let Some(operation) = item.get("post") else { continue };
        if operation["responses"]["500"].is_object()
            && !operation.to_string().contains("\"store_unavailable\"")
        {
            described.insert(path);
        }
        let Some(body) = asking(path, &text) else { continue };
        let at = path.replace("{task}", "topic").replace("{model}", "model");
        let (status, problem) = told(app.request(Method::POST, &at).json(&body)).await;
        if status == 500 {
            assert!(!problem.to_string().contains("finite"), "{path}: {problem}");
            faulty.insert(path);
        }
        let (status, answer) =
            told(app.request(Method::POST, &at).json(&asking(path, "good").unwrap())).await;
        assert_eq!(status, 200, "{path}: {answer}");
    }
    assert_eq!(faulty, described);
}

#[tokio::test]
async fn the_routes_that_need_a_trained_head_are_those_that_are_described_so() {
    let app = TestApp::start().await;
    for ((method, path), operation) in operations() {
        let conflict = &operation["responses"]["409"]["description"];
        let described = conflict.as_str().is_some_and(|told| told.contains("`head_untrained`"));
        let at = path.replace("{task}", "topic").replace("{model}", "model");
        let request = app.request(method.clone(), &at);
        let request = match asking(&path, "good") {
            // There, what classifies has parameters.
            Some(_) if path == "/" => request.json(&json!({"inputs": "good", "parameters": {}})),
            Some(body) => request.json(&body),
            None => request,
        };
        let code = &told(request).await.1["code"];
        assert_eq!(code == "head_untrained", described, "{method} {path}: {code}");
    }
}

#[tokio::test]
async fn what_takes_too_long_is_given_up_where_that_is_described() {
    let app = TestApp::start().await;
    let job = app.trained(json!({"examples": seed_examples()})).await["id"].clone();
    app.put("/heads/spam", json!({"labels": ["spam", "ham"]})).await;
    let mut store = SqliteConnection::connect(&app.store_url()).await.unwrap();
    let operations = operations();
    let asked = |method: &Method, path: &str| {
        let task = if *method == Method::DELETE { "spam" } else { "topic" };
        let at = path.replace("{task}", task).replace("{id}", job.as_str().unwrap());
        let at = at.replace("{model}", "model").replace("{path}", "style.css");
        app.request(method.clone(), &at).header("x-request-timeout-ms", "100")
    };
    let is_late = async |method: &Method, path: &str, request: RequestBuilder| {
        let status = told(request).await.0;
        let described =
            operations[&(method.clone(), path.to_owned())]["responses"]["504"].is_object();
        assert_eq!(status == 504, described, "{method} {path}: {status}");
    };
    for ((method, path), operation) in &operations {
        if let Some(content) = operation["requestBody"]["content"].as_object() {
            // A body that never comes.
            let body = Body::wrap_stream(stream::pending::<Result<Vec<u8>, String>>());
            let media_type = content.keys().next().unwrap();
            let request = asked(method, path).header("content-type", media_type).body(body);
            is_late(method, path, request).await;
        }
    }
    // Looks that take seconds.
    const SLOW: &str = "WITH RECURSIVE slow(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM slow WHERE n < 10000000) SELECT max(n) AS n FROM slow";
    for table in TABLES {
        let change = format!(
            "ALTER TABLE {table} RENAME TO gone_{table}; CREATE VIEW {table} AS SELECT gone_{table}.* FROM gone_{table}, ({SLOW}) AS slow WHERE slow.n > 0"
        );
        store.execute(AssertSqlSafe(change)).await.unwrap();
    }
    for (method, path) in operations.keys().filter(|(method, _)| *method == Method::GET) {
        is_late(method, path, asked(method, path)).await;
    }
    for table in TABLES {
        let change = format!("DROP VIEW {table}; ALTER TABLE gone_{table} RENAME TO {table}");
        store.execute(AssertSqlSafe(change)).await.unwrap();
    }
    // Somebody else who writes, and does not come to an end.
    store.execute("BEGIN IMMEDIATE").await.unwrap();
    for ((method, path), operation) in &operations {
        if *method == Method::DELETE && operation["requestBody"].is_null() {
            is_late(method, path, asked(method, path)).await;
        }
    }
}

/// All operations that are described.
fn operations() -> BTreeMap<(Method, String), Value> {
    let document = description::of(&Config::default());
    let mut operations = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            operations.insert((method, path.clone()), operation.clone());
        }
    }
    operations
}

/// A request for something to be made of a text.
fn asking(path: &str, text: &str) -> Option<Value> {
    Some(match path {
        "/" | "/classify" | "/embed" | "/embed_all" | "/heads/{task}/predict" | "/tokenize" => {
            json!({"inputs": text})
        }
        "/predict" => json!({"inputs": text, "task": "topic"}),
        "/embeddings" | "/v1/embeddings" => json!({"input": text}),
        "/similarity" => json!({"inputs": {"source_sentence": text, "sentences": [text]}}),
        "/v2/embed" => json!({"texts": [text]}),
        "/v2/models/{model}/infer" => json!({
            "inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}],
        }),
        _ => return None,
    })
}

fn id_of(model: &Path, word: &str) -> usize {
    let tokenizer = fs::read(model.join("tokenizer.json")).unwrap();
    let tokenizer: Value = serde_json::from_slice(&tokenizer).unwrap();
    tokenizer["model"]["vocab"][word].as_u64().unwrap() as usize
}

/// Fills a row of a table, 32 wide, with numbers of which no two can be added.
fn overflow(model: &Path, table: &str, row: usize) {
    let numbers = [f32::MAX.to_le_bytes(); 32].concat();
    let file = model.join("model.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    // A file begins with the length of its header.
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let tensors: Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let start = tensors[table]["data_offsets"][0].as_u64().unwrap() as usize;
    let start = 8 + header + start + row * numbers.len();
    bytes[start..start + numbers.len()].copy_from_slice(&numbers);
    fs::write(file, bytes).unwrap();
}

/// The status of an answer and its body, `null` where that is not JSON.
async fn told(request: RequestBuilder) -> (StatusCode, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status();
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
}

/// With the body that an operation needs to come as far as the store.
fn with_body(operation: &str, request: RequestBuilder, weights: &[u8]) -> RequestBuilder {
    match operation {
        "PUT /heads/{task}/weights" => request.body(weights.to_vec()),
        "PUT /heads/{task}" => {
            request.json(&json!({"labels": ["Finance", "Entertainment", "Technology"]}))
        }
        "POST /heads/{task}/promote" => request.json(&json!({"version": 1})),
        "DELETE /examples" => request.json(&json!({"texts": ["a"]})),
        "POST /train" => request.json(&json!({"examples": seed_examples()})),
        _ => request,
    }
}
