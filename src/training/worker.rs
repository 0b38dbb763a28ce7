//! The background trainer: takes one job at a time from the store, runs it, publishes.
//!
//! Where replicas share the store, one of them runs a job, and holds its lease meanwhile; the others
//! look now and then whether there is a job to start or to take over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::causes::Causes;
use crate::config::TrainingConfig;
use crate::encoder::Encoder;
use crate::heads::follow::{FollowError, Follower};
use crate::heads::live::LiveHeads;
use crate::metrics::{Metrics, StateLabel};
use crate::store::{Cancellation, Store, StoreError, Submission};
use crate::training::hold::{Hold, pause};
use crate::training::job::{Job, JobState};
use crate::training::progress::{Meter, Phase, Progress};
use crate::training::publish::publish;
use crate::training::run::{Fitted, Run, RunError};

/// Why a job ended that nobody cancelled by name.
const SHUT_DOWN: &str = "the server was shut down";

const CANCELLED: &str = "cancelled by request";

/// Between two looks for jobs that other replicas have accepted or left behind.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long to wait for a job to be claimed. A claim of which the answer is lost is settled as that of
/// a replica that died.
const CLAIM: Duration = Duration::from_secs(30);

/// How long to wait for the number of jobs.
const COUNT: Duration = Duration::from_secs(5);

/// How often a job is judged again because another replica has changed what is live meanwhile.
const MOST_JUDGEMENTS: u32 = 5;

/// A handle on the trainer; clones share it.
#[derive(Clone)]
pub struct Trainer(Arc<State>);

/// What a trainer works with.
pub struct TrainerParts {
    pub store: Store,
    pub encoders: BTreeMap<String, Arc<Encoder>>,
    pub heads: Arc<LiveHeads>,
    pub follower: Arc<Follower>,
    pub metrics: Arc<Metrics>,
}

struct State {
    parts: TrainerParts,
    config: TrainingConfig,
    submitted: Notify,
    /// Counts whatever happens to jobs, so that watchers know when to look again.
    changes: watch::Sender<u64>,
    progress: Meter,
    /// Held while a job is claimed, so that a cancellation finds it either waiting or running here.
    running: Mutex<Option<Running>>,
}

struct Running {
    job: String,
    cancel: CancellationToken,
}

/// A job that has come to its end and is to be recorded.
struct Ending<'a> {
    job: &'a Job,
    outcome: Result<Fitted, RunError>,
    cancel: &'a CancellationToken,
    shutdown: &'a CancellationToken,
}

impl Trainer {
    /// A trainer that has not begun: it works once [`Trainer::run`] is polled.
    pub fn new(parts: TrainerParts, config: TrainingConfig) -> Trainer {
        Trainer(Arc::new(State {
            parts,
            config,
            submitted: Notify::new(),
            changes: watch::Sender::new(0),
            progress: Meter::default(),
            running: Mutex::new(None),
        }))
    }

    /// Accepts a job. Once this returns, no crash loses it.
    pub async fn submit(&self, submission: Submission<'_>) -> Result<Job, StoreError> {
        let id = Uuid::now_v7().to_string();
        let most = self.0.config.queued_jobs.get().try_into().unwrap_or(u32::MAX);
        let job = self.store().enqueue(&id, submission, most).await?;
        self.changed().await;
        self.0.submitted.notify_one();
        Ok(job)
    }

    /// Cancels a job: at once while it waits; a running one stops at its next epoch, on another
    /// replica once that renews its lease.
    pub async fn cancel(&self, id: &str) -> Result<Cancellation, StoreError> {
        let running = self.0.running.lock().await;
        let cancellation = self.store().cancel(id, CANCELLED).await?;
        if let Some(running) = running.as_ref().filter(|running| running.job == id) {
            running.cancel.cancel();
        }
        drop(running);
        self.changed().await;
        Ok(cancellation)
    }

    /// Changes whenever a job does.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Whether this process runs the job of that id.
    pub fn runs(&self, job: &str) -> bool {
        self.0.progress.of(job, JobState::Running).is_some()
    }

    /// Waits until this process has let go of a job. Its versions are durable before they are live: who
    /// reads in the record that a job has ended must find them live as well.
    pub async fn let_go(&self, job: &str) {
        let mut changes = self.changes();
        while self.runs(job) && changes.changed().await.is_ok() {}
    }

