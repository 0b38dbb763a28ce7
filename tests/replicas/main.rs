//! Several replicas on one PostgreSQL, as real processes: replicas, the database and the connection
//! between them fail, and the system stays one.

#[path = "../program/process.rs"]
#[allow(dead_code, reason = "the program's own tests need more of it")]
mod process;
#[path = "../program/server.rs"]
#[allow(dead_code, reason = "the program's own tests need more of it")]
mod server;
#[path = "../program/site.rs"]
#[allow(dead_code, reason = "the program's own tests need more of it")]
mod site;

mod database;
mod follow;
mod jobs;
#[allow(dead_code, reason = "the store's tests need more of it")]
mod postgres;
mod silence;
mod system;
