//! Constants: tensors whose elements are known before a graph is run.

use std::rc::Rc;

use super::Reason;
use crate::onnx::proto::{DataType, TensorProto};

/// The most elements of a tensor that is computed here. A BERT's masks and weights are far smaller;
/// a damaged file could ask for any size.
const MAX_ELEMENTS: usize = 1 << 26;

/// A row-major tensor.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor {
    pub shape: Vec<usize>,
    pub data: Data,
}

/// The elements of a tensor. Integers of every width are one kind.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    Float(Vec<f32>),
    Int(Vec<i64>),
    Bool(Vec<bool>),
}

impl Tensor {
    /// A tensor of one dimension.
    pub fn ints(values: Vec<i64>) -> Self {
        Self { shape: vec![values.len()], data: Data::Int(values) }
    }

    /// A tensor in which every element is the same.
    pub fn filled(shape: &[usize], value: i64) -> Result<Self, Reason> {
        let data = Data::Int(vec![value; checked_size(shape)?]);
        Ok(Self { shape: shape.to_vec(), data })
    }

    /// Reads an initializer or an attribute.
    pub fn read(proto: &TensorProto) -> Result<Self, Reason> {
        if proto.data_location != 0 {
            return Err("its data lies in another file, which is not read".into());
        }
        let sizes = proto.dims.iter().map(|&size| usize::try_from(size).ok());
        let shape = sizes.collect::<Option<Vec<usize>>>().ok_or("its shape is negative")?;
        let raw = &*proto.raw_data;
        let data = match proto.data_type() {
            DataType::Float if raw.is_empty() => Data::Float(proto.float_data.clone()),
            DataType::Float => Data::Float(decode(raw, f32::from_le_bytes)),
            DataType::Int64 if raw.is_empty() => Data::Int(proto.int64_data.clone()),
            DataType::Int64 => Data::Int(decode(raw, i64::from_le_bytes)),
            DataType::Int32 if raw.is_empty() => {
                Data::Int(proto.int32_data.iter().map(|&value| value.into()).collect())
            }
            DataType::Int32 => Data::Int(decode(raw, |bytes| i32::from_le_bytes(bytes).into())),
            DataType::Bool if raw.is_empty() => {
                Data::Bool(proto.int32_data.iter().map(|&value| value != 0).collect())
            }
            DataType::Bool => Data::Bool(raw.iter().map(|&byte| byte != 0).collect()),
            other => return Err(format!("its elements are {other:?}; only fp32 graphs are known")),
        };
        let tensor = Self { shape, data };
        let promised = tensor.shape.iter().try_fold(1_usize, |all, &size| all.checked_mul(size));
        match promised == Some(tensor.len()) {
            true => Ok(tensor),
            false => Err(format!("its data do not fill its shape, {:?}", tensor.shape)),
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match &self.data {
            Data::Float(values) => values.len(),
            Data::Int(values) => values.len(),
            Data::Bool(values) => values.len(),
        }
    }

    pub fn as_floats(&self) -> Result<&[f32], Reason> {
        match &self.data {
            Data::Float(values) => Ok(values),
            _ => Err("numbers with a fraction are expected".into()),
        }
    }

    pub fn as_ints(&self) -> Result<&[i64], Reason> {
        match &self.data {
            Data::Int(values) => Ok(values),
            _ => Err("integers are expected".into()),
        }
    }

    pub fn as_bools(&self) -> Result<&[bool], Reason> {
        match &self.data {
            Data::Bool(values) => Ok(values),
            _ => Err("truth values are expected".into()),
        }
    }

    /// The only element.
    pub fn as_scalar(&self) -> Option<f32> {
        match &self.data {
            Data::Float(values) if values.len() == 1 => Some(values[0]),
            _ => None,
        }
    }

    /// Whether all elements are this number.
    pub fn is_all(&self, number: f32) -> bool {
        match &self.data {
            Data::Float(values) => values.iter().all(|&value| value == number),
            _ => false,
        }
    }

    /// The same elements in another shape of the same size.
    pub fn with_shape(&self, shape: Vec<usize>) -> Self {
        debug_assert_eq!(shape.iter().product::<usize>(), self.len());
        Self { shape, data: self.data.clone() }
    }

    /// The elements at these places, in this order.
    pub fn select(&self, shape: Vec<usize>, places: &[usize]) -> Self {
        fn pick<T: Copy>(values: &[T], places: &[usize]) -> Vec<T> {
            places.iter().map(|&place| values[place]).collect()
        }
        let data = match &self.data {
            Data::Float(values) => Data::Float(pick(values, places)),
            Data::Int(values) => Data::Int(pick(values, places)),
            Data::Bool(values) => Data::Bool(pick(values, places)),
        };
        Self { shape, data }
    }

    /// A tensor whose element at each index is the one of `self` at `start` + index · `strides`:
    /// transposed, sliced or repeated. Every place must lie inside.
    pub fn strided(
        &self,
        shape: Vec<usize>,
        strides: &[isize],
        start: usize,
    ) -> Result<Self, Reason> {
        if checked_size(&shape)? == 0 {
            // The other dimensions may have any sizes: they are not to be walked through.
            return Ok(self.select(shape, &[]));
        }
        let mut places = vec![start];
        for (&size, &stride) in shape.iter().zip(strides) {
            let steps = |place: usize| {
                (0..size).map(move |step| place.wrapping_add_signed(step as isize * stride))
            };
            places = places.into_iter().flat_map(steps).collect();
        }
        Ok(self.select(shape, &places))
    }

    /// How far apart neighbours along each dimension lie.
    pub fn strides(&self) -> Vec<isize> {
        let mut strides = vec![1; self.shape.len()];
        for dimension in (1..self.shape.len()).rev() {
            strides[dimension - 1] = strides[dimension] * self.shape[dimension] as isize;
        }
        strides
    }

    /// Repeated along dimensions of size 1 and along further ones in front.
    pub fn broadcast_to(self: &Rc<Self>, shape: &[usize]) -> Result<Rc<Self>, Reason> {
        if self.shape == shape {
            return Ok(self.clone());
        }
        if broadcast(&self.shape, shape)? != shape {
            return Err(format!("shape {:?} does not spread to {shape:?}", self.shape));
        }
        let further = shape.len() - self.shape.len();
        let mut strides = vec![0; further];
        let own = self.shape.iter().zip(self.strides());
        strides.extend(own.map(|(&size, stride)| if size == 1 { 0 } else { stride }));
        Ok(Rc::new(self.strided(shape.to_vec(), &strides, 0)?))
    }
}

/// The shape that both spread to, by the rules of NumPy.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, Reason> {
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], dimension: usize| {
        (dimension + shape.len()).checked_sub(rank).map_or(1, |own| shape[own])
    };
    (0..rank)
        .map(|dimension| match (size(a, dimension), size(b, dimension)) {
            (1, size) | (size, 1) => Ok(size),
            (one, other) if one == other => Ok(one),
            _ => Err(format!("shapes {a:?} and {b:?} do not fit")),
        })
        .collect()
}

/// The number of elements of a shape, if there is room for them.
pub(super) fn checked_size(shape: &[usize]) -> Result<usize, Reason> {
    let size = shape.iter().try_fold(1_usize, |all, &size| all.checked_mul(size));
    size.filter(|&size| size <= MAX_ELEMENTS)
        .ok_or_else(|| format!("a tensor of shape {shape:?} is larger than any of a BERT"))
}

fn decode<const N: usize, T>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    // A remainder makes the count wrong, which the shape tells.
    let (elements, rest) = bytes.as_chunks::<N>();
    let elements = if rest.is_empty() { elements } else { &[] };
    elements.iter().map(|&bytes| read(bytes)).collect()
}
