//! The messages of the ONNX format, as far as they are needed here.
//!
//! Names and field numbers are those of `onnx/onnx.proto` in <https://github.com/onnx/onnx>
//! (IR version 9 and later). Fields that are left out are skipped when a file is read, so a message
//! that was read must not be written again.

use bytes::Bytes;
use prost::Message;

use super::error::OnnxError;

/// The most bytes that a protobuf message, and so an ONNX file, can hold.
///
/// Source: <https://protobuf.dev/programming-guides/proto-limits/>.
pub const MAX_MODEL_BYTES: usize = i32::MAX as usize;

/// A whole file.
#[derive(Clone, PartialEq, Message)]
pub struct ModelProto {
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    #[prost(string, tag = "2")]
    pub producer_name: String,
    #[prost(string, tag = "3")]
    pub producer_version: String,
    #[prost(message, optional, tag = "7")]
    pub graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSetIdProto>,
    #[prost(message, repeated, tag = "25")]
    pub functions: Vec<FunctionProto>,
}

impl ModelProto {
    /// Reads a file. [`Bytes`] are shared rather than copied.
    ///
    /// # Errors
    /// [`OnnxError::Decode`] if these are not the bytes of such a message.
    pub fn from_bytes(file: impl bytes::Buf) -> Result<Self, OnnxError> {
        Self::decode(file).map_err(OnnxError::Decode)
    }

    /// Writes a file.
    ///
    /// # Errors
    /// [`OnnxError::TooLarge`] beyond [`MAX_MODEL_BYTES`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, OnnxError> {
        let bytes = self.encoded_len();
        if bytes > MAX_MODEL_BYTES {
            return Err(OnnxError::TooLarge { bytes });
        }
        Ok(self.encode_to_vec())
    }
}

/// The version of an operator set; the empty domain is `ai.onnx`.
#[derive(Clone, PartialEq, Message)]
pub struct OperatorSetIdProto {
    #[prost(string, tag = "1")]
    pub domain: String,
    #[prost(int64, tag = "2")]
    pub version: i64,
}

/// An operator that is itself made of nodes.
#[derive(Clone, PartialEq, Message)]
pub struct FunctionProto {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, repeated, tag = "7")]
    pub node: Vec<NodeProto>,
}

/// Nodes in the order of their evaluation, constants, inputs and outputs.
#[derive(Clone, PartialEq, Message)]
pub struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfoProto>,
}

/// One use of an operator. Inputs and outputs are names of values.
#[derive(Clone, PartialEq, Message)]
pub struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    #[prost(string, tag = "3")]
    pub name: String,
    #[prost(string, tag = "4")]
    pub op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<AttributeProto>,
    #[prost(string, tag = "7")]
    pub domain: String,
}

/// A named constant of a node; `type` tells which field holds it.
#[derive(Clone, PartialEq, Message)]
pub struct AttributeProto {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(float, optional, tag = "2")]
    pub f: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    pub i: Option<i64>,
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub s: Option<Bytes>,
    #[prost(message, optional, tag = "5")]
    pub t: Option<TensorProto>,
    #[prost(message, optional, tag = "6")]
    pub g: Option<GraphProto>,
    #[prost(int64, repeated, tag = "8")]
    pub ints: Vec<i64>,
    #[prost(message, repeated, tag = "11")]
    pub graphs: Vec<GraphProto>,
    #[prost(enumeration = "AttributeType", tag = "20")]
    pub r#type: i32,
}

/// Which field of an [`AttributeProto`] is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum AttributeType {
    Undefined = 0,
    Float = 1,
    Int = 2,
    String = 3,
    Tensor = 4,
    Graph = 5,
    Floats = 6,
    Ints = 7,
    Strings = 8,
    Tensors = 9,
    Graphs = 10,
    SparseTensor = 11,
    SparseTensors = 12,
    TypeProto = 13,
    TypeProtos = 14,
}

