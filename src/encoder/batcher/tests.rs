use std::time::Instant;

use tokio::sync::oneshot;

use super::*;
use crate::encoder::batch::BatchLayout;
use crate::encoder::readout::Readout;
use crate::encoder::request::{Terms, Vectors};
use crate::encoder::{Class, Deadline};

type Receiver = oneshot::Receiver<Result<Vectors, EncodeError>>;

/// Long enough that only other bounds count.
const AGES: Duration = Duration::from_secs(1000);

/// A queue for so many workers whose model has been seen to take a millisecond for ten tokens.
fn batcher(workers: usize, batch_tokens: usize, batch_time: Duration) -> Batcher {
    let (queue_tokens, tokens_per_request) = (100, 100);
    let settings =
        EngineSettings { workers, batch_tokens, batch_time, queue_tokens, tokens_per_request };
    let batcher = Batcher::new(settings);
    let mut pace = Pace::default();
    pace.record(10_000, Duration::from_secs(1));
    batcher.state().paces.insert(0, pace);
    batcher
}

fn terms(class: Class, layout: BatchLayout) -> Terms {
    Terms { model: 0, class, layout, readout: Readout::Sentence, deadline: None }
}

fn request(class: Class, layout: BatchLayout, lengths: &[usize]) -> (Request, Receiver) {
    let sentences = lengths.iter().map(|&length| vec![7; length]).collect();
    Request::new(terms(class, layout), sentences, 1)
}

fn submit(batcher: &Batcher, class: Class, layout: BatchLayout, lengths: &[usize]) -> Receiver {
    let (request, receiver) = request(class, layout, lengths);
    batcher.submit(request).unwrap();
    receiver
}

/// The next micro-batch that can be had without waiting, long after the last request came.
fn take(batcher: &Batcher) -> Option<MicroBatch> {
    batcher.state().take(Instant::now() + AGES, &batcher.settings)
}

/// All micro-batches that can be had without waiting, each done before the next one is taken.
fn drain(batcher: &Batcher) -> Vec<MicroBatch> {
    std::iter::from_fn(|| {
        let batch = take(batcher)?;
        batcher.state().running -= batch.tokens();
        Some(batch)
    })
    .collect()
}

fn lengths(batch: &MicroBatch) -> Vec<usize> {
    batch.items.iter().map(|item| item.ids.len()).collect()
}

/// Lengths from 3 to 42 as they come in text: in no order.
fn mixed(sentences: usize) -> Vec<usize> {
    (0..sentences).map(|i| 3 + (i * 17) % 40).collect()
}

#[test]
fn a_padded_request_is_cut_by_its_budget_with_next_to_no_padding() {
    let batcher = batcher(1, 100, AGES);
    let _receiver = submit(&batcher, Class::Bulk, BatchLayout::Padded, &mixed(200));
    let batches = drain(&batcher);
    assert_eq!(batches.iter().map(|batch| batch.items.len()).sum::<usize>(), 200);
    let padded: usize = batches.iter().map(MicroBatch::padded_tokens).sum();
    let real: usize = batches.iter().map(MicroBatch::tokens).sum();
    assert!(batches.iter().all(|batch| batch.padded_tokens() <= 100));
    assert!((padded - real) as f64 <= 0.05 * padded as f64, "{padded} for {real} tokens");
}

#[test]
fn a_ragged_request_fills_its_micro_batches_whatever_the_lengths() {
    let batcher = batcher(1, 100, AGES);
    let _receiver = submit(&batcher, Class::Bulk, BatchLayout::Ragged, &mixed(200));
    let batches = drain(&batcher);
    assert_eq!(batches.iter().map(|batch| batch.items.len()).sum::<usize>(), 200);
    for batch in &batches {
        assert!(batch.tokens() <= 100);
        assert_eq!(batch.padded_tokens(), batch.tokens());
    }
    let (_last, full) = batches.split_last().unwrap();
    assert!(full.iter().all(|batch| batch.tokens() > 100 - 42));
}

#[test]
fn ragged_sentences_of_several_requests_share_a_batch_whatever_their_lengths() {
    let batcher = batcher(1, 100, AGES);
    let _waiting = [16, 3, 40, 90]
        .map(|length| submit(&batcher, Class::Interactive, BatchLayout::Ragged, &[length]));
    assert_eq!(lengths(&take(&batcher).unwrap()), [16, 3, 40]);
    assert_eq!(lengths(&take(&batcher).unwrap()), [90]);
}

