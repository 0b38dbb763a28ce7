//! Follows the store: what goes live on any replica, or stops to exist, does so here as well.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::causes::Causes;
use crate::encoder::Encoder;
use crate::heads::live::{LiveHeads, LiveTask, Writer};
use crate::heads::{HeadVersion, InitialSeed, Task, VersionError};
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::store::{Revision, Store, StoreError, VersionInfo};

/// Between two looks at a store that others may write to. A look reads one number; what is published
/// elsewhere is live here after this and the time to load it.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A look that takes longer has failed: the database is out of reach.
const LOOK: Duration = Duration::from_secs(5);

/// Keeps the live heads those of the store.
pub struct Follower {
    store: Store,
    encoders: BTreeMap<String, Arc<Encoder>>,
    heads: Arc<LiveHeads>,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    contact: Mutex<Contact>,
}

/// What a follower works with.
pub struct FollowerParts {
    pub store: Store,
    pub encoders: BTreeMap<String, Arc<Encoder>>,
    pub heads: Arc<LiveHeads>,
    pub metrics: Arc<Metrics>,
    pub readiness: Readiness,
}

/// Why the heads are not those of the store.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// All other heads are.
    #[error(transparent)]
    Version(#[from] VersionError),
}

/// What is known of the store.
#[derive(Default)]
struct Contact {
    /// What the live heads are of; `None` before the first load.
    revision: Option<Revision>,
    /// The last look that succeeded.
    last: Option<Instant>,
    /// The first one since the last that failed.
    since: Option<Instant>,
}

impl Follower {
    /// A follower that has not looked yet; see [`Follower::refresh`].
    pub fn new(parts: FollowerParts) -> Follower {
        let FollowerParts { store, encoders, heads, metrics, readiness } = parts;
        metrics.store_up.set(1);
        Follower { store, encoders, heads, metrics, readiness, contact: Mutex::default() }
    }

    /// Makes the heads live that are live in the store now, in one step. What is published here
    /// meanwhile waits, so that an older state never replaces a newer one.
    ///
    /// # Errors
    /// The store refuses, or a version cannot be read; the one before it goes on answering.
    pub async fn refresh(&self) -> Result<(), FollowError> {
        let outcome = self.follow().await;
        match &outcome {
            Err(FollowError::Store(_)) => self.contact().since = None,
            Ok(()) | Err(FollowError::Version(_)) => {
                let (now, mut contact) = (Instant::now(), self.contact());
                contact.last = Some(now);
                contact.since.get_or_insert(now);
            }
        }
        outcome
    }

