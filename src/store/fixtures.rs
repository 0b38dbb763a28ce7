//! What the tests of the store share. They run on SQLite, and once more on PostgreSQL: see
//! `postgres/tests.rs`.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::sync::Arc;

use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};
use tempfile::TempDir;
use uuid::Uuid;

use crate::config::OnRestart;
use crate::heads::{Kind, NewLabels, Task};
use crate::store::{
    NewVersion, Outcome, Recovered, Store, StoreError, Submission, VersionInfo, lease,
};
use crate::training::job::{Example, Job, JobSpec, Mode, Target};
use crate::training::result::Promote;
use crate::training::selection::Strength;
use crate::training::solver::Solver;

#[path = "../../tests/replicas/postgres.rs"]
#[expect(dead_code, reason = "the tests of replicas need more of it")]
pub(super) mod server;

/// Names the folder of the socket of the PostgreSQL server to be used instead of SQLite.
pub(super) const SERVER: &str = "POLYHEAD_TEST_POSTGRES";

/// A store in a folder that lives as long as the test.
pub(super) async fn store() -> (TempDir, Store) {
    let folder = database().await;
    let store = Store::open(&url(&folder)).await.unwrap();
    (folder, store)
}

/// A folder whose [`url`] is that of an empty database, or of none yet.
pub(super) async fn database() -> TempDir {
    let folder = TempDir::new().unwrap();
    sqlx::any::install_default_drivers();
    if let Some(socket) = postgres() {
        let mut server = AnyConnection::connect(&server::url(&socket, "postgres")).await.unwrap();
        let create = format!("CREATE DATABASE \"{}\"", name(&folder));
        server.execute(AssertSqlSafe(create)).await.unwrap();
        server.close().await.unwrap();
    }
    folder
}

pub(super) fn url(folder: &TempDir) -> String {
    match postgres() {
        Some(socket) => server::url(&socket, &name(folder)),
        None => format!("sqlite:{}/polyhead.db", folder.path().display()),
    }
}

pub(super) fn postgres() -> Option<PathBuf> {
    env::var_os(SERVER).map(PathBuf::from)
}

fn name(folder: &TempDir) -> String {
    folder.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_owned()
}

/// Another replica on the same state. A file has one owner, who can play several.
pub(super) async fn replica(folder: &TempDir, store: &Store) -> Store {
    match store.is_shared() {
        true => Store::open(&url(folder)).await.unwrap(),
        false => Store { replica: Arc::from(Uuid::now_v7().to_string()), ..store.clone() },
    }
}

/// Settles the jobs of those who held leases, as if these were dead.
pub(super) async fn recover(store: &Store, policy: OnRestart) -> Recovered {
    lease::end_all(&mut store.writes.acquire().await.unwrap()).await.unwrap();
    store.recover(policy).await.unwrap()
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
    Task {
        name: name.into(),
        model: "minilm".into(),
        labels,
        kind: Kind::SingleLabel,
        new_labels: NewLabels::Refuse,
        threshold: None,
    }
}

/// A task of which any number of labels may apply.
pub(super) fn tags() -> Task {
    Task { kind: Kind::MultiLabel, ..task("tags", &["billing", "refund", "urgent"]) }
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
    let labels = labels.iter().map(|&(task, label)| (task.into(), Target::Label(label.into())));
    Example { text: text.into(), labels: labels.collect::<BTreeMap<_, _>>(), weight: None }
}

/// An example of [`tags`].
pub(super) fn tagged(text: &str, labels: &[&str]) -> Example {
    let labels = Target::Labels(labels.iter().map(|&label| label.into()).collect());
    Example { text: text.into(), labels: [("tags".into(), labels)].into(), weight: None }
}

pub(super) fn job_id() -> String {
    Uuid::now_v7().to_string()
}

/// Puts a job into the queue.
pub(super) async fn enqueue(store: &Store, spec: &JobSpec, examples: &[Example]) -> Job {
    store.enqueue(&job_id(), submission(spec, examples), 100).await.unwrap()
}

/// A request of which nothing was skipped.
pub(super) fn submission<'a>(spec: &'a JobSpec, examples: &'a [Example]) -> Submission<'a> {
    Submission { spec, examples, skipped: None }
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
