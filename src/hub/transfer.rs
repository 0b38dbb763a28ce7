//! One file from the hub to the disk: continued where it stopped, and verified.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::config::RedirectAuthHeaders;
use ureq::http::{HeaderMap, Response, StatusCode, header};
use ureq::{Agent, Body};

use super::listing::RemoteFile;
use super::{Endpoint, Hub, HubError, Progress, PullRequest};
use crate::sha256::Sha256Sum;

/// Fetches the files of one pull.
pub(super) struct Transfer<'a> {
    hub: &'a Hub,
    request: &'a PullRequest,
    agent: Agent,
}

/// Where in the file the server's answer begins, and how long the file is if it said so.
struct Answer {
    start: u64,
    total: Option<u64>,
    body: Body,
}

impl<'a> Transfer<'a> {
    pub fn new(hub: &'a Hub, request: &'a PullRequest) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Large files redirect to a storage host, which is not to see the token.
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            // Byte ranges count the bytes as sent: compressed ones could not be continued.
            .accept_encoding("identity")
            .user_agent(concat!("polyhead/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(Duration::from_secs(60)))
            .build();
        Self { hub, request, agent: config.into() }
    }

    /// Brings `path` to the full content of `url`, fetching only what is not there yet.
    pub fn fetch(
        &self,
        url: &str,
        file: &RemoteFile,
        path: &Path,
        progress: &mut dyn Progress,
    ) -> Result<(), HubError> {
        let mut target = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(HubError::disk(path))?;
        let kept = target.metadata().map_err(HubError::disk(path))?.len();
        if kept > 0 && file.size == Some(kept) {
            verify(file, path)?;
            report(progress, file, kept);
            return Ok(());
        }
        let Answer { start, total, body } = self.ask(url, file, kept)?;
        let expected = file.size.or(total);
        if let (Some(expected), Some(found)) = (expected, total)
            && expected != found
        {
            drop(target);
            fs::remove_file(path).map_err(HubError::disk(path))?;
            return Err(HubError::WrongLength { file: file.name.clone(), expected, found });
        }

        progress.init(bar_length(expected), &file.name);
        progress.update(usize::try_from(start).unwrap_or(usize::MAX));
        target
            .set_len(start)
            .and_then(|()| target.seek(SeekFrom::Start(start)))
            .map_err(HubError::disk(path))?;
        // One byte more than expected shows that there is more; an endless body is not written.
        let rest = expected.map_or(u64::MAX, |expected| expected.saturating_sub(start) + 1);
        let mut body = body.into_reader().take(rest);
        let mut received = start;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let interrupted =
                |source| HubError::Interrupted { file: file.name.clone(), received, source };
            match body.read(&mut buffer) {
                Ok(0) if expected.is_some_and(|expected| received < expected) => {
                    return Err(interrupted(io::ErrorKind::UnexpectedEof.into()));
                }
                Ok(0) => break,
                Ok(n) => {
                    target.write_all(&buffer[..n]).map_err(HubError::disk(path))?;
                    received += n as u64;
                    progress.update(n);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(interrupted(error)),
            }
        }
        target.sync_all().map_err(HubError::disk(path))?;
        verify(file, path)?;
        progress.finish();
        Ok(())
    }

    /// Asks for the file from byte `from` on; a server that cannot continue starts over.
    fn ask(&self, url: &str, file: &RemoteFile, from: u64) -> Result<Answer, HubError> {
        let response = self.get(url, from)?;
        let response = match response.status() {
            StatusCode::RANGE_NOT_SATISFIABLE if from > 0 => self.get(url, 0)?,
            StatusCode::PARTIAL_CONTENT if !continues_at(from, response.headers()) => {
                self.get(url, 0)?
            }
            _ => response,
        };
        if let Some(refusal) = refusal(&response, self.hub, self.request, &file.name) {
            return Err(refusal);
        }
        let partial = response.status() == StatusCode::PARTIAL_CONTENT;
        let total = if partial {
            content_range(response.headers()).and_then(|(_, total)| total)
        } else {
            number(response.headers(), header::CONTENT_LENGTH)
        };
        Ok(Answer { start: if partial { from } else { 0 }, total, body: response.into_body() })
    }

    fn get(&self, url: &str, from: u64) -> Result<Response<Body>, HubError> {
        let mut request = self.agent.get(url);
        if let Some(token) = &self.hub.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.secret()));
        }
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        request.call().map_err(unreachable(&self.hub.endpoint))
    }
}

