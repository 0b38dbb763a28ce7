//! What an ONNX file wants and gives, read from the file itself.

use std::collections::{HashMap, HashSet};

use bytes::Buf;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    error::OnnxError,
    proto::{
        DataType, Dimension, DimensionProto, GraphProto, ModelProto, NodeProto, TensorProto,
        TensorTypeProto, ValueInfoProto,
    },
};

/// The outside of a graph, and how precisely it computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphSummary {
    pub inputs: Vec<GraphInput>,
    pub outputs: Vec<GraphOutput>,
    pub precision: GraphPrecision,
    /// Whether activations are quantised with one scale for a whole tensor, computed during the
    /// call. Then an embedding depends on what else is in its batch, padding included.
    pub quantizes_per_batch: bool,
}

/// What a caller must give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphInput {
    pub name: String,
    /// `None` where the file does not say, or names a type unknown here.
    pub elements: Option<DataType>,
}

/// What a caller gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphOutput {
    pub name: String,
    /// Number of dimensions, where the file says: 3 for token states, 2 for embeddings.
    pub rank: Option<usize>,
    /// Size of the last dimension, where the file says.
    pub width: Option<usize>,
}

/// The arithmetic of most of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum GraphPrecision {
    Fp32,
    Fp16,
    Bf16,
    /// Weights, and mostly activations too, of 8 bits or fewer.
    Int8,
}

impl GraphPrecision {
    /// As users write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }
}

/// Reads the summary of an ONNX file. [`bytes::Bytes`] are shared rather than copied.
///
/// # Errors
/// [`OnnxError::Decode`] or [`OnnxError::NoGraph`] if this is no ONNX file.
pub fn inspect(file: impl Buf) -> Result<GraphSummary, OnnxError> {
    let model = ModelProto::from_bytes(file)?;
    let graph = model.graph.as_ref().ok_or(OnnxError::NoGraph)?;
    let nodes = nodes(&model, graph);
    Ok(GraphSummary {
        inputs: inputs(graph),
        outputs: graph.output.iter().map(output).collect(),
        precision: precision(graph, &nodes),
        quantizes_per_batch: nodes.iter().any(|node| quantizes_per_tensor(node)),
    })
}

/// Inputs that have no value of their own: files of IR version 3 list their weights too.
fn inputs(graph: &GraphProto) -> Vec<GraphInput> {
    let constants: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let free = graph.input.iter();
    free.filter(|input| !constants.contains(input.name.as_str()))
        .map(|input| GraphInput {
            name: input.name.clone(),
            elements: tensor_type(input)
                .map(TensorTypeProto::elem_type)
                .filter(|&elements| elements != DataType::Undefined),
        })
        .collect()
}

fn output(output: &ValueInfoProto) -> GraphOutput {
    let shape = tensor_type(output).and_then(|tensor| tensor.shape.as_ref());
    let last = shape.and_then(|shape| shape.dim.last());
    GraphOutput {
        name: output.name.clone(),
        rank: shape.map(|shape| shape.dim.len()),
        width: last.and_then(size),
    }
}

fn tensor_type(value: &ValueInfoProto) -> Option<&TensorTypeProto> {
    value.r#type.as_ref()?.tensor_type.as_ref()
}

fn size(dimension: &DimensionProto) -> Option<usize> {
    match dimension.value {
        Some(Dimension::Size(size)) => usize::try_from(size).ok(),
        _ => None,
    }
}

/// All nodes: of the graph, of functions, and of the graphs that are arguments of nodes.
fn nodes<'a>(model: &'a ModelProto, graph: &'a GraphProto) -> Vec<&'a NodeProto> {
    let functions = model.functions.iter().flat_map(|function| &function.node);
    let mut pending: Vec<&NodeProto> = graph.node.iter().chain(functions).collect();
    let mut nodes = Vec::new();
    while let Some(node) = pending.pop() {
        nodes.push(node);
        let arguments = node.attribute.iter();
        let graphs = arguments.flat_map(|argument| argument.g.iter().chain(&argument.graphs));
        pending.extend(graphs.flat_map(|graph| &graph.node));
    }
    nodes
}