    /// Refreshes until `shutdown`, where others may write to the store.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        if !self.store.is_shared() {
            return shutdown.cancelled().await;
        }
        while timeout(LOOK_EVERY, shutdown.cancelled()).await.is_err() {
            tokio::select! {
                looked = timeout(LOOK, self.refresh()) => self.report(looked.ok()),
                () = shutdown.cancelled() => {}
            }
        }
    }

    /// How old the live heads may be: the time since they were last known to be those of the store.
    pub fn lag(&self) -> Duration {
        match self.store.is_shared() {
            true => self.contact().last.map_or(Duration::ZERO, |last| last.elapsed()),
            false => Duration::ZERO,
        }
    }

    /// For how long every look at the store has succeeded.
    pub fn in_touch_for(&self) -> Duration {
        self.contact().since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    async fn follow(&self) -> Result<(), FollowError> {
        let known = self.contact().revision;
        if known == Some(self.store.revision().await?) {
            return Ok(());
        }
        let writer = self.heads.write().await;
        // Read before the state that it stands for: if that is newer by then, the next look tells.
        let revision = self.store.revision().await?;
        let loaded = self.load(&writer).await;
        if !matches!(loaded, Err(FollowError::Store(_))) {
            self.contact().revision = Some(revision);
        }
        loaded
    }

    /// Makes the heads those of the store, but for versions that cannot be read.
    async fn load(&self, writer: &Writer<'_>) -> Result<(), FollowError> {
        let (snapshot, first) = (self.heads.snapshot(), self.contact().revision.is_none());
        let tasks = self.store.tasks().await?;
        let live = self.store.live_versions().await?.into_iter();
        let mut live: BTreeMap<String, VersionInfo> =
            live.map(|version| (version.task.clone(), version)).collect();
        let (mut put, mut published, mut unread) = (Vec::new(), Vec::new(), None);
        for name in snapshot.keys().filter(|name| !tasks.iter().any(|task| task.name == **name)) {
            writer.remove(name);
        }
        for task in tasks {
            let current = snapshot.get(&task.name);
            let Some(encoder) = self.encoders.get(&task.model) else {
                if current.is_some() || first {
                    tracing::warn!(
                        task = task.name,
                        model = task.model,
                        "left out: its model is not served"
                    );
                    writer.remove(&task.name);
                }
                continue;
            };
            let info = live.remove(&task.name);
            let fingerprint = &encoder.info().fingerprint;
            if current.is_some_and(|it| answers(it, &task, info.as_ref(), fingerprint)) {
                continue;
            }
            match self.live_task(task, info, encoder).await {
                // A version for the labels that the task has had: a swap.
                Ok(Some(it))
                    if current.is_some_and(|now| now.task == it.task)
                        && it.version.is_trained() =>
                {
                    published.push(it.version);
                }
                Ok(Some(it)) => put.push(it),
                Ok(None) => {}
                Err(FollowError::Version(error)) => unread = Some(error),
                Err(error) => return Err(error),
            }
        }
        if !put.is_empty() {
            writer.put(put);
        }
        if !published.is_empty() {
            writer.publish(published);
        }
        unread.map_or(Ok(()), |error| Err(error.into()))
    }

    /// A task with its live version, or with a seeded head where none was published, or where the one
    /// that was belongs to another encoder. `None` if it is about to change again.
    async fn live_task(
        &self,
        task: Task,
        live: Option<VersionInfo>,
        encoder: &Encoder,
    ) -> Result<Option<LiveTask>, FollowError> {
        let info = encoder.info();
        let untrained = || HeadVersion::untrained(&task, info, InitialSeed::default());
        let (version, mismatched) = match live {
            None => (untrained(), None),
            Some(live) if live.encoder == info.fingerprint => {
                let stored = self.store.version(&task.name, live.version).await?;
                let Some(stored) =
                    stored.filter(|stored| stored.info.created_at == live.created_at)
                else {
                    return Ok(None);
                };
                (HeadVersion::restored(stored)?, None)
            }
            Some(live) => {
                tracing::error!(
                    task = task.name,
                    version = live.version,
                    model = task.model,
                    "the head was fit on another encoder and does not answer until it is trained again"
                );
                (untrained(), Some(live.version))
            }
        };
        // The task may have got further labels since, or be another one of the same name.
        let head = &version.head;
        let fits = head.kind() == task.kind && task.labels.starts_with(head.labels());
        Ok(fits.then_some(LiveTask { task, version, mismatched }))
    }

    /// Tells once when the store goes away and once when it is back.
    fn report(&self, looked: Option<Result<(), FollowError>>) {
        let away = match &looked {
            None => {
                self.contact().since = None;
                true
            }
            Some(Err(FollowError::Store(error))) => error.is_outage(),
            Some(Err(FollowError::Version(_)) | Ok(())) => false,
        };
        let was_away = self.readiness.set_store_away(away);
        self.metrics.store_up.set(i64::from(!away));
        match looked {
            Some(Err(error)) if !away => {
                tracing::error!(error = %Causes(&error), "cannot follow the live heads");
            }
            Some(Err(error)) if !was_away => {
                tracing::warn!(error = %Causes(&error), "the database is away: heads go on answering, training waits");
            }
            None if !was_away => {
                tracing::warn!(
                    "the database does not answer: heads go on answering, training waits"
                );
            }
            Some(Ok(())) if was_away => tracing::info!("the database is back"),
            _ => {}
        }
    }

    fn contact(&self) -> MutexGuard<'_, Contact> {
        // Every change is one assignment: a panic leaves nothing half done.
        self.contact.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this is what answers for the task already.
fn answers(current: &LiveTask, task: &Task, live: Option<&VersionInfo>, fingerprint: &str) -> bool {
    let version = match live {
        // The moment as well: versions of a task that was deleted and made again count anew.
        Some(live) if live.encoder == fingerprint => {
            current.version.version == live.version && current.version.created_at == live.created_at
        }
        Some(live) => current.mismatched == Some(live.version),
        None => !current.version.is_trained() && current.mismatched.is_none(),
    };
    version && current.task == *task
}
