//! Walks through a graph and tells what each value means.
//!
//! All that does not depend on the words of a text is computed: for a full mask, one token type, and
//! one size of batch. The rest becomes [terms](super::term).

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::{
    Reason, Unrecognised,
    fold::fold,
    node::Node,
    tensor::Tensor,
    term::{Meaning, Term, TermId},
};
use crate::onnx::{
    inspect::is_quantized,
    proto::{GraphProto, ModelProto, NodeProto, TensorProto},
};

/// For how many sentences, of how many tokens each, a graph is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub sentences: usize,
    pub tokens: usize,
}

/// What is known of a value.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Known(Rc<Tensor>),
    Term(TermId),
}

/// The weights of a file, each read when it is first used.
pub(super) struct Constants<'file> {
    tensors: HashMap<&'file str, &'file TensorProto>,
    read: RefCell<HashMap<&'file str, Rc<Tensor>>>,
}

impl<'file> Constants<'file> {
    pub fn of(graph: &'file GraphProto) -> Self {
        let tensors = graph.initializer.iter().map(|tensor| (&*tensor.name, tensor)).collect();
        Self { tensors, read: RefCell::default() }
    }

    fn get(&self, name: &str) -> Option<Result<Rc<Tensor>, Reason>> {
        let (&name, proto) = self.tensors.get_key_value(name)?;
        if let Some(tensor) = self.read.borrow().get(name) {
            return Some(Ok(tensor.clone()));
        }
        let tensor = match Tensor::read(proto) {
            Ok(tensor) => Rc::new(tensor),
            Err(reason) => return Some(Err(format!("weight `{name}`: {reason}"))),
        };
        self.read.borrow_mut().insert(name, tensor.clone());
        Some(Ok(tensor))
    }
}

/// The values of a graph that was walked through.
pub(super) struct Interpreter<'file> {
    pub sizes: Sizes,
    pub(super) terms: Vec<Term>,
    constants: &'file Constants<'file>,
    values: HashMap<&'file str, Result<Value, Unrecognised>>,
}

impl<'file> Interpreter<'file> {
    /// Walks through all nodes. What is not understood matters only where an output needs it.
    pub fn run(
        model: &'file ModelProto,
        graph: &'file GraphProto,
        constants: &'file Constants<'file>,
        sizes: Sizes,
    ) -> Self {
        let mut interpreter =
            Self { sizes, terms: Vec::new(), constants, values: HashMap::default() };
        interpreter.inputs(graph);
        let opset = model.opset_import.iter().find(|set| is_standard(&set.domain));
        let opset = opset.map_or(1, |set| set.version);
        for proto in &graph.node {
            let value = interpreter.node(&Node { proto, opset });
            if let Some(name) = proto.output.first() {
                interpreter.values.insert(name, value);
            }
        }
        interpreter
    }

    /// What an output of the graph means.
    pub fn output(&self, name: &str) -> Result<TermId, Unrecognised> {
        let refused = |reason: &str| Unrecognised::Output {
            output: name.to_owned(),
            reason: reason.to_owned(),
        };
        match self.values.get(name) {
            Some(Ok(Value::Term(term))) => Ok(*term),
            Some(Ok(Value::Known(_))) => Err(refused("it does not depend on the text")),
            Some(Err(cause)) => Err(cause.clone()),
            None => Err(refused("no node makes it first of all")),
        }
    }

    pub fn term(&self, id: TermId) -> &Term {
        &self.terms[id.0]
    }

    pub fn meaning(&self, id: TermId) -> &Meaning {
        &self.term(id).meaning
    }

    fn inputs(&mut self, graph: &'file GraphProto) {
        let Sizes { sentences, tokens } = self.sizes;
        let shape = [sentences, tokens];
        let free = graph.input.iter().map(|input| input.name.as_str());
        for name in free.filter(|name| !self.constants.tensors.contains_key(name)) {
            let value = match name {
                "input_ids" => {
                    let node = String::new();
                    self.terms.push(Term { meaning: Meaning::Ids, shape: shape.to_vec(), node });
                    Ok(Value::Term(TermId(self.terms.len() - 1)))
                }
                "attention_mask" => same(&shape, 1),
                "token_type_ids" => same(&shape, 0),
                other => Err(Unrecognised::Input(other.to_owned())),
            };
            self.values.insert(name, value);
        }
    }

    fn node(&mut self, node: &Node) -> Result<Value, Unrecognised> {
        let refused = |reason| refusal(node.proto, reason);
        if let Some(reason) = foreign(node.proto) {
            return Err(refused(reason));
        }
        let mut inputs = Vec::new();
        for name in &node.proto.input {
            inputs.push(match name.as_str() {
                "" => None,
                name => Some(self.value(name, node.proto)?),
            });
        }
        if let ("Shape", Some(Some(value))) = (node.operator(), inputs.first()) {
            return self.shape_of(node, value).map_err(refused);
        }
        let known: Option<Vec<Option<Rc<Tensor>>>> = inputs
            .iter()
            .map(|input| match input {
                Some(Value::Known(tensor)) => Some(Some(tensor.clone())),
                Some(Value::Term(_)) => None,
                None => Some(None),
            })
            .collect();
        match known {
            Some(known) => fold(node, &known).map(Value::Known).map_err(refused),
            None => self.apply(node, &inputs).map_err(refused),
        }
    }

    fn value(&self, name: &str, node: &NodeProto) -> Result<Value, Unrecognised> {
        if let Some(value) = self.values.get(name) {
            return value.clone();
        }
        match self.constants.get(name) {
            Some(Ok(tensor)) => Ok(Value::Known(tensor)),
            Some(Err(reason)) => Err(refusal(node, reason)),
            None => Err(refusal(node, format!("nothing known makes its input `{name}`"))),
        }
    }

    fn shape_of(&self, node: &Node, value: &Value) -> Result<Value, Reason> {
        let shape = match value {
            Value::Known(tensor) => &tensor.shape,
            Value::Term(id) => &self.term(*id).shape,
        };
        let rank = shape.len() as i64;
        let bound = |name, default| {
            let bound: i64 = node.int(name).unwrap_or(default);
            (if bound < 0 { bound.saturating_add(rank) } else { bound }).clamp(0, rank) as usize
        };
        let (start, end) = (bound("start", 0), bound("end", rank));
        let sizes = shape.get(start..end).ok_or("it ends before it starts")?;
        let sizes = sizes.iter().map(|&size| size as i64).collect();
        Ok(Value::Known(Rc::new(Tensor::ints(sizes))))
    }
}

/// A known value in which every element is the same.
fn same(shape: &[usize], value: i64) -> Result<Value, Unrecognised> {
    let tensor = Tensor::filled(shape, value).map_err(Unrecognised::Unreadable)?;
    Ok(Value::Known(Rc::new(tensor)))
}

fn is_standard(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// Why a node cannot be one of an fp32 export, told by its kind.
fn foreign(node: &NodeProto) -> Option<Reason> {
    if is_quantized(node) {
        return Some("it computes with 8-bit numbers; only fp32 graphs are known".into());
    }
    if node.domain == "com.microsoft" {
        return Some(
            "ONNX Runtime's optimiser put it here; only graphs as exported are known".into(),
        );
    }
    (!is_standard(&node.domain)).then(|| format!("operators of `{}` are not known", node.domain))
}

fn refusal(node: &NodeProto, reason: Reason) -> Unrecognised {
    let name = if node.name.is_empty() { node.output.first() } else { Some(&node.name) };
    Unrecognised::Node {
        node: name.cloned().unwrap_or_default(),
        operator: node.op_type.clone(),
        reason,
    }
}