    /// Where a job is that has not ended, as far as its record is not older.
    pub fn progress(&self, job: &Job) -> Option<Progress> {
        let told = job.progress.filter(|_| job.state == JobState::Running);
        self.0.progress.of(&job.id, job.state).or(told)
    }

    /// Runs jobs until `shutdown`; the one that runs then is cancelled and recorded so.
    pub async fn run(self, shutdown: CancellationToken) {
        self.count_jobs().await;
        while !shutdown.is_cancelled() {
            match timeout(CLAIM, self.claim(&shutdown)).await {
                Ok(Ok(Some((job, cancel)))) => self.work_on(&job, &cancel, &shutdown).await,
                Ok(Ok(None)) => self.wait_for_work(&shutdown).await,
                // That the database is away is told once, by those who follow it.
                Ok(Err(error)) if error.is_outage() => pause(&shutdown).await,
                Ok(Err(error)) => {
                    tracing::error!(error = %Causes(&error), "cannot look for the next job; trying again");
                    pause(&shutdown).await;
                }
                Err(_) => pause(&shutdown).await,
            }
        }
        // Those who watch jobs that will not run any more have to look up.
        self.changed().await;
    }

    /// Settles the jobs whose replica has died. After an outage of the database, others first get the
    /// time of a lease to show themselves: nobody could while it was away.
    pub async fn recover(&self) -> Result<(), StoreError> {
        let State { parts, config, .. } = &*self.0;
        if parts.store.is_shared() && parts.follower.in_touch_for() < parts.store.lease() {
            return Ok(());
        }
        let recovered = parts.store.recover(config.on_restart).await?;
        for (jobs, outcome) in [
            (recovered.queued, "runs again"),
            (recovered.failed, "is marked failed"),
            (recovered.cancelled, "is cancelled, as had been asked"),
        ] {
            for job in jobs {
                tracing::warn!(job, outcome, "the server died or fell silent while it ran the job");
            }
        }
        Ok(())
    }

    async fn wait_for_work(&self, shutdown: &CancellationToken) {
        let submitted = async {
            tokio::select! {
                () = self.0.submitted.notified() => {}
                () = shutdown.cancelled() => {}
            }
        };
        if !self.store().is_shared() {
            return submitted.await;
        }
        if timeout(LOOK_EVERY, submitted).await.is_err() {
            self.count_jobs().await;
        }
    }

    async fn claim(
        &self,
        shutdown: &CancellationToken,
    ) -> Result<Option<(Job, CancellationToken)>, StoreError> {
        let mut running = self.0.running.lock().await;
        if !self.store().has_work().await? {
            return Ok(None);
        }
        self.recover().await?;
        let Some(job) = self.store().claim_next().await? else {
            return Ok(None);
        };
        let cancel = shutdown.child_token();
        *running = Some(Running { job: job.id.clone(), cancel: cancel.clone() });
        self.0.progress.enter(&job.id, Phase::Gathering, 0);
        Ok(Some((job, cancel)))
    }

    async fn work_on(&self, job: &Job, cancel: &CancellationToken, shutdown: &CancellationToken) {
        self.changed().await;
        tracing::info!(job = job.id, attempt = job.attempts, "training starts");
        let hold = Hold::new(self.store(), &job.id, &self.0.progress, cancel);
        let work = async {
            let outcome = self.train(job, &hold, cancel).await;
            self.0.progress.enter(&job.id, Phase::Publishing, 0);
            let mut ending = Ending { job, outcome, cancel, shutdown };
            self.conclude(&mut ending, &hold).await;
        };
        tokio::select! {
            () = work => {}
            never = hold.keep() => match never {},
        }
        self.0.progress.clear();
        *self.0.running.lock().await = None;
        self.changed().await;
    }