/// Copies a file that the cache already has; `false` if it has none, or a wrong one.
pub(super) fn copy(
    cached: &Path,
    file: &RemoteFile,
    path: &Path,
    progress: &mut dyn Progress,
) -> Result<bool, HubError> {
    if !cached.is_file() || fs::copy(cached, path).is_err() || verify(file, path).is_err() {
        return Ok(false);
    }
    let copied = File::open(path).map_err(HubError::disk(path))?;
    copied.sync_all().map_err(HubError::disk(path))?;
    let size = copied.metadata().map_err(HubError::disk(path))?.len();
    report(progress, file, size);
    Ok(true)
}

/// For `map_err` on requests.
pub(super) fn unreachable(endpoint: &Endpoint) -> impl FnOnce(ureq::Error) -> HubError {
    let endpoint = endpoint.clone();
    move |source| HubError::Unreachable { endpoint, source: Box::new(source) }
}

/// What the hub's status and its `X-Error-Code` mean; `None` for success.
pub(super) fn refusal(
    response: &Response<Body>,
    hub: &Hub,
    request: &PullRequest,
    what: &str,
) -> Option<HubError> {
    let status = response.status();
    if status.is_success() {
        return None;
    }
    let text = |name: &str| {
        let value = response.headers().get(name)?.to_str().ok()?;
        Some(value.chars().take(200).collect::<String>())
    };
    let (endpoint, repo) = (hub.endpoint.clone(), request.repo.clone());
    let code = text("x-error-code");
    let message = text("x-error-message");
    Some(match (status.as_u16(), code.as_deref()) {
        (401, _) if hub.token.is_none() => HubError::TokenRequired { endpoint, repo },
        (404, Some("RevisionNotFound")) => {
            HubError::RevisionNotFound { repo, revision: request.revision.clone() }
        }
        (401 | 404, Some("RepoNotFound")) | (404, None) => {
            HubError::RepoNotFound { endpoint, repo }
        }
        (status @ (401 | 403), _) => HubError::Refused { endpoint, repo, status, message },
        (status, _) => {
            HubError::Status { endpoint, status, message, what: format!("{what} of {repo}") }
        }
    })
}

/// Checks a file against the listing and removes it if it is another one.
fn verify(file: &RemoteFile, path: &Path) -> Result<(), HubError> {
    let found = fs::metadata(path).map_err(HubError::disk(path))?.len();
    if let Some(expected) = file.size
        && expected != found
    {
        fs::remove_file(path).map_err(HubError::disk(path))?;
        return Err(HubError::WrongLength { file: file.name.clone(), expected, found });
    }
    let Some(expected) = file.sha256() else {
        return Ok(());
    };
    let found = sha256(path).map_err(HubError::disk(path))?;
    if found.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    fs::remove_file(path).map_err(HubError::disk(path))?;
    Err(HubError::WrongChecksum { file: file.name.clone(), expected: expected.to_owned(), found })
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    Ok(Sha256Sum::from(hasher).to_string())
}

/// Reports a file that needed no transfer.
fn report(progress: &mut dyn Progress, file: &RemoteFile, size: u64) {
    progress.init(bar_length(Some(size)), &file.name);
    progress.update(bar_length(Some(size)));
    progress.finish();
}

fn bar_length(size: Option<u64>) -> usize {
    size.map_or(0, |size| usize::try_from(size).unwrap_or(usize::MAX))
}

fn continues_at(from: u64, headers: &HeaderMap) -> bool {
    content_range(headers).is_some_and(|(start, _)| start == from)
}

/// First byte and total length of `Content-Range: bytes 5-9/10` (RFC 9110, section 14.4).
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let value = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()))
}

fn number(headers: &HeaderMap, name: header::HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}