#[test]
fn sentences_and_tokens_do_not_share_a_batch() {
    let batcher = batcher(1, 100, AGES);
    let [embeddings, states] = [Readout::Sentence, Readout::Tokens]
        .map(|readout| Terms { readout, ..terms(Class::Bulk, BatchLayout::Ragged) });
    let _waiting = [embeddings, states, embeddings, states].map(|terms| {
        let (request, receiver) = Request::new(terms, vec![vec![7; 10]; 2], 1);
        batcher.submit(request).unwrap();
        receiver
    });
    for readout in [Readout::Sentence, Readout::Tokens] {
        let batch = take(&batcher).unwrap();
        assert_eq!((batch.readout, lengths(&batch)), (readout, vec![10; 4]));
        batcher.finished(&batch, AGES);
    }
}

#[test]
fn padded_sentences_of_several_requests_share_a_batch_if_their_lengths_are_similar() {
    let batcher = batcher(1, 100, AGES);
    let _waiting = [16, 16, 40, 16]
        .map(|length| submit(&batcher, Class::Interactive, BatchLayout::Padded, &[length]));
    assert_eq!(lengths(&take(&batcher).unwrap()), [16, 16, 16]);
    assert_eq!(lengths(&take(&batcher).unwrap()), [40]);
}

#[test]
fn a_graph_that_mixes_its_batch_gets_every_sentence_alone() {
    let batcher = batcher(1, 100, AGES);
    let _first = submit(&batcher, Class::Bulk, BatchLayout::Alone, &[5, 5]);
    let _second = submit(&batcher, Class::Bulk, BatchLayout::Alone, &[5]);
    let batches = drain(&batcher);
    assert_eq!(batches.len(), 3);
    assert!(batches.iter().all(|batch| batch.items.len() == 1));
}

#[test]
fn a_sentence_longer_than_the_budget_runs_alone() {
    let batcher = batcher(1, 10, AGES);
    let _receiver = submit(&batcher, Class::Bulk, BatchLayout::Ragged, &[4, 30, 5]);
    assert_eq!(lengths(&take(&batcher).unwrap()), [30]);
    assert_eq!(lengths(&take(&batcher).unwrap()), [5, 4]);
}

#[test]
fn idle_workers_share_a_request_evenly() {
    let batcher = batcher(2, 2048, AGES);
    let _receiver = submit(&batcher, Class::Bulk, BatchLayout::Ragged, &[25; 32]);
    assert_eq!(lengths(&take(&batcher).unwrap()), [25; 16]);
    assert_eq!(lengths(&take(&batcher).unwrap()), [25; 16]);
    assert!(take(&batcher).is_none());
}

#[test]
fn what_is_in_work_elsewhere_counts_towards_an_even_share() {
    let batcher = batcher(2, 2048, AGES);
    let _first = submit(&batcher, Class::Bulk, BatchLayout::Ragged, &[50; 12]);
    let busy = take(&batcher).unwrap();
    assert_eq!(busy.tokens(), 300);
    let _second = submit(&batcher, Class::Bulk, BatchLayout::Ragged, &[50; 2]);
    // 300 in work, 400 waiting: an even share is 350.
    assert_eq!(take(&batcher).unwrap().tokens(), 350);
    batcher.finished(&busy, AGES);
    assert_eq!(take(&batcher).unwrap().tokens(), 50);
}

#[test]
fn a_few_tokens_are_not_split_up() {
    let batcher = batcher(8, 2048, AGES);
    let _receiver = submit(&batcher, Class::Interactive, BatchLayout::Ragged, &[16; 4]);
    assert_eq!(take(&batcher).unwrap().tokens(), LEAST_TOKENS);
}

#[test]
fn a_micro_batch_takes_no_longer_than_it_may() {
    let batcher = batcher(1, 2048, Duration::from_millis(30));
    let _receiver = submit(&batcher, Class::Bulk, BatchLayout::Ragged, &[10; 200]);
    let batch = take(&batcher).unwrap();
    assert_eq!(batch.tokens(), 300);
    // Ten times as fast as was thought, and again, until only that counts.
    for _ in 0..200 {
        let mut state = batcher.state();
        state.paces.entry(0).or_default().record(1000, Duration::from_millis(10));
    }
    assert_eq!(take(&batcher).unwrap().tokens(), 1700);
}

#[test]
fn a_model_of_unknown_speed_starts_with_little() {
    let batcher = batcher(1, 2048, AGES);
    batcher.state().paces.clear();
    let _receiver = submit(&batcher, Class::Bulk, BatchLayout::Ragged, &[8; 100]);
    let batch = take(&batcher).unwrap();
    assert_eq!(batch.tokens(), LEAST_TOKENS);
    batcher.finished(&batch, Duration::from_millis(1));
    assert_eq!(take(&batcher).unwrap().tokens(), 800 - LEAST_TOKENS);
}