    /// Records how a job ended, however long that takes, unless the server ends or another replica has
    /// taken the job over.
    async fn conclude(&self, ending: &mut Ending<'_>, hold: &Hold<'_>) {
        let Ending { job, cancel, shutdown, .. } = *ending;
        if let Err(RunError::TakenOver) = ending.outcome {
            return tell_taken_over(&job.id);
        }
        let mut judgements = 1;
        loop {
            let Some(recorded) = hold.unless_silent(self.record(ending)).await else { continue };
            let Err(error) = recorded else { return };
            match error {
                StoreError::ChampionChanged { .. } if judgements < MOST_JUDGEMENTS => {
                    judgements += 1;
                }
                StoreError::CancelRequested { .. } => {
                    cancel.cancel();
                    ending.outcome = Err(RunError::Cancelled);
                }
                StoreError::LeaseLost { .. } | StoreError::JobState { .. } => {
                    return tell_taken_over(&job.id);
                }
                error if error.is_outage() || error.is_passing() => {
                    // Left running in the store, the job is settled at the next start, or by others.
                    if shutdown.is_cancelled() {
                        return;
                    }
                    if !error.is_outage() {
                        tracing::error!(job = job.id, error = %Causes(&error), "cannot record the job; trying again");
                    }
                    pause(shutdown).await;
                }
                error if matches!(ending.outcome, Err(RunError::Failed(_))) => {
                    tracing::error!(job = job.id, error = %Causes(&error), "cannot record that the job failed");
                    return;
                }
                // It cannot be published as it is: its task changes or has changed.
                error => ending.outcome = Err(RunError::Failed(error.to_string())),
            }
        }
    }

    async fn train(
        &self,
        job: &Job,
        hold: &Hold<'_>,
        cancel: &CancellationToken,
    ) -> Result<Fitted, RunError> {
        // Another replica may have made a task of the job a moment ago.
        hold.persist(|| self.follow()).await?;
        let parts = &self.0.parts;
        let encoder = parts.encoders.get(&job.spec.model).ok_or_else(|| {
            RunError::Failed(format!("model {:?} is no longer served", job.spec.model))
        })?;
        let run = Run {
            store: &parts.store,
            hold,
            encoder,
            heads: &parts.heads.snapshot(),
            metrics: &parts.metrics,
            changes: &self.0.changes,
            progress: &self.0.progress,
        };
        run.train(job, cancel).await
    }

    /// Records how a job ended: what it published is durable first, then live.
    async fn record(&self, ending: &Ending<'_>) -> Result<(), StoreError> {
        let Ending { job, outcome, cancel, shutdown } = ending;
        let store = self.store();
        // A cancellation comes before this or finds the job ended, never in between.
        let _running = self.0.running.lock().await;
        match outcome {
            Err(RunError::Failed(reason)) => {
                store.fail(&job.id, reason).await?;
                // The reason may quote labels, which are the users' own and never logged.
                tracing::warn!(job = job.id, "training failed; the job's record says why");
            }
            Ok(fitted) if !cancel.is_cancelled() => {
                // What is live may have been published by others.
                self.follow().await?;
                let state = publish(store, &self.0.parts.heads, job, fitted).await?;
                tracing::info!(job = job.id, state = state.as_str(), "training ended");
            }
            Ok(_) | Err(RunError::Cancelled | RunError::TakenOver) => {
                let why = if shutdown.is_cancelled() { SHUT_DOWN } else { CANCELLED };
                store.stop(&job.id, why).await?;
                tracing::info!(job = job.id, reason = why, "training cancelled");
            }
        }
        Ok(())
    }

    /// Makes the live heads those of the store. A version that cannot be read is of no concern here.
    async fn follow(&self) -> Result<(), StoreError> {
        match self.0.parts.follower.refresh().await {
            Ok(()) | Err(FollowError::Version(_)) => Ok(()),
            Err(FollowError::Store(error)) => Err(error),
        }
    }

    fn store(&self) -> &Store {
        &self.0.parts.store
    }

    async fn changed(&self) {
        self.count_jobs().await;
        self.0.changes.send_modify(|count| *count += 1);
    }

    async fn count_jobs(&self) {
        // A gauge that is late is no reason to fail a job, or to hold it up.
        let Ok(Ok(counts)) = timeout(COUNT, self.store().job_counts()).await else { return };
        for (state, count) in [
            (JobState::Queued, counts.queued),
            (JobState::Running, counts.running),
            (JobState::Succeeded, counts.succeeded),
            (JobState::Rejected, counts.rejected),
            (JobState::Failed, counts.failed),
            (JobState::Cancelled, counts.cancelled),
        ] {
            let label = StateLabel { state: state.as_str().to_owned() };
            self.0.parts.metrics.jobs.get_or_create(&label).set(count);
        }
    }
}

fn tell_taken_over(job: &str) {
    tracing::warn!(job, "taken over by another replica: what was learnt here is dropped");
}
