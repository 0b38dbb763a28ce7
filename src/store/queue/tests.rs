use futures::future::join_all;

use crate::config::OnRestart;
use crate::store::fixtures::*;
use crate::store::{Cancellation, JobCounts, JobQuery, MOST_ATTEMPTS, Recovered, StoreError};
use crate::training::job::{EpochReport, JobState};

#[tokio::test]
async fn a_job_is_stored_with_its_examples_in_their_order() {
    let (_folder, store) = store().await;
    let examples = [
        example("b 🦀 ﷽", &[("topic", "Technology"), ("sentiment", "Positive")]),
        example("", &[("topic", "Finance")]),
        example("a", &[]),
        example("b 🦀 ﷽", &[("topic", "Finance")]),
    ];
    let job = enqueue(&store, &spec(), &examples).await;
    assert_eq!((job.state, job.examples, job.attempts), (JobState::Queued, 4, 0));
    assert_eq!(store.job(&job.id).await.unwrap(), Some(job.clone()));
    assert_eq!(store.job_examples(&job.id).await.unwrap(), examples);
}

#[tokio::test]
async fn a_job_with_a_hundred_thousand_examples_is_stored() {
    let (_folder, store) = store().await;
    let text = |i| format!("sentence number {i} of many that came in one request");
    let examples: Vec<_> =
        (0..100_000).map(|i| example(&text(i), &[("topic", "Finance")])).collect();
    let job = enqueue(&store, &spec(), &examples).await;
    assert_eq!(store.job_examples(&job.id).await.unwrap(), examples);
}

#[tokio::test]
async fn a_very_long_text_is_stored() {
    let (_folder, store) = store_with_tasks().await;
    let long = example(&"Donaudampfschiff 🚢".repeat(100_000), &[("topic", "Finance")]);
    let job = start(&store, &spec(), std::slice::from_ref(&long)).await;
    assert_eq!(store.job_examples(&job.id).await.unwrap(), std::slice::from_ref(&long));
    finish(&store, &job.id, vec![]).await.unwrap();
    assert_eq!(remembered(&store, ["topic"]).await, [long]);
}

#[tokio::test]
async fn a_text_or_label_with_nul_is_refused_with_its_position() {
    let (_folder, store) = store().await;
    let fine = example("a", &[("topic", "Finance")]);
    for (odd, what) in [
        (example("a\0b", &[]), "the text of examples[1]"),
        (example("a", &[("topic", "Fin\0ance")]), "a label of examples[1]"),
    ] {
        let refused =
            store.enqueue(&job_id(), submission(&spec(), &[fine.clone(), odd]), 100).await;
        let Err(error @ StoreError::NulCharacter { .. }) = refused else { panic!("{refused:?}") };
        assert!(error.to_string().starts_with(what), "{error}");
    }
    assert_eq!(store.job_counts().await.unwrap(), JobCounts::default());
}

#[tokio::test]
async fn concurrent_requests_never_overfill_the_queue() {
    let (_folder, store) = store().await;
    let examples = [example("a", &[("topic", "Finance")])];
    let tries = (0..20).map(|_| {
        let (store, examples) = (store.clone(), examples.clone());
        tokio::spawn(
            async move { store.enqueue(&job_id(), submission(&spec(), &examples), 3).await },
        )
    });
    let mut accepted = 0;
    for outcome in join_all(tries).await {
        match outcome.unwrap() {
            Ok(_) => accepted += 1,
            Err(StoreError::QueueFull { max_queued: 3 }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(accepted, 3);
    assert_eq!(store.job_counts().await.unwrap(), JobCounts { queued: 3, ..Default::default() });
}

#[tokio::test]
async fn a_running_job_takes_no_place_in_the_queue() {
    let (_folder, store) = store().await;
    store.enqueue(&job_id(), submission(&spec(), &[]), 1).await.unwrap();
    store.claim_next().await.unwrap().unwrap();
    store.enqueue(&job_id(), submission(&spec(), &[]), 1).await.unwrap();
    let refused = store.enqueue(&job_id(), submission(&spec(), &[]), 1).await;
    assert!(matches!(refused, Err(StoreError::QueueFull { max_queued: 1 })));
}

#[tokio::test]
async fn an_id_is_taken_once() {
    let (_folder, store) = store().await;
    let job = enqueue(&store, &spec(), &[example("first", &[])]).await;
    let refused = store.enqueue(&job.id, submission(&spec(), &[example("second", &[])]), 100).await;
    assert!(matches!(refused, Err(StoreError::Database { operation: "store a job", .. })));
    assert_eq!(store.job_examples(&job.id).await.unwrap(), [example("first", &[])]);
}

#[tokio::test]
async fn the_oldest_job_is_started_first_and_one_at_a_time() {
    let (_folder, store) = store_with_tasks().await;
    assert_eq!(store.claim_next().await.unwrap(), None);
    let first = enqueue(&store, &spec(), &[]).await;
    let second = enqueue(&store, &spec(), &[]).await;
    let running = store.claim_next().await.unwrap().unwrap();
    assert_eq!((&running.id, running.state, running.attempts), (&first.id, JobState::Running, 1));
    assert!(running.started_at.unwrap() >= running.created_at);
    assert_eq!(store.claim_next().await.unwrap(), None);
    finish(&store, &first.id, vec![]).await.unwrap();
    assert_eq!(store.claim_next().await.unwrap().unwrap().id, second.id);
}

#[tokio::test]
async fn a_job_is_claimed_exactly_once() {
    let (_folder, store) = store().await;
    enqueue(&store, &spec(), &[]).await;
    enqueue(&store, &spec(), &[]).await;
    let claims = (0..20).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.claim_next().await.unwrap() })
    });
    let claimed = join_all(claims).await.into_iter().filter_map(Result::unwrap).count();
    assert_eq!(claimed, 1);
}

