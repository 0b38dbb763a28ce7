//! Arguments, then hands over to the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    polyhead::cli::run()
}
