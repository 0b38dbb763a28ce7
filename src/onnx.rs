//! ONNX: reading weights and graphs, writing graphs.
//!
//! [`export_bert`] turns the `config.json` and `model.safetensors` of a BERT into a graph that
//! ends in one embedding per sentence, beside the states of its tokens; [`inspect`](inspect()) tells
//! what any ONNX file wants and gives. Neither needs ONNX Runtime, nor Python.
//!
//! | file | what |
//! |---|---|
//! | [`bert`] | the BERT graph, its configuration, its weights |
//! | [`weights`] | tensors of a safetensors file, as f32 |
//! | [`graph`] | a builder for graphs |
//! | [`inspect`](mod@inspect) | inputs, outputs and precision of a file |
//! | [`recognise`](mod@recognise) | a BERT's weights out of a stock export |
//! | [`proto`] | the messages of the ONNX format |

pub mod bert;
mod error;
pub mod graph;
pub mod inspect;
pub mod proto;
pub mod recognise;
pub mod weights;

pub use bert::weights::BertWeights;
pub use bert::{ExportOptions, ExportPrecision, export_bert};
pub use error::OnnxError;
pub use inspect::{GraphPrecision, GraphSummary, inspect};
pub use recognise::{Recognised, Tail, Unrecognised, recognise};
