//! Versions: judged before they go live, moved by hand, taken out and in.

use reqwest::{Method, StatusCode};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::app::{TestApp, answer, assert_problem, fixture, seed_examples, task, tiny};

const TEXTS: [&str; 3] = ["the stock market", "a great film", "a very dull idea"];

/// Sentences that a head tells apart by one word.
fn sentences(labels: &[&str]) -> Value {
    let of_film = ["film", "fun", "great film", "dull film"];
    let of_market = ["stock", "price", "stock market", "new stock"];
    let words = ["the", "a", "this", "is", "was", "not", "it", "and", "of", "very", "old", "idea"];
    let mut rows = Vec::new();
    for word in words {
        for (subject, topic) in of_film
            .iter()
            .map(|it| (it, "Entertainment"))
            .chain(of_market.iter().map(|it| (it, "Finance")))
        {
            let sentiment = if topic == "Finance" { "Negative" } else { "Positive" };
            let all = json!({"topic": topic, "sentiment": sentiment});
            let labels: Value =
                labels.iter().map(|&task| (task.to_owned(), all[task].clone())).collect();
            rows.push(json!({"text": format!("{word} {subject}"), "labels": labels}));
        }
    }
    rows.into()
}

/// A request that fits well, on all tasks that `labels` name.
fn good(labels: &[&str]) -> Value {
    json!({"examples": sentences(labels), "validation": 0.3, "mode": "replace"})
}

/// A request whose one step leaves heads as random as they started.
fn bad(labels: &[&str]) -> Value {
    let mut request = good(labels);
    request["solver"] = json!("adam");
    request["learning_rate"] = json!(1e-9);
    request["epochs"] = json!(1);
    request
}

fn with(mut request: Value, key: &str, value: impl Into<Value>) -> Value {
    request[key] = value.into();
    request
}

/// The numbers of a task's versions, newest first, and the one that answers.
async fn versions(app: &TestApp, task: &str) -> (Vec<i64>, Option<i64>) {
    let head = app.get(&format!("/heads/{task}")).await.1;
    let versions = head["versions"].as_array().unwrap();
    let number = |version: &Value| version["version"].as_i64().unwrap();
    let live: Vec<i64> =
        versions.iter().filter(|version| version["live"] == true).map(number).collect();
    assert!(live.len() <= 1, "{head}");
    assert_eq!(head["version"].as_i64(), live.first().copied().or(Some(0)), "{head}");
    (versions.iter().map(number).collect(), live.first().copied())
}

#[tokio::test]
async fn a_version_that_is_worse_than_the_live_one_does_not_go_live() {
    let app = TestApp::start().await;
    let first = app.trained(good(&["sentiment"])).await;
    let result = &first["result"]["tasks"]["sentiment"];
    assert_eq!(result["verdict"], "unopposed");
    assert_eq!((&result["version"], &result["live"]), (&json!(1), &json!(true)));
    assert_eq!(result["champion_version"], json!(null));
    let answers = app.classify(json!({"inputs": TEXTS})).await;

    let job = app.train(bad(&["sentiment"])).await;
    assert_eq!(job["state"], "rejected", "{job}");
    assert_eq!(job["published"], json!({}));
    let result = &job["result"]["tasks"]["sentiment"];
    assert_eq!(result["verdict"], "worse");
    assert_eq!((&result["version"], &result["live"]), (&json!(2), &json!(false)));
    assert_eq!(result["champion_version"], 1);
    let (challenger, champion) =
        (result["challenger"].as_f64().unwrap(), result["champion"].as_f64().unwrap());
    assert!(challenger < champion, "{result}");
    let reason = job["reason"].as_str().unwrap();
    for mention in ["sentiment", "held-out", "0.01"] {
        assert!(reason.contains(mention), "{reason}");
    }
    assert_eq!(app.classify(json!({"inputs": TEXTS})).await, answers);
    assert_eq!(versions(&app, "sentiment").await, (vec![2, 1], Some(1)));
    let rejected = app.get("/train?state=rejected").await.1;
    assert_eq!(rejected["jobs"][0]["id"], job["id"]);
    assert!(app.metrics().await.contains("polyhead_jobs{state=\"rejected\"} 1\n"));

    // What was rejected is still there for whoever wants it.
    let (status, head) = app.post("/heads/sentiment/promote", json!({"version": 2})).await;
    assert_eq!((status, &head["version"]), (StatusCode::OK, &json!(2)), "{head}");
    assert_ne!(app.classify(json!({"inputs": TEXTS})).await, answers);
}

