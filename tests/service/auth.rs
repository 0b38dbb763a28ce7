//! API keys and their scopes: who gets in, what others are told, and that keys are never shown.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use polyhead::auth::{KeyHash, Scope};
use polyhead::config::{AuthConfig, KeyConfig, Open};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::app::{TestApp, answer, assert_problem, refusal, tiny};

pub const INFER: &str = "ph_that-may-infer";
pub const TRAIN: &str = "ph_that-may-train";
const ADMIN: &str = "ph_that-may-do-all";

pub fn key(plain: &str, scopes: &[Scope]) -> KeyConfig {
    KeyConfig {
        scopes: scopes.iter().copied().collect(),
        sha256: Some(KeyHash::of(plain)),
        requests_per_minute: None,
        tokens_per_minute: None,
    }
}

/// A key for each scope, and nothing that is open to everybody.
pub fn guarded() -> AuthConfig {
    AuthConfig {
        open: BTreeSet::new(),
        keys: [
            ("reader".to_owned(), key(INFER, &[Scope::Infer])),
            ("trainer".to_owned(), key(TRAIN, &[Scope::Train])),
            ("operator".to_owned(), key(ADMIN, &[Scope::Admin])),
        ]
        .into(),
        ..AuthConfig::default()
    }
}

async fn start() -> TestApp {
    TestApp::with(|config| config.auth = guarded()).await
}

/// The status and the headers that a request without a body gets.
async fn ask(
    app: &TestApp,
    method: &Method,
    path: &str,
    key: Option<&str>,
) -> (StatusCode, HeaderMap) {
    let mut request = app.request(method.clone(), path);
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let answer = request.send().await.unwrap();
    (answer.status(), answer.headers().clone())
}

/// Every method and path that the source makes a route of, health checks left out.
fn routes() -> Vec<(Method, String)> {
    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => sources(&path, found),
                false => found.push(path),
            }
        }
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![source.join("http.rs")];
    sources(&source.join("http"), &mut files);
    files.retain(|file| !file.ends_with("gate.rs"));
    let mut routes = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        for route in text.split(".route(").skip(1) {
            let Some((path, rest)) =
                route.trim_start().strip_prefix('"').and_then(|it| it.split_once('"'))
            else {
                continue;
            };
            let handlers = rest.split(".route").next().unwrap().split(".layer(").next().unwrap();
            for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
                if handlers.contains(&format!("{}(", method.as_str().to_lowercase())) {
                    routes.push((method, path.replace(['{', '}', '*'], "")));
                }
            }
        }
    }
    routes
}

#[tokio::test]
async fn no_route_is_left_unguarded_or_forgotten() {
    let app = start().await;
    let routes = routes();
    assert!(routes.len() >= 20 && routes.contains(&(Method::PUT, "/heads/task".to_owned())));
    for (method, path) in &routes {
        let is_health_check =
            path.starts_with("/v2/") && path.ends_with("ready") || path.starts_with("/v2/health/");
        if is_health_check {
            continue;
        }
        let (status, headers) = ask(&app, method, path, None).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path}");
        assert_eq!(headers["www-authenticate"], "Bearer realm=\"polyhead\"", "{method} {path}");
        // One that `access` does not list is for the admin alone.
        let opened = [INFER, TRAIN].map(|key| ask(&app, method, path, Some(key)));
        let mut refused = 0;
        for status in opened {
            refused += usize::from(status.await.0 == StatusCode::FORBIDDEN);
        }
        let expected = if path == "/metrics" { 2 } else { 1 };
        assert_eq!(refused, expected, "{method} {path}: which scope does it need?");
    }
}

#[tokio::test]
async fn a_scope_opens_its_routes_and_admin_opens_all() {
    let app = start().await;
    for (method, path, key) in [
        (Method::POST, "/embed", INFER),
        (Method::POST, "/", INFER),
        (Method::POST, "/classify", INFER),
        (Method::GET, "/info", INFER),
        (Method::HEAD, "/info", INFER),
        (Method::GET, "/heads", INFER),
        (Method::GET, "/heads/topic", INFER),
        (Method::GET, "/heads/topic/weights", INFER),
        (Method::PUT, "/heads/topic", TRAIN),
        (Method::DELETE, "/heads/nothing", TRAIN),
        (Method::POST, "/heads/topic/promote", TRAIN),
        (Method::POST, "/heads/topic/rollback", TRAIN),
        (Method::PUT, "/heads/topic/weights", TRAIN),
        (Method::GET, "/train", TRAIN),
        (Method::POST, "/train", TRAIN),
        (Method::GET, "/train/nothing", TRAIN),
        (Method::DELETE, "/train/nothing", TRAIN),
        (Method::GET, "/train/nothing/events", TRAIN),
        (Method::GET, "/examples", TRAIN),
        (Method::DELETE, "/examples", TRAIN),
        (Method::GET, "/metrics", ADMIN),
    ] {
        for tried in [INFER, TRAIN, ADMIN] {
            let (status, _) = ask(&app, &method, path, Some(tried)).await;
            assert_ne!(status, StatusCode::UNAUTHORIZED, "{method} {path}");
            let is_refused = status == StatusCode::FORBIDDEN;
            assert_eq!(is_refused, tried != key && tried != ADMIN, "{method} {path} with {tried}");
        }
    }
}

