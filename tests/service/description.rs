//! The description says what the server does: every route, how each refuses, with this server's limits.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZeroUsize;

use polyhead::app::Listening;
use polyhead::auth::Scope;
use polyhead::config::{AuthConfig, Config, KeyConfig, Open};
use polyhead::http::description;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use tempfile::tempdir;

use crate::app::{TestApp, answer, config, in_repository, tiny};
use crate::auth::{INFER, TRAIN, guarded, key};

/// Renews the committed description.
const RENEW: &str = "cargo run --locked -- openapi > docs/openapi.json";

/// An operation, such as `GET /heads/{task}`, and what is said of it.
struct Described {
    method: Method,
    path: String,
    /// Code to status.
    codes: BTreeMap<String, u64>,
    takes: Option<String>,
    /// What a key must be good for.
    scope: Option<String>,
}

#[test]
fn the_committed_description_is_that_of_the_defaults() {
    let committed = fs::read_to_string(in_repository("docs/openapi.json")).unwrap_or_default();
    let current = format!("{:#}\n", description::of(&Config::default()));
    assert!(committed == current, "docs/openapi.json is not current; renew it: {RENEW}");
}

#[tokio::test]
async fn a_server_describes_itself_with_its_own_limits() {
    let app = TestApp::with(|config| config.limits.inputs_per_request = count(7)).await;
    let (status, document) = app.get("/openapi.json").await;
    assert_eq!((status.as_u16(), document["openapi"].as_str()), (200, Some("3.1.0")));
    let inputs = &document["components"]["schemas"]["Inputs"]["oneOf"][1];
    assert_eq!(inputs["maxItems"], 7, "{inputs}");
}

#[tokio::test]
async fn the_page_of_the_description_needs_no_key_and_nothing_from_elsewhere() {
    let app = TestApp::with(|config| {
        config.auth = AuthConfig { open: [Open::Docs].into(), ..guarded() };
    })
    .await;
    let mut wanted = vec!["/docs".to_owned(), "/openapi.json".to_owned()];
    let mut fetched = BTreeSet::new();
    while let Some(path) = wanted.pop() {
        if !fetched.insert(path.clone()) {
            continue;
        }
        let file = app.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(file.status(), 200, "{path}");
        let headers = file.headers().clone();
        let text = file.text().await.unwrap();
        if path == "/openapi.json" {
            continue;
        }
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'self';") && !policy.contains("unsafe"),
            "{policy}"
        );
        for elsewhere in
            ["http://", "https://", "//cdn", "@import", "<style", " style=", "onclick="]
        {
            // What an image is written in has such a name.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains(elsewhere), "{path} has {elsewhere}");
        }
        for before in ["src=\"docs/", "href=\"docs/", "from './"] {
            let names =
                text.split(before).skip(1).filter_map(|rest| rest.split(['"', '\'']).next());
            wanted.extend(names.map(|name| format!("/docs/{name}")));
        }
    }
    assert!(
        fetched.contains("/docs/trial.js") && fetched.contains("/docs/style.css"),
        "{fetched:?}"
    );
}

#[tokio::test]
async fn every_route_is_described_and_every_described_route_exists() {
    let mut described: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for Described { method, path, .. } in all_described() {
        described.entry(path).or_default().insert(method.to_string());
    }
    assert_eq!(routes(), described.keys().cloned().collect());
    let app = TestApp::start().await;
    for (path, methods) in described {
        // Which methods a route takes is what it says to one that it does not.
        let refused = app.request(Method::PATCH, &filled(&path)).send().await.unwrap();
        assert_eq!(refused.status(), 405, "{path}");
        let allowed = refused.headers()["allow"].to_str().unwrap();
        // Whatever can be read has a head.
        let allowed = allowed.split(',').filter(|&method| method != "HEAD").map(str::to_owned);
        assert_eq!(allowed.collect::<BTreeSet<_>>(), methods, "{path}");
    }
}

#[tokio::test]
async fn what_is_refused_before_anything_is_loaded_is_described() {
    let folder = tempdir().unwrap();
    let listening = Listening::bind(config(folder.path(), tiny())).await.unwrap();
    let url = format!("http://{}", listening.address());
    let client = Client::builder().no_proxy().build().unwrap();
    for operation in all_described() {
        let path = filled(&operation.path);
        let request = client.request(operation.method.clone(), format!("{url}{path}"));
        operation.assert_described("starting", request).await;
    }
}

#[tokio::test]
async fn what_routes_refuse_alike_is_described_where_they_do() {
    let app = TestApp::with(|config| {
        config.limits.body_bytes = count(1000);
        config.limits.train_body_bytes = count(1000);
    })
    .await;
    for operation in all_described() {
        let Described { method, path, takes, .. } = &operation;
        let request = |path: &str| app.request(method.clone(), path);
        let at = filled(path);
        let with = |content_type: &str, body: Vec<u8>| {
            request(&at).header("content-type", content_type).body(body)
        };
        let json = |body: &str| with("application/json", body.as_bytes().to_vec());
        let own = takes.as_deref().unwrap_or("application/json");

        if takes.is_some() {
            let packed = with(own, vec![]).header("content-encoding", "br");
            operation.assert_described("unsupported_content_encoding", packed).await;
        }
        let no_time = request(&at).header("x-request-timeout-ms", "0");
        operation.assert_described("invalid_timeout", no_time).await;
        let not_text = path.replace('{', "%FF").replace('}', "");
        operation.assert_described("invalid_path", request(&not_text)).await;
        let unknown = request(&format!("{at}?no_such_parameter=1"));
        operation.assert_described("invalid_query", unknown).await;
        operation.assert_described("unsupported_media_type", with("text/plain", vec![])).await;
        operation.assert_described("empty_body", json("")).await;
        operation.assert_described("invalid_json", json("{")).await;
        operation.assert_described("invalid_utf8", with(own, b"{\"\xff".to_vec())).await;
        operation.assert_described("invalid_request", json("[]")).await;
        // More than a head's weights have, too.
        operation.assert_described("body_too_large", with(own, vec![b' '; 3 << 20])).await;
    }
}

