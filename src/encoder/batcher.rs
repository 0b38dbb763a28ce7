//! The queue between requests and workers: admits by tokens, hands out micro-batches.
//!
//! A request's sentences are cut into micro-batches. After each one the request goes to the back of
//! its class, so that large requests take turns. A class is only served while no better one waits,
//! but is not passed over for ever. Sentences of other requests fill a micro-batch up where these want
//! the same of the same model and their lengths fit.
//!
//! **How large a micro-batch is.** Small enough that what waits and what runs is shared evenly by all
//! workers, and that a request which comes meanwhile need not wait long for a worker; large enough
//! that reading the weights is worth it.
//!
//! **Training uses lulls.** At half of what the machine can do, its cores are hardly ever idle, as small
//! micro-batches take more time for each token: whatever training takes then, requests wait for. It only
//! gets what is due to its patience while requests come thick and fast, and little at a time while they
//! come at all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::encoder::micro_batch::MicroBatch;
use crate::encoder::pace::Pace;
use crate::encoder::request::Request;
use crate::encoder::{Class, EncodeError, EngineSettings};

/// Other requests that are looked at to fill up one micro-batch.
const FILL_CANDIDATES: usize = 64;

/// Tokens that are not split up further: about as many as take as long to compute as the weights
/// take to be read, so that half of them would hardly be done sooner.
const LEAST_TOKENS: usize = 64;

/// This part of the queue is left to interactive requests: that they overtake others is worth
/// nothing where others fill the queue and they are not let in.
const INTERACTIVE_SHARE: usize = 16;

/// Micro-batches of better classes that a class lets pass before it has one of its own.
const PATIENCE: usize = 16;

/// How long no request must have come before training gets a worker without having been passed over.
const LULL: Duration = Duration::from_millis(1);

/// How long no request must have come before a micro-batch of training is as large as others.
const CALM: Duration = Duration::from_millis(50);

const TRAINING: usize = Class::Training as usize;

/// The queue. What waits is bounded by tokens on the way in.
pub(crate) struct Batcher {
    state: Mutex<State>,
    work: Condvar,
    settings: EngineSettings,
    admitted: AtomicUsize,
}

#[derive(Default)]
struct State {
    /// By [`Class`], the best one first.
    classes: [WaitingClass; 3],
    /// Tokens of the micro-batches in work.
    running: usize,
    /// When the last request came that is not training's.
    last_request: Option<Instant>,
    /// By model.
    paces: BTreeMap<usize, Pace>,
    closed: bool,
}

#[derive(Default)]
struct WaitingClass {
    requests: VecDeque<Request>,
    /// Micro-batches of better classes that were taken while this one waited.
    passed_over: usize,
}

/// Tokens that a request may hold in the queue; gives them back when dropped.
pub(crate) struct Admission {
    batcher: Arc<Batcher>,
    class: Class,
    tokens: usize,
}

impl Admission {
    /// Corrects an estimate once the true number of tokens is known.
    pub fn correct_to(&mut self, tokens: usize) -> Result<(), EncodeError> {
        match tokens.checked_sub(self.tokens) {
            Some(more) => self.batcher.take_tokens(more, self.batcher.room(self.class, tokens))?,
            None => self.batcher.give_tokens(self.tokens - tokens),
        }
        self.tokens = tokens;
        Ok(())
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.batcher.give_tokens(self.tokens);
    }
}

impl Batcher {
    /// An empty queue.
    pub fn new(settings: EngineSettings) -> Batcher {
        let (state, work, admitted) = (Mutex::default(), Condvar::new(), AtomicUsize::new(0));
        Batcher { state, work, settings, admitted }
    }

    /// Admits a request of about so many `tokens`, or refuses it at once.
    pub fn admit(self: &Arc<Self>, class: Class, tokens: usize) -> Result<Admission, EncodeError> {
        // An estimate may be above what the request will have once it is truncated.
        let tokens = tokens.min(self.settings.queue_tokens - self.reserve());
        self.take_tokens(tokens, self.room(class, tokens))?;
        Ok(Admission { batcher: Arc::clone(self), class, tokens })
    }

    /// Tokens that only small interactive requests may take up.
    fn reserve(&self) -> usize {
        self.settings.queue_tokens / INTERACTIVE_SHARE
    }

    /// How far the queue may be filled by a request of so many tokens.
    fn room(&self, class: Class, tokens: usize) -> usize {
        let (capacity, reserve) = (self.settings.queue_tokens, self.reserve());
        match class {
            Class::Interactive if tokens <= reserve => capacity,
            // One that is larger than the rest of the queue is let in where there is no other.
            _ => (capacity - reserve).max(tokens),
        }
    }