/// Sentences whose labels nothing tells: a head knows those that it was fit on, and no others.
fn noise(numbers: std::ops::Range<usize>) -> Vec<Value> {
    let label = |number: usize| ["Negative", "Positive"][number * number % 7 % 2];
    let row = |number| json!({"text": format!("number {number}"), "labels": {"sentiment": label(number)}});
    numbers.map(row).collect()
}

#[tokio::test]
async fn a_champion_is_judged_on_rows_that_it_was_not_fit_on_either() {
    let app = TestApp::start().await;
    let train = async |examples: Vec<Value>, validation: f64, mode: &str| {
        let body = json!({
            "examples": examples, "validation": validation, "mode": mode, "l2": 1e-6,
            "calibrate": false, "promote": "always",
        });
        app.trained(body).await["result"]["tasks"]["sentiment"].clone()
    };
    let right = |result: &Value| result["champion"].as_f64().unwrap();
    // Its twin knows 70 of 100 by heart.
    let first = train(noise(0..100), 0.3, "extend").await;
    let own = first["evaluation"]["accuracy"].as_f64().unwrap();
    assert!(own < 0.9, "{first}");
    for mode in ["extend", "replace"] {
        let wider = train(noise(0..100), 0.6, mode).await;
        assert_eq!(wider["rows"], 30, "{mode}: {wider}");
        assert!((right(&wider) - own).abs() < 1e-9, "{mode}: {wider}");
        // Made again, for the next mode.
        train(noise(0..100), 0.3, "replace").await;
    }
    let narrower = train(noise(0..100), 0.2, "extend").await;
    assert_eq!(narrower["rows"], 20, "{narrower}");

    // One that has seen everything is judged on what comes new.
    train(noise(0..100), 0.0, "replace").await;
    let grown = train(noise(100..200), 0.5, "extend").await;
    let rows = grown["rows"].as_u64().unwrap();
    assert!((30..70).contains(&rows), "about half of a hundred: {grown}");
    assert!(right(&grown) < 0.9, "{grown}");
    train(noise(0..200), 0.0, "replace").await;
    let again = train(noise(0..200), 0.5, "extend").await;
    assert_eq!((&again["verdict"], &again["rows"]), (&json!("too_few_rows"), &json!(0)));
}

#[tokio::test]
async fn a_rejected_job_teaches_nothing() {
    let app = TestApp::start().await;
    app.trained(good(&["sentiment"])).await;
    let mut request = bad(&["sentiment"]);
    let extra = json!({"text": "one more", "labels": {"sentiment": "Positive"}});
    request["examples"].as_array_mut().unwrap().push(extra);
    assert_eq!(app.train(request).await["state"], "rejected");
    assert_eq!(app.get("/heads/sentiment").await.1["examples"], 96);
}

#[tokio::test]
async fn a_version_goes_live_within_the_margin_always_or_never_as_asked() {
    let app = TestApp::start().await;
    app.trained(good(&["sentiment"])).await;
    let job = app.trained(good(&["sentiment"])).await;
    assert_eq!(job["result"]["tasks"]["sentiment"]["verdict"], "not_worse", "{job}");
    assert_eq!(job["published"], json!({"sentiment": 2}));

    let never = app.trained(with(good(&["sentiment"]), "promote", "never")).await;
    assert_eq!(never["published"], json!({}));
    let result = &never["result"]["tasks"]["sentiment"];
    assert_eq!((&result["version"], &result["live"]), (&json!(3), &json!(false)));
    assert_eq!(versions(&app, "sentiment").await, (vec![3, 2, 1], Some(2)));

    let job = app.trained(with(bad(&["sentiment"]), "margin", 1.0)).await;
    assert_eq!(job["published"], json!({"sentiment": 4}));
    app.post("/heads/sentiment/rollback", json!({})).await;
    let job = app.trained(with(bad(&["sentiment"]), "promote", "always")).await;
    assert_eq!(job["result"]["tasks"]["sentiment"]["verdict"], "worse");
    assert_eq!(job["published"], json!({"sentiment": 5}));

    for margin in [-0.1, 1.1] {
        let refused = app.post("/train", with(good(&["topic"]), "margin", margin)).await;
        assert_problem(&refused, 422, "invalid_option", Some("margin"), &["0 to 1"]);
    }
    let refused = app.post("/train", with(good(&["topic"]), "promote", "perhaps")).await;
    assert_problem(&refused, 422, "invalid_request", Some("promote"), &["if_not_worse"]);
}

