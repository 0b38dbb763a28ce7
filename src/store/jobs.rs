//! The record of every job.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use crate::store::error::{During, StoreError};
use crate::store::{Store, placeholders, timestamp};
use crate::training::job::{EpochReport, Job, JobState};
use crate::training::progress::Progress;

/// Which jobs [`Store::jobs`] lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobQuery {
    /// At most this many.
    pub limit: u32,
    /// Only jobs older than the one with this id: the last id of the page before.
    pub before: Option<String>,
    /// Only jobs in this state.
    pub state: Option<JobState>,
}

/// How many jobs are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobCounts {
    pub queued: i64,
    pub running: i64,
    pub succeeded: i64,
    pub rejected: i64,
    pub failed: i64,
    pub cancelled: i64,
}

impl Store {
    /// The job of that id, if there is one.
    pub async fn job(&self, id: &str) -> Result<Option<Job>, StoreError> {
        let row = sqlx::query("SELECT * FROM jobs WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.reads)
            .await
            .during("read a job")?;
        let rows: Vec<_> = row.into_iter().collect();
        Ok(self.with_epochs(&rows).await?.pop())
    }

    /// A page of jobs, newest first, without their epochs: these can be many. A job whose record
    /// cannot be read is left out, as it would hide all others.
    pub async fn jobs(&self, query: &JobQuery) -> Result<Vec<Job>, StoreError> {
        const OPERATION: &str = "list jobs";
        let mut before = query.before.clone();
        let mut jobs = Vec::new();
        loop {
            let wanted = query.limit as usize - jobs.len();
            let rows = sqlx::query(
                "SELECT * FROM jobs WHERE (id < $1 OR $1 IS NULL) AND (state = $2 OR $2 IS NULL)
                 ORDER BY id DESC LIMIT $3",
            )
            .bind(&before)
            .bind(query.state.map(JobState::as_str))
            .bind(i64::try_from(wanted).expect("a limit is small"))
            .fetch_all(&self.reads)
            .await
            .during(OPERATION)?;
            for row in &rows {
                jobs.extend(readable(row)?);
                before = Some(row.try_get("id").during(OPERATION)?);
            }
            if rows.len() < wanted || jobs.len() == query.limit as usize {
                return Ok(jobs);
            }
        }
    }

    /// How many jobs are in each state, of all that were ever accepted.
    pub async fn job_counts(&self) -> Result<JobCounts, StoreError> {
        const OPERATION: &str = "count the jobs";
        let rows = sqlx::query("SELECT state, COUNT(*) AS jobs FROM jobs GROUP BY state")
            .fetch_all(&self.reads)
            .await
            .during(OPERATION)?;
        let mut counts = JobCounts::default();
        for row in rows {
            let count = match state(row.try_get("state").during(OPERATION)?)? {
                JobState::Queued => &mut counts.queued,
                JobState::Running => &mut counts.running,
                JobState::Succeeded => &mut counts.succeeded,
                JobState::Rejected => &mut counts.rejected,
                JobState::Failed => &mut counts.failed,
                JobState::Cancelled => &mut counts.cancelled,
            };
            *count = row.try_get("jobs").during(OPERATION)?;
        }
        Ok(counts)
    }

    async fn with_epochs(&self, rows: &[AnyRow]) -> Result<Vec<Job>, StoreError> {
        const OPERATION: &str = "read the epochs of jobs";
        let mut jobs = rows.iter().map(decode).collect::<Result<Vec<_>, _>>()?;
        if jobs.is_empty() {
            return Ok(jobs);
        }
        let sql = format!(
            "SELECT job, report FROM job_epochs WHERE job IN {} ORDER BY epoch",
            placeholders(1, jobs.len()),
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for job in &jobs {
            query = query.bind(&job.id);
        }
        let mut epochs: BTreeMap<String, Vec<EpochReport>> = BTreeMap::new();
        for row in query.fetch_all(&self.reads).await.during(OPERATION)? {
            let job: String = row.try_get("job").during(OPERATION)?;
            let report = from_json(&row, "report", "an epoch of job", &job)?;
            epochs.entry(job).or_default().push(report);
        }
        for job in &mut jobs {
            job.epochs = epochs.remove(&job.id).unwrap_or_default();
        }
        Ok(jobs)
    }
}

/// As [`decode`], but `None` for a record that does not make sense, which is logged.
pub(super) fn readable(row: &AnyRow) -> Result<Option<Job>, StoreError> {
    match decode(row) {
        Ok(job) => Ok(Some(job)),
        Err(StoreError::Corrupt { record, cause }) => {
            tracing::error!(record, cause, "a job's record cannot be read");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Reads a row of `jobs`, all but its epochs.
pub(super) fn decode(row: &AnyRow) -> Result<Job, StoreError> {
    const OPERATION: &str = "read a job";
    let id: String = row.try_get("id").during(OPERATION)?;
    let moment = |column| -> Result<_, StoreError> {
        let microseconds: Option<i64> = row.try_get(column).during(OPERATION)?;
        microseconds.map(timestamp).transpose()
    };
    Ok(Job {
        state: state(row.try_get("state").during(OPERATION)?)?,
        spec: from_json(row, "spec", "the spec of job", &id)?,
        examples: row.try_get("examples").during(OPERATION)?,
        skipped: optional(row, "skipped", "the skipped rows of job", &id)?,
        created_at: timestamp(row.try_get("created_at").during(OPERATION)?)?,
        started_at: moment("started_at")?,
        finished_at: moment("finished_at")?,
        attempts: row.try_get("attempts").during(OPERATION)?,
        epochs: Vec::new(),
        published: from_json(row, "published", "the published versions of job", &id)?,
        reason: row.try_get("reason").during(OPERATION)?,
        result: optional(row, "result", "the result of job", &id)?,
        progress: progress(row)?,
        id,
    })
}

fn optional<T: DeserializeOwned>(
    row: &AnyRow,
    column: &str,
    what: &str,
    job: &str,
) -> Result<Option<T>, StoreError> {
    let json: Option<&str> = row.try_get(column).during("read a job")?;
    let value = json.map(serde_json::from_str).transpose();
    value.map_err(|e| StoreError::corrupt(format!("{what} {job}"), e))
}

/// Another version of the program may tell it otherwise, which nothing depends on.
fn progress(row: &AnyRow) -> Result<Option<Progress>, StoreError> {
    let json: Option<&str> = row.try_get("progress").during("read a job")?;
    Ok(json.and_then(|json| serde_json::from_str(json).ok()))
}

fn from_json<T: DeserializeOwned>(
    row: &AnyRow,
    column: &str,
    what: &str,
    job: &str,
) -> Result<T, StoreError> {
    let json: &str = row.try_get(column).during("read a job")?;
    serde_json::from_str(json).map_err(|e| StoreError::corrupt(format!("{what} {job}"), e))
}

pub(super) fn state(name: &str) -> Result<JobState, StoreError> {
    let found = JobState::ALL.into_iter().find(|state| state.as_str() == name);
    found.ok_or_else(|| StoreError::corrupt("a job", format!("no such state: {name}")))
}

#[cfg(test)]
mod tests {
    use crate::store::fixtures::*;
    use crate::store::{JobCounts, JobQuery};
    use crate::training::job::{EpochReport, JobState};

    fn page(limit: u32, before: Option<&str>, state: Option<JobState>) -> JobQuery {
        JobQuery { limit, before: before.map(Into::into), state }
    }

    #[tokio::test]
    async fn pages_run_from_the_newest_job_to_the_oldest_without_gaps() {
        let (_folder, store) = store().await;
        let mut ids = Vec::new();
        for _ in 0..7 {
            ids.push(enqueue(&store, &spec(), &[]).await.id);
        }
        ids.reverse();
        let mut seen: Vec<String> = Vec::new();
        loop {
            let query = page(3, seen.last().map(String::as_str), None);
            let jobs = store.jobs(&query).await.unwrap();
            if jobs.is_empty() {
                break;
            }
            assert!(jobs.len() <= 3);
            seen.extend(jobs.into_iter().map(|job| job.id));
        }
        assert_eq!(seen, ids);
    }

    #[tokio::test]
    async fn a_page_may_be_limited_to_a_state_and_each_job_shows_its_own_epochs() {
        let (_folder, store) = store().await;
        let mut failed = Vec::new();
        for number in 1..=2 {
            let job = start(&store, &spec(), &[]).await;
            let report = EpochReport { epoch: number, loss: 0.5, tasks: [].into() };
            store.record_epochs(&job.id, std::slice::from_ref(&report)).await.unwrap();
            store.fail(&job.id, "for the test").await.unwrap();
            failed.insert(0, (job.id, vec![report]));
        }
        enqueue(&store, &spec(), &[]).await;
        let jobs = store.jobs(&page(10, None, Some(JobState::Failed))).await.unwrap();
        assert_eq!(jobs.len(), failed.len());
        for (job, (id, epochs)) in jobs.iter().zip(failed) {
            assert_eq!((&job.id, &job.epochs), (&id, &vec![]));
            assert_eq!(store.job(&id).await.unwrap().unwrap().epochs, epochs);
        }
        assert_eq!(store.jobs(&page(10, None, Some(JobState::Running))).await.unwrap(), []);
    }

    #[tokio::test]
    async fn jobs_are_counted_by_state() {
        let (_folder, store) = store().await;
        let ends = ["finish", "fail", "stop", "fail"];
        for end in ends {
            let job = start(&store, &spec(), &[]).await;
            match end {
                "finish" => drop(finish(&store, &job.id, vec![]).await.unwrap()),
                "fail" => store.fail(&job.id, "for the test").await.unwrap(),
                _ => store.stop(&job.id, "for the test").await.unwrap(),
            }
        }
        start(&store, &spec(), &[]).await;
        enqueue(&store, &spec(), &[]).await;
        enqueue(&store, &spec(), &[]).await;
        let counts = store.job_counts().await.unwrap();
        let expected =
            JobCounts { queued: 2, running: 1, succeeded: 1, rejected: 0, failed: 2, cancelled: 1 };
        assert_eq!(counts, expected);
    }

    #[tokio::test]
    async fn an_unknown_job_is_none() {
        let (_folder, store) = store().await;
        assert_eq!(store.job("nobody").await.unwrap(), None);
    }
}
