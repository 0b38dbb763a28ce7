//! The weights of a BERT out of what its last states mean.

use std::rc::Rc;

use super::{
    Unrecognised,
    interpreter::Interpreter,
    pointwise,
    tensor::Tensor,
    term::{Meaning, TermId},
};
use crate::onnx::bert::{
    config::Activation,
    transpose,
    weights::{BertShape, BertWeights, LayerWeights, Linear, Norm},
};

/// How far the scale of scores may be from 1 / √d: the rounding of its parts to f32.
const SCALE_TOLERANCE: f64 = 1e-5;

/// Walks from the last states back to the embeddings.
pub(super) struct Assembler<'graph, 'file> {
    graph: &'graph Interpreter<'file>,
    eps: Option<f32>,
    heads: Option<usize>,
    activation: Option<Activation>,
}

/// Token states and what they are the norm of.
struct Normalised {
    of: TermId,
    norm: Norm,
}

impl<'graph, 'file> Assembler<'graph, 'file> {
    /// The weights of a BERT that ends in these states.
    pub fn assemble(
        graph: &'graph Interpreter<'file>,
        last: TermId,
    ) -> Result<BertWeights, Unrecognised> {
        let assembler = Self { graph, eps: None, heads: None, activation: None };
        assembler.weights(last)
    }

    fn weights(mut self, last: TermId) -> Result<BertWeights, Unrecognised> {
        let mut layers = Vec::new();
        let mut states = self.states(last)?;
        let (words, addends) = loop {
            match self.graph.meaning(states.of) {
                Meaning::Embeddings { words, addends } => break (words, addends),
                _ => {
                    let (layer, input) = self.layer(states)?;
                    layers.push(layer);
                    states = self.states(input)?;
                }
            }
        };
        layers.reverse();
        let &[vocabulary, hidden] = &*words.shape else {
            return Err(self.refused(states.of, "its words are no table"));
        };
        let (segment, positions) = self.addends(states.of, addends, hidden)?;
        let missing = |what: &str| self.refused(last, what);
        let intermediate = layers.first().map(|layer| layer.intermediate.bias.len());
        Ok(BertWeights {
            shape: BertShape {
                vocabulary,
                hidden,
                layers: layers.len(),
                heads: self.heads.ok_or_else(|| missing("no layer comes before it"))?,
                intermediate: intermediate.ok_or_else(|| missing("no layer comes before it"))?,
                max_positions: self.graph.sizes.tokens,
                eps: self.eps.ok_or_else(|| missing("no layer norm comes before it"))?,
                activation: self.activation.ok_or_else(|| missing("no layer comes before it"))?,
            },
            words: self.floats(states.of, words)?,
            positions,
            segment,
            embeddings_norm: states.norm,
            layers,
        })
    }

    /// One layer, and the states that it begins with.
    fn layer(&mut self, end: Normalised) -> Result<(LayerWeights, TermId), Unrecognised> {
        let (output, middle) = self.residual(end.of)?;
        let (activated, output) = self.linear(output)?;
        let Meaning::Pointwise { linear, values } = self.graph.meaning(activated) else {
            return Err(self.refused(activated, "there is no activation here"));
        };
        let activation = pointwise::activation(values).ok_or_else(|| {
            self.refused(activated, "the activation is neither GELU, its tanh form, nor ReLU")
        })?;
        self.same(activated, |own| &mut own.activation, activation)?;
        let (input, intermediate) = self.linear(*linear)?;
        self.must_be(input, middle, activated)?;

        let middle = self.states(middle)?;
        let (joined, start) = self.residual(middle.of)?;
        let (context, attention_output) = self.linear(joined)?;
        let attention = match self.graph.meaning(context) {
            Meaning::View { of, view, scale: 1.0 } if view.is_joined() => *of,
            _ => return Err(self.refused(context, "heads are not joined here in their order")),
        };
        let &Meaning::Attention { query, key, value, scale, heads } = self.graph.meaning(attention)
        else {
            return Err(self.refused(context, "there is no attention here"));
        };
        self.same(context, |own| &mut own.heads, heads)?;
        let (query_input, query) = self.linear(query)?;
        let (key_input, key) = self.linear(key)?;
        let (value_input, value) = self.linear(value)?;
        for input in [query_input, key_input, value_input] {
            self.must_be(input, start, context)?;
        }
        let head_width = (query.bias.len() / heads) as f64;
        if (scale * head_width.sqrt() - 1.0).abs() > SCALE_TOLERANCE {
            let reason = format!("scores are scaled by {scale}, not by 1 / √{head_width}");
            return Err(self.refused(context, &reason));
        }
        let layer = LayerWeights {
            query,
            key,
            value,
            attention_output,
            attention_norm: middle.norm,
            intermediate,
            output,
            output_norm: end.norm,
        };
        Ok((layer, start))
    }