#[tokio::test]
async fn each_task_of_a_job_is_judged_by_itself() {
    let app = TestApp::start().await;
    app.trained(good(&["sentiment"])).await;
    let job = app.trained(bad(&["sentiment", "topic"])).await;
    assert_eq!(job["published"], json!({"topic": 1}));
    let tasks = &job["result"]["tasks"];
    assert_eq!(tasks["sentiment"]["verdict"], "worse");
    assert_eq!(tasks["topic"]["verdict"], "unopposed");
    assert_eq!(versions(&app, "sentiment").await, (vec![2, 1], Some(1)));
}

#[tokio::test]
async fn without_enough_held_out_rows_a_version_goes_live_and_the_record_says_so() {
    let app = TestApp::start().await;
    app.trained(good(&["sentiment"])).await;
    for (validation, rows) in [(0.1, 10), (0.0, 0)] {
        let job = app.trained(with(bad(&["sentiment"]), "validation", validation)).await;
        let result = &job["result"]["tasks"]["sentiment"];
        assert_eq!(result["verdict"], "too_few_rows");
        assert_eq!((&result["rows"], &result["live"]), (&json!(rows), &json!(true)), "{result}");
    }
}

#[tokio::test]
async fn versions_are_moved_by_hand_and_stay_where_they_were_put() {
    let app = TestApp::start().await;
    let mut answers = vec![Vec::new()];
    for seed in 1..=3 {
        app.trained(json!({"examples": seed_examples(), "solver": "adam", "epochs": 2,
            "mode": "replace", "seed": seed}))
            .await;
        answers.push(app.classify(json!({"inputs": TEXTS, "tasks": ["topic"]})).await);
    }
    let mut app = app;
    for (path, body, version) in [
        ("rollback", json!({}), 2),
        ("rollback", json!({}), 1),
        ("promote", json!({"version": 3}), 3),
        ("rollback", json!({}), 1),
        ("promote", json!({"version": 2}), 2),
        ("promote", json!({"version": 3}), 3),
        ("rollback", json!({"version": 1}), 1),
    ] {
        let (status, head) = app.post(&format!("/heads/topic/{path}"), body).await;
        assert_eq!((status, &head["version"]), (StatusCode::OK, &json!(version)), "{head}");
        let live = app.classify(json!({"inputs": TEXTS, "tasks": ["topic"]})).await;
        assert_eq!(live, answers[version], "{path}");
        assert_eq!(versions(&app, "topic").await.1, Some(version as i64));
        app = app.restart(|_| {}).await;
        let live = app.classify(json!({"inputs": TEXTS, "tasks": ["topic"]})).await;
        assert_eq!(live, answers[version], "{path}, after a restart");
    }
    assert_eq!(versions(&app, "sentiment").await.1, Some(3), "another task stays as it is");
    // Without a body at all.
    let request = app.request(Method::POST, "/heads/sentiment/rollback");
    assert_eq!(answer(request).await.1["version"], 2);
    // A fit that extends goes on from what is live.
    app.trained(json!({"examples": seed_examples(), "mode": "extend"})).await;
    assert_eq!(app.get("/heads/topic").await.1["versions"][0]["parent"], 1);
}

#[tokio::test]
async fn what_cannot_go_live_is_refused() {
    let app = TestApp::start().await;
    let refused = app.post("/heads/topic/rollback", json!({})).await;
    assert_problem(&refused, 409, "no_earlier_version", None, &["topic"]);
    app.trained(json!({"examples": seed_examples()})).await;
    let refused = app.post("/heads/topic/rollback", json!({})).await;
    assert_problem(&refused, 409, "no_earlier_version", None, &["topic"]);
    let refused = app.post("/heads/topic/rollback", json!({"version": 1})).await;
    assert_problem(&refused, 409, "never_live", None, &["1", "promote"]);
    for version in [0, 2, -1] {
        let refused = app.post("/heads/topic/promote", json!({"version": version})).await;
        assert_problem(&refused, 404, "unknown_version", None, &["topic"]);
    }
    let refused = app.post("/heads/topic/promote", json!({})).await;
    assert_problem(&refused, 422, "invalid_request", None, &["version"]);
    for path in ["promote", "rollback"] {
        let refused = app.post(&format!("/heads/nobody/{path}"), json!({"version": 1})).await;
        assert_problem(&refused, 404, "unknown_task", None, &["nobody"]);
    }
    // Versions of another encoder stay where they are.
    let (folder, ended) = app.stop().await;
    ended.unwrap();
    let app = TestApp::on(folder, fixture("onnx-token-states"), |_| {}).await;
    let refused = app.post("/heads/topic/promote", json!({"version": 1})).await;
    assert_problem(&refused, 409, "encoder_mismatch", None, &["version 1"]);
}

