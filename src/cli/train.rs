//! `polyhead train`.

mod follow;
mod interrupt;
mod report;
mod sse;
mod upload;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::cli::client::Server;
use crate::cli::output::{print, say};
use crate::cli::texts::input;

use self::follow::follow;
use self::report::report;

/// Train heads of a running server on a file of examples, and watch it.
///
/// The status is 0 if the job succeeded and 1 if it failed, was rejected or was cancelled. Options
/// that are not given are the server's own.
#[derive(Debug, clap::Args)]
pub struct Train {
    /// CSV with the columns text and one a task (or label, for a single --task), or NDJSON with text
    /// and labels (or label); - for standard input. In CSV, | stands between the labels of a multi-label
    /// task.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The tasks whose labels count; by default all that the file has labels for.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    task: Vec<String>,
    /// What becomes of the examples of earlier jobs.
    #[arg(long, value_name = "extend|replace")]
    mode: Option<String>,
    /// How the heads are fit: to convergence, or by mini-batches.
    #[arg(long, value_name = "lbfgs|adam")]
    solver: Option<String>,
    /// The most passes over the examples; lbfgs stops earlier when it has converged.
    #[arg(long, value_name = "COUNT")]
    epochs: Option<String>,
    /// The strength of the regularisation.
    #[arg(long, value_name = "STRENGTH")]
    l2: Option<String>,
    /// The size of a step; adam only.
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<String>,
    /// The rows of a mini-batch; adam only.
    #[arg(long, value_name = "ROWS")]
    batch_size: Option<String>,
    /// The share of the examples that is held out.
    #[arg(long, value_name = "SHARE")]
    validation: Option<String>,
    /// What random choices start from; the same number gives the same heads.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<String>,
    /// encoder, and tasks whose heads stay as they are.
    #[arg(long, value_name = "NAMES")]
    freeze: Option<String>,
    /// When what the job makes goes live.
    #[arg(long, value_name = "if_not_worse|always|never")]
    promote: Option<String>,
    /// What becomes of an upload in which some rows cannot be examples.
    #[arg(long, value_name = "refuse|skip")]
    on_bad_row: Option<String>,
    /// Any other option of POST /train; may be repeated.
    #[arg(long = "option", value_name = "NAME=VALUE", value_parser = parse_option)]
    options: Vec<(String, String)>,
    /// Watch the job until it ends: the default.
    #[arg(long, overrides_with = "no_follow")]
    follow: bool,
    /// Print the job's id and leave it to run.
    #[arg(long, overrides_with = "follow")]
    no_follow: bool,
    #[command(flatten)]
    server: Server,
}

/// Skipped rows that are shown one by one.
const MOST_SHOWN: usize = 10;

impl Train {
    pub fn run(self) -> anyhow::Result<()> {
        let client = self.server.client()?;
        let mut file = BufReader::new(input(Some(&self.file))?);
        let media_type = media_type(&mut file).context("cannot read the examples")?;
        let mut file = upload::shown(&self.file, file);
        let job = client.upload("/train", self.query(), media_type, &mut file);
        // Also before a refusal is told.
        file.progress.finish_and_clear();
        let job = job?;
        let id = job["id"].as_str().context("the server's answer is not a job")?;
        say(format_args!("job {id}: {} examples", job["examples"]));
        tell_skipped(&job["skipped"]);
        if self.no_follow && !self.follow {
            return print(format_args!("{id}\n"));
        }
        let bar = follow::Bar::new();
        interrupt::explain(client.server(), id, &bar)?;
        let job = follow(&client, id, &bar)?;
        print(report(&job))?;
        match job["state"].as_str() {
            Some("succeeded") => Ok(()),
            state => {
                let state = state.unwrap_or("in an unknown state");
                match job["reason"].as_str() {
                    Some(reason) => bail!("the job is {state}: {reason}"),
                    None => bail!("the job is {state}"),
                }
            }
        }
    }

    fn query(&self) -> Vec<(&str, String)> {
        let tasks = (!self.task.is_empty()).then(|| self.task.join(","));
        let named = [
            ("task", &tasks),
            ("mode", &self.mode),
            ("solver", &self.solver),
            ("epochs", &self.epochs),
            ("l2", &self.l2),
            ("learning_rate", &self.learning_rate),
            ("batch_size", &self.batch_size),
            ("validation", &self.validation),
            ("seed", &self.seed),
            ("freeze", &self.freeze),
            ("promote", &self.promote),
            ("on_bad_row", &self.on_bad_row),
        ];
        let named = named.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
        let others = self.options.iter().map(|(name, value)| (name.as_str(), value.clone()));
        named.chain(others).collect()
    }
}

/// NDJSON starts with a brace, which no header of a CSV file does.
fn media_type(file: &mut impl BufRead) -> std::io::Result<&'static str> {
    let start = file.fill_buf()?;
    let first = start.trim_ascii_start().first();
    Ok(if first == Some(&b'{') { "application/x-ndjson" } else { "text/csv" })
}

fn tell_skipped(skipped: &Value) {
    let Some(rows) = skipped["rows"].as_array() else { return };
    say(format_args!("{} rows were skipped:", skipped["count"]));
    for row in rows.iter().take(MOST_SHOWN) {
        say(format_args!("  line {}: {}", row["line"], row["detail"].as_str().unwrap_or_default()));
    }
    if skipped["count"].as_u64().is_some_and(|count| count > MOST_SHOWN as u64) {
        say("  and others");
    }
}

fn parse_option(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}
