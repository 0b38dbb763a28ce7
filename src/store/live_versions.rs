//! Which version of each task answers, and which ones did before.

use sqlx::{AnyConnection, Row};

use crate::store::error::{During, StoreError};
use crate::store::versions::decode;
use crate::store::{NewVersion, Store, StoredVersion, VersionInfo, now, versions};

impl Store {
    /// Stores a version that no job has made.
    ///
    /// # Errors
    /// [`StoreError::UnknownTask`], [`StoreError::TaskChanged`].
    pub async fn import(&self, version: NewVersion) -> Result<VersionInfo, StoreError> {
        const OPERATION: &str = "import a head version";
        let mut tx = self.begin(OPERATION).await?;
        let info = versions::insert(&mut tx, version, None, now()).await?;
        if info.live {
            self.count_change(&mut tx).await?;
        }
        tx.commit().await.during(OPERATION)?;
        Ok(info)
    }

    /// Makes a version live that was fit on `encoder`; if it is live already, nothing changes.
    ///
    /// # Errors
    /// [`StoreError::UnknownVersion`]; [`StoreError::OtherEncoder`].
    pub async fn promote(
        &self,
        task: &str,
        version: i64,
        encoder: &str,
    ) -> Result<StoredVersion, StoreError> {
        const OPERATION: &str = "promote a head version";
        let mut tx = self.begin(OPERATION).await?;
        lock(&mut tx, task).await?;
        check_encoder(&mut tx, task, version, encoder).await?;
        set(&mut tx, task, version).await?;
        let promoted = read(&mut tx, task, version).await?;
        self.count_change(&mut tx).await?;
        tx.commit().await.during(OPERATION)?;
        Ok(promoted)
    }

    /// Makes the version live that was live before the live one, or `to`, which was live some time
    /// before: what came after it is no longer to be rolled back to, so that one rollback after the
    /// other leads further back.
    ///
    /// # Errors
    /// [`StoreError::NoEarlierVersion`]; [`StoreError::NeverLive`]; [`StoreError::OtherEncoder`]
    /// when the version was not fit on `encoder`.
    pub async fn roll_back(
        &self,
        task: &str,
        to: Option<i64>,
        encoder: &str,
    ) -> Result<StoredVersion, StoreError> {
        const OPERATION: &str = "roll back a head";
        let mut tx = self.begin(OPERATION).await?;
        lock(&mut tx, task).await?;
        let row = sqlx::query(
            "SELECT place, version FROM earlier_live_versions
             WHERE task = $1 AND (version = $2 OR $2 IS NULL) ORDER BY place DESC LIMIT 1",
        )
        .bind(task)
        .bind(to)
        .fetch_optional(&mut *tx)
        .await
        .during(OPERATION)?;
        let Some(row) = row else {
            let task = task.to_owned();
            return Err(match to {
                None => StoreError::NoEarlierVersion { task },
                Some(version) => StoreError::NeverLive { task, version },
            });
        };
        let place: i64 = row.try_get("place").during(OPERATION)?;
        let version: i64 = row.try_get("version").during(OPERATION)?;
        check_encoder(&mut tx, task, version, encoder).await?;
        sqlx::query("DELETE FROM earlier_live_versions WHERE task = $1 AND place >= $2")
            .bind(task)
            .bind(place)
            .execute(&mut *tx)
            .await
            .during(OPERATION)?;
        sqlx::query("UPDATE live_versions SET version = $2 WHERE task = $1")
            .bind(task)
            .bind(version)
            .execute(&mut *tx)
            .await
            .during(OPERATION)?;
        let live = read(&mut tx, task, version).await?;
        self.count_change(&mut tx).await?;
        tx.commit().await.during(OPERATION)?;
        Ok(live)
    }
}

/// Makes a version live; the one that was becomes the one to roll back to.
pub(super) async fn set(
    tx: &mut AnyConnection,
    task: &str,
    version: i64,
) -> Result<(), StoreError> {
    for statement in [
        "INSERT INTO earlier_live_versions (task, place, version)
         SELECT l.task,
             (SELECT COALESCE(MAX(place), 0) + 1 FROM earlier_live_versions WHERE task = $1),
             l.version
         FROM live_versions l WHERE l.task = $1 AND l.version <> $2",
        "INSERT INTO live_versions (task, version) VALUES ($1, $2)
         ON CONFLICT (task) DO UPDATE SET version = excluded.version",
    ] {
        let result = sqlx::query(statement).bind(task).bind(version).execute(&mut *tx).await;
        result.during("make a head version live")?;
    }
    Ok(())
}

/// The live version of a task, if there is one.
pub(super) async fn current(tx: &mut AnyConnection, task: &str) -> Result<Option<i64>, StoreError> {
    let live = sqlx::query_scalar("SELECT version FROM live_versions WHERE task = $1").bind(task);
    live.fetch_optional(tx).await.during("read which version of a task is live")
}

/// Makes the transaction wait for others that change what is live of the task.
pub(super) async fn lock(tx: &mut AnyConnection, task: &str) -> Result<(), StoreError> {
    let update = sqlx::query("UPDATE tasks SET last_version = last_version WHERE name = $1");
    let updated = update.bind(task).execute(tx).await.during("lock a task")?;
    match updated.rows_affected() {
        0 => Err(StoreError::UnknownTask { task: task.to_owned() }),
        _ => Ok(()),
    }
}