/// The bytes of a version's weights.
async fn export(app: &TestApp, query: &str) -> Vec<u8> {
    let response = app.request(Method::GET, &format!("/heads/sentiment/weights{query}"));
    let response = response.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/octet-stream");
    response.bytes().await.unwrap().to_vec()
}

async fn import(app: &TestApp, query: &str, file: Vec<u8>) -> (StatusCode, Value) {
    let path = format!("/heads/sentiment/weights{query}");
    answer(app.request(Method::PUT, &path).body(file)).await
}

#[tokio::test]
async fn weights_go_out_and_come_in_again_as_they_were() {
    let app = TestApp::start().await;
    app.trained(json!({"examples": seed_examples()})).await;
    let question = json!({"inputs": TEXTS, "tasks": ["sentiment"]});
    let before = app.classify(question.clone()).await;
    let file = export(&app, "").await;
    let request = app.request(Method::GET, "/heads/sentiment/weights?version=1");
    let disposition = request.send().await.unwrap().headers()["content-disposition"].clone();
    assert_eq!(disposition, "attachment; filename=\"sentiment-1.safetensors\"");
    let info = app.get("/info").await.1;
    let (_, header) = SafeTensors::read_metadata(&file).unwrap();
    let metadata = header.metadata().clone().unwrap();
    assert_eq!(metadata["labels"], "[\"Negative\",\"Positive\"]");
    assert_eq!((metadata["task"].as_str(), metadata["version"].as_str()), ("sentiment", "1"));
    assert_eq!(metadata["model"], "model");
    assert_eq!(json!(metadata["encoder"]), info["models"][0]["fingerprint"]);
    let tensors = SafeTensors::deserialize(&file).unwrap();
    assert_eq!(tensors.tensor("weight").unwrap().shape(), [2, 32]);
    assert_eq!(tensors.tensor("bias").unwrap().shape(), [2]);

    // Another head meanwhile, so that one sees the import.
    let other = json!({"examples": seed_examples(), "mode": "replace", "l2": 3.0});
    app.trained(other).await;
    let between = app.classify(question.clone()).await;
    let (status, version) = import(&app, "?promote=false", file.clone()).await;
    assert_eq!(status, StatusCode::CREATED, "{version}");
    assert_eq!((&version["version"], &version["live"]), (&json!(3), &json!(false)));
    assert_eq!(app.classify(question.clone()).await, between);
    let (status, version) = import(&app, "", file).await;
    assert_eq!((status, &version["version"]), (StatusCode::CREATED, &json!(4)));
    assert_eq!((&version["parent"], &version["job"]), (&json!(null), &json!(null)));
    assert_eq!((&version["made_by"], &version["live"]), (&json!("import"), &json!(true)));
    let app = app.restart(|_| {}).await;
    for (after, before) in app.classify(question).await.iter().zip(before) {
        assert_eq!(after["sentiment"]["scores"], before["sentiment"]["scores"]);
        assert_eq!(after["sentiment"]["version"], 4);
    }
    assert_eq!(versions(&app, "sentiment").await, (vec![4, 3, 2, 1], Some(4)));
    let made_by = app.get("/heads/sentiment").await.1["versions"][3]["made_by"].clone();
    assert_eq!(made_by, "training");
}

/// A file for the tiny model and two labels, with one value of the weights changed.
fn file(rows: usize, width: usize, value: f32, metadata: &[(&str, &str)]) -> Vec<u8> {
    let mut weight = vec![0.5_f32; rows * width];
    weight[3] = value;
    let bytes = |values: &[f32]| values.iter().flat_map(|it| it.to_le_bytes()).collect::<Vec<_>>();
    let (weight, bias) = (bytes(&weight), bytes(&vec![0.0; rows]));
    let tensors = [
        ("weight", TensorView::new(Dtype::F32, vec![rows, width], &weight).unwrap()),
        ("bias", TensorView::new(Dtype::F32, vec![rows], &bias).unwrap()),
    ];
    let metadata = metadata.iter().map(|&(key, value)| (key.to_owned(), value.to_owned()));
    serialize(tensors, Some(metadata.collect())).unwrap()
}

