use std::collections::BTreeMap;

use crate::heads::{Kind, Task};
use crate::store::fixtures::*;
use crate::store::{NewVersion, Outcome, Store, StoreError};
use crate::training::job::{EpochReport, JobState, Scores, TaskReport};
use crate::training::result::{JobResult, TaskResult};
use crate::training::verdict::Verdict;

fn report(epoch: u32, loss: f64) -> EpochReport {
    let train = Scores { loss, accuracy: 0.4, rows: 5 };
    let validation = Some(Scores { loss: 0.1 + 0.2, accuracy: 1.0 / 3.0, rows: 3 });
    EpochReport { epoch, loss, tasks: [("topic".into(), TaskReport { train, validation })].into() }
}

/// All that a failed `finish` must leave alone.
async fn everything(store: &Store, job: &str) -> impl PartialEq + std::fmt::Debug + use<> {
    (
        store.job(job).await.unwrap(),
        store.job_examples(job).await.unwrap(),
        store.versions("topic").await.unwrap(),
        store.versions("sentiment").await.unwrap(),
        store.live_versions().await.unwrap().len(),
        remembered(store, ["sentiment", "topic"]).await,
    )
}

#[tokio::test]
async fn epochs_are_reported_in_their_order() {
    let (_folder, store) = store().await;
    let job = start(&store, &spec(), &[]).await;
    let reports: Vec<_> =
        (1..=12).map(|epoch| report(epoch, 2.0 - 0.125 * f64::from(epoch))).collect();
    for report in &reports {
        store.record_epochs(&job.id, std::slice::from_ref(report)).await.unwrap();
    }
    assert_eq!(store.job(&job.id).await.unwrap().unwrap().epochs, reports);
}

#[tokio::test]
async fn a_score_that_is_no_number_is_refused() {
    let (_folder, store) = store().await;
    let job = start(&store, &spec(), &[]).await;
    for loss in [f64::NAN, f64::INFINITY] {
        let refused = store.record_epochs(&job.id, &[report(3, loss)]).await;
        assert!(matches!(refused, Err(StoreError::NotFinite { epoch: 3, .. })), "{refused:?}");
    }
    assert_eq!(store.job(&job.id).await.unwrap().unwrap().epochs, []);
}

#[tokio::test]
async fn only_running_jobs_report_epochs() {
    let (_folder, store) = store().await;
    let job = enqueue(&store, &spec(), &[]).await;
    let refused = store.record_epochs(&job.id, &[report(1, 1.0)]).await;
    assert!(matches!(refused, Err(StoreError::JobState { state: JobState::Queued, .. })));
    let refused = store.record_epochs("nobody", &[report(1, 1.0)]).await;
    assert!(matches!(refused, Err(StoreError::UnknownJob { .. })));
}

#[tokio::test]
async fn success_publishes_all_versions_and_remembers_the_examples() {
    let (_folder, store) = store_with_tasks().await;
    let learnt = [example("a", &[("topic", "Finance"), ("sentiment", "Negative")])];
    let job = start(&store, &spec(), &learnt).await;
    let versions = vec![new_version(topic(), b"t"), new_version(sentiment(), b"s")];
    let published = finish(&store, &job.id, versions).await.unwrap();
    let published: Vec<_> = published.iter().map(|v| (v.task.as_str(), v.version)).collect();
    assert_eq!(published, [("topic", 1), ("sentiment", 1)]);

    let job = store.job(&job.id).await.unwrap().unwrap();
    assert_eq!((job.state, job.reason), (JobState::Succeeded, None));
    assert!(job.finished_at >= job.started_at);
    assert_eq!(job.published, BTreeMap::from([("sentiment".into(), 1), ("topic".into(), 1)]));
    assert_eq!(store.live_versions().await.unwrap().len(), 2);
    assert_eq!(remembered(&store, ["sentiment", "topic"]).await, learnt);
    assert_eq!(store.job_examples(&job.id).await.unwrap(), []);
}

#[tokio::test]
async fn a_success_that_cannot_be_stored_whole_changes_nothing() {
    let (_folder, store) = store_with_tasks().await;
    let job = start(&store, &spec(), &[example("old", &[("topic", "Finance")])]).await;
    finish(&store, &job.id, vec![new_version(topic(), b"1")]).await.unwrap();
    store.delete_task("sentiment").await.unwrap();
    let job = start(&store, &spec(), &[example("new", &[("topic", "Technology")])]).await;
    let before = everything(&store, &job.id).await;

    let missing_task = vec![new_version(topic(), b"2"), new_version(sentiment(), b"2")];
    let refused = finish(&store, &job.id, missing_task).await;
    assert!(matches!(refused, Err(StoreError::UnknownTask { task }) if task == "sentiment"));
    let missing_parent = NewVersion { parent: Some(9), ..new_version(topic(), b"2") };
    let refused = finish(&store, &job.id, vec![missing_parent]).await;
    assert!(matches!(refused, Err(StoreError::Database { .. })), "{refused:?}");
    assert_eq!(everything(&store, &job.id).await, before);

    finish(&store, &job.id, vec![new_version(topic(), b"2")]).await.unwrap();
    assert_eq!(store.versions("topic").await.unwrap()[0].version, 2);
}

