//! What can go wrong between the hub and the folder.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::names::{Endpoint, RepoId, Revision};

/// Why a model could not be pulled. No variant leaves a half model behind.
#[derive(Debug, Error)]
pub enum HubError {
    /// Not a repository's name.
    #[error(
        "{0:?} is not a repository name: use owner/name or name, at most 96 letters, digits, \
         '-', '_' and '.', where no part begins or ends with '-' or '.' and neither repeats"
    )]
    InvalidRepo(String),
    /// Not a revision's name.
    #[error("{0:?} is not a revision: use a branch, a tag, a commit or refs/pr/N")]
    InvalidRevision(String),
    /// Not the address of a hub.
    #[error(
        "{0:?} is not a hub's address: use http:// or https://, a host and possibly a path, \
         such as https://huggingface.co"
    )]
    InvalidEndpoint(String),
    /// A token that no hub can have issued. The text does not repeat it.
    #[error("the token is empty or has characters that no token has (spaces, line breaks)")]
    InvalidToken,
    /// The user has no home directory.
    #[error("there is no home directory: set HF_HOME to a folder")]
    NoHome,
    /// The path cannot be a model's folder, such as `/` or `..`.
    #[error("{} cannot be a model's folder: name a folder that is to be made", .0.display())]
    InvalidFolder(PathBuf),
    /// Something else lies where the model should go; heads belong to an encoder, so it is not
    /// replaced.
    #[error(
        "{} holds {holds}, and is not replaced by {wanted}: remove it, or pull into another folder",
        .folder.display()
    )]
    Occupied {
        /// The folder that was asked for.
        folder: PathBuf,
        /// What it holds.
        holds: String,
        /// What was to go there.
        wanted: String,
    },
    /// Another process pulls into the same folder.
    #[error("another pull is writing to {}: wait until it is done", .0.display())]
    Busy(PathBuf),

    /// The endpoint, or the storage host that it redirects to, cannot be reached.
    #[error(
        "could not reach {endpoint} or the storage that it refers to: {source}. Without a network, \
         place the model's folder (sentence-transformers layout) by hand: any such folder works"
    )]
    Unreachable {
        /// The hub's address.
        endpoint: Endpoint,
        /// What the connection ran into.
        source: Box<ureq::Error>,
    },
    /// Something answers at the endpoint, but not as a hub does.
    #[error("{endpoint} does not answer as a hub does: {reason}")]
    NotAHub {
        /// The hub's address.
        endpoint: Endpoint,
        /// What was wrong with the answer.
        reason: String,
    },
    /// The hub does not know the repository, or does not show it to this user.
    #[error(
        "{endpoint} has no model {repo}, or it is private or gated and the hub does not show it: \
         check the name, and pass a token that may read it (--token, HF_TOKEN or `hf auth login`)"
    )]
    RepoNotFound {
        /// The hub's address.
        endpoint: Endpoint,
        /// The repository that was asked for.
        repo: RepoId,
    },
    /// The repository is there, the revision is not.
    #[error("{repo} has no revision {revision}: use a branch, a tag or a commit of it")]
    RevisionNotFound {
        /// The repository that was asked for.
        repo: RepoId,
        /// The revision that was asked for.
        revision: Revision,
    },
    /// 401 without a token. The hub answers this for repositories that do not exist, too.
    #[error(
        "{endpoint} wants a token for {repo} (401), as it does for private and gated models and \
         for names that it does not know: check the name, and pass a token with --token, HF_TOKEN \
         or `hf auth login`"
    )]
    TokenRequired {
        /// The hub's address.
        endpoint: Endpoint,
        /// The repository that was asked for.
        repo: RepoId,
    },
    /// 401 with a token, or 403.
    #[error(
        "{endpoint} refuses {repo} to this token ({status}{}): it may be expired or lack the \
         right to read, or the model is gated and its terms are to be accepted at \
         {endpoint}/{repo}; pass another token with --token, HF_TOKEN or `hf auth login`",
        in_words(.message)
    )]
    Refused {
        /// The hub's address.
        endpoint: Endpoint,
        /// The repository that was asked for.
        repo: RepoId,
        /// 401 or 403.
        status: u16,
        /// The hub's own words, if it gave any.
        message: Option<String>,
    },
    /// Any other status that is not success.
    #[error("{endpoint} answered {status}{} for {what}: try again later", in_words(.message))]
    Status {
        /// The hub's address.
        endpoint: Endpoint,
        /// The HTTP status.
        status: u16,
        /// The hub's own words, if it gave any.
        message: Option<String>,
        /// The repository or file that was asked for.
        what: String,
    },

    /// Files without which a model cannot be served.
    #[error(
        "{repo} has no {}: another revision may have it; or save the model with a current \
         sentence-transformers and place its folder by hand", .missing.join(" and no ")
    )]
    MissingFiles {
        /// The repository that was asked for.
        repo: RepoId,
        /// The files that are needed and not there.
        missing: Vec<&'static str>,
    },
    /// No weights in a format that is read here.
    #[error(
        "{repo} has no model.safetensors, onnx/model.onnx or model.onnx{}. Pickled weights \
         (pytorch_model.bin) can run code when they are read and are never fetched: another \
         revision may have safetensors (the hub's converter offers refs/pr/N); or save the model \
         with a current sentence-transformers and place its folder by hand", only(.found)
    )]
    NoWeights {
        /// The repository that was asked for.
        repo: RepoId,
        /// Weights in other formats.
        found: Vec<String>,
    },

    /// The connection broke while a file was on its way.
    #[error(
        "the transfer of {file} broke off after {received} bytes: {source}. What came is kept; \
         run the same command again to continue"
    )]
    Interrupted {
        /// The file that was on its way.
        file: String,
        /// Bytes of it that are kept.
        received: u64,
        /// What the connection ran into.
        source: io::Error,
    },
    /// A file is not as long as the hub said. The file is discarded.
    #[error("{file} has {found} bytes where the hub's listing says {expected}: run it again")]
    WrongLength {
        /// The file that was fetched.
        file: String,
        /// Bytes that the listing gives.
        expected: u64,
        /// Bytes that the server sends.
        found: u64,
    },
    /// A file is not what the hub said. The file is discarded.
    #[error(
        "{file} has SHA-256 {found} where the hub's listing says {expected}: it was discarded, \
         run it again"
    )]
    WrongChecksum {
        /// The file that was fetched.
        file: String,
        /// What the listing gives, in hexadecimal.
        expected: String,
        /// What the file has, in hexadecimal.
        found: String,
    },
    /// The disk refused.
    #[error("the file system refused {}: {source}", .path.display())]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl HubError {
    /// For `map_err` on what touches `path`.
    pub(super) fn disk(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Disk { path, source }
    }
}

fn in_words(message: &Option<String>) -> String {
    message.as_ref().map(|words| format!(": {words}")).unwrap_or_default()
}

fn only(found: &[String]) -> String {
    if found.is_empty() { String::new() } else { format!(", only {}", found.join(", ")) }
}
