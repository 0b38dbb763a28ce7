//! What the tests of the store share.

use std::collections::BTreeMap;

use tempfile::TempDir;
use uuid::Uuid;

use crate::heads::{NewLabels, Task};
use crate::store::{NewVersion, Outcome, Store, StoreError, VersionInfo};
use crate::training::job::{Example, Job, JobSpec, Mode};
use crate::training::result::Promote;
use crate::training::selection::Strength;
use crate::training::solver::Solver;

/// A store in a folder that lives as long as the test.
pub(super) async fn store() -> (TempDir, Store) {
    let folder = TempDir::new().unwrap();
    let store = Store::open(&url(&folder)).await.unwrap();
    (folder, store)
}

pub(super) fn url(folder: &TempDir) -> String {
    format!("sqlite:{}/polyhead.db", folder.path().display())
}

/// The store with the tasks `topic` and `sentiment`.
pub(super) async fn store_with_tasks() -> (TempDir, Store) {
    let (folder, store) = store().await;
    store.put_task(&topic()).await.unwrap();
    store.put_task(&sentiment()).await.unwrap();
    (folder, store)
}

pub(super) fn topic() -> Task {
    task("topic", &["Finance", "Entertainment", "Technology"])
}

pub(super) fn sentiment() -> Task {
    task("sentiment", &["Negative", "Positive"])
}

pub(super) fn task(name: &str, labels: &[&str]) -> Task {
    let labels = labels.iter().map(|&label| label.into()).collect();
    Task { name: name.into(), model: "minilm".into(), labels, new_labels: NewLabels::Refuse }
}

/// An extending job on both tasks.
pub(super) fn spec() -> JobSpec {
    JobSpec {
        model: "minilm".into(),
        tasks: ["sentiment".into(), "topic".into()].into(),
        frozen: [].into(),
        mode: Mode::Extend,
        solver: Solver::Adam { learning_rate: 2e-5, epochs: 3, batch_size: 5, patience: None },
        l2: Strength::Given(0.0),
        class_weight: None,
        calibrate: false,
        validation: Some(0.1),
        seed: 7,
        promote: Promote::IfNotWorse,
        margin: 0.01,
    }
}

pub(super) fn example(text: &str, labels: &[(&str, &str)]) -> Example {
    let labels = labels.iter().map(|&(task, label)| (task.into(), label.into()));
    Example { text: text.into(), labels: labels.collect::<BTreeMap<_, _>>(), weight: None }
}

pub(super) fn job_id() -> String {
    Uuid::now_v7().to_string()
}

/// Puts a job into the queue.
pub(super) async fn enqueue(store: &Store, spec: &JobSpec, examples: &[Example]) -> Job {
    store.enqueue(&job_id(), spec, examples, 100).await.unwrap()
}

/// Puts a job into the empty queue and starts it.
pub(super) async fn start(store: &Store, spec: &JobSpec, examples: &[Example]) -> Job {
    let queued = enqueue(store, spec, examples).await;
    let running = store.claim_next().await.unwrap().unwrap();
    assert_eq!(queued.id, running.id);
    running
}

/// Ends a running job that nothing is rejected of.
pub(super) async fn finish(
    store: &Store,
    job: &str,
    versions: Vec<NewVersion>,
) -> Result<Vec<VersionInfo>, StoreError> {
    store.finish(job, Outcome { versions, ..Outcome::default() }).await
}

/// What is remembered for tasks, where texts are kept.
pub(super) async fn remembered<S: AsRef<str>>(
    store: &Store,
    tasks: impl IntoIterator<Item = S>,
) -> Vec<Example> {
    let tasks = tasks.into_iter().map(|task| task.as_ref().to_owned()).collect();
    let stored = store.examples(&tasks).await.unwrap().into_iter();
    stored
        .map(|it| Example { text: it.text.unwrap(), labels: it.labels, weight: it.weight })
        .collect()
}

/// A version that goes live.
pub(super) fn new_version(task: Task, weights: &[u8]) -> NewVersion {
    NewVersion {
        task,
        encoder: "minilm@1".into(),
        parent: None,
        weights: weights.into(),
        twin: None,
        evaluation: None,
        goes_live: true,
    }
}
