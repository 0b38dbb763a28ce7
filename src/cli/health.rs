//! `polyhead health`: a container's health check without a shell or curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use ureq::tls::TlsConfig;

use crate::cli::authority::Authority;
use crate::config::{self, Config};

/// Ask a running server whether it is ready; status 0 if it is.
#[derive(Debug, clap::Args)]
pub struct Health {
    /// Without it, /readyz at the address of the configuration and the environment.
    #[arg(long)]
    url: Option<String>,
    /// The server's configuration, for its address.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    authority: Authority,
}

/// Shorter than any orchestrator's own limit, so that the answer is ours.
const TIMEOUT: Duration = Duration::from_secs(3);

impl Health {
    pub fn run(self) -> anyhow::Result<()> {
        let (url, tls) = match self.url {
            Some(url) => (url, self.authority.tls()?),
            None => (own_address(self.config.as_deref())?, unverified()),
        };
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            // The server is asked itself, never through what HTTP_PROXY names.
            .proxy(None)
            .build()
            .into();
        let answer = agent.get(&url).call().with_context(|| format!("{url} does not answer"))?;
        if !answer.status().is_success() {
            bail!("{url} answers {}", answer.status());
        }
        Ok(())
    }
}

/// Where a server with this configuration is asked from the same machine.
fn own_address(config: Option<&Path>) -> anyhow::Result<String> {
    let server = Config::load(config, config::variables())?.server;
    let scheme = if server.tls.certificate.is_some() { "https" } else { "http" };
    let mut address = server.listen;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    Ok(format!("{scheme}://{address}/readyz"))
}

/// The certificate is for the name by which clients know the server, not for the address by which the same
/// machine reaches it; Kubernetes' probes do not verify it either.
fn unverified() -> TlsConfig {
    TlsConfig::builder().disable_verification(true).build()
}
