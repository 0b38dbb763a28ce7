//! A server as a test wants it, and the few calls that tests make.

use std::path::{Path, PathBuf};
use std::time::Duration;

use polyhead::app::{AppError, Listening};
use polyhead::config::{Config, ModelConfig, TaskConfig};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// No test waits longer than this for anything; a slow machine needs seconds, a hung server for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server that ends with the test.
pub struct TestApp {
    pub url: String,
    /// Holds the store, so that a server can be started anew on what another one left.
    folder: TempDir,
    client: reqwest::Client,
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), AppError>>,
}

/// The path of something in the repository.
pub fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The default configuration with paths that hold wherever tests run, a free port, and `model` as
/// the only model.
pub fn config(folder: &Path, model: ModelConfig) -> Config {
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".parse().unwrap();
    config.runtime.library = in_repository("lib/libonnxruntime.so");
    config.store.url = store_url(folder);
    // Tests that need a job which runs for as long as they like say so by its epochs.
    config.limits.epochs_per_job = std::num::NonZeroUsize::MAX;
    config.default_model = "model".to_owned();
    config.models = [("model".to_owned(), model)].into();
    for task in config.tasks.values_mut() {
        task.model = None;
    }
    config
}

/// A random BERT that loads in milliseconds: 32 wide, 20 tokens at most.
pub fn tiny() -> ModelConfig {
    fixture("mean-normalized")
}

/// The seed's encoder.
pub fn minilm() -> ModelConfig {
    ModelConfig::at(in_repository("models/all-MiniLM-L6-v2"))
}

/// One of the tiny random models that are kept with the numbers that PyTorch got from them.
pub fn fixture(name: &str) -> ModelConfig {
    ModelConfig::at(in_repository("tests/fixtures/tiny-bert").join(name))
}

/// A copy of a model that may be changed.
pub fn copy_of(model: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("1_Pooling")).unwrap();
    for file in [
        "config.json",
        "model.safetensors",
        "modules.json",
        "sentence_bert_config.json",
        "tokenizer.json",
        "1_Pooling/config.json",
    ] {
        std::fs::copy(model.join(file), copy.path().join(file)).unwrap();
    }
    copy
}

