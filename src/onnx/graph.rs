//! A builder for ONNX graphs: every operator is a call that returns the value it makes.

use super::proto::{
    AttributeProto, AttributeType, DataType, Dimension, DimensionProto, GraphProto, ModelProto,
    NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto,
    ValueInfoProto,
};

/// The operator set that graphs are written in: the first with `Gelu`.
const OPSET: i64 = 20;
/// The format version that goes with [`OPSET`].
///
/// Source: the table "Released Versions" in `docs/Versioning.md` of <https://github.com/onnx/onnx>.
const IR_VERSION: i64 = 9;

/// A graph that is being built.
#[derive(Debug, Default)]
pub struct GraphBuilder {
    graph: GraphProto,
    constants: usize,
    /// Operator sets beside the standard one.
    foreign: Vec<String>,
}

/// A tensor in the graph: an input, a constant, or what a node makes.
#[derive(Clone, Debug, PartialEq)]
pub struct Value(String);

/// A constant argument of a node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Attribute {
    Int(&'static str, i64),
    Ints(&'static str, &'static [i64]),
    Float(&'static str, f32),
    Text(&'static str, &'static str),
}

impl GraphBuilder {
    /// An empty graph.
    pub fn new(name: &str) -> Self {
        let mut builder = Self::default();
        builder.graph.name = name.to_owned();
        builder
    }

    /// An input whose sizes differ between calls; its dimensions have names.
    pub fn input(&mut self, name: &str, elements: DataType, dimensions: &[&str]) -> Value {
        let dimensions = dimensions.iter().map(|&name| Dimension::Name(name.into()));
        self.graph.input.push(value_info(name, elements, dimensions));
        Value(name.to_owned())
    }

    /// A weight: row-major values.
    pub fn weight(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Value {
        debug_assert_eq!(shape.iter().product::<usize>(), values.len());
        let bytes = little_endian(values, f32::to_le_bytes);
        self.initializer(name.to_owned(), DataType::Float, shape, bytes)
    }

    /// A weight of 8 bits: row-major values.
    pub fn bytes(&mut self, name: &str, shape: &[usize], values: &[i8]) -> Value {
        debug_assert_eq!(shape.iter().product::<usize>(), values.len());
        let bytes = little_endian(values, i8::to_le_bytes);
        self.initializer(name.to_owned(), DataType::Int8, shape, bytes)
    }

    /// An unsigned number of 8 bits, as a tensor without dimensions.
    pub fn byte(&mut self, value: u8) -> Value {
        let name = self.constant_name();
        self.initializer(name, DataType::Uint8, &[], vec![value])
    }

    /// A number, as a tensor without dimensions.
    pub fn scalar(&mut self, value: f32) -> Value {
        let name = self.constant_name();
        self.initializer(name, DataType::Float, &[], value.to_le_bytes().to_vec())
    }

    /// Integers in one dimension: a shape, axes, positions.
    pub fn integers(&mut self, values: &[i64]) -> Value {
        let name = self.constant_name();
        let bytes = little_endian(values, i64::to_le_bytes);
        self.initializer(name, DataType::Int64, &[values.len()], bytes)
    }

    /// An integer, as a tensor without dimensions.
    pub fn integer(&mut self, value: i64) -> Value {
        let name = self.constant_name();
        self.initializer(name, DataType::Int64, &[], value.to_le_bytes().to_vec())
    }

    /// A node of the standard operator set without attributes and with one output.
    pub fn op(&mut self, operator: &str, inputs: &[&Value]) -> Value {
        self.op_with(operator, inputs, &[])
    }

    /// A node of the standard operator set with one output.
    pub fn op_with(
        &mut self,
        operator: &str,
        inputs: &[&Value],
        attributes: &[Attribute],
    ) -> Value {
        let [output] = self.node("", operator, inputs, attributes);
        output
    }

    /// A node of another operator set than the standard one, in its version 1, with `N` outputs.
    pub fn foreign_op<const N: usize>(
        &mut self,
        domain: &str,
        operator: &str,
        inputs: &[&Value],
    ) -> [Value; N] {
        if self.foreign.iter().all(|known| known != domain) {
            self.foreign.push(domain.to_owned());
        }
        self.node(domain, operator, inputs, &[])
    }

    fn node<const N: usize>(
        &mut self,
        domain: &str,
        operator: &str,
        inputs: &[&Value],
        attributes: &[Attribute],
    ) -> [Value; N] {
        let name = format!("{operator}_{}", self.graph.node.len());
        let outputs: [String; N] = std::array::from_fn(|output| format!("{name}_{output}"));
        self.graph.node.push(NodeProto {
            domain: domain.to_owned(),
            input: inputs.iter().map(|value| value.0.clone()).collect(),
            output: outputs.to_vec(),
            name,
            op_type: operator.to_owned(),
            attribute: attributes.iter().map(|attribute| attribute.to_proto()).collect(),
        });
        outputs.map(Value)
    }

    /// Three equal parts along the last dimension.
    pub fn thirds(&mut self, value: &Value) -> [Value; 3] {
        let attributes = [Attribute::Int("axis", -1), Attribute::Int("num_outputs", 3)];
        self.node("", "Split", &[value], &attributes)
    }

    /// Declares a value that a node made to be an output, under a name of its own.
    pub fn output(&mut self, name: &str, value: &Value, dimensions: &[Dimension]) {
        let dimensions = dimensions.iter().cloned();
        self.graph.node.push(NodeProto {
            input: vec![value.0.clone()],
            output: vec![name.to_owned()],
            name: name.to_owned(),
            op_type: "Identity".to_owned(),
            ..NodeProto::default()
        });
        let info = value_info(name, DataType::Float, dimensions);
        self.graph.output.push(info);
    }

    /// The finished model.
    pub fn into_model(self) -> ModelProto {
        let standard = OperatorSetIdProto { domain: String::new(), version: OPSET };
        let foreign =
            self.foreign.into_iter().map(|domain| OperatorSetIdProto { domain, version: 1 });
        ModelProto {
            ir_version: IR_VERSION,
            producer_name: env!("CARGO_PKG_NAME").to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(self.graph),
            opset_import: std::iter::once(standard).chain(foreign).collect(),
            functions: Vec::new(),
        }
    }

    fn constant_name(&mut self) -> String {
        self.constants += 1;
        format!("constant_{}", self.constants)
    }

    fn initializer(
        &mut self,
        name: String,
        elements: DataType,
        shape: &[usize],
        bytes: Vec<u8>,
    ) -> Value {
        self.graph.initializer.push(TensorProto {
            dims: shape.iter().map(|&size| size as i64).collect(),
            data_type: elements.into(),
            name: name.clone(),
            raw_data: bytes.into(),
            ..TensorProto::default()
        });
        Value(name)
    }
}

impl Attribute {
    fn to_proto(self) -> AttributeProto {
        let mut proto = AttributeProto::default();
        let (name, kind) = match self {
            Self::Int(name, value) => {
                proto.i = Some(value);
                (name, AttributeType::Int)
            }
            Self::Ints(name, values) => {
                proto.ints = values.to_vec();
                (name, AttributeType::Ints)
            }
            Self::Float(name, value) => {
                proto.f = Some(value);
                (name, AttributeType::Float)
            }
            Self::Text(name, value) => {
                proto.s = Some(value.into());
                (name, AttributeType::String)
            }
        };
        proto.name = name.to_owned();
        proto.set_type(kind);
        proto
    }
}

fn value_info(
    name: &str,
    elements: DataType,
    dimensions: impl Iterator<Item = Dimension>,
) -> ValueInfoProto {
    let dim = dimensions.map(|dimension| DimensionProto { value: Some(dimension) }).collect();
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: elements.into(),
                shape: Some(TensorShapeProto { dim }),
            }),
        }),
    }
}

fn little_endian<T: Copy, const N: usize>(values: &[T], to_bytes: fn(T) -> [u8; N]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len() * N);
    for &value in values {
        bytes.extend_from_slice(&to_bytes(value));
    }
    bytes
}