#[tokio::test]
async fn weights_that_do_not_fit_are_refused_with_the_reason() {
    let app = TestApp::start().await;
    let info = app.get("/info").await.1;
    let fingerprint = info["models"][0]["fingerprint"].as_str().unwrap().to_owned();
    let encoder = ("encoder", fingerprint.as_str());
    let turned = ("labels", "[\"Positive\", \"Negative\"]");
    let too_large = vec![0; 2 << 20];
    for (file, status, code, mention) in [
        (file(2, 32, 0.5, &[]), 422, "unknown_encoder", fingerprint.as_str()),
        (file(2, 32, 0.5, &[("encoder", "e")]), 409, "encoder_mismatch", "\"e\""),
        (file(2, 32, 0.5, &[encoder, turned]), 409, "labels_mismatch", "in this order"),
        (file(2, 32, f32::NAN, &[encoder]), 422, "invalid_weights", "NaN at position 3"),
        (file(2, 32, f32::INFINITY, &[encoder]), 422, "invalid_weights", "inf at position 3"),
        (file(2, 31, 0.5, &[encoder]), 422, "invalid_weights", "[2, 32]"),
        (file(3, 32, 0.5, &[encoder]), 422, "invalid_weights", "[2, 32]"),
        (b"weights".to_vec(), 400, "invalid_safetensors", "safetensors"),
        (Vec::new(), 400, "invalid_safetensors", "safetensors"),
        (too_large, 413, "body_too_large", "bytes"),
    ] {
        let refused = import(&app, "", file).await;
        let position = ["unknown_encoder", "encoder_mismatch"].contains(&code).then_some("encoder");
        assert_problem(&refused, status, code, position, &[mention]);
    }
    let fits = file(2, 32, 0.5, &[]);
    let refused = import(&app, "?encoder=e", fits.clone()).await;
    assert_problem(&refused, 409, "encoder_mismatch", Some("encoder"), &["\"e\""]);
    let json = app.request(Method::PUT, "/heads/sentiment/weights").json(&json!({}));
    assert_problem(&answer(json).await, 415, "unsupported_media_type", None, &["octet-stream"]);
    let nobody = app.request(Method::PUT, "/heads/nobody/weights").body(fits.clone());
    assert_problem(&answer(nobody).await, 404, "unknown_task", None, &["nobody"]);
    assert_eq!(versions(&app, "sentiment").await, (vec![], None), "nothing was made");
    let untrained = app.get("/heads/sentiment/weights").await;
    assert_problem(&untrained, 409, "head_untrained", None, &["sentiment"]);

    let (status, _) = import(&app, &format!("?encoder={fingerprint}"), fits).await;
    assert_eq!(status, StatusCode::CREATED);
    let unknown = app.get("/heads/sentiment/weights?version=2").await;
    assert_problem(&unknown, 404, "unknown_version", None, &["2"]);
}

#[tokio::test]
async fn a_head_that_was_imported_is_a_champion_like_any_other() {
    let app = TestApp::start().await;
    app.trained(good(&["sentiment"])).await;
    let file = export(&app, "").await;
    import(&app, "", file).await;
    let job = app.train(bad(&["sentiment"])).await;
    assert_eq!(job["state"], "rejected", "{job}");
    assert_eq!(job["result"]["tasks"]["sentiment"]["champion_version"], 2);
}

#[tokio::test]
async fn a_task_can_be_made_from_weights_alone() {
    let source = TestApp::start().await;
    source.trained(json!({"examples": seed_examples()})).await;
    let file = export(&source, "").await;
    let target = TestApp::on(tempdir().unwrap(), tiny(), |config| {
        config.tasks = [("sentiment".to_owned(), task(&["Negative", "Positive"]))].into();
    })
    .await;
    assert_eq!(import(&target, "", file).await.0, StatusCode::CREATED);
    let question = json!({"inputs": TEXTS, "tasks": ["sentiment"]});
    let (found, expected) = (target.classify(question.clone()).await, source.classify(question));
    for (found, expected) in found.iter().zip(expected.await) {
        assert_eq!(found["sentiment"]["scores"], expected["sentiment"]["scores"]);
    }
}
