//! Operators that treat every element of a constant alike.

use std::rc::Rc;

use super::{
    Reason,
    tensor::{Data, Tensor, broadcast},
};
use crate::onnx::proto::DataType;

type Folded = Result<Rc<Tensor>, Reason>;

/// One element of each, after both are spread to the same shape.
pub(super) fn binary(operator: &str, a: &Rc<Tensor>, b: &Rc<Tensor>) -> Folded {
    let shape = broadcast(&a.shape, &b.shape)?;
    let (a, b) = (a.broadcast_to(&shape)?, b.broadcast_to(&shape)?);
    let data = match (&a.data, &b.data) {
        (Data::Float(a), Data::Float(b)) => floats(operator, a, b),
        (Data::Int(a), Data::Int(b)) => ints(operator, a, b),
        (Data::Bool(a), Data::Bool(b)) => bools(operator, a, b),
        _ => None,
    };
    let data = data.ok_or("it cannot join these types")?;
    Ok(Rc::new(Tensor { shape, data }))
}

pub(super) fn unary(operator: &str, x: &Tensor) -> Folded {
    let data = match (operator, &x.data) {
        ("Neg", Data::Float(values)) => Data::Float(values.iter().map(|&x| -x).collect()),
        ("Neg", Data::Int(values)) => Data::Int(values.iter().map(|&x| x.wrapping_neg()).collect()),
        ("Sqrt", Data::Float(values)) => Data::Float(values.iter().map(|&x| x.sqrt()).collect()),
        ("Reciprocal", Data::Float(values)) => {
            Data::Float(values.iter().map(|&x| 1.0 / x).collect())
        }
        ("IsNaN", Data::Float(values)) => Data::Bool(values.iter().map(|x| x.is_nan()).collect()),
        ("Not", Data::Bool(values)) => Data::Bool(values.iter().map(|&x| !x).collect()),
        _ => return Err("it cannot take this type".into()),
    };
    Ok(Rc::new(Tensor { shape: x.shape.clone(), data }))
}

pub(super) fn where_(condition: &Rc<Tensor>, a: &Rc<Tensor>, b: &Rc<Tensor>) -> Folded {
    fn choose<T: Copy>(condition: &[bool], a: &[T], b: &[T]) -> Vec<T> {
        let pairs = a.iter().zip(b);
        condition.iter().zip(pairs).map(|(&first, (&a, &b))| if first { a } else { b }).collect()
    }
    let shape = broadcast(&broadcast(&condition.shape, &a.shape)?, &b.shape)?;
    let condition = condition.broadcast_to(&shape)?;
    let condition = condition.as_bools()?;
    let data = match (&a.broadcast_to(&shape)?.data, &b.broadcast_to(&shape)?.data) {
        (Data::Float(a), Data::Float(b)) => Data::Float(choose(condition, a, b)),
        (Data::Int(a), Data::Int(b)) => Data::Int(choose(condition, a, b)),
        (Data::Bool(a), Data::Bool(b)) => Data::Bool(choose(condition, a, b)),
        _ => return Err("it chooses between different types".into()),
    };
    Ok(Rc::new(Tensor { shape, data }))
}

/// `to` is a number of ONNX's enumeration of types.
pub(super) fn cast(x: &Rc<Tensor>, to: i64) -> Folded {
    let to = i32::try_from(to).ok().and_then(|to| DataType::try_from(to).ok());
    let data = match (&x.data, to.unwrap_or(DataType::Undefined)) {
        (Data::Float(_), DataType::Float)
        | (Data::Int(_), DataType::Int64 | DataType::Int32)
        | (Data::Bool(_), DataType::Bool) => return Ok(x.clone()),
        (Data::Float(values), DataType::Int64 | DataType::Int32) => {
            Data::Int(values.iter().map(|&value| value as i64).collect())
        }
        (Data::Float(values), DataType::Bool) => {
            Data::Bool(values.iter().map(|&value| value != 0.0).collect())
        }
        (Data::Int(values), DataType::Float) => {
            Data::Float(values.iter().map(|&value| value as f32).collect())
        }
        (Data::Int(values), DataType::Bool) => {
            Data::Bool(values.iter().map(|&value| value != 0).collect())
        }
        (Data::Bool(values), DataType::Float) => {
            Data::Float(values.iter().map(|&value| f32::from(u8::from(value))).collect())
        }
        (Data::Bool(values), DataType::Int64 | DataType::Int32) => {
            Data::Int(values.iter().map(|&value| value.into()).collect())
        }
        (_, other) => return Err(format!("it makes {other:?}; only fp32 graphs are known")),
    };
    Ok(Rc::new(Tensor { shape: x.shape.clone(), data }))
}

fn floats(operator: &str, a: &[f32], b: &[f32]) -> Option<Data> {
    Some(match operator {
        "Add" => Data::Float(zip(a, b, |a, b| a + b)),
        "Sub" => Data::Float(zip(a, b, |a, b| a - b)),
        "Mul" => Data::Float(zip(a, b, |a, b| a * b)),
        "Div" => Data::Float(zip(a, b, |a, b| a / b)),
        "Pow" => Data::Float(zip(a, b, f32::powf)),
        "Max" => Data::Float(zip(a, b, f32::max)),
        "Min" => Data::Float(zip(a, b, f32::min)),
        _ => Data::Bool(compare(operator, a, b)?),
    })
}

fn ints(operator: &str, a: &[i64], b: &[i64]) -> Option<Data> {
    Some(match operator {
        "Add" => Data::Int(zip(a, b, i64::wrapping_add)),
        "Sub" => Data::Int(zip(a, b, i64::wrapping_sub)),
        "Mul" => Data::Int(zip(a, b, i64::wrapping_mul)),
        "Div" if !b.contains(&0) => Data::Int(zip(a, b, i64::wrapping_div)),
        "Max" => Data::Int(zip(a, b, i64::max)),
        "Min" => Data::Int(zip(a, b, i64::min)),
        _ => Data::Bool(compare(operator, a, b)?),
    })
}

fn bools(operator: &str, a: &[bool], b: &[bool]) -> Option<Data> {
    Some(Data::Bool(match operator {
        "And" => zip(a, b, |a, b| a & b),
        "Or" => zip(a, b, |a, b| a | b),
        "Equal" => zip(a, b, |a, b| a == b),
        _ => return None,
    }))
}

fn compare<T: Copy + PartialOrd>(operator: &str, a: &[T], b: &[T]) -> Option<Vec<bool>> {
    Some(match operator {
        "Equal" => zip(a, b, |a, b| a == b),
        "Less" => zip(a, b, |a, b| a < b),
        "Greater" => zip(a, b, |a, b| a > b),
        "LessOrEqual" => zip(a, b, |a, b| a <= b),
        "GreaterOrEqual" => zip(a, b, |a, b| a >= b),
        _ => return None,
    })
}

fn zip<T: Copy, U>(a: &[T], b: &[T], join: impl Fn(T, T) -> U) -> Vec<U> {
    a.iter().zip(b).map(|(&a, &b)| join(a, b)).collect()
}
