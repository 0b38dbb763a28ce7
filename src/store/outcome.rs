//! What a running job leaves behind: the reports of its epochs and its end. An ended job stays as
//! it is.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AnyConnection, Row};

use crate::store::error::{During, StoreError};
use crate::store::jobs::{decode, state};
use crate::store::memory::Lesson;
use crate::store::queue::take_turn;
use crate::store::{
    NewVersion, Store, VersionInfo, embeddings, job_examples, live_versions, memory, now, versions,
};
use crate::training::job::{EpochReport, JobState};
use crate::training::result::JobResult;

/// What a job that came to its end leaves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// At most one a task.
    pub versions: Vec<NewVersion>,
    /// Tasks whose version was judged worse than the live one. They learn nothing from the job: what
    /// is remembered stays what is answered from.
    pub rejected: BTreeSet<String>,
    /// The live version of each task by which it was judged, if there was one.
    pub champions: BTreeMap<String, Option<i64>>,
    /// Why, where the job is rejected.
    pub reason: Option<String>,
    /// Versions get their numbers in it.
    pub result: Option<JobResult>,
}

impl Store {
    /// Adds reports of epochs to a running job, in one step. One that is there already stays.
    ///
    /// # Errors
    /// [`StoreError::NotFinite`], as JSON knows no other numbers; [`StoreError::UnknownJob`];
    /// [`StoreError::JobState`] when the job is not running; [`StoreError::LeaseLost`].
    pub async fn record_epochs(
        &self,
        job: &str,
        reports: &[EpochReport],
    ) -> Result<(), StoreError> {
        const OPERATION: &str = "record the epochs of a job";
        if let Some(report) = reports.iter().find(|report| !is_finite(report)) {
            return Err(StoreError::NotFinite { job: job.to_owned(), epoch: report.epoch });
        }
        let mut tx = self.begin(OPERATION).await?;
        self.confirm(&mut tx, job, OPERATION).await?;
        for report in reports {
            let insert = "INSERT INTO job_epochs (job, epoch, report) VALUES ($1, $2, $3)
                 ON CONFLICT (job, epoch) DO NOTHING";
            sqlx::query(insert)
                .bind(job)
                .bind(i64::from(report.epoch))
                .bind(serde_json::to_string(report).expect("a report always makes JSON"))
                .execute(&mut *tx)
                .await
                .during(OPERATION)?;
        }
        tx.commit().await.during(OPERATION)
    }

    /// Ends a running job that came to its end, all in one step: stores its versions, makes those
    /// live that are to go live, and adds the job's examples to those of the tasks that it trained
    /// and that were not rejected. The job has succeeded, unless a task was rejected and nothing
    /// went live.
    ///
    /// # Errors
    /// [`StoreError::UnknownJob`]; [`StoreError::JobState`] when the job is not running;
    /// [`StoreError::LeaseLost`] when another replica has taken it over;
    /// [`StoreError::CancelRequested`]; [`StoreError::ChampionChanged`] when another version than the
    /// one that the job was judged by is live by now; [`StoreError::NotTrained`] for a version of a frozen or foreign task;
    /// [`StoreError::UnknownTask`] or [`StoreError::TaskChanged`] when a task was deleted or
    /// defined otherwise in the meantime.
    pub async fn finish(
        &self,
        job: &str,
        outcome: Outcome,
    ) -> Result<Vec<VersionInfo>, StoreError> {
        const OPERATION: &str = "finish a job";
        let Outcome { versions, rejected, champions, reason, mut result } = outcome;
        let went_live = versions.iter().any(|version| version.goes_live);
        let state = match !rejected.is_empty() && !went_live {
            true => JobState::Rejected,
            false => JobState::Succeeded,
        };
        let now = now();
        let mut tx = self.begin(OPERATION).await?;
        take_turn(&mut tx).await?;
        if self.confirm(&mut tx, job, OPERATION).await?.is_some() {
            return Err(StoreError::CancelRequested { job: job.to_owned() });
        }
        for (task, champion) in champions {
            live_versions::lock(&mut tx, &task).await?;
            if live_versions::current(&mut tx, &task).await? != champion {
                return Err(StoreError::ChampionChanged { task });
            }
        }
        let row = sqlx::query(
            "UPDATE jobs SET state = $3, finished_at = $2, reason = $4, holder = NULL,
                 lease_until = NULL
             WHERE id = $1
             RETURNING *",
        )
        .bind(job)
        .bind(now)
        .bind(state.as_str())
        .bind(reason.as_deref().map(storable))
        .fetch_one(&mut *tx)
        .await
        .during(OPERATION)?;
        let spec = decode(&row)?.spec;

        let encoder = versions.first().map(|version| version.encoder.clone());
        let mut stored = Vec::with_capacity(versions.len());
        for version in versions {
            let task = &version.task.name;
            if !spec.tasks.contains(task) || spec.frozen.contains(task) {
                let (job, task) = (job.to_owned(), task.clone());
                return Err(StoreError::NotTrained { job, task });
            }
            let info = versions::insert(&mut tx, version, Some(job), now).await?;
            if let Some(task) = result.as_mut().and_then(|it| it.tasks.get_mut(&info.task)) {
                task.version = Some(info.version);
            }
            stored.push(info);
        }
        let live = stored.iter().filter(|version| version.live);
        let published: BTreeMap<_, _> = live.map(|v| (&v.task, v.version)).collect();
        sqlx::query("UPDATE jobs SET published = $2, result = $3 WHERE id = $1")
            .bind(job)
            .bind(serde_json::to_string(&published).expect("names and numbers always make JSON"))
            .bind(result.map(|it| serde_json::to_string(&it).expect("a result always makes JSON")))
            .execute(&mut *tx)
            .await
            .during(OPERATION)?;

        let examples = job_examples::read(&mut tx, job).await?;
        let trained = spec.tasks.difference(&spec.frozen);
        let tasks = trained.filter(|&task| !rejected.contains(task)).map(String::as_str).collect();
        memory::merge(&mut tx, Lesson { tasks, mode: spec.mode, examples: &examples }).await?;
        job_examples::delete(&mut tx, job).await?;
        embeddings::drop_strays(&mut tx).await?;
        if let Some(encoder) = encoder.filter(|_| !self.texts) {
            memory::drop_texts(&mut tx, &encoder).await?;
        }
        // One that does not go live may still have brought its task new labels.
        if !stored.is_empty() {
            self.count_change(&mut tx).await?;
        }
        self.commit_deletion(tx, OPERATION).await?;
        Ok(stored)
    }