    /// Takes up more of the queue, which may be filled up to `room`.
    fn take_tokens(&self, tokens: usize, room: usize) -> Result<(), EncodeError> {
        let capacity = self.settings.queue_tokens;
        let room = room.min(capacity);
        let fits = |admitted: usize| Some(admitted + tokens).filter(|&sum| sum <= room);
        match self.admitted.try_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok(()),
            Err(_) => Err(EncodeError::QueueFull { capacity }),
        }
    }

    fn give_tokens(&self, tokens: usize) {
        self.admitted.fetch_sub(tokens, Ordering::Relaxed);
    }

    /// Tokens admitted and not yet answered.
    pub fn admitted(&self) -> usize {
        self.admitted.load(Ordering::Relaxed)
    }

    /// Queues a request.
    pub fn submit(&self, request: Request) -> Result<(), EncodeError> {
        let mut state = self.state();
        if state.closed {
            return Err(EncodeError::Stopped);
        }
        if request.terms.class != Class::Training {
            state.last_request = Some(Instant::now());
        }
        let class = &mut state.classes[request.terms.class as usize].requests;
        // A class whose turn does not come would otherwise pile up what its callers gave up. Looked
        // for each time that their number doubles, so that it costs each request next to nothing.
        if class.len() >= FILL_CANDIDATES && class.len().is_power_of_two() {
            class.retain(|waiting| !waiting.is_abandoned());
        }
        class.push_back(request);
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    /// The next micro-batch; waits for one. `None` once the queue is closed.
    pub fn next(&self) -> Option<MicroBatch> {
        let mut state = self.state();
        loop {
            if let Some(batch) = state.take(Instant::now(), &self.settings) {
                // What is left is for whoever is idle.
                if !state.is_empty() {
                    self.work.notify_one();
                }
                return Some(batch);
            }
            if state.closed {
                return None;
            }
            state = match state.is_empty() {
                true => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
                // Training waits for a lull.
                false => {
                    self.work.wait_timeout(state, LULL).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Takes note that a micro-batch is done, and how long it was in work.
    pub fn finished(&self, batch: &MicroBatch, time: Duration) {
        let mut state = self.state();
        state.running -= batch.tokens();
        state.paces.entry(batch.model).or_default().record(batch.padded_tokens(), time);
    }

    /// Takes no more requests and drops those inside, whose callers get [`EncodeError::Stopped`].
    pub fn abort(&self) {
        let mut state = self.state();
        state.closed = true;
        state.classes = Default::default();
        drop(state);
        self.work.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.classes.iter().all(|class| class.requests.is_empty())
    }

    fn take(&mut self, now: Instant, settings: &EngineSettings) -> Option<MicroBatch> {
        self.classes.iter_mut().for_each(WaitingClass::skip_abandoned);
        let class = self.choose(now)?;
        let budget = self.budget(class, now, settings)?;
        let batch = self.classes[class].take(budget)?;
        self.running += batch.tokens();
        Some(batch)
    }

    /// The class whose turn it is.
    fn choose(&mut self, now: Instant) -> Option<usize> {
        let waits = |class: &WaitingClass| !class.requests.is_empty();
        let is_impatient = |class: &WaitingClass| waits(class) && class.passed_over >= PATIENCE;
        let impatient = self.classes.iter().position(is_impatient);
        let chosen = impatient.or_else(|| self.classes.iter().position(waits))?;
        if impatient.is_none() && chosen == TRAINING && !self.is_quiet(LULL, now) {
            return None;
        }
        self.classes[chosen].passed_over = 0;
        let worse = self.classes[chosen + 1..].iter_mut();
        worse.filter(|class| waits(class)).for_each(|class| class.passed_over += 1);
        Some(chosen)
    }

    /// The most tokens of the next micro-batch of a class, padding included.
    fn budget(&self, class: usize, now: Instant, settings: &EngineSettings) -> Option<usize> {
        let waiting = &self.classes[class];
        let model = waiting.requests.front()?.terms.model;
        let even_share = {
            let enough = settings.batch_tokens.saturating_mul(settings.workers);
            (waiting.tokens_for(model, enough) + self.running).div_ceil(settings.workers)
        };
        let in_time = self.paces.get(&model).map_or(0, |pace| pace.tokens_in(settings.batch_time));
        let wanted = match class == TRAINING && !self.is_quiet(CALM, now) {
            true => LEAST_TOKENS,
            false => even_share.min(in_time).max(LEAST_TOKENS),
        };
        Some(wanted.min(settings.batch_tokens))
    }

    /// Whether no request has come for so long before `now` that is not training's.
    fn is_quiet(&self, time: Duration, now: Instant) -> bool {
        self.last_request.is_none_or(|last| now.duration_since(last) >= time)
    }
}

impl WaitingClass {
    /// Drops requests that are next although their callers went away.
    fn skip_abandoned(&mut self) {
        while self.requests.front().is_some_and(Request::is_abandoned) {
            self.requests.pop_front();
        }
    }

    /// Tokens that wait for a model; not counted on once they are `enough`.
    fn tokens_for(&self, model: usize, enough: usize) -> usize {
        let mut tokens = 0;
        for request in self.requests.iter().filter(|request| request.terms.model == model) {
            tokens += request.tokens();
            if tokens >= enough {
                break;
            }
        }
        tokens
    }

    fn take(&mut self, budget: usize) -> Option<MicroBatch> {
        let mut first = self.requests.pop_front()?;
        let mut batch = MicroBatch::new(&first.terms, budget);
        batch.take_from(&mut first);
        if first.is_empty() {
            self.fill_up(&mut batch);
        } else {
            self.requests.push_back(first);
        }
        Some(batch)
    }

    /// Fills `batch` up from other requests that want the same.
    fn fill_up(&mut self, batch: &mut MicroBatch) {
        for request in self.requests.iter_mut().take(FILL_CANDIDATES) {
            if batch.is_full() {
                break;
            }
            if batch.suits(&request.terms) && !request.is_abandoned() {
                batch.take_from(request);
            }
        }
        self.requests.retain(|request| !request.is_empty());
    }
}

#[cfg(test)]
mod tests;
