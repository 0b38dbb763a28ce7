//! `polyhead health`: a container's health check without a shell or curl.

use std::time::Duration;

use anyhow::{Context, bail};

/// Ask a running server whether it is ready; status 0 if it is.
#[derive(Debug, clap::Args)]
pub struct Health {
    #[arg(long, default_value = "http://127.0.0.1:8080/readyz")]
    url: String,
}

/// Shorter than any orchestrator's own limit, so that the answer is ours.
const TIMEOUT: Duration = Duration::from_secs(3);

impl Health {
    pub fn run(self) -> anyhow::Result<()> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            // The server is asked itself, never through what HTTP_PROXY names.
            .proxy(None)
            .build()
            .into();
        let url = &self.url;
        let answer = agent.get(url).call().with_context(|| format!("{url} does not answer"))?;
        if !answer.status().is_success() {
            bail!("{url} answers {}", answer.status());
        }
        Ok(())
    }
}
