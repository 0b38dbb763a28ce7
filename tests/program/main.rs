//! The real program, run as an operator runs it: its own process, folder, configuration and signals.

mod defaults;
mod process;
mod server;
mod site;
mod start;
