//! The forms in which a model's weights can run, and the choice among them.

use bytes::Bytes;

use crate::config::Provider;
use crate::encoder::LoadError;
use crate::encoder::batch::{BatchLayout, RaggedBatch};
use crate::encoder::model::Model;
use crate::encoder::readout::Readout;
use crate::encoder::session::{Device, Runtime, Session, SessionError, SharedGraph};
use crate::encoder::tokenizer::Truncation;
use crate::kernel::FusedEncoder;
use crate::onnx::{GraphPrecision, GraphSummary};

/// What `precision = "auto"` keeps: the cosine of each trial sentence's two embeddings.
const LOWEST_COSINE: f64 = 0.9999;

/// Sentences for the trial of a fused encoder, of three to some sixty tokens.
const TRIAL: [&str; 6] = [
    "Yes.",
    "How do I reset my password?",
    "The market closed higher on Tuesday, led by energy and shipping shares.",
    "She said \"no\" twice (2 × 15.50 €), then left: nobody knows why; the door was still open.",
    "A transformer reads all words of a sentence at once and weighs, for every word, how much each \
     of the others matters to it; layer by layer the vectors gather what the context says.",
    "Rain fell on the harbour for the third day. The ferries stayed at their moorings, gulls walked \
     along the empty quay, and in the small office above the fish hall the clerk went on adding up \
     columns of figures that did not want to agree, as if the weather had got into them as well.",
];

/// Weights in a form that sessions are opened from.
pub(crate) enum Form {
    Stock(Stock),
    Fused(FusedEncoder),
}

/// An ONNX graph of standard operators.
pub(crate) struct Stock {
    /// Only opening a session needs it; it is large and not kept.
    graph: Bytes,
    precision: GraphPrecision,
    layout: BatchLayout,
}

/// The forms that a model may run in, before it is tried out.
pub(crate) enum Candidates {
    /// The stock graph, and why not the fused encoder.
    Stock(Stock, String),
    Fused(FusedEncoder),
    /// The fused encoder, if it agrees with the stock graph.
    Either(FusedEncoder, Stock),
}

impl Stock {
    pub fn new(graph: Bytes, summary: &GraphSummary) -> Stock {
        let layout = match summary.quantizes_per_batch {
            true => BatchLayout::Alone,
            false => BatchLayout::Padded,
        };
        Stock { graph, precision: summary.precision, layout }
    }
}

impl Form {
    pub fn precision(&self) -> GraphPrecision {
        match self {
            Form::Stock(stock) => stock.precision,
            Form::Fused(_) => GraphPrecision::Bf16,
        }
    }

    pub fn layout(&self) -> BatchLayout {
        match self {
            Form::Stock(stock) => stock.layout,
            Form::Fused(_) => BatchLayout::Ragged,
        }
    }

    /// The matrix instructions of the fused encoder, where it runs.
    pub fn instructions(&self) -> Option<&'static str> {
        match self {
            Form::Stock(_) => None,
            Form::Fused(encoder) => Some(encoder.instructions().as_str()),
        }
    }

    /// Opens a session for each of `count` threads, which share the weights.
    pub fn open(
        &self,
        runtime: &Runtime,
        model: &Model,
        count: usize,
    ) -> Result<Vec<Session>, SessionError> {
        match self {
            Form::Stock(stock) => {
                let graph = SharedGraph::new(stock.graph.clone())?;
                let options = model.session_options();
                (0..count).map(|_| Session::open(runtime, &graph, options)).collect()
            }
            Form::Fused(encoder) => {
                (0..count).map(|_| Session::open_fused(runtime, encoder)).collect()
            }
        }
    }

    fn open_one(&self, runtime: &Runtime, model: &Model) -> Result<Session, LoadError> {
        let mut sessions = self.open(runtime, model, 1).map_err(|source| model.failed(source))?;
        Ok(sessions.pop().expect("one session was opened"))
    }
}

impl Candidates {
    /// Settles on a form, and says why it is not the fused encoder where it is not.
    pub fn settle(
        self,
        runtime: &Runtime,
        model: &Model,
    ) -> Result<(Form, Option<String>), LoadError> {
        let (fused, stock) = match self {
            Candidates::Fused(fused) => return Ok((Form::Fused(fused), None)),
            Candidates::Stock(stock, reason) => return Ok((Form::Stock(stock), Some(reason))),
            Candidates::Either(fused, stock) => (Form::Fused(fused), Form::Stock(stock)),
        };
        let failed = |source| model.failed(source);
        let mut reference = stock.open_one(runtime, model)?;
        // With `provider = "auto"`, this is where CUDA shows whether it works.
        if model.provider == Provider::Auto && reference.device() == Device::Cuda {
            return Ok((stock, Some("the stock graph runs on CUDA".to_owned())));
        }
        let mut session = fused.open_one(runtime, model)?;
        let cosine = lowest_cosine(&mut session, &mut reference, model).map_err(failed)?;
        // So written, a NaN is no agreement.
        if cosine >= LOWEST_COSINE {
            return Ok((fused, None));
        }
        let reason = format!(
            "its embeddings have a cosine of only {cosine:.6} to the stock graph's; at least {LOWEST_COSINE} is asked for"
        );
        Ok((stock, Some(reason)))
    }
}

/// The lowest cosine between the two sessions' embeddings of a trial sentence.
fn lowest_cosine(
    session: &mut Session,
    reference: &mut Session,
    model: &Model,
) -> Result<f64, SessionError> {
    let mut lowest = f64::INFINITY;
    for text in TRIAL {
        let Ok(tokens) = model.tokenizer.encode(text, Truncation::Right) else { continue };
        let mut batch = RaggedBatch::new();
        batch.push(&tokens.ids);
        let vector = |session: &mut Session| {
            session.run(&batch, Readout::Sentence, |output| {
                output.vectors(0, model.folder.pooling).into_owned()
            })
        };
        let cosine = cosine(&vector(session)?, &vector(reference)?);
        lowest = if cosine.is_nan() { return Ok(cosine) } else { lowest.min(cosine) };
    }
    Ok(lowest)
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    };
    if a.len() != b.len() {
        return f64::NAN;
    }
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
