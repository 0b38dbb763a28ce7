//! A server as a test wants it, and the few calls that tests make.

use std::path::{Path, PathBuf};
use std::time::Duration;

use polyhead::app::{AppError, Listening};
use polyhead::config::{Config, ModelConfig, TaskConfig};
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
    config.store.url = format!("sqlite:{}", folder.join("polyhead.db").display());
    config.default_model = "model".to_owned();
    config.models = [("model".to_owned(), model)].into();
    for task in config.tasks.values_mut() {
        task.model = None;
    }
    config
}

/// A random BERT that loads in milliseconds: two layers, 32 wide, 24 tokens at most.
pub fn tiny() -> ModelConfig {
    ModelConfig::at(in_repository("tests/fixtures/tiny-bert/mean-normalized"))
}

/// The seed's encoder.
pub fn minilm() -> ModelConfig {
    ModelConfig::at(in_repository("models/all-MiniLM-L6-v2"))
}

/// Two more labels than a task may do with, for tests that make tasks.
pub fn task(labels: &[&str]) -> TaskConfig {
    TaskConfig { model: None, labels: labels.iter().map(|&label| label.to_owned()).collect() }
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
        let app = listening
            .load()
            .await
            .unwrap_or_else(|error| panic!("{error}; tests need what `make test` fetches first"));
        let url = format!("http://{}", app.address());
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

    /// Asks the server to end without waiting for it.
    pub fn ask_to_stop(&self) {
        self.shutdown.cancel();
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
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

/// The status and the JSON body of an answer; an empty body is `null`.
pub async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let body = response.bytes().await.unwrap();
    if body.is_empty() {
        return (status, Value::Null);
    }
    let json = serde_json::from_slice(&body);
    (status, json.unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&body))))
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
    for mention in mentions {
        assert!(detail.contains(mention), "{detail:?} does not mention {mention:?}");
    }
}