fn precision(graph: &GraphProto, nodes: &[&NodeProto]) -> GraphPrecision {
    if nodes.iter().any(|node| is_quantized(node)) {
        return GraphPrecision::Int8;
    }
    let arguments = nodes.iter().flat_map(|node| &node.attribute);
    let constants = arguments.filter_map(|argument| argument.t.as_ref());
    let mut bytes: HashMap<GraphPrecision, u64> = HashMap::new();
    for tensor in graph.initializer.iter().chain(constants) {
        if let Some((precision, size)) = weigh(tensor) {
            let sum = bytes.entry(precision).or_default();
            *sum = sum.saturating_add(size);
        }
    }
    bytes
        .into_iter()
        .max_by_key(|&(precision, bytes)| (bytes, precision == GraphPrecision::Fp32))
        .map_or(GraphPrecision::Fp32, |(precision, _)| precision)
}

/// What a constant says about precision, and its size in bytes. The shape tells, since the data
/// may lie in another file. Integers are positions and shapes, unless they have 8 bits.
fn weigh(tensor: &TensorProto) -> Option<(GraphPrecision, u64)> {
    let (precision, width) = match tensor.data_type() {
        DataType::Float => (GraphPrecision::Fp32, 4),
        DataType::Float16 => (GraphPrecision::Fp16, 2),
        DataType::Bfloat16 => (GraphPrecision::Bf16, 2),
        DataType::Int8 | DataType::Uint8 => (GraphPrecision::Int8, 1),
        _ => return None,
    };
    let sizes = tensor.dims.iter().map(|&size| size.max(0).unsigned_abs());
    Some((precision, sizes.fold(width, u64::saturating_mul)))
}

/// Operators of ONNX and of ONNX Runtime's `com.microsoft` that compute with 8-bit numbers.
pub(super) fn is_quantized(node: &NodeProto) -> bool {
    let operator = node.op_type.as_str();
    operator.starts_with("QLinear")
        || quantizes_per_tensor(node)
        || matches!(
            operator,
            "ConvInteger"
                | "DequantizeLinear"
                | "MatMulInteger"
                | "MatMulIntegerToFloat"
                | "QAttention"
                | "QEmbedLayerNormalization"
                | "QGemm"
                | "QuantizeLinear"
        )
}

