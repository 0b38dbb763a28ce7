//! `polyhead pull`.

use std::path::PathBuf;

use crate::cli::output;
use crate::hub::{self, Endpoint, Hub, PullRequest, RepoId, Revision, Token};

/// Fetch a model from the Hugging Face Hub; an interrupted transfer resumes when run again.
///
/// HF_TOKEN, HF_ENDPOINT and HF_HOME are honoured.
#[derive(Debug, clap::Args)]
pub struct Pull {
    /// Such as sentence-transformers/bert-base-nli-mean-tokens.
    repo: RepoId,
    /// A branch, tag or commit.
    #[arg(long, default_value = "main")]
    revision: Revision,
    /// The model's folder; by default models/ and the last part of the repository's name.
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
    /// Overrides HF_TOKEN, which is the better place: arguments show in process lists.
    #[arg(long)]
    token: Option<Token>,
    /// Overrides HF_ENDPOINT.
    #[arg(long, value_name = "URL")]
    endpoint: Option<Endpoint>,
}

impl Pull {
    pub fn run(self) -> anyhow::Result<()> {
        let mut hub = Hub::from_env()?;
        hub.endpoint = self.endpoint.unwrap_or(hub.endpoint);
        hub.token = self.token.or(hub.token);
        let mut request = PullRequest::new(self.repo);
        request.revision = self.revision;
        request.folder = self.to.unwrap_or(request.folder);
        let pulled = hub.pull(&request, &mut *hub::on_stderr())?;
        let folder = pulled.folder.display();
        let done = if pulled.already_there { "is there already" } else { "is complete" };
        output::print(format_args!(
            "{folder} {done} (revision {}, {})\nto serve it, add to config.toml:\n\n[models.{}]\npath = {folder:?}\n",
            pulled.commit,
            pulled.weights,
            request.repo.name()
        ))
    }
}