    /// Ends a running job as failed. Nothing of it is published or remembered.
    ///
    /// # Errors
    /// [`StoreError::UnknownJob`]; [`StoreError::JobState`] when the job is not running;
    /// [`StoreError::LeaseLost`].
    pub async fn fail(&self, job: &str, reason: &str) -> Result<(), StoreError> {
        self.end_running(job, JobState::Failed, reason).await
    }

    /// Ends a running job as cancelled: its runner has stopped, because of [`Store::cancel`] or on
    /// its own account. Nothing of it is published or remembered.
    ///
    /// # Errors
    /// [`StoreError::UnknownJob`]; [`StoreError::JobState`] when the job is not running;
    /// [`StoreError::LeaseLost`].
    pub async fn stop(&self, job: &str, reason: &str) -> Result<(), StoreError> {
        self.end_running(job, JobState::Cancelled, reason).await
    }

    async fn end_running(&self, job: &str, to: JobState, why: &str) -> Result<(), StoreError> {
        const OPERATION: &str = "end a job";
        let mut tx = self.begin(OPERATION).await?;
        take_turn(&mut tx).await?;
        self.confirm(&mut tx, job, OPERATION).await?;
        end(&mut tx, job, JobState::Running, to, why).await?;
        self.commit_deletion(tx, OPERATION).await
    }
}

/// Moves a job from the state it must be in to a final one other than success.
pub(super) async fn end(
    tx: &mut AnyConnection,
    job: &str,
    from: JobState,
    to: JobState,
    reason: &str,
) -> Result<(), StoreError> {
    const OPERATION: &str = "end a job";
    let ended = sqlx::query(
        "UPDATE jobs SET state = $3, reason = $4, finished_at = $5, holder = NULL,
             lease_until = NULL
         WHERE id = $1 AND state = $2",
    )
    .bind(job)
    .bind(from.as_str())
    .bind(to.as_str())
    .bind(storable(reason))
    .bind(now())
    .execute(&mut *tx)
    .await
    .during(OPERATION)?;
    if ended.rows_affected() == 0 {
        return Err(refusal(tx, job, OPERATION).await);
    }
    if from == JobState::Running {
        embeddings::drop_strays(tx).await?;
    }
    job_examples::delete(tx, job).await
}

/// The state of a job; an error if there is no such job.
pub(super) async fn state_of(tx: &mut AnyConnection, job: &str) -> Result<JobState, StoreError> {
    const OPERATION: &str = "read the state of a job";
    let row = sqlx::query("SELECT state FROM jobs WHERE id = $1")
        .bind(job)
        .fetch_optional(tx)
        .await
        .during(OPERATION)?;
    match row {
        Some(row) => state(row.try_get("state").during(OPERATION)?),
        None => Err(StoreError::UnknownJob { job: job.to_owned() }),
    }
}

/// Why no row of `jobs` matched: the job is in another state or another replica's, or there is none.
pub(super) async fn refusal(
    tx: &mut AnyConnection,
    job: &str,
    operation: &'static str,
) -> StoreError {
    match state_of(tx, job).await {
        Ok(JobState::Running) => StoreError::LeaseLost { job: job.to_owned() },
        Ok(state) => StoreError::JobState { operation, job: job.to_owned(), state },
        Err(error) => error,
    }
}

/// A reason may quote anything; see [`StoreError::NulCharacter`].
pub(super) fn storable(reason: &str) -> String {
    reason.replace('\0', "\u{FFFD}")
}

fn is_finite(report: &EpochReport) -> bool {
    let scores = report.tasks.values().flat_map(|t| [Some(t.train), t.validation]).flatten();
    let mut numbers = scores.flat_map(|s| [s.loss, s.accuracy]).chain([report.loss]);
    numbers.all(f64::is_finite)
}

#[cfg(test)]
mod tests;
