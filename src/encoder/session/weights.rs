//! A graph's weights, held once for all of its sessions.
//!
//! Left alone, every session copies the weights out of the graph and packs those of its matrix
//! products anew. ONNX Runtime takes both from outside as well: initializers that sessions share, and a
//! container for what was packed. The graph keeps its own copy of the weights, by which it is
//! optimised as ever; that copy is gone once a session is open.

use std::sync::Arc;

use bytes::Bytes;
use ort::session::builder::{PrepackedWeights, SessionBuilder};
use ort::value::{DynValue, PrimitiveTensorElementType, Tensor};

use crate::encoder::session::SessionError;
use crate::onnx::proto::{DataType, ModelProto, TensorProto};

/// Weights of fewer bytes are left to each session: shapes, scalars and biases.
const SMALLEST: usize = 4096;

/// A serialized graph with what its sessions share.
pub struct SharedGraph {
    bytes: Bytes,
    /// By the names that they have in the graph.
    weights: Vec<(String, Arc<DynValue>)>,
    packed: PrepackedWeights,
}

impl SharedGraph {
    /// Copies the large weights out of the graph.
    pub fn new(bytes: Bytes) -> Result<SharedGraph, SessionError> {
        let model = ModelProto::from_bytes(bytes.clone())?;
        let initializers = model.graph.iter().flat_map(|graph| &graph.initializer);
        let weights = initializers
            .filter(|tensor| tensor.raw_data.len() >= SMALLEST)
            .filter_map(|tensor| Some((tensor.name.clone(), value(tensor)?)))
            .map(|(name, value)| Ok((name, Arc::new(value?))))
            .collect::<Result<_, ort::Error>>()?;
        Ok(SharedGraph { bytes, weights, packed: PrepackedWeights::new() })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Has the session take the shared weights in place of copies of its own. A session keeps what
    /// it shares alive.
    pub(super) fn share(&self, builder: SessionBuilder) -> Result<SessionBuilder, ort::Error> {
        let mut builder = builder.with_prepacked_weights(&self.packed)?;
        for (name, value) in &self.weights {
            builder = builder.with_initializer(name, Arc::clone(value))?;
        }
        Ok(builder)
    }
}

/// A copy of the tensor, if its elements are of a type that weights commonly have.
fn value(tensor: &TensorProto) -> Option<Result<DynValue, ort::Error>> {
    match tensor.data_type() {
        DataType::Float => Some(copy(tensor, f32::from_le_bytes)),
        DataType::Int8 => Some(copy(tensor, i8::from_le_bytes)),
        DataType::Uint8 => Some(copy(tensor, u8::from_le_bytes)),
        _ => None,
    }
}

fn copy<T, const N: usize>(
    tensor: &TensorProto,
    from_le_bytes: fn([u8; N]) -> T,
) -> Result<DynValue, ort::Error>
where
    T: PrimitiveTensorElementType + std::fmt::Debug + Clone + Send + Sync + 'static,
{
    let (elements, _) = tensor.raw_data.as_chunks::<N>();
    let elements: Vec<T> = elements.iter().map(|&bytes| from_le_bytes(bytes)).collect();
    Ok(Tensor::from_array((tensor.dims.clone(), elements))?.into_dyn())
}
