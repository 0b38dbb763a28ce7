//! Operators on constants: what ONNX Runtime would compute, for those that exports use to make
//! shapes, positions and masks.
//!
//! Source of every rule: <https://onnx.ai/onnx/operators/>.

use std::rc::Rc;

use super::{
    Reason,
    elementwise::{binary, cast, unary, where_},
    node::Node,
    tensor::{Data, Tensor, checked_size},
};
use crate::onnx::proto::DataType;

type Folded = Result<Rc<Tensor>, Reason>;

/// The result of a node whose inputs are all known. Empty optional inputs are left out at the end
/// and `None` in between.
pub(super) fn fold(node: &Node, inputs: &[Option<Rc<Tensor>>]) -> Folded {
    let input = |index: usize| {
        let given = inputs.get(index).and_then(Option::as_ref);
        given.ok_or_else(|| format!("its input {index} is missing"))
    };
    match node.operator() {
        "Identity" | "Dropout" => input(0).cloned(),
        "Constant" => constant(node),
        "Cast" => cast(input(0)?, node.int("to").ok_or("it does not say to what")?),
        "CastLike" => cast_like(input(0)?, input(1)?),
        "Reshape" => reshape(node, input(0)?, input(1)?),
        "Flatten" => flatten(node, input(0)?),
        "Unsqueeze" | "Squeeze" => {
            let shape = node.squeezed_shape(&input(0)?.shape, inputs.get(1).cloned().flatten())?;
            Ok(Rc::new(input(0)?.with_shape(shape)))
        }
        "Transpose" => transpose(node, input(0)?),
        "Expand" => expand(input(0)?, input(1)?),
        "ConstantOfShape" => constant_of_shape(node, input(0)?),
        "Range" => range(input(0)?, input(1)?, input(2)?),
        "Concat" => concat(node, inputs),
        "Slice" => slice(node, inputs),
        "Gather" => gather(node, input(0)?, input(1)?),
        "GatherElements" => gather_elements(node, input(0)?, input(1)?),
        "GatherND" => gather_nd(node, input(0)?, input(1)?),
        "ReduceSum" => reduce_sum(node, inputs),
        "Where" => where_(input(0)?, input(1)?, input(2)?),
        "Clip" => clip(inputs),
        "Neg" | "Not" | "Sqrt" | "Reciprocal" | "IsNaN" => unary(node.operator(), input(0)?),
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Max" | "Min" | "Equal" | "Less" | "Greater"
        | "LessOrEqual" | "GreaterOrEqual" | "And" | "Or"
            if inputs.len() == 2 =>
        {
            binary(node.operator(), input(0)?, input(1)?)
        }
        _ => Err("this operator is not part of a BERT".into()),
    }
}

fn constant(node: &Node) -> Folded {
    if let Some(value) = node.tensor("value") {
        return Ok(Rc::new(Tensor::read(value)?));
    }
    let scalar = |data| Ok(Rc::new(Tensor { shape: vec![], data }));
    if let Some(value) = node.int("value_int") {
        return scalar(Data::Int(vec![value]));
    }
    if let Some(value) = node.float("value_float") {
        return scalar(Data::Float(vec![value]));
    }
    match node.ints("value_ints") {
        Some(values) => Ok(Rc::new(Tensor::ints(values.to_vec()))),
        None => Err("a constant of this kind is not part of a BERT".into()),
    }
}

fn reshape(node: &Node, x: &Tensor, target: &Tensor) -> Folded {
    let shape = node.reshaped(&x.shape, target.as_ints()?)?;
    Ok(Rc::new(x.with_shape(shape)))
}

fn flatten(node: &Node, x: &Tensor) -> Folded {
    let rank = x.shape.len();
    let axis = match node.int("axis").unwrap_or(1) {
        axis if axis == rank as i64 => rank,
        axis => node.axis(axis, rank)?,
    };
    let (rows, columns) = x.shape.split_at(axis);
    let shape = vec![rows.iter().product(), columns.iter().product()];
    Ok(Rc::new(x.with_shape(shape)))
}

fn cast_like(x: &Rc<Tensor>, like: &Tensor) -> Folded {
    let to = match like.data {
        Data::Float(_) => DataType::Float,
        Data::Int(_) => DataType::Int64,
        Data::Bool(_) => DataType::Bool,
    };
    cast(x, to as i64)
}

fn transpose(node: &Node, x: &Tensor) -> Folded {
    let order = node.permutation(x.shape.len())?;
    let strides = x.strides();
    let shape = order.iter().map(|&from| x.shape[from]).collect();
    let strides: Vec<isize> = order.iter().map(|&from| strides[from]).collect();
    Ok(Rc::new(x.strided(shape, &strides, 0)?))
}

