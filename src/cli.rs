//! The command line: `serve`, `pull`, `export`, `bench`, `health`, `key`, `openapi`; a server's clients
//! `train`, `classify` and `embed`; and what a shell and `man` know of all these, `completions` and `man`.

mod authority;
mod bench;
mod classify;
mod client;
mod completions;
mod embed;
mod environment;
mod export;
mod health;
mod key;
mod man;
mod openapi;
mod output;
mod pull;
mod serve;
mod texts;
mod train;

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
    Key(key::Key),
    #[command(name = "openapi")]
    OpenApi(openapi::OpenApi),
    Train(Box<train::Train>),
    Classify(classify::Classify),
    Embed(embed::Embed),
    Completions(completions::Completions),
    Man(man::Man),
}

/// Runs the program; an error is one line on stderr and status 1.
pub fn run() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve(serve) => serve.run(),
        Command::Pull(pull) => pull.run(),
        Command::Export(export) => export.run(),
        Command::Bench(bench) => bench.run(),
        Command::Health(health) => health.run(),
        Command::Key(key) => key.run(),
        Command::OpenApi(openapi) => openapi.run(),
        Command::Train(train) => train.run(),
        Command::Classify(classify) => classify.run(),
        Command::Embed(embed) => embed.run(),
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::say(format_args!("polyhead: {}", Causes(error.as_ref())));
            ExitCode::FAILURE
        }
    }
}
