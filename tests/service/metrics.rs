//! `/metrics` and `/info`.

use std::collections::BTreeMap;

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::app::{TestApp, seed_examples};

/// The samples of an exposition: name with labels, and value.
type Samples = BTreeMap<String, f64>;

#[tokio::test]
async fn the_metrics_are_openmetrics_text_of_the_promised_names() {
    let app = TestApp::start().await;
    let response = app.request(Method::GET, "/metrics").send().await.unwrap();
    let content_type = response.headers()["content-type"].to_str().unwrap();
    assert!(content_type.starts_with("application/openmetrics-text"), "{content_type}");
    app.embed(json!({"inputs": ["a", "film ".repeat(50)]})).await;
    let truncated = r#"polyhead_truncated_inputs_total{model="model"}"#;
    assert_eq!(parse(&app.metrics().await)[truncated], 1.0);
    app.trained(json!({"examples": seed_examples()})).await;
    let samples = parse(&app.metrics().await);
    for name in [
        r#"polyhead_build_info{version="0.1.0"}"#,
        r#"polyhead_tokenize_duration_seconds_count{model="model"}"#,
        r#"polyhead_queue_duration_seconds_count{model="model"}"#,
        r#"polyhead_inference_duration_seconds_count{model="model"}"#,
        r#"polyhead_batch_tokens_count{model="model"}"#,
        r#"polyhead_tokens_total{model="model"}"#,
        r#"polyhead_head_swaps_total{task="topic"}"#,
        r#"polyhead_epoch_loss{task="topic"}"#,
        r#"polyhead_model{model="model",precision="fp32",provider="cpu"}"#,
    ] {
        assert!(samples.get(name).is_some_and(|&value| value > 0.0), "{name}: {samples:#?}");
    }
    for (name, value) in [
        (r#"polyhead_head_version{task="topic"}"#, 1.0),
        (r#"polyhead_jobs{state="succeeded"}"#, 1.0),
        (r#"polyhead_jobs{state="running"}"#, 0.0),
        ("polyhead_queue_tokens", 0.0),
        ("polyhead_requests_in_flight", 1.0),
    ] {
        assert_eq!(samples.get(name), Some(&value), "{name}: {samples:#?}");
    }
    assert!(samples.keys().all(|name| name.starts_with("polyhead_")));
}

#[tokio::test]
async fn requests_are_counted_by_method_route_and_code() {
    let app = TestApp::start().await;
    app.embed(json!({"inputs": "a"})).await;
    app.embed(json!({"inputs": "b"})).await;
    app.post("/embed", json!({"inputs": ""})).await;
    app.get("/heads/topic").await;
    app.get("/heads/nothing").await;
    let samples = parse(&app.metrics().await);
    for (method, route, code, count) in [
        ("POST", "/embed", 200, 2.0),
        ("POST", "/embed", 422, 1.0),
        ("GET", "/heads/{task}", 200, 1.0),
        ("GET", "/heads/{task}", 404, 1.0),
    ] {
        let labels = format!(r#"method="{method}",route="{route}",code="{code}""#);
        let name = format!("polyhead_request_duration_seconds_count{{{labels}}}");
        assert_eq!(samples.get(&name), Some(&count), "{name}: {samples:#?}");
    }
}

#[tokio::test]
async fn clients_cannot_make_up_labels() {
    let app = TestApp::start().await;
    let before = app.metrics().await;
    assert!(!before.contains("made-up"));
    for path in ["/made-up", "/made-up/2", "/heads/made-up", "/train/made-up"] {
        assert_eq!(app.get(path).await.0, StatusCode::NOT_FOUND);
    }
    let method = Method::from_bytes(b"MADE-UP").unwrap();
    app.request(method, "/embed").send().await.unwrap();
    app.post("/embed", json!({"inputs": "a", "model": "made-up"})).await;
    app.post("/classify", json!({"inputs": "a", "tasks": ["made-up"]})).await;
    let after = app.metrics().await;
    assert!(!after.to_lowercase().contains("made-up"), "{after}");
    let samples = parse(&after);
    let unknown =
        r#"polyhead_request_duration_seconds_count{method="GET",route="none",code="404"}"#;
    assert_eq!(samples.get(unknown), Some(&2.0), "{samples:#?}");
}

#[tokio::test]
async fn a_removed_task_leaves_no_metrics() {
    let app = TestApp::start().await;
    app.put("/heads/colour", json!({"labels": ["red", "blue"]})).await;
    assert!(app.metrics().await.contains("task=\"colour\""));
    app.delete("/heads/colour").await;
    assert!(!app.metrics().await.contains("task=\"colour\""));
}

#[tokio::test]
async fn info_says_what_is_served_and_within_which_limits() {
    let app = TestApp::start().await;
    app.trained(json!({"examples": [
        {"text": "a great film", "labels": {"sentiment": "Positive"}},
        {"text": "a dull film", "labels": {"sentiment": "Negative"}},
    ]}))
    .await;
    let (status, info) = app.get("/info").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(info["default_model"], "model");
    assert!(info["runtime"].as_str().unwrap().contains("ORT"), "{info}");
    assert!(info["workers"].as_u64().unwrap() >= 1);
    let model = &info["models"][0];
    for (key, value) in [
        ("name", json!("model")),
        ("dimensions", json!(32)),
        ("max_seq_length", json!(20)),
        ("pooling", json!("mean")),
        ("normalize", json!(true)),
        ("precision", json!("fp32")),
        ("provider", json!("cpu")),
    ] {
        assert_eq!(model[key], value, "{key}: {model}");
    }
    assert_eq!(model["fingerprint"].as_str().unwrap().len(), 64);
    let tasks: Vec<_> = info["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| {
            (
                task["name"].as_str().unwrap(),
                task["model"].as_str().unwrap(),
                task["version"].as_i64().unwrap(),
            )
        })
        .collect();
    assert_eq!(tasks, [("sentiment", "model", 1), ("topic", "model", 0)]);
    for (limit, value) in [
        ("body_bytes", 8_388_608),
        ("inputs_per_request", 2_048),
        ("tokens_per_request", 131_072),
        ("examples_per_job", 100_000),
        ("tasks", 256),
        ("labels_per_task", 1_024),
    ] {
        assert_eq!(info["limits"][limit], value, "{limit}");
    }
    assert_eq!(info["batching"]["queue_tokens"], 262_144);
}

/// Reads OpenMetrics text (version 1.0.0): every sample belongs to the family that the `TYPE` line
/// above it announces, no series occurs twice, and the text ends with `# EOF`.
fn parse(text: &str) -> Samples {
    let body = text.strip_suffix("# EOF\n").expect("the text ends with # EOF");
    let mut samples = Samples::new();
    let (mut family, mut kind) = (String::new(), String::new());
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (word, name) = (words.next().unwrap(), words.next().unwrap());
            assert!(["HELP", "TYPE", "UNIT"].contains(&word), "{line}");
            if word == "TYPE" {
                kind = words.next().unwrap().to_owned();
            }
            family = name.to_owned();
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
        let name = series.split('{').next().unwrap();
        let suffixes: &[&str] = match kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "histogram" => &["_bucket", "_sum", "_count"],
            "info" => &["_info"],
            other => panic!("{other} is not expected here"),
        };
        let suffix =
            name.strip_prefix(&family).unwrap_or_else(|| panic!("{line} is not of {family}"));
        assert!(suffixes.contains(&suffix), "{line} is no {kind}");
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line} has no number"));
        assert!(samples.insert(series.to_owned(), value).is_none(), "{series} occurs twice");
    }
    samples
}
