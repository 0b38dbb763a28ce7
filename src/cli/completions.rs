//! `polyhead completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::output::print;

/// Print a script by which a shell completes polyhead's commands and options.
///
/// Where it goes: bash, ~/.local/share/bash-completion/completions/polyhead; zsh, a file _polyhead in a
/// folder of $fpath; fish, ~/.config/fish/completions/polyhead.fish.
#[derive(Debug, clap::Args)]
pub struct Completions {
    shell: Shell,
}

impl Completions {
    pub fn run(self) -> anyhow::Result<()> {
        let mut program = super::Arguments::command();
        let name = program.get_name().to_owned();
        // Printed by us: the generator would panic where nobody reads on.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, name, &mut script);
        print(String::from_utf8(script)?)
    }
}
