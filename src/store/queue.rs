//! The bounded queue of jobs: in, out, out of turn, and back after a crash.
//!
//! Every transaction here first updates the one row of `job_queue`, so that they follow one another
//! on every database: what one of them counts or picks stays true until it commits.

use std::collections::BTreeMap;

use sqlx::{AnyConnection, Row};

use crate::config::OnRestart;
use crate::store::error::{During, StoreError};
use crate::store::lease::Orphan;
use crate::store::outcome::{end, refusal, state_of, storable};
use crate::store::{Store, job_examples, jobs, now, timestamp};
use crate::training::job::{Example, Job, JobSpec, JobState, SkippedRows};

/// How often a job is started that was running when the server died.
pub const MOST_ATTEMPTS: i64 = 3;

/// Why a job failed whose record another version of the program may have written.
const UNREADABLE: &str = "the job's stored record cannot be read; the server's log says why";

/// What a job is accepted with.
#[derive(Clone, Copy, Debug)]
pub struct Submission<'a> {
    pub spec: &'a JobSpec,
    pub examples: &'a [Example],
    pub skipped: Option<&'a SkippedRows>,
}

/// What [`Store::cancel`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancellation {
    /// The job was waiting and is cancelled.
    Done,
    /// The job is running; whoever runs it must stop and confirm with [`Store::stop`].
    Requested,
}

/// The ids of the jobs that [`Store::recover`] found running, by what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    pub queued: Vec<String>,
    pub failed: Vec<String>,
    /// Jobs whose cancellation had been requested.
    pub cancelled: Vec<String>,
}

impl Store {
    /// Accepts a job with its examples: once this returns, no crash loses it.
    ///
    /// # Errors
    /// [`StoreError::QueueFull`] when `max_queued` jobs are waiting already;
    /// [`StoreError::NulCharacter`].
    pub async fn enqueue(
        &self,
        id: &str,
        submission: Submission<'_>,
        max_queued: u32,
    ) -> Result<Job, StoreError> {
        const OPERATION: &str = "store a job";
        let Submission { spec, examples, skipped } = submission;
        job_examples::check(examples)?;
        let created_at = now();
        let mut tx = self.begin(OPERATION).await?;
        take_turn(&mut tx).await?;
        let waiting: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM jobs WHERE state = 'queued'")
            .fetch_one(&mut *tx)
            .await
            .during(OPERATION)?;
        if waiting >= i64::from(max_queued) {
            return Err(StoreError::QueueFull { max_queued });
        }
        let count = i64::try_from(examples.len()).expect("a slice has fewer than 2^63 elements");
        sqlx::query(
            "INSERT INTO jobs (id, state, spec, examples, created_at, attempts, published, skipped)
             VALUES ($1, 'queued', $2, $3, $4, 0, '{}', $5)",
        )
        .bind(id)
        .bind(serde_json::to_string(spec).expect("a spec always makes JSON"))
        .bind(count)
        .bind(created_at)
        .bind(skipped.map(|it| serde_json::to_string(it).expect("counts always make JSON")))
        .execute(&mut *tx)
        .await
        .during(OPERATION)?;
        job_examples::insert(&mut tx, id, examples).await?;
        tx.commit().await.during(OPERATION)?;
        Ok(Job {
            id: id.to_owned(),
            state: JobState::Queued,
            spec: spec.clone(),
            examples: count,
            skipped: skipped.cloned(),
            created_at: timestamp(created_at)?,
            started_at: None,
            finished_at: None,
            attempts: 0,
            epochs: Vec::new(),
            published: BTreeMap::new(),
            reason: None,
            result: None,
            progress: None,
        })
    }

    /// Starts the oldest waiting job, unless one is running already or none waits; this replica then
    /// holds its lease. A job whose record
    /// cannot be read fails, so that it does not hold up the others.
    pub async fn claim_next(&self) -> Result<Option<Job>, StoreError> {
        const OPERATION: &str = "start the next job";
        let mut tx = self.begin(OPERATION).await?;
        take_turn(&mut tx).await?;
        let lease_until = self.lease_end(&mut tx).await?;
        let claimed = loop {
            let row = sqlx::query(
                "UPDATE jobs SET state = 'running', attempts = attempts + 1, started_at = $1,
                     holder = $2, lease_until = $3, progress = NULL
                 WHERE id = (SELECT id FROM jobs WHERE state = 'queued' ORDER BY id LIMIT 1)
                   AND state = 'queued'
                   AND NOT EXISTS (SELECT 1 FROM jobs WHERE state = 'running')
                 RETURNING *",
            )
            .bind(now())
            .bind(&*self.replica)
            .bind(lease_until)
            .fetch_optional(&mut *tx)
            .await
            .during(OPERATION)?;
            let Some(row) = row else { break None };
            if let Some(job) = jobs::readable(&row)? {
                break Some(job);
            }
            let id: &str = row.try_get("id").during(OPERATION)?;
            end(&mut tx, id, JobState::Running, JobState::Failed, UNREADABLE).await?;
        };
        tx.commit().await.during(OPERATION)?;
        Ok(claimed)
    }

