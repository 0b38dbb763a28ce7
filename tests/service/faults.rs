//! Faults of the server's own: told as such, without their cause, where the description says they may be.

use std::collections::BTreeSet;

use polyhead::config::Config;
use polyhead::http::description;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sqlx::{Connection, Executor, SqliteConnection};

use crate::app::{TestApp, answer, seed_examples};

#[tokio::test]
async fn the_routes_that_need_the_store_are_those_that_are_described_so() {
    let app = TestApp::start().await;
    app.trained(json!({"examples": seed_examples()})).await;
    app.put("/heads/spam", json!({"labels": ["spam", "ham"]})).await;
    let weights = app.request(Method::GET, "/heads/topic/weights").send().await.unwrap();
    let weights = weights.bytes().await.unwrap();
    let mut store = SqliteConnection::connect(&app.store_url()).await.unwrap();
    for change in [
        "ALTER TABLE tasks RENAME TO gone_tasks",
        "ALTER TABLE head_versions RENAME TO gone_versions",
        "ALTER TABLE jobs RENAME TO gone_jobs",
        "ALTER TABLE examples RENAME TO gone_examples",
        "ALTER TABLE example_labels RENAME TO gone_labels",
    ] {
        store.execute(change).await.unwrap();
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
            let (status, problem) = match with_body(&name, request, &weights) {
                // Pages and streams are not JSON.
                request if ["/metrics", "/docs"].contains(&path.as_str()) => {
                    (request.send().await.unwrap().status(), Value::Null)
                }
                request => answer(request).await,
            };
            if status.as_u16() == 500 {
                assert_eq!(problem["code"], "internal", "{name}: {problem}");
                assert!(!problem.to_string().contains("table"), "{name}: {problem}");
                faulty.insert(name);
            }
        }
    }
    assert_eq!(faulty, described);
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
