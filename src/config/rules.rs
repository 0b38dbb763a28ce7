//! What no single value's type can say: ranges, names, files and references between keys.

pub mod auth;

use std::path::{Component, Path};
use std::time::Duration;

use crate::config::key::Key;
use crate::config::{Config, ModelConfig, TlsConfig};
use crate::heads::task::{MIN_LABELS, check_labels, check_name};
use crate::name;

/// More is a slip: each worker has a session of every model and a thread.
const MOST_WORKERS: usize = 256;

/// A shorter lease runs out while its holder waits for a busy database.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);

/// A broken rule.
pub struct Violation {
    pub key: Key,
    /// Further keys that the rule looks at. If any of them, or the key itself, could not be read,
    /// their values are not what the operator meant, and the violation means nothing.
    pub depends_on: Vec<Key>,
    /// What was found and what is allowed.
    pub message: String,
}

/// Every broken rule.
pub fn violations(config: &Config) -> Vec<Violation> {
    let mut violations = limits(config);
    violations.extend(origins(config));
    violations.extend(tls(&config.server.tls));
    violations.extend(durations(config));
    violations.extend(runtime(config));
    violations.extend(files(config));
    violations.extend(models(config));
    violations.extend(tasks(config));
    violations.extend(auth::keys(&config.auth.keys));
    violations
}

fn origins(config: &Config) -> Vec<Violation> {
    let wrong = config.server.cors_origins.iter().filter(|origin| !is_origin(origin));
    wrong
        .map(|origin| {
            let message = format!(
                "found {origin:?}, allowed: origins as browsers send them, such as \"https://example.org\" or \"http://localhost:3000\" without a slash at the end, or \"*\" for any"
            );
            Violation::at(Key::from(["server", "cors_origins"]), message)
        })
        .collect()
}

/// A certificate is of no use without its key.
fn tls(config: &TlsConfig) -> Option<Violation> {
    let (lacking, given) = match (&config.certificate, &config.key) {
        (None, Some(_)) => ("certificate", "key"),
        (Some(_), None) => ("key", "certificate"),
        (None, None) | (Some(_), Some(_)) => return None,
    };
    let message = format!("found none beside server.tls.{given}, allowed: both keys or neither");
    let key = Key::from(["server", "tls", lacking]);
    Some(Violation { key, depends_on: vec![Key::from(["server", "tls", given])], message })
}

/// A scheme, a host in lower case and perhaps a port (RFC 6454, section 6.2); or all origins.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_part =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:[]".contains(&byte);
    text == "*" || host.is_some_and(|host| !host.is_empty() && host.bytes().all(is_part))
}

fn durations(config: &Config) -> Vec<Violation> {
    [
        (Key::from(["server", "request_timeout"]), config.server.request_timeout, "30s"),
        (Key::from(["batching", "batch_time"]), config.batching.batch_time, "5ms"),
    ]
    .into_iter()
    .filter(|(_, duration, _)| duration.is_zero())
    .map(|(key, _, example)| {
        let message =
            format!("found no time at all, allowed: more than \"0s\", such as {example:?}");
        Violation::at(key, message)
    })
    .chain((config.training.lease < SHORTEST_LEASE).then(|| {
        let found = config.training.lease;
        let message = format!("found {found:?}, allowed: at least \"1s\", such as \"15s\"");
        Violation::at(Key::from(["training", "lease"]), message)
    }))
    .collect()
}

fn runtime(config: &Config) -> Option<Violation> {
    let workers = config.runtime.workers;
    (workers > MOST_WORKERS).then(|| {
        Violation::at(
            Key::from(["runtime", "workers"]),
            format!("found {workers}, allowed: 0 (one per core) to {MOST_WORKERS}"),
        )
    })
}

fn limits(config: &Config) -> Vec<Violation> {
    let mut violations = Vec::new();
    let (tokens, queue) = (config.limits.tokens_per_request, config.batching.queue_tokens);
    if tokens > queue {
        let message = format!(
            "found {tokens}, allowed: at most {queue}, which is batching.queue_tokens: a larger request could never be admitted"
        );
        violations.push(Violation {
            key: Key::from(["limits", "tokens_per_request"]),
            depends_on: vec![Key::from(["batching", "queue_tokens"])],
            message,
        });
    }
    let room = config.limits.body_bytes_in_flight;
    for (key, most) in [
        ("body_bytes", config.limits.body_bytes),
        ("train_body_bytes", config.limits.train_body_bytes),
    ] {
        if room < most {
            violations.push(Violation {
                key: Key::from(["limits", "body_bytes_in_flight"]),
                depends_on: vec![Key::from(["limits", key])],
                message: format!(
                    "found {room}, allowed: at least {most}, which is limits.{key}: a larger body could never be taken"
                ),
            });
        }
    }
    let labels = config.limits.labels_per_task.get();
    if labels < MIN_LABELS {
        violations.push(Violation::at(
            Key::from(["limits", "labels_per_task"]),
            format!("found {labels}, allowed: a whole number of at least {MIN_LABELS}, as a task has no fewer labels"),
        ));
    }
    violations
}

