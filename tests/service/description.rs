//! The description says what the server does: every route, how each refuses, with this server's limits.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZeroUsize;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use polyhead::app::Listening;
use polyhead::config::Config;
use polyhead::http::description;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::tempdir;

use crate::app::{TestApp, config, in_repository, tiny};

/// Renews the committed description.
const RENEW: &str = "cargo run --locked -- openapi > docs/openapi.json";

/// An operation, such as `GET /heads/{task}`, and what is said of it.
struct Described {
    method: Method,
    path: String,
    /// Code to status.
    codes: BTreeMap<String, u64>,
    takes: Option<String>,
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
async fn the_page_of_the_description_needs_nothing_from_elsewhere() {
    let app = TestApp::start().await;
    let page = app.request(Method::GET, "/docs").send().await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    let policy: BTreeMap<&str, &str> =
        policy.split("; ").filter_map(|part| part.split_once(' ')).collect();
    assert_eq!((policy["default-src"], policy["connect-src"]), ("'none'", "'self'"));
    let page = page.text().await.unwrap();
    for (element, directive) in [("style", "style-src"), ("script", "script-src")] {
        let (_, inline) = page.split_once(&format!("<{element}>")).unwrap();
        let (inline, _) = inline.split_once(&format!("</{element}>")).unwrap();
        let hash = BASE64_STANDARD.encode(Sha256::digest(inline));
        assert_eq!(policy[directive], format!("'sha256-{hash}'"));
    }
    for elsewhere in ["http://", "https://", "//cdn", "@import"] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
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

        let no_time = request(&at).header("x-request-timeout-ms", "0");
        operation.assert_described("invalid_timeout", no_time).await;
        let not_text = path.replace("{task}", "%FF").replace("{id}", "%FF");
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
        let found = problem["code"].as_str().unwrap_or_default();
        if found == code {
            assert_eq!(
                self.codes.get(code),
                Some(&status),
                "{operation} answers {code}: {problem}"
            );
        } else {
            assert!(!self.codes.contains_key(code), "{operation} never answers {code}: {problem}");
        }
        if status >= 400 {
            assert_eq!(self.codes.get(found), Some(&status), "{operation} answers {problem}");
        }
    }
}

/// All operations of the description, those that change nothing first.
fn all_described() -> Vec<Described> {
    let document = description::of(&Config::default());
    let mut all: Vec<Described> = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let codes = operation["responses"].as_object().unwrap().iter().flat_map(codes);
            let content = operation["requestBody"]["content"].as_object();
            all.push(Described {
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                codes: codes.collect(),
                takes: content.map(|content| content.keys().next().unwrap().clone()),
            });
        }
    }
    all
}

/// The codes of an answer, each with the answer's status.
fn codes((status, answer): (&String, &Value)) -> Vec<(String, u64)> {
    let schema = &answer["content"]["application/problem+json"]["schema"];
    let codes = schema["allOf"][1]["properties"]["code"]["enum"].as_array();
    let pair = |code: &Value| (code.as_str().unwrap().to_owned(), status.parse().unwrap());
    codes.into_iter().flatten().map(pair).collect()
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
            found.insert(path.expect("a route's path is written out").0.to_owned());
        }
    }
    found
}

fn filled(path: &str) -> String {
    path.replace("{task}", "topic").replace("{id}", "none")
}

fn count(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}
