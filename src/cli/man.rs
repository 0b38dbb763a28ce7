//! `polyhead man`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Command, CommandFactory};

use crate::cli::output::print;

/// Print a manual page, or write all of them.
///
/// To read one: polyhead man serve | man --local-file -
#[derive(Debug, clap::Args)]
pub struct Man {
    /// The command that the page is about; without it, the program.
    command: Option<String>,
    /// Write the pages of the program and of all commands into this folder, such as
    /// ~/.local/share/man/man1.
    #[arg(long, value_name = "FOLDER", conflicts_with = "command")]
    to: Option<PathBuf>,
}

impl Man {
    pub fn run(self) -> anyhow::Result<()> {
        let mut program = super::Arguments::command().disable_help_subcommand(true);
        // Names the commands as their pages are called: polyhead-serve.
        program.build();
        match (self.to, self.command) {
            (Some(folder), _) => write_all(&program, &folder),
            (None, None) => print(page(&program)?),
            (None, Some(name)) => print(page(named(&program, &name)?)?),
        }
    }
}

fn named<'a>(program: &'a Command, name: &str) -> anyhow::Result<&'a Command> {
    let Some(command) = program.find_subcommand(name) else {
        let known: Vec<&str> = program.get_subcommands().map(Command::get_name).collect();
        bail!("there is no command {name:?}; commands: {}", known.join(", "));
    };
    Ok(command)
}

fn write_all(program: &Command, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for command in std::iter::once(program).chain(program.get_subcommands()) {
        let name = command.get_display_name().unwrap_or_else(|| command.get_name());
        let file = folder.join(format!("{name}.1"));
        fs::write(&file, page(command)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// A page in roff.
fn page(command: &Command) -> anyhow::Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone())
        .source(concat!("polyhead ", env!("CARGO_PKG_VERSION")))
        .render(&mut page)?;
    Ok(String::from_utf8(page)?)
}