#[tokio::test]
async fn a_key_gets_the_answer_that_an_open_server_gives() {
    let (open, guarded) = (TestApp::start().await, start().await);
    let body = json!({"inputs": ["a good film", "stocks fell"]});
    let request = guarded.request(Method::POST, "/embed").bearer_auth(INFER).json(&body);
    assert_eq!(answer(request).await, open.post("/embed", body).await);
}

#[tokio::test]
async fn who_brings_no_key_or_a_wrong_one_is_told_what_to_bring() {
    let app = start().await;
    let challenge = "Bearer realm=\"polyhead\"";
    let invalid = "Bearer realm=\"polyhead\", error=\"invalid_token\"";
    for (header, position, mention, expected) in [
        (None, None, "authorization: Bearer KEY", challenge),
        (Some("Basic dXNlcjpwYXNz"), Some("authorization"), "`Bearer KEY`", challenge),
        (Some(INFER), Some("authorization"), "`Bearer KEY`", challenge),
        (Some("Bearer "), Some("authorization"), "`Bearer KEY`", challenge),
        (Some("Bearer ph_that-nobody-has"), Some("authorization"), "not known", invalid),
    ] {
        let mut request = app.request(Method::POST, "/embed").json(&json!({"inputs": "a"}));
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["www-authenticate"], expected, "{header:?}");
        assert!(!response.headers().contains_key("retry-after"));
        let status = response.status();
        let problem: Value = response.json().await.unwrap();
        assert_problem(&(status, problem.clone()), 401, "unauthorized", position, &[mention]);
        let told = problem.to_string();
        assert!(!told.contains("nobody-has") && !told.contains("dXNlcjpwYXNz"), "{told}");
    }
    // The scheme's name has no case (RFC 9110, section 11.1), but two keys are one too many.
    let request =
        app.request(Method::GET, "/info").header("authorization", format!("bearer {INFER}"));
    assert_eq!(answer(request).await.0, StatusCode::OK);
    let request = app.request(Method::GET, "/info").bearer_auth(INFER).bearer_auth(ADMIN);
    assert_eq!(answer(request).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_key_without_the_scope_is_told_which_one_is_missing() {
    let app = start().await;
    let request = app.request(Method::POST, "/train").bearer_auth(INFER).json(&json!({}));
    let response = request.send().await.unwrap();
    let challenge = response.headers()["www-authenticate"].to_str().unwrap().to_owned();
    assert_eq!(
        challenge,
        "Bearer realm=\"polyhead\", error=\"insufficient_scope\", scope=\"train\""
    );
    let problem = (response.status(), response.json().await.unwrap());
    let mentions = ["the scope train", "\"reader\"", "its scopes: infer"];
    assert_problem(&problem, 403, "insufficient_scope", None, &mentions);
}

#[tokio::test]
async fn health_checks_and_what_is_left_open_need_no_key() {
    let app = TestApp::with(|config| {
        config.auth = AuthConfig { open: [Open::Metrics].into(), ..guarded() };
    })
    .await;
    for path in ["/livez", "/readyz", "/startupz", "/health", "/metrics"] {
        assert_eq!(ask(&app, &Method::GET, path, None).await.0, StatusCode::OK, "{path}");
    }
    assert_eq!(ask(&app, &Method::GET, "/info", None).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(&app, &Method::GET, "/nothing", None).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn requests_are_counted_by_the_names_of_keys_and_refusals_by_reason() {
    let app = start().await;
    for key in [Some(INFER), Some(INFER), Some(TRAIN), Some("ph_made-up-by-a-client"), None] {
        ask(&app, &Method::GET, "/info", key).await;
    }
    let metrics = app.request(Method::GET, "/metrics").bearer_auth(ADMIN).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    for sample in [
        "polyhead_key_requests_total{key=\"reader\"} 2",
        "polyhead_key_requests_total{key=\"trainer\"} 1",
        "polyhead_key_requests_total{key=\"operator\"} 1",
        "polyhead_requests_rejected_total{reason=\"unauthorized\"} 2",
        "polyhead_requests_rejected_total{reason=\"insufficient_scope\"} 1",
    ] {
        assert!(metrics.lines().any(|line| line == sample), "{sample}: {metrics}");
    }
    assert!(!metrics.contains("ph_"), "{metrics}");
}

#[tokio::test]
async fn a_file_of_keys_is_followed_and_a_broken_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let table = |name: &str, key: &str| {
        format!("[auth.keys.{name}]\nscopes = [\"infer\"]\nsha256 = \"{}\"\n", KeyHash::of(key))
    };
    let (first, second) = ("ph_the-first-of-keys", "ph_the-second-of-keys");
    fs::write(&file, table("first", first)).unwrap();
    let app = TestApp::with(|config| {
        config.auth = AuthConfig { file: Some(file.clone()), ..guarded() };
    })
    .await;
    let status = async |key: &str| ask(&app, &Method::GET, "/info", Some(key)).await.0;
    assert_eq!(status(first).await, StatusCode::OK);
    assert_eq!(status(INFER).await, StatusCode::OK);
    assert_eq!(status(second).await, StatusCode::UNAUTHORIZED);

    fs::write(&file, table("second", second)).unwrap();
    while status(second).await != StatusCode::OK {
        tokio::task::yield_now().await;
    }
    assert_eq!(status(first).await, StatusCode::UNAUTHORIZED);
    let metrics = async || {
        let request = app.request(Method::GET, "/metrics").bearer_auth(ADMIN);
        request.send().await.unwrap().text().await.unwrap()
    };
    assert!(!metrics().await.contains("key=\"first\""));

    fs::write(&file, "[auth.keys.second]\nscopes = [\"everything\"]\n").unwrap();
    while !metrics().await.contains("polyhead_unused_files{file=\"keys\"} 1") {
        tokio::task::yield_now().await;
    }
    assert_eq!(status(second).await, StatusCode::OK);

    // A file without keys lets nobody in but those that the configuration knows.
    fs::write(&file, "").unwrap();
    while status(second).await == StatusCode::OK {
        tokio::task::yield_now().await;
    }
    assert!(metrics().await.contains("polyhead_unused_files{file=\"keys\"} 0"));
    assert_eq!(status(INFER).await, StatusCode::OK);
}

#[tokio::test]
async fn a_file_of_keys_that_cannot_be_used_is_a_start_up_error_that_shows_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let start = async |text: Option<&str>| {
        if let Some(text) = text {
            fs::write(&file, text).unwrap();
        }
        let auth = AuthConfig { file: Some(file.clone()), ..guarded() };
        let refusal = refusal(folder.path(), tiny(), |config| config.auth = auth).await;
        assert!(refusal.starts_with("auth.file: ") && !refusal.contains("ph_"), "{refusal}");
        refusal
    };
    let missing = start(None).await;
    assert!(missing.contains("keys.toml") && missing.contains("No such file"), "{missing}");
    for (text, mentions) in [
        ("[auth.keys.a]\nkey = \"ph_unfinished", "line 2, column "),
        ("[server]\nlisten = \"[::]:80\"", "server: unknown key \"server\", allowed: auth"),
        (
            "[auth.keys]\na = \"ph_in-the-wrong-place\"",
            "auth.keys.a: found a value that is not shown here, allowed: a section",
        ),
        (
            "[auth.keys.reader]\nscopes = [\"infer\"]\nkey = \"ph_yet-another-key\"",
            "auth.keys.reader: found the name \"reader\", which the configuration has as well",
        ),
        (
            "[auth.keys.a]\nscopes = [\"infer\"]\nkey = \"ph_that-may-infer\"",
            "auth.keys.a: found the same key as that of \"reader\"",
        ),
    ] {
        let refusal = start(Some(text)).await;
        assert!(refusal.contains(mentions), "{refusal}");
    }
}

#[tokio::test]
async fn neither_keys_nor_hashes_are_shown() {
    let auth = guarded();
    let hash = KeyHash::of(INFER).to_string();
    let debug = format!("{auth:?}");
    assert!(
        debug.contains("reader") && !debug.contains(INFER) && !debug.contains(&hash),
        "{debug}"
    );
    let app = start().await;
    let info = app.request(Method::GET, "/info").bearer_auth(INFER).send().await.unwrap();
    let info = info.text().await.unwrap();
    assert!(!info.contains("ph_") && !info.contains(&hash) && !info.contains("reader"), "{info}");
}