fn expand(x: &Rc<Tensor>, shape: &Tensor) -> Folded {
    let shape = super::tensor::broadcast(&x.shape, &sizes(shape)?)?;
    x.broadcast_to(&shape)
}

fn constant_of_shape(node: &Node, shape: &Tensor) -> Folded {
    let value = match node.tensor("value") {
        Some(value) => Tensor::read(value)?,
        None => Tensor { shape: vec![1], data: Data::Float(vec![0.0]) },
    };
    if value.len() != 1 {
        return Err("its value must be one number".into());
    }
    let shape = sizes(shape)?;
    let count = checked_size(&shape)?;
    Ok(Rc::new(value.select(shape, &vec![0; count])))
}

fn range(start: &Tensor, limit: &Tensor, delta: &Tensor) -> Folded {
    let (&[start], &[limit], &[delta]) = (start.as_ints()?, limit.as_ints()?, delta.as_ints()?)
    else {
        return Err("its ends must be single numbers".into());
    };
    let step = usize::try_from(delta).ok().filter(|&step| step > 0).ok_or("it counts down")?;
    let count = usize::try_from(limit.saturating_sub(start)).unwrap_or(0);
    checked_size(&[count])?;
    Ok(Rc::new(Tensor::ints((start..limit).step_by(step).collect())))
}

fn concat(node: &Node, inputs: &[Option<Rc<Tensor>>]) -> Folded {
    let inputs = inputs.iter().flatten().cloned().collect::<Vec<Rc<Tensor>>>();
    let first = inputs.first().ok_or("it joins nothing")?;
    let axis = node.axis(node.int("axis").unwrap_or(0), first.shape.len())?;
    let mut shape = first.shape.clone();
    shape[axis] = 0;
    for input in &inputs {
        let mut expected = input.shape.clone();
        let size = expected.get_mut(axis).map(|size| std::mem::replace(size, shape[axis]));
        shape[axis] += size.filter(|_| expected == shape).ok_or("its inputs do not fit")?;
    }
    checked_size(&shape)?;
    let rows = shape[..axis].iter().product::<usize>();
    let empty = first.select(vec![], &[]).data;
    let mut joined = Tensor { shape, data: empty };
    for row in 0..rows {
        for input in &inputs {
            let size = input.len() / rows;
            let range = row * size..(row + 1) * size;
            match (&mut joined.data, &input.data) {
                (Data::Float(all), Data::Float(part)) => all.extend_from_slice(&part[range]),
                (Data::Int(all), Data::Int(part)) => all.extend_from_slice(&part[range]),
                (Data::Bool(all), Data::Bool(part)) => all.extend_from_slice(&part[range]),
                _ => return Err("its inputs are of different types".into()),
            }
        }
    }
    Ok(Rc::new(joined))
}

fn slice(node: &Node, inputs: &[Option<Rc<Tensor>>]) -> Folded {
    let x = inputs.first().and_then(Option::as_ref).ok_or("it cuts nothing")?;
    let mut shape = x.shape.clone();
    let strides = x.strides();
    let mut start = 0;
    for cut in node.cuts(&x.shape, &inputs[1..])? {
        start += cut.start * strides[cut.axis] as usize;
        shape[cut.axis] = cut.end - cut.start;
    }
    Ok(Rc::new(x.strided(shape, &strides, start)?))
}

fn gather(node: &Node, x: &Tensor, indices: &Tensor) -> Folded {
    let axis = node.axis(node.int("axis").unwrap_or(0), x.shape.len())?;
    let size = x.shape[axis];
    let indices_in = indices.as_ints()?.iter().map(|&index| wrap(index, size));
    let chosen = indices_in.collect::<Result<Vec<usize>, Reason>>()?;
    let inner: usize = x.shape[axis + 1..].iter().product();
    let outer: usize = x.shape[..axis].iter().product();
    let shape = [&x.shape[..axis], &indices.shape, &x.shape[axis + 1..]].concat();
    let mut places = Vec::with_capacity(checked_size(&shape)?);
    for row in 0..outer {
        for &index in &chosen {
            let from = (row * size + index) * inner;
            places.extend(from..from + inner);
        }
    }
    Ok(Rc::new(x.select(shape, &places)))
}

