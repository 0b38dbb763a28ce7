//! Fetching a model from the Hugging Face Hub.
//!
//! ```text
//! Hub (endpoint, token, cache) ── listing ──► which files, which commit
//!                                              │ layout: what a model folder needs
//!                                              ▼
//!                       models/.NAME.partial ◄── transfer (resumes, verifies)
//!                                              │ one rename, when all is there
//!                                              ▼
//!                                        models/NAME
//! ```
//!
//! The `hf-hub` crate knows the hub's environment, cache, addresses and API. Its download is not
//! used, for what release 0.5.0 does there: it sends the token to the storage host that the hub
//! redirects to, it takes `ETag` and `x-repo-commit` as file names without looking at them, and
//! it appends to a partial file whatever the server answers. [`Hub::pull`] transfers with `ureq`,
//! straight into the folder where the model belongs.

mod error;
mod layout;
mod listing;
mod names;
mod progress;
mod staging;
mod transfer;

use std::path::PathBuf;

use hf_hub::api::sync::{Api, ApiBuilder};
use hf_hub::{Cache, Repo, RepoType};

pub use error::HubError;
pub use hf_hub::api::Progress;
pub use names::{Endpoint, RepoId, Revision, Token};
pub use progress::on_stderr;

use listing::Listing;
use staging::{Record, Staging};
use transfer::Transfer;

/// A hub: whom to ask, and as whom.
#[derive(Clone, Debug)]
pub struct Hub {
    /// The hub's address.
    pub endpoint: Endpoint,
    /// Sent to the endpoint, and to no other host.
    pub token: Option<Token>,
    /// The cache that the Hub's own libraries share. Files found here are copied instead of
    /// downloaded; nothing is ever written to it.
    pub cache: PathBuf,
}

/// What to fetch, and into which folder.
#[derive(Clone, Debug)]
pub struct PullRequest {
    /// The repository, such as `sentence-transformers/bert-base-nli-mean-tokens`.
    pub repo: RepoId,
    /// A branch, tag or commit.
    pub revision: Revision,
    /// The folder that will be the model; its parent holds the partial files meanwhile.
    pub folder: PathBuf,
}

/// A model that lies in its folder, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The model's folder: what the configuration names as the model's path.
    pub folder: PathBuf,
    /// The commit that the revision stood for: give it as the revision to pin the model.
    pub commit: String,
    /// The weights' file inside the folder: `model.safetensors` or an ONNX graph.
    pub weights: String,
    /// Whether the model was there already, so that nothing was fetched.
    pub already_there: bool,
}

impl PullRequest {
    /// A request for `main`, into `models/` and the last part of the repository's name.
    pub fn new(repo: RepoId) -> Self {
        let folder = PathBuf::from("models").join(repo.name());
        Self { repo, revision: Revision::default(), folder }
    }
}

impl Hub {
    /// The hub as the environment describes it: `HF_ENDPOINT`, `HF_TOKEN` and `HF_HOME`
    /// (`~/.cache/huggingface`), with the token file that `hf auth login` leaves there.
    ///
    /// # Errors
    /// [`HubError::InvalidEndpoint`], [`HubError::InvalidToken`], or [`HubError::NoHome`].
    pub fn from_env() -> Result<Self, HubError> {
        Self::from_vars(|name| std::env::var(name).ok())
    }

    /// As [`Hub::from_env`], from any source of variables. An empty value counts as none.
    ///
    /// # Errors
    /// As [`Hub::from_env`].
    pub fn from_vars(variable: impl Fn(&str) -> Option<String>) -> Result<Self, HubError> {
        let set = |name| variable(name).filter(|value| !value.trim().is_empty());
        let cache = match set("HF_HOME") {
            Some(home) => PathBuf::from(home),
            None => std::env::home_dir().ok_or(HubError::NoHome)?.join(".cache/huggingface"),
        }
        .join("hub");
        let token = set("HF_TOKEN").or_else(|| Cache::new(cache.clone()).token());
        Ok(Self {
            endpoint: match set("HF_ENDPOINT") {
                Some(endpoint) => endpoint.parse()?,
                None => Endpoint::default(),
            },
            token: token.map(|token| token.parse()).transpose()?,
            cache,
        })
    }

    /// Fetches a model in the sentence-transformers layout. Blocks.
    ///
    /// The folder appears whole or not at all. What was transferred before an interruption is
    /// kept beside it and continued by the next call. A model that is there already is left
    /// alone: with a branch or tag this costs one request, with a commit none.
    ///
    /// # Errors
    /// See [`HubError`]; its texts say what to do.
    pub fn pull(
        &self,
        request: &PullRequest,
        progress: &mut dyn Progress,
    ) -> Result<Pulled, HubError> {
        let installed = Record::of(request)?;
        if let Some(record) = &installed
            && record.is(&request.repo, request.revision.as_str())
            && record.is_whole_in(&request.folder)
        {
            return Ok(record.pulled(request, true));
        }

        let listing = self.list(request)?;
        let files = layout::choose(&request.repo, &listing.files)?;
        let record = Record::new(&request.repo, &listing.commit, &files);
        if let Some(installed) = installed {
            if installed != record {
                return Err(record.kept_out_of(request, &installed.to_string()));
            }
            if !record.is_whole_in(&request.folder) {
                return Err(record.kept_out_of(request, "a damaged copy"));
            }
            return Ok(record.pulled(request, true));
        }

        let staging = Staging::open(&request.folder, &record)?;
        let transfer = Transfer::new(self, request);
        let remote = self.api()?.repo(self.repo(request, &listing.commit));
        let snapshot = Cache::new(self.cache.clone())
            .repo(self.repo(request, &listing.commit))
            .pointer_path(&listing.commit);
        for file in files {
            let path = staging.place_for(&file.name)?;
            if !transfer::copy(&snapshot.join(&file.name), file, &path, progress)? {
                transfer.fetch(&remote.url(&file.name), file, &path, progress)?;
            }
        }
        staging.publish(&request.folder)?;
        Ok(record.pulled(request, false))
    }

    fn list(&self, request: &PullRequest) -> Result<Listing, HubError> {
        let repo = self.repo(request, request.revision.as_str());
        listing::fetch(self, request, self.api()?.repo(repo).info_request())
    }

    fn repo(&self, request: &PullRequest, revision: &str) -> Repo {
        Repo::with_revision(request.repo.to_string(), RepoType::Model, revision.to_owned())
    }

    fn api(&self) -> Result<Api, HubError> {
        ApiBuilder::from_cache(Cache::new(self.cache.clone()))
            .with_endpoint(self.endpoint.to_string())
            .with_token(self.token.as_ref().map(|token| token.secret().to_owned()))
            .with_user_agent("polyhead", env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(|error| HubError::NotAHub {
                endpoint: self.endpoint.clone(),
                reason: error.to_string(),
            })
    }
}
