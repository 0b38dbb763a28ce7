//! The service in-process: real models, a real store, real HTTP over a port that the system chose.

mod app;
mod embed;