#[test]
fn an_interactive_request_overtakes_a_bulk_one_and_training_comes_last() {
    let batcher = batcher(1, 10, AGES);
    let _training = submit(&batcher, Class::Training, BatchLayout::Padded, &[8]);
    let _bulk = submit(&batcher, Class::Bulk, BatchLayout::Padded, &[9, 9]);
    assert_eq!(lengths(&take(&batcher).unwrap()), [9]);
    let _interactive = submit(&batcher, Class::Interactive, BatchLayout::Padded, &[5]);
    assert_eq!(lengths(&take(&batcher).unwrap()), [5]);
    assert_eq!(lengths(&take(&batcher).unwrap()), [9]);
    assert_eq!(lengths(&take(&batcher).unwrap()), [8]);
}

#[test]
fn a_class_is_not_passed_over_for_ever() {
    let batcher = batcher(1, 10, AGES);
    let _interactive = submit(&batcher, Class::Interactive, BatchLayout::Ragged, &[10; 100]);
    let _bulk = submit(&batcher, Class::Bulk, BatchLayout::Ragged, &[9; 100]);
    let _training = submit(&batcher, Class::Training, BatchLayout::Ragged, &[8; 100]);
    let order: Vec<usize> = drain(&batcher).iter().map(MicroBatch::tokens).collect();
    let (busy, _rest) = order.split_at(100);
    let share = |tokens: usize| busy.iter().filter(|&&taken| taken == tokens).count();
    assert_eq!(order[..PATIENCE], [10; PATIENCE]);
    assert_eq!(order[PATIENCE], 9);
    assert!((4..=6).contains(&share(9)) && (4..=6).contains(&share(8)), "{busy:?}");
}

#[test]
fn training_waits_for_a_lull_and_takes_little_until_it_is_calm() {
    let batcher = batcher(1, 2048, AGES);
    let _training = submit(&batcher, Class::Training, BatchLayout::Ragged, &[8; 1000]);
    let last = Instant::now();
    batcher.state().last_request = Some(last);
    let after = |quiet: Duration| {
        batcher.state().take(last + quiet, &batcher.settings).map(|batch| batch.tokens())
    };
    assert_eq!(after(LULL / 2), None);
    assert_eq!(after(LULL), Some(LEAST_TOKENS));
    assert_eq!(after(CALM), Some(2048));
}

#[test]
fn an_idle_worker_takes_up_training_once_there_is_a_lull() {
    let batcher = batcher(1, 2048, AGES);
    let _interactive = submit(&batcher, Class::Interactive, BatchLayout::Ragged, &[5]);
    let _training = submit(&batcher, Class::Training, BatchLayout::Ragged, &[8]);
    assert_eq!(lengths(&batcher.next().unwrap()), [5]);
    assert_eq!(lengths(&batcher.next().unwrap()), [8]);
}

#[test]
fn large_requests_of_a_class_take_turns() {
    let batcher = batcher(1, 10, AGES);
    let _first = submit(&batcher, Class::Bulk, BatchLayout::Padded, &[10, 10]);
    let _second = submit(&batcher, Class::Bulk, BatchLayout::Padded, &[9, 9]);
    let order: Vec<usize> = drain(&batcher).iter().map(MicroBatch::tokens).collect();
    assert_eq!(order, [10, 9, 10, 9]);
}

#[test]
fn a_caller_that_went_away_is_not_encoded() {
    let batcher = batcher(1, 100, AGES);
    let gone = submit(&batcher, Class::Bulk, BatchLayout::Padded, &[5; 50]);
    drop(gone);
    assert!(drain(&batcher).is_empty());
}

#[test]
fn a_request_that_is_given_up_half_done_is_not_continued() {
    let batcher = batcher(1, 10, AGES);
    let gone = submit(&batcher, Class::Bulk, BatchLayout::Ragged, &[10; 5]);
    let _other = submit(&batcher, Class::Bulk, BatchLayout::Ragged, &[9; 2]);
    assert_eq!(take(&batcher).unwrap().tokens(), 10);
    drop(gone);
    let rest: Vec<usize> = drain(&batcher).iter().map(MicroBatch::tokens).collect();
    assert_eq!(rest, [9, 9]);
}

