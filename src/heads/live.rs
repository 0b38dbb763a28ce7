//! The heads that answer now, and the swap that replaces them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::heads::{HeadVersion, Task};
use crate::metrics::{Metrics, TaskLabel};

/// A task with the version that answers for it.
#[derive(Clone, Debug)]
pub struct LiveTask {
    pub task: Task,
    pub version: HeadVersion,
}

/// All tasks with their live versions, as of one moment.
pub type Snapshot = BTreeMap<String, Arc<LiveTask>>;

/// The live heads. Readers take a [`Snapshot`] and answer a whole request from it; a writer replaces
/// the snapshot in one atomic step, so that an answer comes from one version of each head, and from
/// all or none of the versions that a job published together.
pub struct LiveHeads {
    snapshot: ArcSwap<Snapshot>,
    metrics: Arc<Metrics>,
}

impl LiveHeads {
    pub fn new(metrics: Arc<Metrics>) -> LiveHeads {
        LiveHeads { snapshot: ArcSwap::default(), metrics }
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Adds tasks, or replaces their definition and version.
    pub fn put(&self, tasks: Vec<LiveTask>) {
        let tasks: Vec<Arc<LiveTask>> = tasks.into_iter().map(Arc::new).collect();
        self.swap(|snapshot| {
            let named = tasks.iter().map(|live| (live.task.name.clone(), Arc::clone(live)));
            snapshot.extend(named);
        });
        tasks.iter().for_each(|live| self.report(&live.version));
    }

    /// Makes versions live, all in one step. Versions of tasks that are gone are left out.
    pub fn publish(&self, versions: Vec<HeadVersion>) {
        self.swap(|snapshot| {
            for version in &versions {
                if let Some(live) = snapshot.get_mut(&version.task) {
                    let task = live.task.clone();
                    *live = Arc::new(LiveTask { task, version: version.clone() });
                }
            }
        });
        for version in &versions {
            self.report(version);
            let label = TaskLabel { task: version.task.clone() };
            self.metrics.head_swaps.get_or_create(&label).inc();
        }
    }

    pub fn remove(&self, task: &str) {
        self.swap(|snapshot| drop(snapshot.remove(task)));
        let label = TaskLabel { task: task.to_owned() };
        self.metrics.head_version.remove(&label);
        self.metrics.head_swaps.remove(&label);
        self.metrics.epoch_loss.remove(&label);
    }

    fn swap(&self, change: impl Fn(&mut Snapshot)) {
        self.snapshot.rcu(|current| {
            let mut next = Snapshot::clone(current);
            change(&mut next);
            next
        });
    }

    fn report(&self, version: &HeadVersion) {
        let label = TaskLabel { task: version.task.clone() };
        self.metrics.head_version.get_or_create(&label).set(version.version);
    }
}
