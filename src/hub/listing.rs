//! What the hub says about a revision: its commit and its files.

use std::time::Duration;

use serde::Deserialize;
use ureq::RequestBuilder;
use ureq::typestate::WithoutBody;

use super::transfer::{refusal, unreachable};
use super::{Hub, HubError, PullRequest};

/// A repository at one commit.
#[derive(Debug, Deserialize)]
pub(super) struct Listing {
    /// 40 hexadecimal digits.
    #[serde(rename = "sha")]
    pub commit: String,
    #[serde(rename = "siblings")]
    pub files: Vec<RemoteFile>,
}

/// A file of a repository. Mirrors may leave out everything but the name.
#[derive(Debug, Deserialize)]
pub(super) struct RemoteFile {
    #[serde(rename = "rfilename")]
    pub name: String,
    /// In bytes.
    #[serde(default)]
    pub size: Option<u64>,
    /// Present for large files only.
    #[serde(default)]
    lfs: Option<Lfs>,
}

#[derive(Debug, Deserialize)]
struct Lfs {
    #[serde(default)]
    sha256: Option<String>,
}

impl RemoteFile {
    /// SHA-256 of the content, in hexadecimal.
    pub fn sha256(&self) -> Option<&str> {
        self.lfs.as_ref()?.sha256.as_deref()
    }

    #[cfg(test)]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), size: None, lfs: None }
    }
}

/// Asks for the listing, with sizes and checksums.
pub(super) fn fetch(
    hub: &Hub,
    request: &PullRequest,
    info: RequestBuilder<WithoutBody>,
) -> Result<Listing, HubError> {
    /// The listing of a repository with thousands of files has about 1 MB.
    const LIMIT: u64 = 16 << 20;
    let mut response = info
        .query("blobs", "true")
        .config()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)))
        .build()
        .call()
        .map_err(unreachable(&hub.endpoint))?;
    if let Some(refusal) = refusal(&response, hub, request, "its list of files") {
        return Err(refusal);
    }
    let not_a_hub = |reason: String| HubError::NotAHub { endpoint: hub.endpoint.clone(), reason };
    let body = response
        .body_mut()
        .with_config()
        .limit(LIMIT)
        .read_to_string()
        .map_err(|error| not_a_hub(format!("its list of files broke off: {error}")))?;
    let listing: Listing = serde_json::from_str(&body)
        .map_err(|error| not_a_hub(format!("its list of files is not readable: {error}")))?;
    // The commit becomes part of addresses and of a path in the cache.
    let is_commit = (7..=64).contains(&listing.commit.len())
        && listing.commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_commit {
        Ok(listing)
    } else {
        Err(not_a_hub(format!("{:?} is not a commit", listing.commit)))
    }
}
