//! ONNX Runtime without its calls home.

use std::os::unix::process::CommandExt;

use anyhow::Context;

use crate::encoder::session::DISABLE_TELEMETRY;

/// Sees to it that ONNX Runtime does not contact its maker. The library reads the variable from the
/// process's environment while it is loaded, and setting a variable in a running process is not
/// sound; a process that lacks it therefore starts itself anew, once.
pub fn without_runtime_telemetry() -> anyhow::Result<()> {
    if std::env::var_os(DISABLE_TELEMETRY).is_some_and(|value| value == "1") {
        return Ok(());
    }
    let program = std::env::current_exe().context("cannot find the running program")?;
    let mut arguments = std::env::args_os();
    let error = std::process::Command::new(program)
        .arg0(arguments.next().unwrap_or_default())
        .args(arguments)
        .env(DISABLE_TELEMETRY, "1")
        .exec();
    Err(error).context("cannot restart without ONNX Runtime's telemetry")
}