#[tokio::test]
async fn which_keys_are_refused_is_described() {
    const SPENT: &str = "ph_that-may-ask-once";
    let one = Some(count(1));
    let app = TestApp::with(|config| {
        config.auth = guarded();
        let spent = KeyConfig { requests_per_minute: one, ..key(SPENT, &[Scope::Admin]) };
        config.auth.keys.insert("spent".to_owned(), spent);
    })
    .await;
    let of_this_server = app.request(Method::GET, "/openapi.json").bearer_auth(SPENT);
    let (status, document) = answer(of_this_server).await;
    assert_eq!(status, 200, "{document}");
    for operation in described(&document) {
        let Described { method, path, scope, .. } = &operation;
        let request = || app.request(method.clone(), &filled(path));
        let name = format!("{method} {path}");
        let is = |expected: &[&str]| scope.as_deref().is_some_and(|it| expected.contains(&it));
        for (refused, status, request) in [
            (scope.is_some(), 401, request()),
            (is(&["train", "admin"]), 403, request().bearer_auth(INFER)),
            (is(&["infer", "admin"]), 403, request().bearer_auth(TRAIN)),
            (scope.is_some(), 429, request().bearer_auth(SPENT)),
        ] {
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status() == status, refused, "{name}: {status}, {}", answer.status());
            assert_eq!(operation.codes.values().any(|&it| it == 401), scope.is_some(), "{name}");
            let challenged = answer.headers().contains_key("www-authenticate");
            assert_eq!(challenged, refused && status != 429, "{name}");
        }
    }
}

impl Described {
    /// Asserts that the answer has the code if and only if it is described, with its status and headers.
    async fn assert_described(&self, code: &str, request: RequestBuilder) {
        let operation = format!("{} {}", self.method, self.path);
        let answer = request.send().await.unwrap();
        let status = u64::from(answer.status().as_u16());
        assert!(answer.headers().contains_key("x-request-id"), "{operation}");
        let retry_after = answer.headers().contains_key("retry-after");
        assert_eq!(retry_after, status == 429 || status == 503, "{operation}: {status}");
        let problem = answer.json::<Value>().await.unwrap_or_default();
        let found = match (&problem["code"], &problem["error"]["code"]) {
            (Value::String(code), _) | (_, Value::String(code)) => code.as_str(),
            // Cohere's clients are told in words.
            _ if problem["message"].is_string() && self.codes.get(code) == Some(&status) => code,
            _ => "",
        };
        if found == code {
            assert_eq!(
                self.codes.get(code),
                Some(&status),
                "{operation} answers {code}: {problem}"
            );
        } else {
            assert!(!self.codes.contains_key(code), "{operation} never answers {code}: {problem}");
        }
        if status >= 400 && !problem["message"].is_string() {
            assert_eq!(self.codes.get(found), Some(&status), "{operation} answers {problem}");
        }
    }
}

/// All operations of the description of a server without keys.
fn all_described() -> Vec<Described> {
    described(&description::of(&Config::default()))
}

fn described(document: &Value) -> Vec<Described> {
    let mut all: Vec<Described> = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let codes = operation["responses"].as_object().unwrap().iter().flat_map(codes);
            let content = operation["requestBody"]["content"].as_object();
            let mut security = operation["security"].as_array().unwrap().iter();
            all.push(Described {
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                codes: codes.collect(),
                takes: content.map(|content| content.keys().next().unwrap().clone()),
                scope: security.find_map(|it| Some(it["key"][0].as_str()?.to_owned())),
            });
        }
    }
    all
}

/// The codes of an answer, each with the answer's status: all that its description names in code.
fn codes((status, answer): (&String, &Value)) -> Vec<(String, u64)> {
    let status = status.parse().unwrap();
    if status < 400 {
        return Vec::new();
    }
    let description = answer["description"].as_str().unwrap();
    let codes = description.split('`').skip(1).step_by(2);
    codes.map(|code| (code.to_owned(), status)).collect()
}

/// The paths that the source gives to routers.
fn routes() -> BTreeSet<String> {
    let folder = in_repository("src/http");
    let mut files = vec![in_repository("src/http.rs")];
    files.extend(fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    files.retain(|file| file.is_file());
    let mut found = BTreeSet::new();
    for file in files {
        let source = fs::read_to_string(file).unwrap();
        for piece in source.split(".route(").skip(1) {
            let path = piece.trim_start().strip_prefix('"').and_then(|it| it.split_once('"'));
            // OpenAPI has no word for a rest of the path.
            found.insert(path.expect("a route's path is written out").0.replace("{*", "{"));
        }
    }
    found
}

fn filled(path: &str) -> String {
    let parts =
        [("{task}", "topic"), ("{id}", "none"), ("{model}", "model"), ("{path}", "style.css")];
    parts.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value))
}

fn count(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}
