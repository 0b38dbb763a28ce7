//! The encoder as an ONNX Runtime operator, and the graph that consists of it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput,
};
use ort::value::TensorElementType;

use super::fused::{FusedEncoder, Scratch};
use crate::encoder::readout::Readout;
use crate::onnx::graph::GraphBuilder;
use crate::onnx::proto::{DataType, Dimension};

/// The operator set of polyhead's own operators.
const DOMAIN: &str = "polyhead";
const OPERATOR: &str = "FusedBert";

impl FusedEncoder {
    /// The operator set that a session needs for [`FusedEncoder::graph`].
    pub fn domain(&self) -> ort::Result<OperatorDomain> {
        OperatorDomain::new(DOMAIN)?.add(self.clone())
    }

    /// A serialized graph: `input_ids` (uint32, tokens), `sentence_ends` (uint32, sentences) and
    /// `of_tokens` (bool, a scalar) to `sentence_embedding` (f32, sentences × width) or, of tokens,
    /// `token_embeddings` (f32, tokens × width); the other one has no rows. It holds no weights.
    pub fn graph(&self) -> Vec<u8> {
        let mut graph = GraphBuilder::new("fused");
        let ids = graph.input("input_ids", DataType::Uint32, &["tokens"]);
        let ends = graph.input("sentence_ends", DataType::Uint32, &["sentences"]);
        let of_tokens = graph.input("of_tokens", DataType::Bool, &[]);
        let outputs: [_; 2] = graph.foreign_op(DOMAIN, OPERATOR, &[&ids, &ends, &of_tokens]);
        for (name, output) in ["sentence_embedding", "token_embeddings"].iter().zip(&outputs) {
            let rows = Dimension::Name(format!("{name}_rows"));
            graph.output(name, output, &[rows, Dimension::Size(self.width() as i64)]);
        }
        graph.into_model().to_bytes().expect("a graph without weights is small")
    }
}

impl Operator for FusedEncoder {
    type Kernel<'attr> = Run;

    fn name(&self) -> &str {
        OPERATOR
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [TensorElementType::Uint32, TensorElementType::Uint32, TensorElementType::Bool]
            .map(OperatorInput::required)
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [TensorElementType::Float32; 2].map(OperatorOutput::required)
    }

    fn create_kernel<'attr>(&self, _: &KernelContext<'attr>) -> ort::Result<Run> {
        Ok(Run { encoder: self.clone(), scratch: self.scratch(), ends: Vec::new() })
    }
}

/// The operator in one session.
pub struct Run {
    encoder: FusedEncoder,
    scratch: Scratch,
    ends: Vec<usize>,
}

impl Kernel for Run {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        // A panic must not unwind into ONNX Runtime. What it leaves behind in the scratch memory is
        // written again before it is read.
        catch_unwind(AssertUnwindSafe(|| self.run(context)))
            .unwrap_or_else(|_| Err(ort::Error::new("the fused encoder panicked")))
    }
}

impl Run {
    fn run(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let missing = || ort::Error::new("the operator lacks a value");
        let ids = context.input(0)?.ok_or_else(missing)?;
        let (_, ids) = ids.try_extract_tensor::<u32>()?;
        let ends = context.input(1)?.ok_or_else(missing)?;
        let (_, ends) = ends.try_extract_tensor::<u32>()?;
        let of_tokens = context.input(2)?.ok_or_else(missing)?;
        let readout = match of_tokens.try_extract_tensor::<bool>()? {
            (_, [false]) => Readout::Sentence,
            (_, [true]) => Readout::Tokens,
            _ => return Err(ort::Error::new("of_tokens is not one truth value")),
        };
        self.ends.clear();
        self.ends.extend(ends.iter().map(|&end| end as usize));
        let (sentences, tokens, width) = (self.ends.len(), ids.len(), self.encoder.width());
        let output = |index: usize, of: Readout| {
            let rows = if of == readout { of.vectors(sentences, tokens) } else { 0 };
            context.output(index, [rows, width])?.ok_or_else(missing)
        };
        let mut embeddings = output(0, Readout::Sentence)?;
        let mut states = output(1, Readout::Tokens)?;
        let vectors = match readout {
            Readout::Sentence => &mut embeddings,
            Readout::Tokens => &mut states,
        };
        let (_, vectors) = vectors.try_extract_tensor_mut::<f32>()?;
        self.encoder
            .encode(&mut self.scratch, ids, &self.ends, readout, vectors)
            .map_err(|error| ort::Error::new(error.to_string()))
    }
}

#[cfg(test)]
mod tests;
