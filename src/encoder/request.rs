//! One tokenised request on its way through the queue, and where its vectors come together.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::encoder::batch::BatchLayout;
use crate::encoder::readout::Readout;
use crate::encoder::{Deadline, EncodeError, Spent};

/// Whose turn comes first; a lower class uses what the higher ones leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A few sentences that somebody waits for.
    Interactive,
    /// Many sentences at once.
    Bulk,
    /// The examples of a training job.
    Training,
}

/// On what terms a request is queued.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Index of the model in the engine.
    pub model: usize,
    pub class: Class,
    pub layout: BatchLayout,
    pub readout: Readout,
    /// `None` waits for as long as it takes.
    pub deadline: Option<Deadline>,
}

/// The vectors of a request, and where its time went.
#[derive(Debug)]
pub(crate) struct Vectors {
    /// Row-major: sentences × width, or tokens of all sentences × width.
    pub values: Vec<f32>,
    pub spent: Spent,
}

/// A tokenised request.
pub(crate) struct Request {
    pub terms: Terms,
    /// Shortest first. Micro-batches are cut from the end: what is left for last is short, so that
    /// the workers are done with a request at about the same time.
    sentences: Vec<Sentence>,
    /// Tokens of `sentences`.
    tokens: usize,
    queued_at: Instant,
    reply: Arc<Reply>,
}

impl Request {
    /// A request for vectors of `width` elements, and where they arrive, in the order of `sentences`.
    pub fn new(
        terms: Terms,
        sentences: Vec<Vec<u32>>,
        width: usize,
    ) -> (Request, oneshot::Receiver<Result<Vectors, EncodeError>>) {
        let (mut tokens, mut end) = (0, 0);
        let place = |ids: Vec<u32>| {
            tokens += ids.len();
            let start = end;
            end += terms.readout.vectors(1, ids.len()) * width;
            Sentence { ids, place: start..end }
        };
        let mut sentences: Vec<Sentence> = sentences.into_iter().map(place).collect();
        sentences.sort_by_key(|sentence| sentence.ids.len());
        let (sender, receiver) = oneshot::channel();
        let reply = Reply {
            sentences: sentences.len(),
            state: Mutex::new(ReplyState {
                values: vec![0.0; end],
                missing: sentences.len(),
                queued: Duration::ZERO,
                running: Duration::ZERO,
                sender: Some(sender),
            }),
        };
        let queued_at = Instant::now();
        let request = Request { terms, sentences, tokens, queued_at, reply: Arc::new(reply) };
        (request, receiver)
    }

    /// Whether all sentences have been taken.
    pub fn is_empty(&self) -> bool {
        self.sentences.is_empty()
    }

    /// Tokens that have not been taken.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Whether nobody waits for it any more. One whose deadline has passed is answered so.
    pub fn is_abandoned(&self) -> bool {
        if let Some(Err(passed)) = self.terms.deadline.map(Deadline::check) {
            self.reply.fail(passed);
        }
        self.reply.state().sender.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// Takes the longest sentence that is left, if its ids are accepted.
    pub fn take_if(&mut self, accept: impl FnOnce(&[u32]) -> bool) -> Option<Item> {
        let Sentence { ids, place } = self.sentences.pop_if(|sentence| accept(&sentence.ids))?;
        self.tokens -= ids.len();
        Some(Item { ids, place, queued_at: self.queued_at, reply: Arc::clone(&self.reply) })
    }
}

/// A tokenised sentence and the place of its vectors in the reply.
struct Sentence {
    ids: Vec<u32>,
    place: Range<usize>,
}

/// Where the vectors of one request come together.
struct Reply {
    sentences: usize,
    state: Mutex<ReplyState>,
}

struct ReplyState {
    values: Vec<f32>,
    missing: usize,
    /// Summed over the sentences that are there.
    queued: Duration,
    /// As `queued`.
    running: Duration,
    /// Gone once the request is answered.
    sender: Option<oneshot::Sender<Result<Vectors, EncodeError>>>,
}

impl Reply {
    fn state(&self) -> MutexGuard<'_, ReplyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, error: EncodeError) {
        if let Some(sender) = self.state().sender.take() {
            // The caller may have gone away meanwhile: then nobody wants the answer.
            let _ = sender.send(Err(error));
        }
    }
}

/// One sentence of a micro-batch.
pub(crate) struct Item {
    pub ids: Vec<u32>,
    place: Range<usize>,
    pub queued_at: Instant,
    reply: Arc<Reply>,
}

impl Item {
    /// Delivers the sentence's vectors, on which the model has been at work since `started`.
    pub fn deliver(&self, vectors: &[f32], started: Instant) {
        let mut state = self.reply.state();
        state.values[self.place.clone()].copy_from_slice(vectors);
        state.queued += started.duration_since(self.queued_at);
        state.running += started.elapsed();
        state.missing -= 1;
        if state.missing == 0
            && let Some(sender) = state.sender.take()
        {
            let values = std::mem::take(&mut state.values);
            let sentences = u32::try_from(self.reply.sentences).unwrap_or(u32::MAX);
            let (queued, running) = (state.queued / sentences, state.running / sentences);
            let spent = Spent { tokenizing: Duration::ZERO, queued, running };
            // The caller may have gone away meanwhile: then nobody wants the answer.
            let _ = sender.send(Ok(Vectors { values, spent }));
        }
    }

    /// Ends the sentence's request with an error.
    pub fn fail(&self, error: EncodeError) {
        self.reply.fail(error);
    }
}
