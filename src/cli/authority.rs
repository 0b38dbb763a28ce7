//! Whom a client trusts to say who a server is.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

/// Certificates to trust in place of those that come with the program.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Authority {
    /// For https: a PEM file with the certificates to trust, in place of the web's authorities.
    #[arg(long, value_name = "FILE", env = "POLYHEAD_CA")]
    ca: Option<PathBuf>,
}

impl Authority {
    /// How to speak TLS with servers that it vouches for.
    ///
    /// # Errors
    /// The file cannot be read, or has no certificate.
    pub fn tls(&self) -> anyhow::Result<TlsConfig> {
        let builder = TlsConfig::builder();
        Ok(match &self.ca {
            Some(file) => builder.root_certs(certificates(file)?).build(),
            None => builder.build(),
        })
    }
}

fn certificates(file: &Path) -> anyhow::Result<RootCerts> {
    let name = file.display();
    let text = std::fs::read(file).with_context(|| format!("cannot read {name}"))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&text) {
        if let PemItem::Certificate(certificate) =
            item.with_context(|| format!("{name} is not valid PEM"))?
        {
            certificates.push(certificate);
        }
    }
    ensure!(!certificates.is_empty(), "there is no certificate in {name}");
    Ok(RootCerts::from(certificates))
}
