//! The heads that answer now, and the swap that replaces them.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, MutexGuard, Notify};

use crate::heads::{HeadVersion, Task};
use crate::metrics::{Metrics, TaskLabel};

/// A task with the version that answers for it.
#[derive(Clone, Debug)]
pub struct LiveTask {
    pub task: Task,
    pub version: HeadVersion,
    /// The version that would answer, had it not been fit on another encoder than the one that is
    /// loaded now. `version` is a seeded one then.
    pub mismatched: Option<i64>,
}

/// All tasks with their live versions, as of one moment.
pub type Snapshot = BTreeMap<String, Arc<LiveTask>>;

/// The live heads. Readers take a [`Snapshot`] and answer a whole request from it; a writer replaces
/// the snapshot in one atomic step, so that an answer comes from one version of each head, and from
/// all or none of the versions that a job published together.
pub struct LiveHeads {
    snapshot: ArcSwap<Snapshot>,
    /// Held by the one who changes tasks or versions; see [`LiveHeads::write`].
    turn: Mutex<()>,
    swapped: Notify,
    metrics: Arc<Metrics>,
}

impl LiveHeads {
    pub fn new(metrics: Arc<Metrics>) -> LiveHeads {
        LiveHeads {
            snapshot: ArcSwap::default(),
            turn: Mutex::new(()),
            swapped: Notify::new(),
            metrics,
        }
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Waits until the live heads are as wanted.
    pub async fn wait_until(&self, wanted: impl Fn(&Snapshot) -> bool) {
        loop {
            // Listens before it looks, so that no swap goes unnoticed between the two.
            let mut swapped = pin!(self.swapped.notified());
            swapped.as_mut().enable();
            if wanted(&self.snapshot.load()) {
                return;
            }
            swapped.await;
        }
    }

    /// Waits for the right to change what is live. It is to be held from before the change to the
    /// store until after the swap, so that the two never disagree on what was changed last. Readers
    /// are not held up.
    pub async fn write(&self) -> Writer<'_> {
        Writer { heads: self, _turn: self.turn.lock().await }
    }
}

/// The right to change what is live; see [`LiveHeads::write`].
pub struct Writer<'a> {
    heads: &'a LiveHeads,
    _turn: MutexGuard<'a, ()>,
}

impl Writer<'_> {
    /// Adds tasks, or replaces their definition and version.
    pub fn put(&self, tasks: Vec<LiveTask>) {
        let mut next = Snapshot::clone(&self.heads.snapshot());
        for live in tasks {
            self.report(&live.version);
            next.insert(live.task.name.clone(), Arc::new(live));
        }
        self.swap(next);
    }

    /// Makes versions live, all in one step. A version of a task that is gone is left out.
    pub fn publish(&self, versions: Vec<HeadVersion>) {
        let mut next = Snapshot::clone(&self.heads.snapshot());
        for version in versions {
            let Some(live) = next.get_mut(&version.task) else { continue };
            self.report(&version);
            let label = TaskLabel { task: version.task.clone() };
            self.heads.metrics.head_swaps.get_or_create(&label).inc();
            let task = live.task.clone();
            *live = Arc::new(LiveTask { task, version, mismatched: None });
        }
        self.swap(next);
    }

    pub fn remove(&self, task: &str) {
        let mut next = Snapshot::clone(&self.heads.snapshot());
        next.remove(task);
        self.swap(next);
        let label = TaskLabel { task: task.to_owned() };
        let metrics = &self.heads.metrics;
        metrics.head_version.remove(&label);
        metrics.head_swaps.remove(&label);
        metrics.epoch_loss.remove(&label);
    }

    fn swap(&self, next: Snapshot) {
        self.heads.snapshot.store(Arc::new(next));
        self.heads.swapped.notify_waiters();
    }

    fn report(&self, version: &HeadVersion) {
        let label = TaskLabel { task: version.task.clone() };
        self.heads.metrics.head_version.get_or_create(&label).set(version.version);
    }
}
