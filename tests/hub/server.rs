//! A small hub on two ports, with the file routes of the real one: the hub itself, and the
//! storage host that large files redirect to. It keeps a log of all requests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the hub holds and how it behaves.
#[derive(Clone, Default)]
pub struct Content {
    pub repo: &'static str,
    /// The repository's name before it was renamed.
    pub former: Option<&'static str>,
    /// What its branches stand for.
    pub commit: String,
    /// Revisions besides the commit itself.
    pub revisions: Vec<&'static str>,
    pub files: BTreeMap<&'static str, Vec<u8>>,
    /// Files that redirect to the storage host.
    pub large: Vec<&'static str>,
    /// The token without which nothing is shown.
    pub token: Option<&'static str>,
    /// Names that the listing adds.
    pub listed_only: Vec<&'static str>,
    /// What is answered in the listing's stead.
    pub listing: Option<&'static str>,
    /// A mirror that lists names and nothing more.
    pub bare_listing: bool,
    /// Answers ranges with the whole file.
    pub ignores_ranges: bool,
    /// What the listing gives as every large file's checksum.
    pub false_checksum: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub host: &'static str,
    pub target: String,
    pub range: Option<String>,
    pub token: Option<String>,
    pub agent: Option<String>,
}

pub struct Server {
    pub endpoint: String,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

struct Shared {
    content: Mutex<Content>,
    storage: String,
    seen: Mutex<Vec<Seen>>,
    /// The next large file breaks off after so many bytes.
    cut: Mutex<Option<usize>>,
}

impl Server {
    pub fn start(content: Content) -> Self {
        let runtime = Runtime::new().unwrap();
        let bind = || runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let (hub, storage) = (bind().unwrap(), bind().unwrap());
        let endpoint = format!("http://{}", hub.local_addr().unwrap());
        let port = storage.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            content: Mutex::new(content),
            // Another host name than the endpoint's, as it is for the real hub.
            storage: format!("http://localhost:{port}"),
            seen: Mutex::default(),
            cut: Mutex::default(),
        });
        let hub_routes = Router::new()
            .route("/api/models/{owner}/{name}/revision/{revision}", get(info))
            .route("/{owner}/{name}/resolve/{revision}/{*file}", get(resolve))
            .with_state(shared.clone());
        let storage_routes =
            Router::new().route("/blob/{*file}", get(blob)).with_state(shared.clone());
        runtime.spawn(async { axum::serve(hub, hub_routes).await });
        runtime.spawn(async { axum::serve(storage, storage_routes).await });
        Self { endpoint, shared, _runtime: runtime }
    }

    pub fn cut_next_large_file_after(&self, bytes: usize) {
        *self.shared.cut.lock().unwrap() = Some(bytes);
    }

    pub fn change(&self, change: impl FnOnce(&mut Content)) {
        change(&mut self.shared.content.lock().unwrap());
    }

    /// The requests since the last call.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.shared.seen.lock().unwrap())
    }
}

impl Shared {
    fn note(&self, host: &'static str, target: &str, headers: &HeaderMap) {
        let text = |name| headers.get(name).map(|v| v.to_str().unwrap().to_owned());
        self.seen.lock().unwrap().push(Seen {
            host,
            target: target.to_owned(),
            range: text(header::RANGE),
            token: text(header::AUTHORIZATION),
            agent: text(header::USER_AGENT),
        });
    }
}

/// What the hub answers before it looks at a file, if it is not well.
fn refusal(content: &Content, repo: &str, revision: &str, headers: &HeaderMap) -> Option<Response> {
    let sent = headers.get(header::AUTHORIZATION);
    if let Some(token) = content.token
        && sent.is_none_or(|sent| sent != &format!("Bearer {token}"))
    {
        let message = [("x-error-message", "Invalid credentials in Authorization header")];
        return Some((StatusCode::UNAUTHORIZED, message).into_response());
    }
    let not_found = |code| (StatusCode::NOT_FOUND, [("x-error-code", code)]).into_response();
    if repo != content.repo {
        return Some(not_found("RepoNotFound"));
    }
    if revision != content.commit && !content.revisions.contains(&revision) {
        return Some(not_found("RevisionNotFound"));
    }
    None
}