#[tokio::test]
async fn a_request_whose_deadline_has_passed_is_not_encoded_and_told_so() {
    let batcher = batcher(1, 100, AGES);
    let (class, layout) = (Class::Interactive, BatchLayout::Ragged);
    let submit = |allowed: Duration| {
        let terms = Terms { deadline: Some(Deadline::after(allowed)), ..terms(class, layout) };
        let (request, answer) = Request::new(terms, vec![vec![7; 5]], 1);
        batcher.submit(request).unwrap();
        answer
    };
    let _in_time = submit(AGES);
    assert_eq!(drain(&batcher).len(), 1);
    let late = submit(Duration::ZERO);
    assert!(drain(&batcher).is_empty());
    let told = late.await.unwrap();
    assert!(matches!(told, Err(EncodeError::DeadlineExceeded { allowed: Duration::ZERO })));
}

#[test]
fn what_callers_gave_up_does_not_pile_up_behind_a_better_class() {
    let batcher = batcher(1, 10, AGES);
    for _ in 0..10 * FILL_CANDIDATES {
        drop(submit(&batcher, Class::Training, BatchLayout::Padded, &[5]));
    }
    let waiting = batcher.state().classes[Class::Training as usize].requests.len();
    assert!(waiting <= FILL_CANDIDATES, "{waiting}");
}

#[test]
fn admission_is_all_or_nothing_and_comes_back() {
    let batcher = Arc::new(batcher(1, 10, AGES));
    let mut first = batcher.admit(Class::Bulk, 60).unwrap();
    let refused = batcher.admit(Class::Bulk, 40);
    assert!(matches!(refused, Err(EncodeError::QueueFull { capacity: 100 })));
    first.correct_to(20).unwrap();
    let second = batcher.admit(Class::Bulk, 74).unwrap();
    assert_eq!(batcher.admitted(), 94);
    assert!(first.correct_to(21).is_err());
    drop((first, second));
    assert_eq!(batcher.admitted(), 0);
}

#[test]
fn others_cannot_fill_the_part_that_is_left_to_small_interactive_requests() {
    let batcher = Arc::new(batcher(1, 10, AGES));
    // Six of a hundred: a sixteenth.
    for (class, tokens) in [(Class::Bulk, 94), (Class::Interactive, 1000)] {
        let filling = batcher.admit(class, tokens).unwrap();
        assert_eq!(batcher.admitted(), 94, "an estimate is no reason to shut others out");
        assert!(batcher.admit(Class::Bulk, 1).is_err());
        assert!(batcher.admit(Class::Interactive, 7).is_err());
        let mut small = batcher.admit(Class::Interactive, 5).unwrap();
        small.correct_to(6).unwrap();
        assert!(batcher.admit(Class::Interactive, 1).is_err(), "the queue is bounded for all");
        drop((filling, small));
    }
    let mut whole = batcher.admit(Class::Bulk, 100).unwrap();
    whole.correct_to(100).unwrap();
    assert_eq!(batcher.admitted(), 100, "a request as large as the queue is let in alone");
}

#[tokio::test]
async fn rows_arrive_in_the_order_of_the_request() {
    let batcher = batcher(1, 8, AGES);
    let receiver = submit(&batcher, Class::Bulk, BatchLayout::Padded, &[2, 8, 4]);
    for batch in drain(&batcher) {
        let started = Instant::now();
        batch.items.iter().for_each(|item| item.deliver(&[item.ids.len() as f32], started));
    }
    assert_eq!(receiver.await.unwrap().unwrap().values, [2.0, 8.0, 4.0]);
}

#[tokio::test]
async fn the_vectors_of_tokens_arrive_in_the_order_of_the_request() {
    let batcher = batcher(1, 8, AGES);
    let terms = Terms { readout: Readout::Tokens, ..terms(Class::Bulk, BatchLayout::Padded) };
    let (request, receiver) = Request::new(terms, vec![vec![1; 2], vec![2; 3], vec![3]], 2);
    batcher.submit(request).unwrap();
    for batch in drain(&batcher) {
        let started = Instant::now();
        for item in &batch.items {
            let vectors: Vec<f32> = item.ids.iter().flat_map(|&id| [id as f32, 0.5]).collect();
            item.deliver(&vectors, started);
        }
    }
    let expected = [1.0, 0.5, 1.0, 0.5, 2.0, 0.5, 2.0, 0.5, 2.0, 0.5, 3.0, 0.5];
    assert_eq!(receiver.await.unwrap().unwrap().values, expected);
}

#[tokio::test]
async fn an_aborted_queue_answers_everybody() {
    let batcher = batcher(1, 8, AGES);
    let receiver = submit(&batcher, Class::Bulk, BatchLayout::Padded, &[2]);
    batcher.abort();
    assert!(receiver.await.is_err());
    let (late, _receiver) = request(Class::Bulk, BatchLayout::Padded, &[2]);
    assert!(matches!(batcher.submit(late), Err(EncodeError::Stopped)));
}