    /// Cancels a waiting job at once; asks a running one to stop, durably: its holder learns of it
    /// when it renews its lease, and should it die before the job does, [`Store::recover`] cancels the
    /// job.
    ///
    /// # Errors
    /// [`StoreError::UnknownJob`]; [`StoreError::JobState`] when the job has ended.
    pub async fn cancel(&self, id: &str, reason: &str) -> Result<Cancellation, StoreError> {
        const OPERATION: &str = "cancel a job";
        let mut tx = self.begin(OPERATION).await?;
        take_turn(&mut tx).await?;
        let cancellation = match state_of(&mut tx, id).await? {
            JobState::Queued => {
                end(&mut tx, id, JobState::Queued, JobState::Cancelled, reason).await?;
                Cancellation::Done
            }
            JobState::Running => {
                sqlx::query("UPDATE jobs SET reason = $2 WHERE id = $1 AND state = 'running'")
                    .bind(id)
                    .bind(storable(reason))
                    .execute(&mut *tx)
                    .await
                    .during(OPERATION)?;
                Cancellation::Requested
            }
            JobState::Succeeded | JobState::Rejected | JobState::Failed | JobState::Cancelled => {
                return Err(refusal(&mut tx, id, OPERATION).await);
            }
        };
        self.commit_deletion(tx, OPERATION).await?;
        Ok(cancellation)
    }

    /// Whether there is anything to recover or to claim: a look that holds up nobody.
    pub async fn has_work(&self) -> Result<bool, StoreError> {
        const OPERATION: &str = "look for work";
        let mut connection = self.reads.acquire().await.during(OPERATION)?;
        let now = self.engine.now(&mut connection).await?;
        let jobs: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM jobs
             WHERE (state = 'running' AND (lease_until <= $1 OR lease_until IS NULL))
                OR (state = 'queued' AND NOT EXISTS (SELECT 1 FROM jobs WHERE state = 'running'))",
        )
        .bind(now)
        .fetch_one(&mut *connection)
        .await
        .during(OPERATION)?;
        Ok(jobs > 0)
    }

    /// Settles the running jobs whose holder has fallen silent, most likely because it died. A job
    /// whose cancellation had been requested is cancelled under either policy; one that was running
    /// each of [`MOST_ATTEMPTS`] times when a server died may be why, and fails. Jobs whose lease has
    /// not run out are left alone.
    pub async fn recover(&self, policy: OnRestart) -> Result<Recovered, StoreError> {
        const OPERATION: &str = "recover interrupted jobs";
        let mut tx = self.begin(OPERATION).await?;
        take_turn(&mut tx).await?;
        let mut recovered = Recovered::default();
        for Orphan { job: id, attempts, cancelled } in self.take_over(&mut tx).await? {
            match (cancelled, policy) {
                (Some(reason), _) => {
                    end(&mut tx, &id, JobState::Running, JobState::Cancelled, &reason).await?;
                    recovered.cancelled.push(id);
                }
                (None, OnRestart::Fail) => {
                    let reason = "the server stopped while the job was running";
                    end(&mut tx, &id, JobState::Running, JobState::Failed, reason).await?;
                    recovered.failed.push(id);
                }
                (None, OnRestart::Resume) if attempts >= MOST_ATTEMPTS => {
                    let reason = format!(
                        "the server stopped while the job was running, {attempts} times; it is not tried again"
                    );
                    end(&mut tx, &id, JobState::Running, JobState::Failed, &reason).await?;
                    recovered.failed.push(id);
                }
                (None, OnRestart::Resume) => {
                    requeue(&mut tx, &id).await?;
                    recovered.queued.push(id);
                }
            }
        }
        self.commit_deletion(tx, OPERATION).await?;
        Ok(recovered)
    }
}

/// Makes the transaction wait for the one before it.
pub(super) async fn take_turn(tx: &mut AnyConnection) -> Result<(), StoreError> {
    let update = sqlx::query("UPDATE job_queue SET turn = turn + 1").execute(tx).await;
    update.during("take a turn at the queue").map(drop)
}

/// Back to the queue, as if the job had never been started but for its attempts.
pub(super) async fn requeue(tx: &mut AnyConnection, job: &str) -> Result<(), StoreError> {
    for statement in [
        "UPDATE jobs SET state = 'queued', started_at = NULL, holder = NULL, lease_until = NULL
         WHERE id = $1 AND state = 'running'",
        "DELETE FROM job_epochs WHERE job = $1",
    ] {
        let result = sqlx::query(statement).bind(job).execute(&mut *tx).await;
        result.during("put a job back into the queue")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