/// The tiny model with a tokenizer that the library has to run: it takes a thousand times as long
/// for a text of which next to nothing is left to encode.
pub fn slow_to_tokenize() -> TempDir {
    let folder = copy_of(&tiny().path);
    let file = folder.path().join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let pre_tokenizer = tokenizer["pre_tokenizer"].take();
    tokenizer["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [pre_tokenizer]});
    std::fs::write(file, tokenizer.to_string()).unwrap();
    folder
}

/// A task of the default model, as the configuration declares it.
pub fn task(labels: &[&str]) -> TaskConfig {
    let labels = labels.iter().map(|&label| label.to_owned()).collect();
    TaskConfig { model: None, labels, multi_label: None, threshold: None, new_labels: None }
}

/// The seed's five sentences with both labels.
pub fn seed_examples() -> Value {
    let rows = [
        ("The stock market crashed due to inflation.", "Finance", "Negative"),
        ("The film was a cinematic masterpiece.", "Entertainment", "Positive"),
        ("Tech companies are investing in AI.", "Technology", "Positive"),
        ("The weather ruined my mood today.", "Entertainment", "Negative"),
        ("Quantum computing is the next big thing.", "Technology", "Positive"),
    ];
    rows.iter()
        .map(|(text, topic, sentiment)| {
            json!({"text": text, "labels": {"topic": topic, "sentiment": sentiment}})
        })
        .collect()
}

impl TestApp {
    /// A server on the tiny model with the seed's two tasks.
    pub async fn start() -> TestApp {
        TestApp::with(|_| {}).await
    }

    /// As [`TestApp::start`], with the configuration changed.
    pub async fn with(change: impl FnOnce(&mut Config)) -> TestApp {
        TestApp::on(tempfile::tempdir().unwrap(), tiny(), change).await
    }

    /// A server on `model` whose store lies in `folder`.
    pub async fn on(
        folder: TempDir,
        model: ModelConfig,
        change: impl FnOnce(&mut Config),
    ) -> TestApp {
        let mut config = config(folder.path(), model);
        change(&mut config);
        let listening = Listening::bind(config).await.unwrap();
        let url = listening.url();
        let app = listening
            .load(&CancellationToken::new())
            .await
            .unwrap_or_else(|error| panic!("{error}; tests need what `make test` fetches first"));
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(app.run(shutdown.clone()));
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        TestApp { url, folder, client, shutdown, running }
    }

    /// Ends the server as SIGTERM does; gives what it left behind.
    pub async fn stop(self) -> (TempDir, Result<(), AppError>) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.running).await;
        (self.folder, ended.expect("the server ends").expect("the server does not panic"))
    }

    /// Ends the server and starts another one on what it left.
    pub async fn restart(self, change: impl FnOnce(&mut Config)) -> TestApp {
        let (folder, ended) = self.stop().await;
        ended.unwrap();
        TestApp::on(folder, tiny(), change).await
    }

    /// Where the server keeps its state.
    pub fn store_url(&self) -> String {
        store_url(self.folder.path())
    }

    /// Asks the server to end without waiting for it.
    pub fn ask_to_stop(&self) {
        self.shutdown.cancel();
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// Sends bytes as they are.
    pub async fn send(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> (StatusCode, Value) {
        let request = self.request(Method::POST, path).header("content-type", content_type);
        answer(request.body(body)).await
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        answer(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> (StatusCode, Value) {
        answer(self.request(Method::PUT, path).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::DELETE, path)).await
    }

    /// The embeddings that a request gets.
    pub async fn embed(&self, body: Value) -> Vec<Vec<f64>> {
        let (status, embeddings) = self.post("/embed", body).await;
        assert_eq!(status, StatusCode::OK, "{embeddings}");
        serde_json::from_value(embeddings).unwrap()
    }

    /// The embeddings that texts get from `/embed`, bit by bit.
    pub async fn bits(&self, texts: &[&str]) -> Vec<Vec<f32>> {
        let (status, embeddings) = self.post("/embed", json!({"inputs": texts})).await;
        assert_eq!(status, StatusCode::OK, "{embeddings}");
        serde_json::from_value(embeddings).unwrap()
    }

    /// The results that a request to `/classify` gets, one an input.
    pub async fn classify(&self, body: Value) -> Vec<Value> {
        let (status, answer) = self.post("/classify", body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["results"].as_array().unwrap().clone()
    }

    pub async fn metrics(&self) -> String {
        let response = self.request(Method::GET, "/metrics").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.text().await.unwrap()
    }

    /// Submits a job that must be accepted and gives its id.
    pub async fn submit(&self, body: Value) -> String {
        let (status, job) = self.post("/train", body).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{job}");
        job["id"].as_str().unwrap().to_owned()
    }

    /// Submits a job that must succeed and gives its record.
    pub async fn trained(&self, body: Value) -> Value {
        let job = self.train(body).await;
        assert_eq!(job["state"], "succeeded", "{job}");
        job
    }

    /// Submits a job that goes on until it is cancelled, waits until it runs and gives its id.
    pub async fn train_for_ever(&self) -> String {
        let job = self
            .submit(json!({
                "examples": seed_examples(), "solver": "adam", "learning_rate": 1e-9,
                "epochs": 4_000_000_000_u32,
            }))
            .await;
        let mut events = self.request(Method::GET, &format!("/train/{job}/events"));
        events = events.header("accept", "text/event-stream");
        let mut stream = events.send().await.unwrap();
        let mut told = String::new();
        while !told.contains("event: epoch\n") {
            told += std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap();
        }
        job
    }

    /// Submits a job, waits for its end and gives its record.
    pub async fn train(&self, body: Value) -> Value {
        let (status, job) = self.post("/train", body).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{job}");
        self.ended(job["id"].as_str().unwrap()).await
    }

    /// Waits for a job's end by its event stream and gives its record.
    pub async fn ended(&self, job: &str) -> Value {
        let events = self.request(Method::GET, &format!("/train/{job}/events"));
        // The stream ends when the job does.
        events.send().await.unwrap().text().await.unwrap();
        let (status, job) = self.get(&format!("/train/{job}")).await;
        assert_eq!(status, StatusCode::OK, "{job}");
        job
    }
}

fn store_url(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("polyhead.db").display())
}

/// Why a server does not start.
pub async fn refusal(
    folder: &Path,
    model: ModelConfig,
    change: impl FnOnce(&mut Config),
) -> String {
    let mut config = config(folder, model);
    change(&mut config);
    let listening = Listening::bind(config).await.unwrap();
    match listening.load(&CancellationToken::new()).await {
        Ok(_) => panic!("the server started"),
        Err(error) => error.to_string(),
    }
}

/// The status and the JSON body of an answer; an empty body is `null`.
pub async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let content_type = response.headers().get("content-type").cloned();
    let body = response.bytes().await.unwrap();
    if status.is_client_error() || status.is_server_error() {
        assert_eq!(content_type.unwrap(), "application/problem+json");
    }
    if body.is_empty() {
        return (status, Value::Null);
    }
    let json = serde_json::from_slice(&body);
    (status, json.unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&body))))
}

/// The status, the headers and the JSON body of an answer, whatever shape its errors have.
pub async fn whole_answer(request: RequestBuilder) -> (StatusCode, HeaderMap, Value) {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.bytes().await.unwrap();
    let json = serde_json::from_slice(&body);
    let json = json.unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&body)));
    (status, headers, json)
}

/// Asserts that an answer is a problem with this status, code and position, whose text says all of
/// `mentions`.
#[track_caller]
pub fn assert_problem(
    (status, problem): &(StatusCode, Value),
    expected: u16,
    code: &str,
    position: Option<&str>,
    mentions: &[&str],
) {
    assert_eq!(status.as_u16(), expected, "{problem}");
    assert_eq!(problem["status"], expected, "{problem}");
    assert_eq!(problem["code"], code, "{problem}");
    assert_eq!(problem["position"].as_str(), position, "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    // What clients of text-embeddings-inference read.
    assert_eq!(problem["error"], detail, "{problem}");
    assert!(problem["error_type"].is_string(), "{problem}");
    for mention in mentions {
        assert!(detail.contains(mention), "{detail:?} does not mention {mention:?}");
    }
}