    fn states(&mut self, id: TermId) -> Result<Normalised, Unrecognised> {
        let Meaning::States { of, eps, gamma, beta } = self.graph.meaning(id) else {
            return Err(self.refused(id, "these are no normalised token states"));
        };
        self.same(id, |own| &mut own.eps, *eps)?;
        let norm = Norm { gamma: self.floats(id, gamma)?, beta: self.floats(id, beta)? };
        Ok(Normalised { of: *of, norm })
    }

    fn residual(&self, id: TermId) -> Result<(TermId, TermId), Unrecognised> {
        match *self.graph.meaning(id) {
            Meaning::Residual { linear, states } => Ok((linear, states)),
            _ => Err(self.refused(id, "no input of a layer is added here")),
        }
    }

    /// A linear layer and what goes into it; its weight as PyTorch has it.
    fn linear(&self, id: TermId) -> Result<(TermId, Linear), Unrecognised> {
        let Meaning::Linear { x, weight, bias } = self.graph.meaning(id) else {
            return Err(self.refused(id, "there is no linear layer here"));
        };
        let outputs = bias.len();
        let linear = Linear {
            weight: transpose(&self.floats(id, weight)?, outputs),
            bias: self.floats(id, bias)?,
        };
        Ok((*x, linear))
    }

    /// The vector of the first token type, and those of positions: all that is added to words.
    fn addends(
        &self,
        id: TermId,
        addends: &[Rc<Tensor>],
        hidden: usize,
    ) -> Result<(Vec<f32>, Vec<f32>), Unrecognised> {
        let shape = &self.graph.term(id).shape;
        let (mut segment, mut positions) = (None, None);
        for addend in addends {
            let spread = addend.broadcast_to(shape).map_err(|reason| self.refused(id, &reason))?;
            let values = self.floats(id, &spread)?;
            let sentence = self.graph.sizes.tokens * hidden;
            let (first, others) = values.split_at(sentence);
            if others.chunks_exact(sentence).any(|other| other != first) {
                return Err(self.refused(id, "sentences of a batch differ in what is added"));
            }
            let same = first.chunks_exact(hidden).all(|token| token == &first[..hidden]);
            let (place, vector) = match same {
                true => (&mut segment, &first[..hidden]),
                false => (&mut positions, first),
            };
            if place.replace(vector.to_vec()).is_some() {
                return Err(self.refused(id, "more is added than a token type and a position"));
            }
        }
        let positions = positions.ok_or_else(|| self.refused(id, "no positions are added"))?;
        Ok((segment.unwrap_or_else(|| vec![0.0; hidden]), positions))
    }

    /// What all layers must have in common.
    fn same<T: Copy + PartialEq + std::fmt::Debug>(
        &mut self,
        id: TermId,
        place: impl Fn(&mut Self) -> &mut Option<T>,
        value: T,
    ) -> Result<(), Unrecognised> {
        let common = *place(self).get_or_insert(value);
        match common == value {
            true => Ok(()),
            false => Err(self.refused(id, &format!("{value:?} here, but {common:?} later on"))),
        }
    }

    fn must_be(&self, found: TermId, expected: TermId, at: TermId) -> Result<(), Unrecognised> {
        match found == expected {
            true => Ok(()),
            false => Err(self.refused(at, "its input is not the one that is added to its output")),
        }
    }

    fn floats(&self, id: TermId, tensor: &Tensor) -> Result<Vec<f32>, Unrecognised> {
        let values = tensor.as_floats().map_err(|reason| self.refused(id, &reason))?;
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(values.to_vec()),
            false => Err(self.refused(id, "a weight is not a finite number")),
        }
    }

    fn refused(&self, id: TermId, reason: &str) -> Unrecognised {
        let term = self.graph.term(id);
        Unrecognised::Structure {
            node: term.node.clone(),
            makes: term.meaning.in_words(),
            reason: reason.to_owned(),
        }
    }
}
