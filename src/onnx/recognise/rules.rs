//! What operators make of values that depend on a text, save for arithmetic.

use std::rc::Rc;

use super::{
    Reason,
    arithmetic::SHORTEST_AT_MOST,
    interpreter::{Interpreter, Value},
    node::Node,
    pointwise,
    tensor::{Tensor, broadcast},
    term::{Meaning, NormStep, Term, TermId},
    view::View,
};
use crate::{
    encoder::folder::Pooling,
    onnx::{bert::config::Activation, proto::DataType},
};

type Rule = Result<Value, Reason>;

impl Interpreter<'_> {
    /// The result of a node of which at least one input depends on the text.
    pub(super) fn apply(&mut self, node: &Node, inputs: &[Option<Value>]) -> Rule {
        let input = |index: usize| inputs.get(index).and_then(Option::as_ref);
        match (node.operator(), input(0), input(1)) {
            ("Gather", Some(Value::Known(words)), Some(&Value::Term(ids))) => {
                self.look_up(node, words, ids)
            }
            ("MatMul", Some(&Value::Term(x)), Some(Value::Known(weight))) => {
                self.product(node, x, weight)
            }
            ("MatMul", Some(&Value::Term(a)), Some(&Value::Term(b))) => {
                self.attention_product(node, a, b)
            }
            ("Where", ..) => self.choose(node, inputs),
            ("Add" | "Sub" | "Mul" | "Div" | "Pow" | "Max", Some(a), Some(b))
                if inputs.len() == 2 =>
            {
                self.arithmetic(node, a, b)
            }
            (_, Some(&Value::Term(x)), _) => {
                let mut rest = Vec::new();
                for value in &inputs[1..] {
                    rest.push(match value {
                        Some(Value::Known(tensor)) => Some(tensor.clone()),
                        Some(Value::Term(_)) => return Err(self.refused(node, inputs)),
                        None => None,
                    });
                }
                self.one_term(node, x, &rest)
            }
            _ => Err(self.refused(node, inputs)),
        }
    }

    /// A new value.
    pub(super) fn make(&mut self, node: &Node, meaning: Meaning, shape: Vec<usize>) -> Rule {
        let name = [&node.proto.name].into_iter().chain(&node.proto.output);
        let node = name.into_iter().find(|name| !name.is_empty()).cloned().unwrap_or_default();
        self.terms.push(Term { meaning, shape, node });
        Ok(Value::Term(TermId(self.terms.len() - 1)))
    }

    pub(super) fn refused(&self, node: &Node, inputs: &[Option<Value>]) -> Reason {
        let words = inputs.iter().flatten().map(|input| match input {
            Value::Known(_) => "a constant",
            Value::Term(id) => self.meaning(*id).in_words(),
        });
        let words: Vec<&str> = words.collect();
        format!("a BERT has no {} of {}", node.operator(), words.join(" and "))
    }

    /// Operators with one such input, and maybe constants.
    fn one_term(&mut self, node: &Node, x: TermId, rest: &[Option<Rc<Tensor>>]) -> Rule {
        let Term { meaning, shape, .. } = self.term(x).clone();
        let given = |index: usize| rest.get(index).cloned().flatten();
        match (node.operator(), &meaning) {
            ("Identity" | "Dropout", _) => Ok(Value::Term(x)),
            ("Cast", _) if self.keeps_type(node, &meaning) => Ok(Value::Term(x)),
            ("Gather", Meaning::States { .. }) => self.first_token(node, x, given(0)),
            ("Slice", _) => self.slice(node, x, rest),
            ("Reshape", _) => {
                let target = given(0).ok_or("it has no shape")?;
                let shape = node.reshaped(&shape, target.as_ints()?)?;
                self.reshape(node, x, shape)
            }
            ("Squeeze" | "Unsqueeze", _) => {
                let shape = node.squeezed_shape(&shape, given(0))?;
                self.reshape(node, x, shape)
            }
            ("Transpose", _) => {
                let order = node.permutation(shape.len())?;
                let (of, view, scale) = self.viewed(x)?;
                let view = view.transposed(&order);
                let shape = view.shape();
                self.make(node, Meaning::View { of, view, scale }, shape)
            }
            ("Expand", Meaning::Length { .. }) => {
                let target = given(0).ok_or("it has no shape")?;
                let sizes = target.as_ints()?.iter().map(|&size| size.max(0) as usize);
                let shape = broadcast(&shape, &sizes.collect::<Vec<usize>>())?;
                self.make(node, meaning, shape)
            }
            ("Clip", Meaning::Length { .. }) if given(1).is_none() => {
                let tiny = given(0).and_then(|least| least.as_scalar()).or(node.float("min"));
                let harmless = tiny.is_none_or(|tiny| tiny <= SHORTEST_AT_MOST);
                match harmless && node.float("max").is_none_or(|most| most == f32::MAX) {
                    true => Ok(Value::Term(x)),
                    false => Err("it changes lengths that matter".into()),
                }
            }
            ("ReduceMean" | "ReduceSum" | "ReduceL2", _) => self.reduce(node, x, given(0)),
            ("Softmax", &Meaning::Scores { query, key, scale, heads }) => {
                // Before version 13 the default was 1, and dimensions from there on were one.
                let axis = node.int("axis").unwrap_or(if node.opset < 13 { 1 } else { -1 });
                if node.axis(axis, shape.len())? != shape.len() - 1 {
                    return Err("its shares do not sum to 1 over the keys".into());
                }
                self.make(node, Meaning::Shares { query, key, scale, heads }, shape)
            }
            ("IsNaN", Meaning::Shares { .. }) => self.make(node, Meaning::IsNaN { of: x }, shape),
            ("LayerNormalization", _) => self.layer_norm(node, x, rest),
            ("Sqrt", &Meaning::Norm { of, step: NormStep::Padded { eps } }) => {
                self.make(node, Meaning::Norm { of, step: NormStep::Deviation { eps } }, shape)
            }
            ("Reciprocal", &Meaning::Norm { of, step: NormStep::Deviation { eps } }) => {
                let step = NormStep::InverseDeviation { eps };
                self.make(node, Meaning::Norm { of, step }, shape)
            }
            ("Sqrt", &Meaning::SquaredLength { pooled }) => {
                self.make(node, Meaning::Length { pooled }, shape)
            }
            ("Relu" | "Gelu", &Meaning::Linear { .. }) => self.activate(node, x),
            _ => match (pointwise::unary(node.operator()), self.pointwise(x)) {
                (Some(function), Some((linear, values))) => {
                    let values = values.iter().map(|&value| function(value)).collect();
                    self.make(node, Meaning::Pointwise { linear, values }, shape)
                }
                _ => Err(self.refused(node, &[Some(Value::Term(x))])),
            },
        }
    }

    fn keeps_type(&self, node: &Node, meaning: &Meaning) -> bool {
        let to = node.int("to").and_then(|to| i32::try_from(to).ok()).map(DataType::try_from);
        match (meaning, to) {
            (Meaning::Ids, Some(Ok(DataType::Int32 | DataType::Int64))) => true,
            (Meaning::Ids | Meaning::IsNaN { .. }, _) => false,
            (_, to) => matches!(to, Some(Ok(DataType::Float))),
        }
    }

    fn look_up(&mut self, node: &Node, words: &Rc<Tensor>, ids: TermId) -> Rule {
        let (Meaning::Ids, &[_, width]) = (self.meaning(ids), &*words.shape) else {
            return Err("it looks up something else than a vector for each token id".into());
        };
        if node.int("axis").unwrap_or(0) != 0 {
            return Err("it looks up columns".into());
        }
        words.as_floats()?;
        let shape = [self.term(ids).shape.as_slice(), &[width]].concat();
        let words = words.clone();
        self.make(node, Meaning::Embeddings { words, addends: Vec::new() }, shape)
    }

    fn product(&mut self, node: &Node, x: TermId, weight: &Rc<Tensor>) -> Rule {
        let shape = &self.term(x).shape;
        let (Some((&inputs, leading)), &[rows, outputs]) = (shape.split_last(), &*weight.shape)
        else {
            return Err(format!("its weight has the shape {:?}", weight.shape));
        };
        if inputs != rows {
            return Err(format!("its weight has {rows} rows for {inputs} inputs"));
        }
        weight.as_floats()?;
        let shape = [leading, &[outputs]].concat();
        self.make(node, Meaning::Product { x, weight: weight.clone() }, shape)
    }

    /// query · keyᵀ, or shares · value.
    fn attention_product(&mut self, node: &Node, a: TermId, b: TermId) -> Rule {
        let (left, right) = (self.term(a).clone(), self.term(b).clone());
        let rank = left.shape.len();
        let same_leading = rank >= 2
            && right.shape.len() == rank
            && left.shape[..rank - 2] == right.shape[..rank - 2];
        if !same_leading || left.shape[rank - 1] != right.shape[rank - 2] {
            return Err(format!("shapes {:?} and {:?} do not fit", left.shape, right.shape));
        }
        match (left.meaning, right.meaning) {
            (
                Meaning::View { of: query, view, scale },
                Meaning::View { of: key, view: columns, scale: other },
            ) => {
                let heads = view.heads(false).filter(|_| view.heads(false) == columns.heads(true));
                let heads = heads.ok_or("these are not the heads of queries and keys")?;
                let mut shape = left.shape;
                shape[rank - 1] = right.shape[rank - 1];
                let scale = scale * other;
                self.make(node, Meaning::Scores { query, key, scale, heads }, shape)
            }
            (
                Meaning::Shares { query, key, scale, heads },
                Meaning::View { of: value, view, scale: 1.0 },
            ) if view.heads(false) == Some(heads) => {
                let joined = self.term(value).shape.clone();
                let attention = Meaning::Attention { query, key, value, scale, heads };
                self.make(node, attention, joined)?;
                let of = TermId(self.terms.len() - 1);
                let shape = view.shape();
                self.make(node, Meaning::View { of, view, scale: 1.0 }, shape)
            }
            _ => Err(self.refused(node, &[Some(Value::Term(a)), Some(Value::Term(b))])),
        }
    }

    fn choose(&mut self, node: &Node, inputs: &[Option<Value>]) -> Rule {
        let [Some(condition), Some(a), Some(b)] = inputs else {
            return Err("it needs three inputs".into());
        };
        match (condition, a, b) {
            (Value::Known(condition), a, b) => {
                let choices = condition.as_bools()?;
                let chosen = match (choices.iter().all(|&c| c), choices.iter().any(|&c| c)) {
                    (true, _) => a,
                    (_, false) => b,
                    _ => return Err("it replaces part of the values of a full text".into()),
                };
                let shape = broadcast(self.shape(a), self.shape(b))?;
                let shape = broadcast(&shape, &condition.shape)?;
                match chosen {
                    Value::Term(term) if self.term(*term).shape == shape => Ok(chosen.clone()),
                    _ => Err(self.refused(node, inputs)),
                }
            }
            // softmax of finite scores is a number.
            (&Value::Term(test), Value::Known(_), &Value::Term(x)) => match *self.meaning(test) {
                Meaning::IsNaN { of } if of == x => Ok(Value::Term(x)),
                _ => Err(self.refused(node, inputs)),
            },
            _ => Err(self.refused(node, inputs)),
        }
    }

    fn shape<'a>(&'a self, value: &'a Value) -> &'a [usize] {
        match value {
            Value::Known(tensor) => &tensor.shape,
            Value::Term(id) => &self.term(*id).shape,
        }
    }

    fn first_token(&mut self, node: &Node, states: TermId, index: Option<Rc<Tensor>>) -> Rule {
        let index = index.ok_or("it has no index")?;
        let shape = self.term(states).shape.clone();
        let axis = node.axis(node.int("axis").unwrap_or(0), shape.len())?;
        if axis != 1 || index.as_ints()? != [0] {
            return Err("it takes something else than the first token".into());
        }
        match *index.shape {
            [] => {
                let pooled = Meaning::Pooled { states, pooling: Pooling::Cls };
                self.make(node, pooled, vec![shape[0], shape[2]])
            }
            _ => self.make(node, Meaning::FirstStates { states }, vec![shape[0], 1, shape[2]]),
        }
    }

    fn slice(&mut self, node: &Node, x: TermId, bounds: &[Option<Rc<Tensor>>]) -> Rule {
        let Term { meaning, shape, .. } = self.term(x).clone();
        let cuts = node.cuts(&shape, bounds)?;
        let mut partial = cuts.iter().filter(|cut| cut.start > 0 || cut.end < shape[cut.axis]);
        match (partial.next(), partial.next(), meaning) {
            (None, ..) => Ok(Value::Term(x)),
            (Some(cut), None, Meaning::States { .. })
                if (cut.axis, cut.start, cut.end) == (1, 0, 1) =>
            {
                self.make(node, Meaning::FirstStates { states: x }, vec![shape[0], 1, shape[2]])
            }
            _ => Err(self.refused(node, &[Some(Value::Term(x))])),
        }
    }

    fn reshape(&mut self, node: &Node, x: TermId, shape: Vec<usize>) -> Rule {
        let old = self.term(x).clone();
        match old.meaning {
            _ if old.shape == shape => Ok(Value::Term(x)),
            Meaning::FirstStates { states } if *shape == [old.shape[0], old.shape[2]] => {
                self.make(node, Meaning::Pooled { states, pooling: Pooling::Cls }, shape)
            }
            _ => {
                let (of, view, scale) = self.viewed(x)?;
                let view = view.reshaped(&shape)?;
                self.make(node, Meaning::View { of, view, scale }, shape)
            }
        }
    }

    /// A linear layer's output or attention, and how its dimensions lie.
    fn viewed(&self, x: TermId) -> Result<(TermId, View, f64), Reason> {
        let term = self.term(x);
        match &term.meaning {
            Meaning::View { of, view, scale } => Ok((*of, view.clone(), *scale)),
            Meaning::Linear { .. } => Ok((x, View::of_states(&term.shape)?, 1.0)),
            other => Err(format!("a BERT does not rearrange {}", other.in_words())),
        }
    }

    fn reduce(&mut self, node: &Node, x: TermId, axes: Option<Rc<Tensor>>) -> Rule {
        let Term { meaning, shape, .. } = self.term(x).clone();
        let axes = node.axes(axes, shape.len())?;
        let &[axis] = &*axes else {
            return Err("it takes several dimensions together".into());
        };
        let is_last = axis == shape.len() - 1;
        let keeps = node.int("keepdims") != Some(0);
        let mut left = shape.clone();
        match keeps {
            true => left[axis] = 1,
            false => drop(left.remove(axis)),
        }
        let meaning = match (node.operator(), meaning) {
            ("ReduceMean", Meaning::Norm { of, step: NormStep::Squared }) if is_last && keeps => {
                Meaning::Norm { of, step: NormStep::Variance }
            }
            ("ReduceMean", Meaning::Embeddings { .. } | Meaning::Residual { .. })
                if is_last && keeps =>
            {
                Meaning::Norm { of: x, step: NormStep::Mean }
            }
            ("ReduceMean", Meaning::States { .. }) if axis == 1 && !keeps => {
                Meaning::Pooled { states: x, pooling: Pooling::Mean }
            }
            ("ReduceSum", Meaning::States { .. }) if axis == 1 && !keeps => {
                Meaning::TokenSum { states: x }
            }
            ("ReduceSum", Meaning::Squares { pooled }) if is_last && keeps => {
                Meaning::SquaredLength { pooled }
            }
            ("ReduceL2", Meaning::Pooled { .. }) if is_last && keeps => {
                Meaning::Length { pooled: x }
            }
            _ => return Err(self.refused(node, &[Some(Value::Term(x))])),
        };
        self.make(node, meaning, left)
    }

    fn layer_norm(&mut self, node: &Node, x: TermId, rest: &[Option<Rc<Tensor>>]) -> Rule {
        let Term { meaning, shape, .. } = self.term(x).clone();
        if !matches!(meaning, Meaning::Embeddings { .. } | Meaning::Residual { .. }) {
            return Err(format!("a BERT does not normalise {}", meaning.in_words()));
        }
        let [Some(gamma), Some(beta)] = rest else {
            return Err("it lacks a weight or a bias".into());
        };
        let width = shape.last().copied().unwrap_or(0);
        if node.axis(node.int("axis").unwrap_or(-1), shape.len())? != shape.len() - 1
            || gamma.shape != [width]
            || beta.shape != [width]
        {
            return Err("it normalises something else than the states of tokens".into());
        }
        gamma.as_floats()?;
        beta.as_floats()?;
        /// ONNX's default.
        const EPSILON: f32 = 1e-5;
        let eps = node.float("epsilon").unwrap_or(EPSILON);
        let (gamma, beta) = (gamma.clone(), beta.clone());
        self.make(node, Meaning::States { of: x, eps, gamma, beta }, shape)
    }

    fn activate(&mut self, node: &Node, linear: TermId) -> Rule {
        let activation = match (node.operator(), node.text("approximate").unwrap_or(b"none")) {
            ("Relu", _) => Activation::Relu,
            ("Gelu", b"none") => Activation::Gelu,
            ("Gelu", b"tanh") => Activation::GeluTanh,
            _ => return Err("this approximation is not known".into()),
        };
        let shape = self.term(linear).shape.clone();
        let values = pointwise::values(activation);
        self.make(node, Meaning::Pointwise { linear, values }, shape)
    }

    /// A function of a linear layer's output: that layer, and the function's values.
    pub(super) fn pointwise(&self, x: TermId) -> Option<(TermId, Rc<[f64]>)> {
        match self.meaning(x) {
            Meaning::Linear { .. } => Some((x, pointwise::grid())),
            Meaning::Pointwise { linear, values } => Some((*linear, values.clone())),
            _ => None,
        }
    }
}