async fn info(
    State(shared): State<Arc<Shared>>,
    Path((owner, name, revision)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let repo = format!("{owner}/{name}");
    let query = query.unwrap_or_default();
    let target = format!("/api/models/{repo}/revision/{revision}?{query}");
    shared.note("hub", &target, &headers);
    let content = shared.content.lock().unwrap();
    if content.former == Some(&*repo) {
        return moved(&target.replace(&repo, content.repo));
    }
    if let Some(refusal) = refusal(&content, &repo, &revision, &headers) {
        return refusal;
    }
    if let Some(listing) = content.listing {
        return listing.into_response();
    }
    let mut siblings: Vec<Value> =
        content.listed_only.iter().map(|name| json!({"rfilename": name})).collect();
    for (name, bytes) in &content.files {
        let mut entry = json!({"rfilename": name});
        if !content.bare_listing {
            entry["size"] = bytes.len().into();
            entry["blobId"] = "b".repeat(40).into();
        }
        if content.large.contains(name) && !content.bare_listing {
            let sha256 = content.false_checksum.clone().unwrap_or(sha256(bytes));
            entry["lfs"] = json!({"sha256": sha256, "size": bytes.len(), "pointerSize": 134});
        }
        siblings.push(entry);
    }
    let body = json!({"id": repo, "sha": content.commit, "private": false, "siblings": siblings});
    axum::Json(body).into_response()
}

async fn resolve(
    State(shared): State<Arc<Shared>>,
    Path((owner, name, revision, file)): Path<(String, String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let repo = format!("{owner}/{name}");
    let target = format!("/{repo}/resolve/{revision}/{file}");
    shared.note("hub", &target, &headers);
    let content = shared.content.lock().unwrap().clone();
    if content.former == Some(&*repo) {
        return moved(&target.replace(&repo, content.repo));
    }
    if let Some(refusal) = refusal(&content, &repo, &revision, &headers) {
        return refusal;
    }
    let Some(bytes) = content.files.get(file.as_str()) else {
        return (StatusCode::NOT_FOUND, [("x-error-code", "EntryNotFound")]).into_response();
    };
    let etag = format!("\"{}\"", sha256(bytes));
    let mut response = if content.large.contains(&file.as_str()) {
        let location = format!("{}/blob/{file}", shared.storage);
        (StatusCode::FOUND, [("x-linked-etag", etag), ("location", location)]).into_response()
    } else {
        serve(bytes, &content, &headers, None)
    };
    response.headers_mut().insert("x-repo-commit", content.commit.parse().unwrap());
    response
}

async fn blob(
    State(shared): State<Arc<Shared>>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Response {
    shared.note("storage", &format!("/blob/{file}"), &headers);
    let content = shared.content.lock().unwrap().clone();
    let cut = shared.cut.lock().unwrap().take();
    serve(&content.files[file.as_str()], &content, &headers, cut)
}

/// To another address on the same host.
fn moved(target: &str) -> Response {
    let location = [(header::LOCATION, target.to_owned())];
    (StatusCode::TEMPORARY_REDIRECT, location).into_response()
}

/// The file or the range of it that is asked for, possibly cut off.
fn serve(bytes: &[u8], content: &Content, headers: &HeaderMap, cut: Option<usize>) -> Response {
    let length = bytes.len();
    let start = headers.get(header::RANGE).filter(|_| !content.ignores_ranges).map(|range| {
        let range = range.to_str().unwrap().strip_prefix("bytes=").unwrap();
        range.strip_suffix('-').unwrap().parse::<usize>().unwrap()
    });
    if start.is_some_and(|start| start >= length) {
        let range = [(header::CONTENT_RANGE, format!("bytes */{length}"))];
        return (StatusCode::RANGE_NOT_SATISFIABLE, range).into_response();
    }
    let sent = Bytes::copy_from_slice(&bytes[start.unwrap_or(0)..]);
    let declared = sent.len().to_string();
    let body = match cut {
        None => Body::from(sent),
        Some(cut) => Body::from_stream(futures::stream::iter([
            Ok(sent.slice(..cut)),
            Err(std::io::Error::other("the connection is cut here")),
        ])),
    };
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, declared.parse().unwrap());
    headers.insert(header::ETAG, format!("\"{}\"", sha256(bytes)).parse().unwrap());
    if let Some(start) = start {
        let range = format!("bytes {start}-{}/{length}", length - 1);
        headers.insert(header::CONTENT_RANGE, range.parse().unwrap());
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

pub fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