fn files(config: &Config) -> Vec<Violation> {
    let mut violations = Vec::new();
    if config.runtime.library.as_os_str().is_empty() {
        violations.push(Violation::at(
            Key::from(["runtime", "library"]),
            "found \"\", allowed: the path of ONNX Runtime's shared library".to_owned(),
        ));
    }
    if config.auth.file.as_ref().is_some_and(|file| file.as_os_str().is_empty()) {
        let message = "found \"\", allowed: the path of a file with keys".to_owned();
        violations.push(Violation::at(Key::from(["auth", "file"]), message));
    }
    // The URL itself is not shown: it may hold a password.
    let scheme = config.store.url.split_once(':').map(|(scheme, _)| scheme);
    if !matches!(scheme, Some("sqlite" | "postgres" | "postgresql")) {
        let found = scheme
            .map_or_else(|| "no scheme".to_owned(), |scheme| format!("the scheme {scheme:?}"));
        violations.push(Violation::at(
            Key::from(["store", "url"]),
            format!(
                "found {found}, allowed: a URL of SQLite, such as \"sqlite://data/polyhead.db\", or of PostgreSQL, such as \"postgres://USER:PASSWORD@HOST/DATABASE\""
            ),
        ));
    }
    violations
}

fn models(config: &Config) -> Vec<Violation> {
    let mut violations = Vec::new();
    if config.models.is_empty() {
        violations.push(Violation::at(
            Key::from(["models"]),
            "found none, allowed: at least one [models.NAME] with its path".to_owned(),
        ));
    } else if !config.models.contains_key(&config.default_model) {
        violations.push(dangling(Key::from(["default_model"]), &config.default_model, config));
    }
    for (name, model) in &config.models {
        let key = Key::from(["models", name]);
        if !name::is_valid(name) {
            violations.push(Violation::at(
                key.clone(),
                format!("found the name {name:?}, allowed: {}", name::ALLOWED),
            ));
        }
        violations.extend(model_files(&key, model));
    }
    violations
}

fn model_files(key: &Key, model: &ModelConfig) -> Vec<Violation> {
    let mut violations = Vec::new();
    if model.path.as_os_str().is_empty() {
        violations.push(Violation::at(
            key.child("path"),
            "found none, allowed: the path of a folder in the sentence-transformers layout"
                .to_owned(),
        ));
    }
    if let Some(file) = model.file.as_ref().filter(|file| !is_weights_file(file)) {
        violations.push(Violation::at(
            key.child("file"),
            format!("found {file:?}, allowed: the path of an .onnx or .safetensors file inside the model's folder"),
        ));
    }
    violations
}

fn is_weights_file(file: &Path) -> bool {
    file.components().all(|component| matches!(component, Component::Normal(_) | Component::CurDir))
        && file
            .extension()
            .is_some_and(|extension| extension == "onnx" || extension == "safetensors")
}

fn tasks(config: &Config) -> Vec<Violation> {
    let mut violations = Vec::new();
    let (count, allowed) = (config.tasks.len(), config.limits.tasks.get());
    if count > allowed {
        violations.push(Violation {
            key: Key::from(["tasks"]),
            depends_on: vec![Key::from(["limits", "tasks"])],
            message: format!("found {count}, allowed: at most {allowed}, which is limits.tasks"),
        });
    }
    let mut limits = config.limits.task_limits();
    if limits.labels < MIN_LABELS {
        // Reported by itself, not once more for every task.
        limits.labels = usize::MAX;
    }
    for (name, task) in &config.tasks {
        let key = Key::from(["tasks", name]);
        if let Err(error) = check_name(name) {
            violations.push(Violation::at(key.clone(), error.to_string()));
        }
        if let Some(model) = task.model.as_ref().filter(|model| !config.models.contains_key(*model))
        {
            violations.push(dangling(key.child("model"), model, config));
        }
        if let Some(threshold) = task.threshold.filter(|it| !(0.0..=1.0).contains(it)) {
            let message = format!("found {threshold}, allowed: 0 to 1");
            violations.push(Violation::at(key.child("threshold"), message));
        }
        if let Err(error) = check_labels(&task.labels, task.kind(), &limits) {
            violations.push(Violation {
                key: key.child("labels"),
                depends_on: vec![
                    key.child("multi_label"),
                    Key::from(["limits", "labels_per_task"]),
                    Key::from(["limits", "label_bytes"]),
                ],
                message: error.to_string(),
            });
        }
    }
    violations
}

/// A key that names a model that is not there.
fn dangling(key: Key, model: &str, config: &Config) -> Violation {
    let models =
        config.models.keys().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    Violation {
        key,
        depends_on: vec![Key::from(["models", model])],
        message: format!("found {model:?}, which is no model here, allowed: {models}"),
    }
}

impl Violation {
    fn at(key: Key, message: String) -> Self {
        Self { key, depends_on: Vec::new(), message }
    }
}
