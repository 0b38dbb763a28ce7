//! What sums, differences, products, quotients and powers mean, of values that depend on a text.

use std::rc::Rc;

use super::{
    Reason,
    interpreter::{Interpreter, Value},
    node::Node,
    pointwise,
    tensor::{Tensor, broadcast},
    term::{Meaning, NormStep, Term, TermId},
};

use crate::encoder::folder::Pooling;

type Rule = Result<Value, Reason>;

/// The largest number that may replace the length of a sentence's vector, lest it divide by zero.
pub(super) const SHORTEST_AT_MOST: f32 = 1e-6;

impl Interpreter<'_> {
    /// One of the operators with two inputs that are spread to the same shape.
    pub(super) fn arithmetic(&mut self, node: &Node, a: &Value, b: &Value) -> Rule {
        let found = match (a, b) {
            (&Value::Term(a), Value::Known(b)) => self.with_constant(node, a, b)?,
            (Value::Known(a), &Value::Term(b)) if matches!(node.operator(), "Add" | "Mul") => {
                self.with_constant(node, b, a)?
            }
            (&Value::Term(a), &Value::Term(b)) => {
                let found = self.of_two(node, a, b)?;
                match node.operator() {
                    "Add" | "Mul" if found.is_none() => self.of_two(node, b, a)?,
                    _ => found,
                }
            }
            _ => None,
        };
        match found {
            Some(value) => Ok(value),
            None => self.as_pointwise(node, a, b),
        }
    }

    /// A term and a constant, in this order where it matters.
    fn with_constant(
        &mut self,
        node: &Node,
        x: TermId,
        constant: &Rc<Tensor>,
    ) -> Result<Option<Value>, Reason> {
        let Term { meaning, shape, .. } = self.term(x).clone();
        let spreads = broadcast(&shape, &constant.shape)? == shape;
        let width = shape.last().copied().unwrap_or(0);
        let is_vector = spreads && constant.len() == width && constant.shape.last() == Some(&width);
        let constant = constant.clone();
        let number = constant.as_scalar();
        let meaning = match (node.operator(), meaning) {
            ("Add", Meaning::Embeddings { words, mut addends }) if spreads => {
                constant.as_floats()?;
                addends.push(constant);
                Meaning::Embeddings { words, addends }
            }
            ("Add", Meaning::Product { x, weight }) if is_vector => {
                constant.as_floats()?;
                Meaning::Linear { x, weight, bias: constant }
            }
            ("Add", Meaning::Norm { of, step: NormStep::Variance }) => match number {
                Some(eps) => Meaning::Norm { of, step: NormStep::Padded { eps } },
                None => return Ok(None),
            },
            ("Mul", Meaning::Norm { of, step: NormStep::Normalized { eps } }) if is_vector => {
                constant.as_floats()?;
                Meaning::Gained { of, eps, gamma: constant }
            }
            ("Add", Meaning::Gained { of, eps, gamma }) if is_vector => {
                constant.as_floats()?;
                Meaning::States { of, eps, gamma, beta: constant }
            }
            ("Pow", Meaning::Norm { of, step: NormStep::Centred }) if number == Some(2.0) => {
                Meaning::Norm { of, step: NormStep::Squared }
            }
            ("Pow", Meaning::Pooled { .. }) if number == Some(2.0) => {
                Meaning::Squares { pooled: x }
            }
            // The mask of a text without padding.
            ("Add", Meaning::Scores { .. }) if spreads && constant.is_all(0.0) => {
                return Ok(Some(Value::Term(x)));
            }
            ("Mul", Meaning::States { .. }) if spreads && constant.is_all(1.0) => {
                return Ok(Some(Value::Term(x)));
            }
            ("Div", Meaning::TokenSum { states })
                if spreads && constant.is_all(self.sizes.tokens as f32) =>
            {
                let pooling = Pooling::Mean;
                Meaning::Pooled { states, pooling }
            }
            ("Max", Meaning::Length { .. }) if number.is_some_and(|n| n <= SHORTEST_AT_MOST) => {
                return Ok(Some(Value::Term(x)));
            }
            ("Mul" | "Div", meaning) => match (number, scaled(node, meaning, number)) {
                (Some(_), Some(meaning)) if spreads => meaning,
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        self.make(node, meaning, shape).map(Some)
    }

    /// Two terms, in this order.
    fn of_two(&mut self, node: &Node, a: TermId, b: TermId) -> Result<Option<Value>, Reason> {
        let shape = self.term(a).shape.clone();
        if broadcast(&shape, &self.term(b).shape)? != shape {
            return Ok(None);
        }
        let meaning = match (node.operator(), self.meaning(a), self.meaning(b)) {
            ("Add", Meaning::Linear { .. }, Meaning::States { .. }) => {
                Meaning::Residual { linear: a, states: b }
            }
            ("Sub", _, &Meaning::Norm { of, step: NormStep::Mean }) if of == a => {
                Meaning::Norm { of, step: NormStep::Centred }
            }
            (
                operator,
                &Meaning::Norm { of, step: left },
                &Meaning::Norm { of: other, step: right },
            ) if of == other => match (operator, left, right) {
                ("Mul", NormStep::Centred, NormStep::Centred) => {
                    Meaning::Norm { of, step: NormStep::Squared }
                }
                ("Mul", NormStep::Centred, NormStep::InverseDeviation { eps })
                | ("Div", NormStep::Centred, NormStep::Deviation { eps }) => {
                    Meaning::Norm { of, step: NormStep::Normalized { eps } }
                }
                _ => return Ok(None),
            },
            ("Mul", Meaning::Pooled { .. }, Meaning::Pooled { .. }) if a == b => {
                Meaning::Squares { pooled: a }
            }
            ("Div", &Meaning::Pooled { states, pooling }, &Meaning::Length { pooled })
                if pooled == a =>
            {
                Meaning::Normalized { states, pooling }
            }
            _ => return Ok(None),
        };
        self.make(node, meaning, shape).map(Some)
    }

    /// Part of an activation.
    fn as_pointwise(&mut self, node: &Node, a: &Value, b: &Value) -> Rule {
        let refused = self.refused(node, &[Some(a.clone()), Some(b.clone())]);
        let Some(function) = pointwise::binary(node.operator()) else {
            return Err(refused);
        };
        let side = |value: &Value| match value {
            Value::Term(id) => {
                let (linear, values) = self.pointwise(*id)?;
                Some((Some(linear), values))
            }
            Value::Known(tensor) => {
                let number = f64::from(tensor.as_scalar()?);
                Some((None, std::iter::repeat_n(number, pointwise::grid().len()).collect()))
            }
        };
        let (Some((left, a)), Some((right, b))) = (side(a), side(b)) else {
            return Err(refused);
        };
        let Some(linear) =
            left.or(right).filter(|_| left.is_none() || right.is_none_or(|r| left == Some(r)))
        else {
            return Err(refused);
        };
        let values = a.iter().zip(b.iter()).map(|(&a, &b)| function(a, b)).collect();
        let shape = self.term(linear).shape.clone();
        self.make(node, Meaning::Pointwise { linear, values }, shape)
    }
}

/// Queries, keys or scores times a number, or divided by it.
fn scaled(node: &Node, meaning: Meaning, number: Option<f32>) -> Option<Meaning> {
    let number = f64::from(number?);
    let factor = if node.operator() == "Div" { number.recip() } else { number };
    match meaning {
        Meaning::View { of, view, scale } => {
            Some(Meaning::View { of, view, scale: scale * factor })
        }
        Meaning::Scores { query, key, scale, heads } => {
            Some(Meaning::Scores { query, key, scale: scale * factor, heads })
        }
        _ => None,
    }
}