#[tokio::test]
async fn weights_for_labels_that_have_changed_are_not_published() {
    let (_folder, store) = store_with_tasks().await;
    let job = start(&store, &spec(), &[]).await;
    store.put_task(&task("topic", &["Sport", "Weather", "Politics"])).await.unwrap();
    let refused = finish(&store, &job.id, vec![new_version(topic(), b"w")]).await;
    assert!(matches!(refused, Err(StoreError::TaskChanged { task }) if task == "topic"));
    assert_eq!(store.versions("topic").await.unwrap(), []);
}

#[tokio::test]
async fn labels_that_a_task_no_longer_has_are_not_remembered() {
    let (_folder, store) = store_with_tasks().await;
    let job = start(&store, &spec(), &[example("a", &[("topic", "Finance")])]).await;
    store.put_task(&task("topic", &["Sport", "Weather"])).await.unwrap();
    let refused = finish(&store, &job.id, vec![]).await;
    assert!(matches!(refused, Err(StoreError::TaskChanged { task }) if task == "topic"));
    let refused = store.delete_task("topic").await;
    assert!(matches!(refused, Err(StoreError::TaskInTraining { job: by, .. }) if by == job.id));
    assert_eq!(store.example_counts().await.unwrap(), BTreeMap::new());
}

#[tokio::test]
async fn what_a_task_of_another_kind_was_taught_is_not_remembered() {
    let (_folder, store) = store_with_tasks().await;
    let job = start(&store, &spec(), &[example("a", &[("topic", "Finance")])]).await;
    store.put_task(&Task { kind: Kind::MultiLabel, ..topic() }).await.unwrap();
    for versions in [vec![], vec![new_version(topic(), b"w")]] {
        let refused = finish(&store, &job.id, versions).await;
        assert!(matches!(refused, Err(StoreError::TaskChanged { task }) if task == "topic"));
    }
    assert_eq!(store.example_counts().await.unwrap(), BTreeMap::new());
}

#[tokio::test]
async fn a_frozen_task_gets_no_version() {
    let (_folder, store) = store_with_tasks().await;
    let mut spec = spec();
    spec.frozen.insert("topic".into());
    let job = start(&store, &spec, &[]).await;
    let versions = vec![new_version(sentiment(), b"s"), new_version(topic(), b"t")];
    let refused = finish(&store, &job.id, versions).await;
    assert!(matches!(refused, Err(StoreError::NotTrained { task, .. }) if task == "topic"));
    assert_eq!(store.versions("sentiment").await.unwrap(), []);
}

#[tokio::test]
async fn a_failed_or_stopped_job_leaves_only_its_record() {
    let (_folder, store) = store_with_tasks().await;
    let examples = [example("a", &[("topic", "Finance")])];
    let failed = start(&store, &spec(), &examples).await;
    store.record_epochs(&failed.id, &[report(1, 1.0)]).await.unwrap();
    store.fail(&failed.id, "panicked at 'a\0b'").await.unwrap();
    let stopped = start(&store, &spec(), &examples).await;
    store.stop(&stopped.id, "the server shut down").await.unwrap();

    let failed = store.job(&failed.id).await.unwrap().unwrap();
    assert_eq!(failed.state, JobState::Failed);
    assert_eq!(failed.reason.as_deref(), Some("panicked at 'a\u{FFFD}b'"));
    assert_eq!(failed.epochs, [report(1, 1.0)]);
    let stopped = store.job(&stopped.id).await.unwrap().unwrap();
    assert_eq!(stopped.state, JobState::Cancelled);
    assert_eq!(store.example_counts().await.unwrap(), BTreeMap::new());
    assert_eq!(store.job_examples(&failed.id).await.unwrap(), []);
}

#[tokio::test]
async fn a_job_never_leaves_a_final_state() {
    let (_folder, store) = store_with_tasks().await;
    let succeeded = start(&store, &spec(), &[]).await.id;
    finish(&store, &succeeded, vec![]).await.unwrap();
    let failed = start(&store, &spec(), &[]).await.id;
    store.fail(&failed, "first reason").await.unwrap();
    let cancelled = start(&store, &spec(), &[]).await.id;
    store.stop(&cancelled, "first reason").await.unwrap();

    for id in [&succeeded, &failed, &cancelled] {
        let before = everything(&store, id).await;
        for refused in [
            finish(&store, id, vec![new_version(topic(), b"w")]).await.map(drop),
            store.fail(id, "late").await,
            store.stop(id, "late").await,
            store.cancel(id, "late").await.map(drop),
            store.record_epochs(id, &[report(1, 1.0)]).await,
        ] {
            assert!(matches!(refused, Err(StoreError::JobState { .. })), "{refused:?}");
        }
        assert_eq!(store.claim_next().await.unwrap(), None);
        assert_eq!(everything(&store, id).await, before);
    }
}

