//! One server, one shared sentence encoder per model, many task heads, trained while serving.

pub mod app;
pub mod cli;
pub mod config;
pub mod encoder;
pub mod heads;
pub mod http;
pub mod hub;
pub mod metrics;
mod name;
pub mod onnx;
pub mod readiness;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod training;
