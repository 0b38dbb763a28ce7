//! The real program, run as an operator runs it: its own process, folder, configuration and signals.

mod bench;
mod client;
mod client_train;
mod crash;
mod defaults;
mod descriptions;
mod export;
mod guides;
mod isolation;
mod keys;
mod logs;
mod memory;
mod process;
mod pull;
mod refusals;
mod seed;
mod server;
mod shutdown;
mod site;
mod start;
mod streams;
