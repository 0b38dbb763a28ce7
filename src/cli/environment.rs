//! What native code reads from the process's environment.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Context;

use crate::encoder::session::DISABLE_TELEMETRY;

/// From how many bytes on glibc's `malloc` takes a block from the system and gives it back when it
/// is freed. By default the threshold rises to the size of what was freed, up to 32 MiB: after the
/// models are opened, freed weights and large answers would stay with the process, about 25 MB for
/// each session of a small model. A threshold that is set does not rise (`mallopt(3)`).
const MALLOC_THRESHOLD: (&str, &str) = ("MALLOC_MMAP_THRESHOLD_", "131072");

/// Sees to it that ONNX Runtime does not contact its maker, and that freed memory goes back to the
/// system unless the operator has settled that. Both are read when the libraries are loaded, and
/// setting a variable in a running process is not sound; a process that lacks one therefore starts
/// itself anew, once.
pub fn for_native_code() -> anyhow::Result<()> {
    let silent = env::var_os(DISABLE_TELEMETRY).is_some_and(|value| value == "1");
    let (threshold, bytes) = MALLOC_THRESHOLD;
    let given = env::var_os(threshold);
    if silent && given.is_some() {
        return Ok(());
    }
    let program = env::current_exe().context("cannot find the running program")?;
    let mut arguments = env::args_os();
    let error = Command::new(program)
        .arg0(arguments.next().unwrap_or_default())
        .args(arguments)
        .env(DISABLE_TELEMETRY, "1")
        .env(threshold, given.unwrap_or_else(|| bytes.into()))
        .exec();
    Err(error).context("cannot restart with the environment that ONNX Runtime needs")
}