/// A constant tensor: row-major, little-endian `raw_data`, or one of the typed lists in its place.
#[derive(Clone, PartialEq, Message)]
pub struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    pub dims: Vec<i64>,
    #[prost(enumeration = "DataType", tag = "2")]
    pub data_type: i32,
    #[prost(float, repeated, tag = "4")]
    pub float_data: Vec<f32>,
    /// Truth values and integers of 32 bits or fewer.
    #[prost(int32, repeated, tag = "5")]
    pub int32_data: Vec<i32>,
    #[prost(int64, repeated, tag = "7")]
    pub int64_data: Vec<i64>,
    #[prost(string, tag = "8")]
    pub name: String,
    #[prost(bytes = "bytes", tag = "9")]
    pub raw_data: Bytes,
    /// 0: the data are here; 1: they lie in another file.
    #[prost(int32, tag = "14")]
    pub data_location: i32,
}

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum DataType {
    Undefined = 0,
    Float = 1,
    Uint8 = 2,
    Int8 = 3,
    Uint16 = 4,
    Int16 = 5,
    Int32 = 6,
    Int64 = 7,
    String = 8,
    Bool = 9,
    Float16 = 10,
    Double = 11,
    Uint32 = 12,
    Uint64 = 13,
    Complex64 = 14,
    Complex128 = 15,
    Bfloat16 = 16,
    Float8e4m3fn = 17,
    Float8e4m3fnuz = 18,
    Float8e5m2 = 19,
    Float8e5m2fnuz = 20,
    Uint4 = 21,
    Int4 = 22,
}

/// An input or output of a graph.
#[derive(Clone, PartialEq, Message)]
pub struct ValueInfoProto {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<TypeProto>,
}

/// The type of a value; what is no tensor (sequences, maps) is not read.
#[derive(Clone, PartialEq, Message)]
pub struct TypeProto {
    #[prost(message, optional, tag = "1")]
    pub tensor_type: Option<TensorTypeProto>,
}

/// `TypeProto.Tensor`: element type and, where it is known, shape.
#[derive(Clone, PartialEq, Message)]
pub struct TensorTypeProto {
    #[prost(enumeration = "DataType", tag = "1")]
    pub elem_type: i32,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<TensorShapeProto>,
}

/// One entry a dimension.
#[derive(Clone, PartialEq, Message)]
pub struct TensorShapeProto {
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<DimensionProto>,
}

/// `TensorShapeProto.Dimension`: a size, a name for one that differs between calls, or neither.
#[derive(Clone, PartialEq, Message)]
pub struct DimensionProto {
    #[prost(oneof = "Dimension", tags = "1, 2")]
    pub value: Option<Dimension>,
}

/// What is known of a dimension.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Dimension {
    /// `dim_value`: its size.
    #[prost(int64, tag = "1")]
    Size(i64),
    /// `dim_param`: its name.
    #[prost(string, tag = "2")]
    Name(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_bytes_that_the_protobuf_encoding_prescribes() {
        let dimension = DimensionProto { value: Some(Dimension::Name("batch".to_owned())) };
        let value = ValueInfoProto {
            name: "x".to_owned(),
            r#type: Some(TypeProto {
                tensor_type: Some(TensorTypeProto {
                    elem_type: DataType::Int64.into(),
                    shape: Some(TensorShapeProto { dim: vec![dimension] }),
                }),
            }),
        };
        // A tag is (field number << 3) | wire type; 0 is a varint, 2 a length and its bytes.
        // Written with onnx 1.23's `make_tensor_value_info("x", TensorProto.INT64, ["batch"])`.
        let expected = b"\x0a\x01x\x12\x0f\x0a\x0d\x08\x07\x12\x09\x0a\x07\x12\x05batch";
        assert_eq!(value.encode_to_vec(), expected);
    }

    #[test]
    fn a_zero_attribute_is_written_rather_than_left_out() {
        let attribute = AttributeProto {
            name: "axis".to_owned(),
            i: Some(0),
            r#type: AttributeType::Int.into(),
            ..AttributeProto::default()
        };
        let read = AttributeProto::decode(attribute.encode_to_vec().as_slice()).unwrap();
        assert_eq!(read.i, Some(0));
    }

    #[test]
    fn a_model_beyond_two_gigabytes_is_refused_before_it_is_written() {
        let shared = Bytes::from(vec![0; 1 << 20]);
        let tensor = TensorProto { raw_data: shared, ..TensorProto::default() };
        let model = ModelProto {
            graph: Some(GraphProto { initializer: vec![tensor; 2048], ..GraphProto::default() }),
            ..ModelProto::default()
        };
        let error = model.to_bytes().unwrap_err();
        assert!(matches!(error, OnnxError::TooLarge { bytes } if bytes > 1 << 31));
        assert!(error.to_string().contains("at most 2147483647"), "{error}");
    }
}