#[tokio::test]
async fn a_waiting_job_is_cancelled_at_once() {
    let (_folder, store) = store().await;
    let job = enqueue(&store, &spec(), &[example("a", &[])]).await;
    assert_eq!(store.cancel(&job.id, "asked to").await.unwrap(), Cancellation::Done);
    let job = store.job(&job.id).await.unwrap().unwrap();
    assert_eq!((job.state, job.reason.as_deref()), (JobState::Cancelled, Some("asked to")));
    assert!(job.finished_at.is_some());
    assert_eq!(store.job_examples(&job.id).await.unwrap(), []);
    assert_eq!(store.claim_next().await.unwrap(), None);
}

#[tokio::test]
async fn a_running_job_is_asked_to_stop() {
    let (_folder, store) = store().await;
    let job = start(&store, &spec(), &[]).await;
    assert_eq!(store.cancel(&job.id, "asked to").await.unwrap(), Cancellation::Requested);
    assert_eq!(store.job(&job.id).await.unwrap().unwrap().state, JobState::Running);
    store.stop(&job.id, "asked to").await.unwrap();
    assert_eq!(store.job(&job.id).await.unwrap().unwrap().state, JobState::Cancelled);
}

#[tokio::test]
async fn an_ended_or_unknown_job_cannot_be_cancelled() {
    let (_folder, store) = store().await;
    let job = start(&store, &spec(), &[]).await;
    store.fail(&job.id, "no memory").await.unwrap();
    let refused = store.cancel(&job.id, "late").await.unwrap_err();
    assert_eq!(refused.to_string(), format!("cannot cancel a job: job {} is failed", job.id));
    let job = store.job(&job.id).await.unwrap().unwrap();
    assert_eq!(job.reason.as_deref(), Some("no memory"));
    let refused = store.cancel("nobody", "late").await;
    assert!(matches!(refused, Err(StoreError::UnknownJob { job }) if job == "nobody"));
}

#[tokio::test]
async fn an_interrupted_job_starts_afresh_before_younger_ones() {
    let (_folder, store) = store().await;
    let job = start(&store, &spec(), &[example("a", &[("topic", "Finance")])]).await;
    enqueue(&store, &spec(), &[]).await;
    let report = EpochReport { epoch: 1, loss: 1.5, tasks: [].into() };
    store.record_epochs(&job.id, std::slice::from_ref(&report)).await.unwrap();

    let recovered = recover(&store, OnRestart::Resume).await;
    assert_eq!(recovered, Recovered { queued: vec![job.id.clone()], ..Default::default() });
    let waiting = store.job(&job.id).await.unwrap().unwrap();
    assert_eq!((waiting.state, waiting.started_at), (JobState::Queued, None));
    assert_eq!(waiting.epochs, []);
    let again = store.claim_next().await.unwrap().unwrap();
    assert_eq!((&again.id, again.attempts), (&job.id, 2));
    assert_eq!(store.job_examples(&job.id).await.unwrap().len(), 1);
    store.record_epochs(&job.id, std::slice::from_ref(&report)).await.unwrap();
}

