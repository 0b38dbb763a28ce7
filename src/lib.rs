//! One server, one shared sentence encoder per model, many task heads, trained while serving.

pub mod config;
pub mod encoder;
pub mod metrics;
pub mod heads;
pub mod hub;
pub mod onnx;
pub mod store;
pub mod training;