#[tokio::test]
async fn a_waiting_job_cannot_end_without_having_run() {
    let (_folder, store) = store_with_tasks().await;
    let job = enqueue(&store, &spec(), &[]).await;
    for refused in [
        finish(&store, &job.id, vec![]).await.map(drop),
        store.fail(&job.id, "early").await,
        store.stop(&job.id, "early").await,
    ] {
        assert!(matches!(refused, Err(StoreError::JobState { state: JobState::Queued, .. })));
    }
    assert_eq!(store.job(&job.id).await.unwrap(), Some(job));
}

#[tokio::test]
async fn what_a_job_made_may_be_kept_without_going_live() {
    let (_folder, store) = store_with_tasks().await;
    let learnt = [example("a", &[("topic", "Finance"), ("sentiment", "Negative")])];
    let job = start(&store, &spec(), &learnt).await;
    let versions = [topic(), sentiment()]
        .map(|task| NewVersion { goes_live: false, ..new_version(task, b"w") });
    finish(&store, &job.id, versions.into()).await.unwrap();
    let job = store.job(&job.id).await.unwrap().unwrap();
    assert_eq!((job.state, &job.published), (JobState::Succeeded, &BTreeMap::new()));
    assert_eq!(store.live_versions().await.unwrap(), []);
    assert_eq!(store.versions("topic").await.unwrap().len(), 1);
    assert_eq!(remembered(&store, ["sentiment", "topic"]).await, learnt);
}

#[tokio::test]
async fn a_job_is_rejected_if_nothing_of_it_went_live() {
    for topic_goes_live in [false, true] {
        let (_folder, store) = store_with_tasks().await;
        let labels = [("topic", "Finance"), ("sentiment", "Negative")];
        let job = start(&store, &spec(), &[example("a", &labels)]).await;
        let version = |task, goes_live| NewVersion { goes_live, ..new_version(task, b"w") };
        let verdict = Verdict::TooFewRows { rows: 3 };
        let task = TaskResult {
            version: None,
            live: false,
            champion_version: None,
            verdict,
            evaluation: None,
        };
        let tasks = [("sentiment".into(), task.clone()), ("topic".into(), task)].into();
        let rejected = match topic_goes_live {
            true => vec!["sentiment".into()],
            false => vec!["sentiment".into(), "topic".into()],
        };
        let outcome = Outcome {
            versions: vec![version(topic(), topic_goes_live), version(sentiment(), false)],
            rejected: rejected.into_iter().collect(),
            reason: Some("worse".into()),
            result: Some(JobResult { tasks, ..JobResult::default() }),
            ..Outcome::default()
        };
        store.finish(&job.id, outcome).await.unwrap();
        let job = store.job(&job.id).await.unwrap().unwrap();
        assert_eq!(job.reason.as_deref(), Some("worse"));
        let numbers: Vec<_> = job.result.unwrap().tasks.values().map(|it| it.version).collect();
        assert_eq!(numbers, [Some(1), Some(1)]);
        let remembered = remembered(&store, ["sentiment", "topic"]).await;
        let counts = store.job_counts().await.unwrap();
        match topic_goes_live {
            true => {
                assert_eq!((job.state, counts.succeeded), (JobState::Succeeded, 1));
                assert_eq!(job.published, BTreeMap::from([("topic".into(), 1)]));
                assert_eq!(remembered, [example("a", &labels[..1])]);
            }
            false => {
                assert_eq!((job.state, counts.rejected), (JobState::Rejected, 1));
                assert_eq!(job.published, BTreeMap::new());
                assert_eq!(remembered, []);
            }
        }
    }
}

#[tokio::test]
async fn what_was_judged_by_a_version_that_is_live_no_more_is_not_published() {
    let (_folder, store) = store_with_tasks().await;
    for (champion, fits) in [(Some(1), false), (None, true), (None, false), (Some(1), true)] {
        let job = start(&store, &spec(), &[]).await;
        let outcome = Outcome {
            versions: vec![new_version(topic(), b"w")],
            champions: [("topic".into(), champion)].into(),
            ..Outcome::default()
        };
        let published = store.finish(&job.id, outcome).await;
        match fits {
            true => drop(published.unwrap()),
            false => {
                let refused = matches!(published, Err(StoreError::ChampionChanged { .. }));
                assert!(refused, "{published:?}");
                store.fail(&job.id, "for the test").await.unwrap();
            }
        }
    }
    assert_eq!(store.versions("topic").await.unwrap().len(), 2);
}
