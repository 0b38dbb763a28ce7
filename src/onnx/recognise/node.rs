//! A node's attributes, and what they mean for a shape.

use std::rc::Rc;

use super::{Reason, tensor::Tensor};
use crate::onnx::proto::{AttributeProto, NodeProto, TensorProto};

/// One node of a graph, read under its operator set.
pub(super) struct Node<'file> {
    pub proto: &'file NodeProto,
    /// The version of ONNX's own operator set.
    pub opset: i64,
}

/// What `Slice` leaves of one dimension: `start` to before `end`.
pub(super) struct Cut {
    pub axis: usize,
    pub start: usize,
    pub end: usize,
}

impl<'file> Node<'file> {
    pub fn operator(&self) -> &'file str {
        &self.proto.op_type
    }

    pub fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name)?.i
    }

    pub fn float(&self, name: &str) -> Option<f32> {
        self.attribute(name)?.f
    }

    pub fn ints(&self, name: &str) -> Option<&'file [i64]> {
        self.attribute(name).map(|attribute| &*attribute.ints)
    }

    pub fn text(&self, name: &str) -> Option<&'file [u8]> {
        self.attribute(name)?.s.as_deref()
    }

    pub fn tensor(&self, name: &str) -> Option<&'file TensorProto> {
        self.attribute(name)?.t.as_ref()
    }

    /// A dimension, counted from the end where it is negative.
    pub fn axis(&self, axis: i64, rank: usize) -> Result<usize, Reason> {
        let from_start = if axis < 0 { axis + rank as i64 } else { axis };
        usize::try_from(from_start)
            .ok()
            .filter(|&axis| axis < rank)
            .ok_or_else(|| format!("there is no dimension {axis} among {rank}"))
    }

    /// The dimensions that a reduction takes together: the attribute of older operator sets or the
    /// input of newer ones, else all.
    pub fn axes(&self, given: Option<Rc<Tensor>>, rank: usize) -> Result<Vec<usize>, Reason> {
        let axes = match (self.ints("axes"), given) {
            (Some(axes), _) => axes.to_vec(),
            (None, Some(axes)) => axes.as_ints()?.to_vec(),
            (None, None) if self.int("noop_with_empty_axes") == Some(1) => {
                return Err("it reduces nothing".into());
            }
            (None, None) => (0..rank as i64).collect(),
        };
        axes.into_iter().map(|axis| self.axis(axis, rank)).collect()
    }

    /// The new order of dimensions of `Transpose`.
    pub fn permutation(&self, rank: usize) -> Result<Vec<usize>, Reason> {
        let Some(order) = self.ints("perm") else {
            return Ok((0..rank).rev().collect());
        };
        let order =
            order.iter().map(|&axis| self.axis(axis, rank)).collect::<Result<Vec<_>, _>>()?;
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..rank) {
            return Err(format!("{order:?} is no order of {rank} dimensions"));
        }
        Ok(order)
    }

    /// The shape that `Reshape` makes of another: -1 is what is left, 0 what was there.
    pub fn reshaped(&self, from: &[usize], target: &[i64]) -> Result<Vec<usize>, Reason> {
        let cannot = || format!("it cannot make {target:?} of shape {from:?}");
        let keeps_zero = self.int("allowzero").unwrap_or(0) == 0;
        let mut shape = Vec::new();
        for (dimension, &size) in target.iter().enumerate() {
            shape.push(match size {
                -1 => 1,
                0 if keeps_zero => *from.get(dimension).ok_or_else(cannot)?,
                size => usize::try_from(size).map_err(|_| cannot())?,
            });
        }
        let count: usize = from.iter().product();
        let known = shape.iter().try_fold(1_usize, |all, &size| all.checked_mul(size));
        let known = known.ok_or_else(cannot)?;
        let mut left = target.iter().enumerate().filter(|&(_, &size)| size == -1);
        match (left.next(), left.next()) {
            (None, _) if known == count => Ok(shape),
            (Some((dimension, _)), None) if known > 0 && count.is_multiple_of(known) => {
                shape[dimension] = count / known;
                Ok(shape)
            }
            _ => Err(cannot()),
        }
    }

    /// The shape that `Unsqueeze` or `Squeeze` makes of another.
    pub fn squeezed_shape(
        &self,
        from: &[usize],
        axes: Option<Rc<Tensor>>,
    ) -> Result<Vec<usize>, Reason> {
        let axes: Option<Vec<i64>> = match (self.ints("axes"), axes) {
            (Some(axes), _) => Some(axes.to_vec()),
            (None, Some(axes)) => Some(axes.as_ints()?.to_vec()),
            (None, None) => None,
        };
        if self.operator() == "Squeeze" {
            let dropped: Vec<usize> = match axes {
                Some(axes) => axes
                    .into_iter()
                    .map(|axis| self.axis(axis, from.len()))
                    .collect::<Result<_, _>>()?,
                None => (0..from.len()).filter(|&axis| from[axis] == 1).collect(),
            };
            if dropped.iter().any(|&axis| from[axis] != 1) {
                return Err(format!("it drops a dimension of shape {from:?} that is not 1"));
            }
            let left = (0..from.len()).filter(|axis| !dropped.contains(axis));
            return Ok(left.map(|axis| from[axis]).collect());
        }
        let axes = axes.ok_or("it does not say which dimension to add")?;
        let rank = from.len() + axes.len();
        let added: Vec<usize> =
            axes.into_iter().map(|axis| self.axis(axis, rank)).collect::<Result<_, _>>()?;
        let mut old = from.iter();
        let size = |axis| match added.contains(&axis) {
            true => Some(1),
            false => old.next().copied(),
        };
        let shape: Option<Vec<usize>> = (0..rank).map(size).collect();
        shape.ok_or_else(|| "it adds a dimension twice".into())
    }

    /// What `Slice` cuts: `inputs` are starts, ends, and maybe axes and steps.
    pub fn cuts(&self, shape: &[usize], inputs: &[Option<Rc<Tensor>>]) -> Result<Vec<Cut>, Reason> {
        let input = |index: usize| inputs.get(index).and_then(Option::as_ref);
        let list = |index: usize, name: &str| match (self.ints(name), input(index)) {
            (Some(values), _) => Ok(Some(values.to_vec())),
            (None, Some(values)) => Ok::<_, Reason>(Some(values.as_ints()?.to_vec())),
            (None, None) => Ok(None),
        };
        let starts = list(0, "starts")?.ok_or("it has no starts")?;
        let ends = list(1, "ends")?.ok_or("it has no ends")?;
        let axes = list(2, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = list(3, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
            return Err("its lists differ in length".into());
        }
        if steps.iter().any(|&step| step != 1) {
            return Err("it skips elements".into());
        }
        let bounds = starts.into_iter().zip(ends).zip(axes);
        let cuts: Vec<Cut> = bounds
            .map(|((start, end), axis)| {
                let axis = self.axis(axis, shape.len())?;
                let size = shape[axis] as i64;
                let within = |bound: i64| {
                    let bound = if bound < 0 { bound.saturating_add(size) } else { bound };
                    bound.clamp(0, size) as usize
                };
                let (start, end) = (within(start), within(end));
                Ok(Cut { axis, start, end: end.max(start) })
            })
            .collect::<Result<_, Reason>>()?;
        let repeats = |cut: &Cut| cuts.iter().filter(|other| other.axis == cut.axis).count() > 1;
        match cuts.iter().any(repeats) {
            true => Err("it cuts a dimension twice".into()),
            false => Ok(cuts),
        }
    }

    fn attribute(&self, name: &str) -> Option<&'file AttributeProto> {
        self.proto.attribute.iter().find(|attribute| attribute.name == name)
    }
}
