//! Head versions: stored once, never changed.

use jiff::Timestamp;
use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::heads::Task;
use crate::store::error::{During, StoreError};
use crate::store::{Store, live_versions, tasks, timestamp};

/// Weights that are not stored yet.
#[derive(Clone, Debug, PartialEq)]
pub struct NewVersion {
    /// The task as it was when the weights were fit; publishing fails if it is another one by then.
    pub task: Task,
    /// Identifies the encoder whose embeddings the weights were fit on.
    pub encoder: String,
    /// The version that the fit started from.
    pub parent: Option<i64>,
    /// Opaque to the store.
    pub weights: Vec<u8>,
    pub twin: Option<Twin>,
    /// How the twin did on the held-out rows; opaque to the store.
    pub evaluation: Option<Value>,
    /// Whether it is to answer from now on, or only to be there.
    pub goes_live: bool,
}

/// The head that was fit without the held-out rows. Opaque to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twin {
    /// In the form of [`NewVersion::weights`].
    pub weights: Vec<u8>,
    /// Which rows these are.
    pub unseen: Vec<u8>,
}

/// What is known of a head version besides its weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInfo {
    pub task: String,
    /// Counts from 1 in each task.
    pub version: i64,
    pub encoder: String,
    pub parent: Option<i64>,
    /// The job that made the version; `None` for an imported one.
    pub job: Option<String>,
    pub created_at: Timestamp,
    /// As [`NewVersion::evaluation`].
    pub evaluation: Option<Value>,
    /// Whether this is the version of the task that answers.
    pub live: bool,
}

/// A head version with its weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredVersion {
    pub info: VersionInfo,
    /// The bytes that were stored.
    pub weights: Vec<u8>,
    pub twin: Option<Twin>,
}

impl Store {
    /// All versions of a task, newest first; none if there is no such task.
    pub async fn versions(&self, task: &str) -> Result<Vec<VersionInfo>, StoreError> {
        let rows = sqlx::query(
            "SELECT v.task, v.version, v.encoder, v.parent, v.job, v.created_at, v.evaluation,
                    l.version AS live_version
             FROM head_versions v LEFT JOIN live_versions l ON l.task = v.task
             WHERE v.task = $1 ORDER BY v.version DESC",
        )
        .bind(task)
        .fetch_all(&self.reads)
        .await
        .during("list the versions of a task")?;
        rows.iter().map(decode_info).collect()
    }

    /// One version of a task with its weights, if there is one of that number.
    pub async fn version(
        &self,
        task: &str,
        version: i64,
    ) -> Result<Option<StoredVersion>, StoreError> {
        let row = sqlx::query(
            "SELECT v.*, l.version AS live_version
             FROM head_versions v LEFT JOIN live_versions l ON l.task = v.task
             WHERE v.task = $1 AND v.version = $2",
        )
        .bind(task)
        .bind(version)
        .fetch_optional(&self.reads)
        .await
        .during("read a head version")?;
        row.as_ref().map(decode).transpose()
    }

    /// The live version of every task that has one, in no particular order.
    pub async fn live_versions(&self) -> Result<Vec<VersionInfo>, StoreError> {
        let rows = sqlx::query(
            "SELECT v.task, v.version, v.encoder, v.parent, v.job, v.created_at, v.evaluation,
                    l.version AS live_version
             FROM live_versions l
             JOIN head_versions v ON v.task = l.task AND v.version = l.version",
        )
        .fetch_all(&self.reads)
        .await
        .during("list the live head versions")?;
        rows.iter().map(decode_info).collect()
    }
}

