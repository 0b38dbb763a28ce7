//! What can be wrong with a model's files.

use safetensors::{Dtype, SafeTensorError};

use super::proto::MAX_MODEL_BYTES;

/// Why a graph could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// `config.json` is no JSON, lacks a key, or holds a value that the BERT graph does not know.
    #[error("config.json: {0}")]
    Config(serde_path_to_error::Error<serde_json::Error>),

    /// A value of `config.json` that can be read, but for which there is no graph.
    #[error("config.json: `{key}` is {found}, but it must be {allowed}")]
    Unsupported { key: &'static str, found: String, allowed: String },

    /// The weights are no complete safetensors file.
    #[error("not a complete safetensors file: {0}")]
    Safetensors(SafeTensorError),

    /// The weights lack a tensor that `config.json` promises.
    #[error(
        "the weights have no tensor `{name}` of shape {expected:?} \
         (looked for it with and without the prefix `bert.`)"
    )]
    MissingTensor { name: String, expected: Vec<usize> },

    /// A tensor has another shape than `config.json` promises.
    #[error("tensor `{name}` has shape {found:?}, but config.json asks for {expected:?}")]
    WrongShape { name: String, expected: Vec<usize>, found: Vec<usize> },

    /// A tensor's elements are of a type that is not read.
    #[error("tensor `{name}` holds {found:?}, but only F32, F16 and BF16 are read")]
    WrongType { name: String, found: Dtype },

    /// A tensor has a value that no computation gets over.
    #[error("tensor `{name}` is damaged: its value {index} is {value}, no finite number")]
    NotFinite { name: String, index: usize, value: f32 },

    /// Protobuf, the container of ONNX, has a limit of 2 GB.
    #[error(
        "the graph would take {bytes} bytes, but an ONNX file holds at most {MAX_MODEL_BYTES} (2 GB)"
    )]
    TooLarge { bytes: usize },

    /// The bytes are no ONNX file.
    #[error("not an ONNX file: {0}")]
    Decode(prost::DecodeError),

    /// The bytes can be read as protobuf, but are no model.
    #[error("not an ONNX file: it holds no graph")]
    NoGraph,
}
