//! What a command prints.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use anyhow::Context;

/// Prints text as it is to standard output. A reader that has gone away, such as `head`, wants no
/// more of it, which is no failure.
pub fn print(text: impl Display) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = write!(stdout, "{text}").and_then(|()| stdout.flush());
    unless_nobody_reads(written.context("cannot write to standard output"))
}

/// Says something in a line of its own on standard error. Where that cannot be written, the exit
/// status still tells how the command ended.
pub fn say(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// What a pipe's reader does not wait for any more, as `head` does not, is no error.
pub fn unless_nobody_reads(outcome: anyhow::Result<()>) -> anyhow::Result<()> {
    outcome.or_else(|error| match error.downcast_ref::<io::Error>() {
        Some(cause) if cause.kind() == ErrorKind::BrokenPipe => Ok(()),
        _ => Err(error),
    })
}