/// A version is there, and was fit on `encoder`.
async fn check_encoder(
    tx: &mut AnyConnection,
    task: &str,
    version: i64,
    encoder: &str,
) -> Result<(), StoreError> {
    let found = read(tx, task, version).await?.info;
    match found.encoder == encoder {
        true => Ok(()),
        false => Err(StoreError::OtherEncoder { task: found.task, version }),
    }
}

async fn read(
    tx: &mut AnyConnection,
    task: &str,
    version: i64,
) -> Result<StoredVersion, StoreError> {
    let row = sqlx::query(
        "SELECT v.*, l.version AS live_version
         FROM head_versions v LEFT JOIN live_versions l ON l.task = v.task
         WHERE v.task = $1 AND v.version = $2",
    )
    .bind(task)
    .bind(version)
    .fetch_optional(tx)
    .await
    .during("read a head version")?;
    let unknown = || StoreError::UnknownVersion { task: task.to_owned(), version };
    row.as_ref().map(decode).transpose()?.ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use crate::store::fixtures::*;
    use crate::store::{NewVersion, Store, StoreError, VersionInfo};

    const ENCODER: &str = "minilm@1";

    /// The number of the live version of `topic`.
    async fn live(store: &Store) -> Option<i64> {
        let versions = store.versions("topic").await.unwrap();
        versions.into_iter().find(|version| version.live).map(|version| version.version)
    }

    async fn import(store: &Store, goes_live: bool) -> VersionInfo {
        let version = NewVersion { goes_live, ..new_version(topic(), b"w") };
        store.import(version).await.unwrap()
    }

    async fn back(store: &Store, to: Option<i64>) -> Result<i64, StoreError> {
        store.roll_back("topic", to, ENCODER).await.map(|version| version.info.version)
    }

    #[tokio::test]
    async fn a_version_that_is_not_to_go_live_is_only_stored() {
        let (_folder, store) = store_with_tasks().await;
        let version = import(&store, false).await;
        assert_eq!((version.version, version.live, version.job), (1, false, None));
        assert_eq!(live(&store).await, None);
        assert!(import(&store, true).await.live);
        assert!(!import(&store, false).await.live);
        assert_eq!(live(&store).await, Some(2));
    }

    #[tokio::test]
    async fn one_rollback_after_the_other_leads_further_back() {
        let (_folder, store) = store_with_tasks().await;
        for _ in 0..4 {
            import(&store, true).await;
        }
        store.promote("topic", 1, ENCODER).await.unwrap();
        // 1, 2, 3, 4, 1
        let mut seen = Vec::new();
        while let Ok(version) = back(&store, None).await {
            assert_eq!(live(&store).await, Some(version));
            seen.push(version);
        }
        assert_eq!(seen, [4, 3, 2, 1]);
        let refused = back(&store, None).await;
        assert!(matches!(refused, Err(StoreError::NoEarlierVersion { task }) if task == "topic"));
        // What was rolled back is still there.
        assert_eq!(store.promote("topic", 4, ENCODER).await.unwrap().info.version, 4);
        assert_eq!(back(&store, None).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_rollback_may_name_a_version_that_was_live() {
        let (_folder, store) = store_with_tasks().await;
        for goes_live in [true, true, false, true] {
            import(&store, goes_live).await;
        }
        let refused = back(&store, Some(3)).await;
        assert!(matches!(refused, Err(StoreError::NeverLive { version: 3, .. })), "{refused:?}");
        assert_eq!(back(&store, Some(1)).await.unwrap(), 1);
        assert!(matches!(back(&store, None).await, Err(StoreError::NoEarlierVersion { .. })));
    }

    #[tokio::test]
    async fn promoting_what_is_live_changes_nothing() {
        let (_folder, store) = store_with_tasks().await;
        import(&store, true).await;
        import(&store, true).await;
        for _ in 0..3 {
            assert!(store.promote("topic", 2, ENCODER).await.unwrap().info.live);
        }
        assert_eq!(back(&store, None).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn what_cannot_go_live_is_refused_and_changes_nothing() {
        let (_folder, store) = store_with_tasks().await;
        let other = NewVersion { encoder: "bert@1".into(), ..new_version(topic(), b"w") };
        store.import(other).await.unwrap();
        import(&store, true).await;
        let refused = store.promote("topic", 1, ENCODER).await;
        assert!(matches!(refused, Err(StoreError::OtherEncoder { version: 1, .. })));
        let refused = back(&store, None).await;
        assert!(matches!(refused, Err(StoreError::OtherEncoder { version: 1, .. })));
        let refused = store.promote("topic", 3, ENCODER).await;
        assert!(matches!(refused, Err(StoreError::UnknownVersion { version: 3, .. })));
        let refused = store.promote("nobody", 1, ENCODER).await;
        assert!(matches!(refused, Err(StoreError::UnknownTask { .. })));
        assert_eq!(live(&store).await, Some(2));
    }

    #[tokio::test]
    async fn a_task_is_deleted_with_the_memory_of_what_was_live() {
        let (_folder, store) = store_with_tasks().await;
        import(&store, true).await;
        import(&store, true).await;
        store.delete_task("topic").await.unwrap();
        store.put_task(&topic()).await.unwrap();
        assert_eq!(import(&store, true).await.version, 1);
        assert!(matches!(back(&store, None).await, Err(StoreError::NoEarlierVersion { .. })));
    }
}
