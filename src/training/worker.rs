//! The background trainer: takes one job at a time from the store, runs it, publishes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::causes::Causes;
use crate::encoder::Encoder;
use crate::heads::live::LiveHeads;
use crate::metrics::{Metrics, StateLabel};
use crate::store::{Cancellation, Store, StoreError};
use crate::training::job::{Example, Job, JobSpec, JobState};
use crate::training::progress::{Meter, Phase, Progress};
use crate::training::publish::publish;
use crate::training::run::{Fitted, Run, RunError};

/// Why a job ended that nobody cancelled by name.
const SHUT_DOWN: &str = "the server was shut down";

const CANCELLED: &str = "cancelled by request";

/// How long to leave a store alone that has just refused an operation.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// A handle on the trainer; clones share it.
#[derive(Clone)]
pub struct Trainer(Arc<Parts>);

struct Parts {
    store: Store,
    encoders: BTreeMap<String, Arc<Encoder>>,
    heads: Arc<LiveHeads>,
    metrics: Arc<Metrics>,
    queued_jobs: u32,
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

impl Trainer {
    /// A trainer that keeps at most `queued_jobs` waiting. It works once [`Trainer::run`] is polled.
    pub fn new(
        store: Store,
        encoders: BTreeMap<String, Arc<Encoder>>,
        heads: Arc<LiveHeads>,
        metrics: Arc<Metrics>,
        queued_jobs: u32,
    ) -> Trainer {
        Trainer(Arc::new(Parts {
            store,
            encoders,
            heads,
            metrics,
            queued_jobs,
            submitted: Notify::new(),
            changes: watch::Sender::new(0),
            progress: Meter::default(),
            running: Mutex::new(None),
        }))
    }

    /// Accepts a job. Once this returns, no crash loses it.
    pub async fn submit(&self, spec: JobSpec, examples: &[Example]) -> Result<Job, StoreError> {
        let id = Uuid::now_v7().to_string();
        let job = self.0.store.enqueue(&id, &spec, examples, self.0.queued_jobs).await?;
        self.changed().await;
        self.0.submitted.notify_one();
        Ok(job)
    }

    /// Cancels a job: at once while it waits; a running one stops at its next epoch.
    pub async fn cancel(&self, id: &str) -> Result<Cancellation, StoreError> {
        let running = self.0.running.lock().await;
        let cancellation = self.0.store.cancel(id, CANCELLED).await?;
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

    /// Where a job is, if it waits or this process runs it.
    pub fn progress(&self, job: &Job) -> Option<Progress> {
        self.0.progress.of(&job.id, job.state)
    }

    /// Runs jobs until `shutdown`; the one that runs then is cancelled and recorded so.
    pub async fn run(self, shutdown: CancellationToken) {
        self.count_jobs().await;
        while !shutdown.is_cancelled() {
            match self.claim(&shutdown).await {
                Ok(Some((job, cancel))) => self.work_on(&job, &cancel, &shutdown).await,
                Ok(None) => tokio::select! {
                    () = self.0.submitted.notified() => {}
                    () = shutdown.cancelled() => {}
                },
                Err(error) => {
                    tracing::error!(error = %Causes(&error), "cannot look for the next job; trying again");
                    pause(&shutdown).await;
                }
            }
        }
        // Those who watch jobs that will not run any more have to look up.
        self.changed().await;
    }

    async fn claim(
        &self,
        shutdown: &CancellationToken,
    ) -> Result<Option<(Job, CancellationToken)>, StoreError> {
        let mut running = self.0.running.lock().await;
        let Some(job) = self.0.store.claim_next().await? else {
            return Ok(None);
        };
        let cancel = shutdown.child_token();
        *running = Some(Running { job: job.id.clone(), cancel: cancel.clone() });
        Ok(Some((job, cancel)))
    }

    async fn work_on(&self, job: &Job, cancel: &CancellationToken, shutdown: &CancellationToken) {
        self.changed().await;
        tracing::info!(job = job.id, attempt = job.attempts, "training starts");
        let mut outcome = self.train(job, cancel).await;
        self.0.progress.enter(&job.id, Phase::Publishing, 0);
        while let Err(error) = self.conclude(job, &outcome, cancel, shutdown).await {
            if error.is_passing() {
                // Left running in the store, the job is settled at the next start.
                if shutdown.is_cancelled() {
                    break;
                }
                tracing::error!(job = job.id, error = %Causes(&error), "cannot record the job; trying again");
                pause(shutdown).await;
            } else if matches!(outcome, Err(RunError::Failed(_))) {
                tracing::error!(job = job.id, error = %Causes(&error), "cannot record that the job failed");
                break;
            } else {
                // It cannot be published as it is: its task changed meanwhile.
                outcome = Err(RunError::Failed(error.to_string()));
            }
        }
        self.0.progress.clear();
        *self.0.running.lock().await = None;
        self.changed().await;
    }

    async fn train(&self, job: &Job, cancel: &CancellationToken) -> Result<Fitted, RunError> {
        let encoder = self.0.encoders.get(&job.spec.model).ok_or_else(|| {
            RunError::Failed(format!("model {:?} is no longer served", job.spec.model))
        })?;
        let run = Run {
            store: &self.0.store,
            encoder,
            heads: &self.0.heads.snapshot(),
            metrics: &self.0.metrics,
            changes: &self.0.changes,
            progress: &self.0.progress,
        };
        run.train(job, cancel).await
    }

    /// Records how a job ended: what it published is durable first, then live.
    async fn conclude(
        &self,
        job: &Job,
        outcome: &Result<Fitted, RunError>,
        cancel: &CancellationToken,
        shutdown: &CancellationToken,
    ) -> Result<(), StoreError> {
        let store = &self.0.store;
        // A cancellation comes before this or finds the job ended, never in between.
        let _running = self.0.running.lock().await;
        match outcome {
            Ok(fitted) if !cancel.is_cancelled() => {
                let state = publish(store, &self.0.heads, job, fitted).await?;
                tracing::info!(job = job.id, state = state.as_str(), "training ended");
            }
            Ok(_) | Err(RunError::Cancelled) => {
                let why = if shutdown.is_cancelled() { SHUT_DOWN } else { CANCELLED };
                store.stop(&job.id, why).await?;
                tracing::info!(job = job.id, reason = why, "training cancelled");
            }
            Err(RunError::Failed(reason)) => {
                store.fail(&job.id, reason).await?;
                // The reason may quote labels, which are the users' own and never logged.
                tracing::warn!(job = job.id, "training failed; the job's record says why");
            }
        }
        Ok(())
    }

    async fn changed(&self) {
        self.count_jobs().await;
        self.0.changes.send_modify(|count| *count += 1);
    }

    async fn count_jobs(&self) {
        // A gauge that is late is no reason to fail a job.
        let Ok(counts) = self.0.store.job_counts().await else { return };
        for (state, count) in [
            (JobState::Queued, counts.queued),
            (JobState::Running, counts.running),
            (JobState::Succeeded, counts.succeeded),
            (JobState::Rejected, counts.rejected),
            (JobState::Failed, counts.failed),
            (JobState::Cancelled, counts.cancelled),
        ] {
            let label = StateLabel { state: state.as_str().to_owned() };
            self.0.metrics.jobs.get_or_create(&label).set(count);
        }
    }
}

async fn pause(shutdown: &CancellationToken) {
    // Woken by the shutdown: nothing may hold that up.
    let _ = tokio::time::timeout(STORE_PAUSE, shutdown.cancelled()).await;
}
