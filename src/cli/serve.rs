//! `polyhead serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;

use crate::app::{AppError, Listening};
use crate::cli::{environment, output};
use crate::config::{self, Config};
use crate::{shutdown, telemetry};

/// Serve embeddings and classifications, and train heads meanwhile.
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// The configuration; without it, the defaults.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Overrides `server.listen`; port 0 takes any that is free.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
}

impl Serve {
    pub fn run(self) -> anyhow::Result<()> {
        environment::for_native_code()?;
        let mut config = Config::load(self.config.as_deref(), config::variables())?;
        config.server.listen = self.listen.unwrap_or(config.server.listen);
        telemetry::init(&config.log)?;
        let runtime = tokio::runtime::Runtime::new().context("cannot start the async runtime")?;
        let outcome = runtime.block_on(serve(config));
        // A model that is still being loaded on a thread of its own must not hold up the end.
        runtime.shutdown_background();
        outcome
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let shutdown = shutdown::on_signal().context("cannot listen for signals")?;
    let listening = Listening::bind(config).await?;
    // The log tells it too: a server whose standard output nobody takes serves all the same.
    let _ = output::print(format_args!("listening on {}\n", listening.url()));
    let app = match listening.load(&shutdown).await {
        Err(AppError::Interrupted) => return Ok(()),
        loaded => loaded?,
    };
    tracing::info!(address = %app.address(), "ready");
    app.run(shutdown).await?;
    Ok(())
}
