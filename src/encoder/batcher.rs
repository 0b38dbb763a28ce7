//! The queue between requests and workers: admits by tokens, hands out micro-batches.
//!
//! A request's sentences are cut into micro-batches by token budget. After each one the request goes
//! to the back of its class, so that large requests take turns; a class is only served while no
//! better one waits. Sentences of other requests fill a micro-batch up where their lengths fit.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::encoder::EncodeError;
use crate::encoder::request::{Company, Item, Request};

/// At most this share of a micro-batch's tokens may be padding.
const PADDING_SHARE: f64 = 1.0 / 16.0;

/// Other requests that are looked at to fill up one micro-batch.
const FILL_CANDIDATES: usize = 64;

/// Sentences of one model that run together.
pub(crate) struct MicroBatch {
    pub model: usize,
    pub items: Vec<Item>,
    /// Tokens of the longest sentence.
    pub longest: usize,
    /// Tokens without padding.
    pub tokens: usize,
}

impl MicroBatch {
    fn new(model: usize) -> MicroBatch {
        MicroBatch { model, items: Vec::new(), longest: 0, tokens: 0 }
    }

    /// Tokens with padding.
    pub fn padded_tokens(&self) -> usize {
        self.longest * self.items.len()
    }

    fn takes(&self, ids: &[u32], budget: usize) -> bool {
        let longest = self.longest.max(ids.len());
        let padded = longest * (self.items.len() + 1);
        let real = self.tokens + ids.len();
        padded <= budget && (padded - real) as f64 <= PADDING_SHARE * padded as f64
    }

    fn push(&mut self, item: Item) {
        self.longest = self.longest.max(item.ids.len());
        self.tokens += item.ids.len();
        self.items.push(item);
    }
}

/// The queue. What waits is bounded by tokens on the way in.
pub(crate) struct Batcher {
    state: Mutex<State>,
    work: Condvar,
    /// Tokens of a micro-batch, padding included; one longer sentence makes a batch of its own.
    batch_tokens: usize,
    capacity: usize,
    admitted: AtomicUsize,
}

#[derive(Default)]
struct State {
    classes: [VecDeque<Request>; 3],
    closed: bool,
}

/// Tokens that a request may hold in the queue; gives them back when dropped.
pub(crate) struct Admission {
    batcher: Arc<Batcher>,
    tokens: usize,
}