#[tokio::test]
async fn an_interrupted_job_fails_with_the_reason_if_so_configured() {
    let (_folder, store) = store().await;
    let job = start(&store, &spec(), &[]).await;
    let waiting = enqueue(&store, &spec(), &[]).await;
    let recovered = recover(&store, OnRestart::Fail).await;
    assert_eq!(recovered, Recovered { failed: vec![job.id.clone()], ..Default::default() });
    let job = store.job(&job.id).await.unwrap().unwrap();
    assert_eq!(job.state, JobState::Failed);
    assert_eq!(job.reason.as_deref(), Some("the server stopped while the job was running"));
    assert_eq!(store.job(&waiting.id).await.unwrap(), Some(waiting));
}

#[tokio::test]
async fn an_interrupted_job_whose_cancellation_was_requested_is_cancelled() {
    let (_folder, store) = store().await;
    let job = start(&store, &spec(), &[]).await;
    store.cancel(&job.id, "asked to").await.unwrap();
    let recovered = recover(&store, OnRestart::Resume).await;
    assert_eq!(recovered, Recovered { cancelled: vec![job.id.clone()], ..Default::default() });
    let job = store.job(&job.id).await.unwrap().unwrap();
    assert_eq!((job.state, job.reason.as_deref()), (JobState::Cancelled, Some("asked to")));
}

#[tokio::test]
async fn recovery_finds_nothing_after_an_orderly_end() {
    let (_folder, store) = store().await;
    let job = start(&store, &spec(), &[]).await;
    finish(&store, &job.id, vec![]).await.unwrap();
    let before = store.job(&job.id).await.unwrap();
    for policy in [OnRestart::Resume, OnRestart::Fail] {
        assert_eq!(recover(&store, policy).await, Recovered::default());
    }
    assert_eq!(store.job(&job.id).await.unwrap(), before);
}

#[tokio::test]
async fn a_job_that_brings_the_server_down_again_and_again_is_given_up() {
    let (_folder, store) = store().await;
    let job = enqueue(&store, &spec(), &[example("a", &[("topic", "Finance")])]).await;
    for attempt in 1..=MOST_ATTEMPTS {
        assert_eq!(store.claim_next().await.unwrap().unwrap().attempts, attempt);
        let recovered = recover(&store, OnRestart::Resume).await;
        let given_up = attempt == MOST_ATTEMPTS;
        assert_eq!(recovered.failed.len(), usize::from(given_up), "attempt {attempt}");
        assert_eq!(recovered.queued.len(), usize::from(!given_up), "attempt {attempt}");
    }
    let job = store.job(&job.id).await.unwrap().unwrap();
    assert_eq!((job.state, job.attempts), (JobState::Failed, 3));
    let reason = job.reason.unwrap();
    assert!(reason.contains("3 times"), "{reason}");
    assert_eq!(store.claim_next().await.unwrap(), None);
    assert_eq!(store.job_examples(&job.id).await.unwrap(), []);
}

#[tokio::test]
async fn a_job_that_cannot_be_read_fails_and_holds_up_no_other() {
    let (_folder, store) = store_with_tasks().await;
    let odd = enqueue(&store, &spec(), &[example("a", &[("topic", "Finance")])]).await;
    let fine = enqueue(&store, &spec(), &[]).await;
    sqlx::query("UPDATE jobs SET spec = '{\"solver\": \"of tomorrow\"}' WHERE id = $1")
        .bind(&odd.id)
        .execute(&store.writes)
        .await
        .unwrap();
    assert_eq!(store.claim_next().await.unwrap().unwrap().id, fine.id);
    let counts = JobCounts { running: 1, failed: 1, ..Default::default() };
    assert_eq!(store.job_counts().await.unwrap(), counts);
    // Nor does it hide the others, or keep their tasks from being deleted.
    let listed = store.jobs(&JobQuery { limit: 1, before: None, state: None }).await.unwrap();
    assert_eq!(listed.iter().map(|job| &job.id).collect::<Vec<_>>(), [&fine.id]);
    let query = JobQuery { limit: 9, before: Some(fine.id.clone()), state: None };
    assert_eq!(store.jobs(&query).await.unwrap(), []);
    store.stop(&fine.id, "for the test").await.unwrap();
    store.delete_task("topic").await.unwrap();
}
