//! `polyhead openapi`.

use std::path::PathBuf;

use crate::cli::output;
use crate::config::{self, Config};
use crate::http::description;

/// Print the description of the API (OpenAPI 3.1), as `GET /openapi.json` gives it.
#[derive(Debug, clap::Args)]
pub struct OpenApi {
    /// The configuration whose limits it states; without it, the defaults.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl OpenApi {
    pub fn run(self) -> anyhow::Result<()> {
        let config = match self.config {
            Some(file) => Config::load(Some(&file), config::variables())?,
            None => Config::default(),
        };
        output::print(format_args!("{:#}\n", description::of(&config)))?;
        Ok(())
    }
}