impl Admission {
    /// Corrects an estimate once the true number of tokens is known.
    pub fn correct_to(&mut self, tokens: usize) -> Result<(), EncodeError> {
        match tokens.checked_sub(self.tokens) {
            Some(more) => self.batcher.take_tokens(more)?,
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
    /// A queue that holds at most `capacity` tokens and cuts micro-batches of `batch_tokens`.
    pub fn new(batch_tokens: usize, capacity: usize) -> Batcher {
        Batcher {
            state: Mutex::default(),
            work: Condvar::new(),
            batch_tokens,
            capacity,
            admitted: AtomicUsize::new(0),
        }
    }

    /// Admits a request of about so many `tokens`, or refuses it at once.
    pub fn admit(self: &Arc<Self>, tokens: usize) -> Result<Admission, EncodeError> {
        // An estimate may be above what the request will have once it is truncated.
        let tokens = tokens.min(self.capacity);
        self.take_tokens(tokens)?;
        Ok(Admission { batcher: Arc::clone(self), tokens })
    }

    fn take_tokens(&self, tokens: usize) -> Result<(), EncodeError> {
        let fits = |admitted: usize| Some(admitted + tokens).filter(|&sum| sum <= self.capacity);
        match self.admitted.try_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok(()),
            Err(_) => Err(EncodeError::QueueFull { capacity: self.capacity }),
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
        let class = &mut state.classes[request.class as usize];
        // A class whose turn does not come would otherwise pile up what its callers gave up.
        if class.len() >= FILL_CANDIDATES {
            class.retain(|waiting| !waiting.is_abandoned());
        }
        class.push_back(request);
        drop(state);
        self.work.notify_all();
        Ok(())
    }

    /// The next micro-batch; waits for one. `None` once the queue is closed.
    pub fn next(&self) -> Option<MicroBatch> {
        let mut state = self.state();
        loop {
            if let Some(batch) = state.take(self.batch_tokens) {
                return Some(batch);
            }
            if state.closed {
                return None;
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
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
    fn take(&mut self, budget: usize) -> Option<MicroBatch> {
        self.classes.iter_mut().find_map(|class| take_from(class, budget))
    }
}

fn take_from(class: &mut VecDeque<Request>, budget: usize) -> Option<MicroBatch> {
    // Requests whose caller went away are not encoded.
    while class.front().is_some_and(|request| request.is_abandoned()) {
        class.pop_front();
    }
    let mut first = class.pop_front()?;
    let mut batch = MicroBatch::new(first.model);
    move_sentences(&mut first, &mut batch, budget);
    if first.company == Company::Shared && first.is_empty() {
        fill_up(class, &mut batch, budget);
    }
    if !first.is_empty() {
        class.push_back(first);
    }
    Some(batch)
}

/// Fills `batch` up from other requests for the same model.
fn fill_up(class: &mut VecDeque<Request>, batch: &mut MicroBatch, budget: usize) {
    for request in class.iter_mut().take(FILL_CANDIDATES) {
        if request.model == batch.model && !request.is_abandoned() {
            move_sentences(request, batch, budget);
        }
    }
    class.retain(|request| !request.is_empty());
}

fn move_sentences(request: &mut Request, batch: &mut MicroBatch, budget: usize) {
    let company = request.company;
    let fits = |batch: &MicroBatch, ids: &[u32]| {
        batch.items.is_empty() || (company == Company::Shared && batch.takes(ids, budget))
    };
    while let Some(item) = request.take_if(|ids| fits(batch, ids)) {
        batch.push(item);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::encoder::Class;

    type Receiver = oneshot::Receiver<Result<Vec<f32>, EncodeError>>;

    fn request(class: Class, company: Company, lengths: &[usize]) -> (Request, Receiver) {
        let sentences = lengths.iter().map(|&length| vec![7; length]).collect();
        Request::new(0, class, company, sentences, 1)
    }

    /// All micro-batches that can be had without waiting.
    fn drain(batcher: &Batcher) -> Vec<MicroBatch> {
        std::iter::from_fn(|| batcher.state().take(batcher.batch_tokens)).collect()
    }

    fn lengths(batch: &MicroBatch) -> Vec<usize> {
        batch.items.iter().map(|item| item.ids.len()).collect()
    }

    #[test]
    fn a_large_request_is_cut_by_its_token_budget_with_next_to_no_padding() {
        let batcher = Batcher::new(100, 10_000);
        let mixed: Vec<usize> = (0..200).map(|i| 3 + i % 40).collect();
        let (request, _receiver) = request(Class::Bulk, Company::Shared, &mixed);
        batcher.submit(request).unwrap();
        let batches = drain(&batcher);
        assert_eq!(batches.iter().map(|batch| batch.items.len()).sum::<usize>(), 200);
        for batch in &batches {
            let padded = batch.padded_tokens();
            assert!(padded <= 100);
            assert!((padded - batch.tokens) as f64 <= PADDING_SHARE * padded as f64);
        }
    }

    #[test]
    fn a_sentence_longer_than_the_budget_runs_alone() {
        let batcher = Batcher::new(10, 100);
        let (request, _receiver) = request(Class::Bulk, Company::Shared, &[30, 4]);
        batcher.submit(request).unwrap();
        assert_eq!(lengths(&batcher.next().unwrap()), [4]);
        assert_eq!(lengths(&batcher.next().unwrap()), [30]);
    }

    #[test]
    fn an_interactive_request_overtakes_a_bulk_one_and_training_comes_last() {
        let batcher = Batcher::new(10, 100);
        let (training, _training) = request(Class::Training, Company::Shared, &[8]);
        let (bulk, _bulk) = request(Class::Bulk, Company::Shared, &[9, 9]);
        let (interactive, _interactive) = request(Class::Interactive, Company::Shared, &[5]);
        batcher.submit(training).unwrap();
        batcher.submit(bulk).unwrap();
        assert_eq!(lengths(&batcher.next().unwrap()), [9]);
        batcher.submit(interactive).unwrap();
        assert_eq!(lengths(&batcher.next().unwrap()), [5]);
        assert_eq!(lengths(&batcher.next().unwrap()), [9]);
        assert_eq!(lengths(&batcher.next().unwrap()), [8]);
    }

    #[test]
    fn large_requests_of_a_class_take_turns() {
        let batcher = Batcher::new(10, 100);
        let (first, _first) = request(Class::Bulk, Company::Shared, &[10, 10]);
        let (second, _second) = request(Class::Bulk, Company::Shared, &[9, 9]);
        batcher.submit(first).unwrap();
        batcher.submit(second).unwrap();
        let order: Vec<usize> = drain(&batcher).iter().map(|batch| batch.longest).collect();
        assert_eq!(order, [10, 9, 10, 9]);
    }

    #[test]
    fn single_sentences_of_similar_length_share_a_batch() {
        let batcher = Batcher::new(100, 1_000);
        let waiting: Vec<Receiver> = [16, 16, 40, 16]
            .iter()
            .map(|&length| {
                let (request, receiver) = request(Class::Interactive, Company::Shared, &[length]);
                batcher.submit(request).unwrap();
                receiver
            })
            .collect();
        assert_eq!(lengths(&batcher.next().unwrap()), [16, 16, 16]);
        assert_eq!(lengths(&batcher.next().unwrap()), [40]);
        drop(waiting);
    }

    #[test]
    fn a_graph_that_mixes_its_batch_gets_every_sentence_alone() {
        let batcher = Batcher::new(100, 1_000);
        let (first, _first) = request(Class::Bulk, Company::Alone, &[5, 5]);
        let (second, _second) = request(Class::Bulk, Company::Alone, &[5]);
        batcher.submit(first).unwrap();
        batcher.submit(second).unwrap();
        assert!(drain(&batcher).iter().all(|batch| batch.items.len() == 1));
    }

    #[test]
    fn a_caller_that_went_away_is_not_encoded() {
        let batcher = Batcher::new(100, 1_000);
        let (gone, receiver) = request(Class::Bulk, Company::Shared, &[5; 50]);
        batcher.submit(gone).unwrap();
        drop(receiver);
        assert!(drain(&batcher).is_empty());
    }

    #[test]
    fn admission_is_all_or_nothing_and_comes_back() {
        let batcher = Arc::new(Batcher::new(10, 100));
        let mut first = batcher.admit(60).unwrap();
        assert!(matches!(batcher.admit(50), Err(EncodeError::QueueFull { capacity: 100 })));
        first.correct_to(20).unwrap();
        let second = batcher.admit(80).unwrap();
        assert_eq!(batcher.admitted(), 100);
        assert!(first.correct_to(21).is_err());
        drop((first, second));
        assert_eq!(batcher.admitted(), 0);
    }

    #[tokio::test]
    async fn rows_arrive_in_the_order_of_the_request() {
        let batcher = Batcher::new(8, 100);
        let (request, receiver) = request(Class::Bulk, Company::Shared, &[2, 8, 4]);
        batcher.submit(request).unwrap();
        for batch in drain(&batcher) {
            batch.items.iter().for_each(|item| item.deliver(&[item.ids.len() as f32]));
        }
        assert_eq!(receiver.await.unwrap().unwrap(), [2.0, 8.0, 4.0]);
    }

    #[tokio::test]
    async fn an_aborted_queue_answers_everybody() {
        let batcher = Batcher::new(8, 100);
        let (waiting, receiver) = request(Class::Bulk, Company::Shared, &[2]);
        batcher.submit(waiting).unwrap();
        batcher.abort();
        assert!(receiver.await.is_err());
        let (late, _receiver) = request(Class::Bulk, Company::Shared, &[2]);
        assert!(matches!(batcher.submit(late), Err(EncodeError::Stopped)));
    }
}