fn gather_elements(node: &Node, x: &Tensor, indices: &Tensor) -> Folded {
    let rank = x.shape.len();
    let axis = node.axis(node.int("axis").unwrap_or(0), rank)?;
    let fits = indices.shape.len() == rank
        && (0..rank).all(|d| d == axis || indices.shape[d] <= x.shape[d]);
    if !fits {
        return Err(format!("indices of shape {:?} into {:?}", indices.shape, x.shape));
    }
    let (from, to) = (x.strides(), indices.strides());
    let values = indices.as_ints()?;
    let mut places = Vec::with_capacity(values.len());
    for (place, &value) in values.iter().enumerate() {
        let mut rest = place;
        let mut source = 0;
        for dimension in 0..rank {
            let index = rest / to[dimension] as usize;
            rest %= to[dimension] as usize;
            let index = if dimension == axis { wrap(value, x.shape[dimension])? } else { index };
            source += index * from[dimension] as usize;
        }
        places.push(source);
    }
    Ok(Rc::new(x.select(indices.shape.clone(), &places)))
}

fn gather_nd(node: &Node, x: &Tensor, indices: &Tensor) -> Folded {
    let Some((&depth, outer)) = indices.shape.split_last() else {
        return Err("it has no indices".into());
    };
    if node.int("batch_dims").unwrap_or(0) != 0 || depth == 0 || depth > x.shape.len() {
        return Err("its indices are not those of a mask".into());
    }
    let inner: usize = x.shape[depth..].iter().product();
    let shape = [outer, &x.shape[depth..]].concat();
    let strides = x.strides();
    let mut places = Vec::with_capacity(checked_size(&shape)?);
    for index in indices.as_ints()?.chunks_exact(depth) {
        let mut from = 0;
        for (dimension, &index) in index.iter().enumerate() {
            from += wrap(index, x.shape[dimension])? * strides[dimension] as usize;
        }
        places.extend(from..from + inner);
    }
    Ok(Rc::new(x.select(shape, &places)))
}

/// A sum over some dimensions: counts the tokens of a mask.
fn reduce_sum(node: &Node, inputs: &[Option<Rc<Tensor>>]) -> Folded {
    let x = inputs.first().and_then(Option::as_ref).ok_or("it sums nothing")?;
    let axes = node.axes(inputs.get(1).cloned().flatten(), x.shape.len())?;
    let kept: Vec<usize> =
        x.shape.iter().enumerate().map(|(d, &n)| if axes.contains(&d) { 1 } else { n }).collect();
    let target = Tensor::filled(&kept, 0)?;
    let to = target.strides();
    let from = x.strides();
    let place_of = |place: usize| {
        let mut rest = place;
        let mut to_place = 0;
        for dimension in 0..x.shape.len() {
            let index = rest / from[dimension] as usize;
            rest %= from[dimension] as usize;
            if !axes.contains(&dimension) {
                to_place += index * to[dimension] as usize;
            }
        }
        to_place
    };
    let data = match &x.data {
        Data::Float(values) => {
            let mut sums = vec![0.0_f32; target.len()];
            values.iter().enumerate().for_each(|(place, value)| sums[place_of(place)] += value);
            Data::Float(sums)
        }
        Data::Int(values) => {
            let mut sums = vec![0_i64; target.len()];
            for (place, &value) in values.iter().enumerate() {
                let sum = &mut sums[place_of(place)];
                *sum = sum.wrapping_add(value);
            }
            Data::Int(sums)
        }
        Data::Bool(_) => return Err("truth values have no sum".into()),
    };
    let shape = match node.int("keepdims") {
        Some(0) => {
            let left = x.shape.iter().enumerate().filter(|(d, _)| !axes.contains(d));
            left.map(|(_, &size)| size).collect()
        }
        _ => kept,
    };
    Ok(Rc::new(Tensor { shape, data }))
}

fn clip(inputs: &[Option<Rc<Tensor>>]) -> Folded {
    let mut x = inputs.first().cloned().flatten().ok_or("it clips nothing")?;
    for (bound, operator) in inputs[1..].iter().zip(["Max", "Min"]) {
        if let Some(bound) = bound {
            x = binary(operator, &x, bound)?;
        }
    }
    Ok(x)
}

/// A shape out of a tensor.
fn sizes(shape: &Tensor) -> Result<Vec<usize>, Reason> {
    let sizes = shape.as_ints()?.iter().map(|&size| usize::try_from(size).ok());
    sizes.collect::<Option<_>>().ok_or_else(|| "a size is negative".into())
}

/// An index, counted from the end where it is negative.
fn wrap(index: i64, size: usize) -> Result<usize, Reason> {
    let from_start = if index < 0 { index + size as i64 } else { index };
    usize::try_from(from_start)
        .ok()
        .filter(|&index| index < size)
        .ok_or_else(|| format!("index {index} is outside of a dimension of size {size}"))
}
