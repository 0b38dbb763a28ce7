//! Ctrl-C while a job is watched: the job goes on, and its owner is told how to find it again.

use std::process::exit;
use std::thread;

use anyhow::Context;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::follow::Bar;
use crate::cli::output::say;

/// From now on Ctrl-C ends the program with a word on the job, and the status by which shells tell
/// that a program was interrupted.
pub fn explain(server: &str, job: &str, bar: &Bar) -> anyhow::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build();
    let runtime = runtime.context("cannot listen for signals")?;
    let mut interrupt = {
        let _entered = runtime.enter();
        signal(SignalKind::interrupt()).context("cannot listen for signals")?
    };
    let message = format!(
        "job {job} goes on\n\
         watch it:  curl -N {server}/train/{job}/events\n\
         cancel it: curl -X DELETE {server}/train/{job}"
    );
    let bar = bar.clone();
    thread::spawn(move || {
        if runtime.block_on(interrupt.recv()).is_some() {
            bar.clear();
            say(message);
            exit(128 + SignalKind::interrupt().as_raw_value());
        }
    });
    Ok(())
}