fn quantizes_per_tensor(node: &NodeProto) -> bool {
    matches!(
        node.op_type.as_str(),
        "DynamicQuantizeLinear" | "DynamicQuantizeLSTM" | "DynamicQuantizeMatMul"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::{
        graph::GraphBuilder,
        proto::{AttributeProto, FunctionProto},
    };

    fn summary(model: &ModelProto) -> GraphSummary {
        inspect(model.to_bytes().unwrap().as_slice()).unwrap()
    }

    /// One input, one node, one output, and a weight of 3 × 2.
    fn model(operator: &str) -> ModelProto {
        let mut graph = GraphBuilder::new("test");
        let ids = graph.input("input_ids", DataType::Int64, &["batch", "sequence"]);
        let weight = graph.weight("weight", &[3, 2], &[0.5; 6]);
        let states = graph.op(operator, &[&weight, &ids]);
        let dimensions = [
            Dimension::Name("batch".to_owned()),
            Dimension::Name("sequence".to_owned()),
            Dimension::Size(2),
        ];
        graph.output("last_hidden_state", &states, &dimensions);
        graph.into_model()
    }

    fn graph(model: &mut ModelProto) -> &mut GraphProto {
        model.graph.as_mut().unwrap()
    }

    #[test]
    fn inputs_and_outputs_are_told_with_type_rank_and_width() {
        let summary = summary(&model("Gather"));
        assert_eq!(
            summary.inputs,
            [GraphInput { name: "input_ids".to_owned(), elements: Some(DataType::Int64) }]
        );
        assert_eq!(
            summary.outputs,
            [GraphOutput { name: "last_hidden_state".to_owned(), rank: Some(3), width: Some(2) }]
        );
    }

    #[test]
    fn what_a_file_leaves_out_is_unknown_rather_than_guessed() {
        let mut model = model("Gather");
        graph(&mut model).input[0].r#type = None;
        graph(&mut model).output[0].r#type = None;
        let summary = summary(&model);
        assert_eq!(summary.inputs[0].elements, None);
        assert_eq!(summary.outputs[0].rank, None);
        assert_eq!(summary.outputs[0].width, None);
    }

    #[test]
    fn weights_that_are_listed_as_inputs_are_not_asked_for() {
        let mut model = model("Gather");
        let weight = ValueInfoProto { name: "weight".to_owned(), r#type: None };
        graph(&mut model).input.push(weight);
        assert_eq!(summary(&model).inputs.len(), 1);
    }

    #[test]
    fn precision_is_that_of_most_bytes_of_the_weights() {
        let mut model = model("Gather");
        assert_eq!(summary(&model).precision, GraphPrecision::Fp32);
        for (elements, precision) in [
            (DataType::Float16, GraphPrecision::Fp16),
            (DataType::Bfloat16, GraphPrecision::Bf16),
            (DataType::Int8, GraphPrecision::Int8),
            (DataType::Int64, GraphPrecision::Fp32),
        ] {
            let large = TensorProto {
                dims: vec![5, 5],
                data_type: elements.into(),
                ..TensorProto::default()
            };
            graph(&mut model).initializer.truncate(1);
            graph(&mut model).initializer.push(large);
            assert_eq!(summary(&model).precision, precision, "{elements:?}");
        }
    }

    #[test]
    fn sizes_that_no_file_can_hold_are_counted_as_very_large() {
        let mut model = model("Gather");
        let huge = TensorProto {
            dims: vec![i64::MAX; 2],
            data_type: DataType::Float16.into(),
            ..TensorProto::default()
        };
        graph(&mut model).initializer.extend([huge.clone(), huge]);
        assert_eq!(summary(&model).precision, GraphPrecision::Fp16);
    }

    #[test]
    fn quantised_operators_make_a_graph_int8_whatever_its_weights_are() {
        for (operator, per_batch) in [
            ("DynamicQuantizeLinear", true),
            ("DynamicQuantizeMatMul", true),
            ("MatMulInteger", false),
            ("MatMulIntegerToFloat", false),
            ("QLinearMatMul", false),
            ("QuantizeLinear", false),
        ] {
            let summary = summary(&model(operator));
            assert_eq!(summary.precision, GraphPrecision::Int8, "{operator}");
            assert_eq!(summary.quantizes_per_batch, per_batch, "{operator}");
        }
        assert!(!summary(&model("MatMul")).quantizes_per_batch);
    }

    #[test]
    fn operators_inside_of_branches_and_functions_count() {
        let quantized = model("DynamicQuantizeLinear").graph.unwrap();

        let mut branching = model("If");
        graph(&mut branching).node[0].attribute =
            vec![AttributeProto { g: Some(quantized.clone()), ..AttributeProto::default() }];
        assert!(summary(&branching).quantizes_per_batch);

        let mut calling = model("Quantized");
        calling.functions =
            vec![FunctionProto { name: "Quantized".to_owned(), node: quantized.node }];
        assert!(summary(&calling).quantizes_per_batch);
    }

    #[test]
    fn what_is_no_onnx_file_is_refused() {
        assert!(matches!(inspect(&b""[..]), Err(OnnxError::NoGraph)));
        assert!(matches!(inspect(&b"<html>not found</html>"[..]), Err(OnnxError::Decode(_))));
        let file = model("Gather").to_bytes().unwrap();
        let cut = &file[..file.len() / 2];
        assert!(matches!(inspect(cut), Err(OnnxError::Decode(_))));
    }
}