/// Stores `new` under the task's next number, and makes it live if it is to be.
pub(super) async fn insert(
    tx: &mut AnyConnection,
    new: NewVersion,
    job: Option<&str>,
    now: i64,
) -> Result<VersionInfo, StoreError> {
    const OPERATION: &str = "store a head version";
    // The update comes first: it locks the task against a second publisher.
    let row = sqlx::query(
        "UPDATE tasks SET last_version = last_version + 1 WHERE name = $1
         RETURNING name, model, labels, new_labels, kind, threshold, last_version",
    )
    .bind(&new.task.name)
    .fetch_optional(&mut *tx)
    .await
    .during(OPERATION)?;
    let Some(row) = row else {
        return Err(StoreError::UnknownTask { task: new.task.name });
    };
    let task = tasks::decode(&row)?;
    let Task { new_labels, threshold, .. } = task;
    let grown = Task { new_labels, threshold, ..new.task.clone() };
    if !grown.is_grown_from(&task) {
        return Err(StoreError::TaskChanged { task: new.task.name });
    }
    if grown != task {
        tasks::grow(tx, &grown).await?;
    }
    let version: i64 = row.try_get("last_version").during(OPERATION)?;
    let (twin, unseen) = new.twin.map(|it| (it.weights, it.unseen)).unzip();
    sqlx::query(
        "INSERT INTO head_versions
            (task, version, encoder, parent, job, created_at, weights, twin, unseen, evaluation)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(&new.task.name)
    .bind(version)
    .bind(&new.encoder)
    .bind(new.parent)
    .bind(job)
    .bind(now)
    .bind(new.weights)
    .bind(twin)
    .bind(unseen)
    .bind(new.evaluation.as_ref().map(Value::to_string))
    .execute(&mut *tx)
    .await
    .during(OPERATION)?;
    if new.goes_live {
        live_versions::set(tx, &new.task.name, version).await?;
    }
    Ok(VersionInfo {
        task: new.task.name,
        version,
        encoder: new.encoder,
        parent: new.parent,
        job: job.map(str::to_owned),
        created_at: timestamp(now)?,
        evaluation: new.evaluation,
        live: new.goes_live,
    })
}

pub(super) fn decode(row: &AnyRow) -> Result<StoredVersion, StoreError> {
    const OPERATION: &str = "read the weights of a head version";
    let weights = row.try_get("weights").during(OPERATION)?;
    let twin: Option<Vec<u8>> = row.try_get("twin").during(OPERATION)?;
    let unseen: Option<Vec<u8>> = row.try_get("unseen").during(OPERATION)?;
    let twin = twin.zip(unseen).map(|(weights, unseen)| Twin { weights, unseen });
    Ok(StoredVersion { info: decode_info(row)?, weights, twin })
}

fn decode_info(row: &AnyRow) -> Result<VersionInfo, StoreError> {
    const OPERATION: &str = "read a head version";
    let version = row.try_get("version").during(OPERATION)?;
    let evaluation: Option<&str> = row.try_get("evaluation").during(OPERATION)?;
    let evaluation = evaluation.map(serde_json::from_str).transpose();
    let live_version: Option<i64> = row.try_get("live_version").during(OPERATION)?;
    Ok(VersionInfo {
        task: row.try_get("task").during(OPERATION)?,
        version,
        encoder: row.try_get("encoder").during(OPERATION)?,
        parent: row.try_get("parent").during(OPERATION)?,
        job: row.try_get("job").during(OPERATION)?,
        created_at: timestamp(row.try_get("created_at").during(OPERATION)?)?,
        evaluation: evaluation
            .map_err(|e| StoreError::corrupt("the evaluation of a head version", e))?,
        live: live_version == Some(version),
    })
}

#[cfg(test)]
mod tests {
    use crate::store::fixtures::*;
    use crate::store::{NewVersion, Twin};

    #[tokio::test]
    async fn versions_count_from_one_and_the_newest_is_live() {
        let (_folder, store) = store_with_tasks().await;
        for (number, weights) in [(1, b"first"), (2, b"other")] {
            let job = start(&store, &spec(), &[]).await;
            let published = finish(&store, &job.id, vec![new_version(topic(), weights)]).await;
            assert_eq!(published.unwrap()[0].version, number);
        }
        let versions = store.versions("topic").await.unwrap();
        let seen: Vec<_> = versions.iter().map(|v| (v.version, v.live)).collect();
        assert_eq!(seen, [(2, true), (1, false)]);
        assert_eq!(store.versions("sentiment").await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_version_stays_as_it_was_published() {
        let (_folder, store) = store_with_tasks().await;
        let weights: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let job = start(&store, &spec(), &[]).await;
        let published =
            finish(&store, &job.id, vec![new_version(topic(), &weights)]).await.unwrap();
        let before = store.version("topic", 1).await.unwrap().unwrap();
        assert_eq!((&before.info, &before.weights), (&published[0], &weights));

        let next = start(&store, &spec(), &[]).await;
        let twin = Some(Twin { weights: vec![1, 2], unseen: vec![3] });
        let child =
            NewVersion { parent: Some(1), twin: twin.clone(), ..new_version(topic(), b"new") };
        finish(&store, &next.id, vec![child]).await.unwrap();
        let mut after = store.version("topic", 1).await.unwrap().unwrap();
        assert!(!std::mem::replace(&mut after.info.live, true));
        assert_eq!(after, before);
        let child = store.version("topic", 2).await.unwrap().unwrap();
        assert_eq!((child.info.parent, child.info.job), (Some(1), Some(next.id)));
        assert_eq!((before.twin, child.twin), (None, twin));
        assert_eq!(store.version("topic", 3).await.unwrap(), None);
    }

    #[tokio::test]
    async fn the_live_version_of_every_trained_task_is_read_at_once() {
        let (_folder, store) = store_with_tasks().await;
        assert_eq!(store.live_versions().await.unwrap(), []);
        for weights in [[1_u8, 2], [3, 4]] {
            let job = start(&store, &spec(), &[]).await;
            finish(&store, &job.id, vec![new_version(sentiment(), &weights)]).await.unwrap();
        }
        let live = store.live_versions().await.unwrap();
        assert_eq!(live.len(), 1);
        assert_eq!((live[0].task.as_str(), live[0].version, live[0].live), ("sentiment", 2, true));
    }
}
