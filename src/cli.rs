//! The command line: `serve`, `pull`, `export`, `bench`, `health`.

mod bench;
mod environment;
mod export;
mod health;
mod output;
mod pull;
mod serve;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::causes::Causes;

/// Sentence embeddings and many task heads on one shared encoder, learning while it serves.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Pull(pull::Pull),
    Export(export::Export),
    Bench(bench::Bench),
    Health(health::Health),
}

/// Runs the program; an error is one line on stderr and status 1.
pub fn run() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve(serve) => serve.run(),
        Command::Pull(pull) => pull.run(),
        Command::Export(export) => export.run(),
        Command::Bench(bench) => bench.run(),
        Command::Health(health) => health.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where it cannot be said, the status still tells.
            let _ = writeln!(std::io::stderr(), "polyhead: {}", Causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
