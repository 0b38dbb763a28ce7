//! Leases: the right of one replica to run a job, until it has been silent for too long.
//!
//! A lease names its holder and the moment from which others may take the job over, by the
//! database's clock. The holder renews it while the job runs. One that has run out is still its
//! holder's until somebody takes the job over, in the same transaction that takes the lease away; and
//! whatever a holder records of a job is recorded in a transaction that confirms the lease first. So
//! a holder that was stopped, or cut off from the database, changes nothing once it is replaced.

use std::time::Duration;

use sqlx::{AnyConnection, Row};

use crate::store::error::{During, StoreError};
use crate::store::{Store, outcome};
use crate::training::progress::Progress;

/// How long a lease lasts unless the configuration says otherwise.
pub(super) const DEFAULT: Duration = Duration::from_secs(15);

/// What the holder of a lease is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    Continue,
    /// The job's cancellation was requested, here or on another replica.
    Cancel,
}

/// A job whose holder has fallen silent, from which the lease has been taken.
pub(super) struct Orphan {
    pub job: String,
    pub attempts: i64,
    /// Why it is to be cancelled, if that was requested.
    pub cancelled: Option<String>,
}

impl Store {
    /// Puts off the end of the lease on a running job, and tells others how far it is.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another replica runs the job by now or it waits for one;
    /// [`StoreError::JobState`] when it has ended.
    pub async fn renew(
        &self,
        job: &str,
        progress: Option<Progress>,
    ) -> Result<Renewal, StoreError> {
        const OPERATION: &str = "renew a lease";
        let mut tx = self.leases.begin().await.during(OPERATION)?;
        let until = self.lease_end(&mut tx).await?;
        // Without a turn at the queue: nobody's long request may let the lease run out.
        let row = sqlx::query(
            "UPDATE jobs SET lease_until = $3, progress = $4
             WHERE id = $1 AND state = 'running' AND holder = $2
             RETURNING reason",
        )
        .bind(job)
        .bind(&*self.replica)
        .bind(until)
        .bind(progress.map(|it| serde_json::to_string(&it).expect("progress always makes JSON")))
        .fetch_optional(&mut *tx)
        .await
        .during(OPERATION)?;
        let Some(row) = row else {
            return Err(outcome::refusal(&mut tx, job, OPERATION).await);
        };
        let cancelled: Option<String> = row.try_get("reason").during(OPERATION)?;
        tx.commit().await.during(OPERATION)?;
        Ok(if cancelled.is_some() { Renewal::Cancel } else { Renewal::Continue })
    }

    /// Makes sure that this replica holds the lease on a running job, and that it still does when the
    /// transaction commits. Gives why the job is to be cancelled, if that was requested.
    pub(super) async fn confirm(
        &self,
        tx: &mut AnyConnection,
        job: &str,
        operation: &'static str,
    ) -> Result<Option<String>, StoreError> {
        // An update: it locks the row against those who would take the lease away.
        let row = sqlx::query(
            "UPDATE jobs SET holder = holder WHERE id = $1 AND state = 'running' AND holder = $2
             RETURNING reason",
        )
        .bind(job)
        .bind(&*self.replica)
        .fetch_optional(&mut *tx)
        .await
        .during(operation)?;
        match row {
            Some(row) => row.try_get("reason").during(operation),
            None => Err(outcome::refusal(tx, job, operation).await),
        }
    }

    /// When a lease ends that begins now, in the store's form of a moment.
    pub(super) async fn lease_end(&self, tx: &mut AnyConnection) -> Result<i64, StoreError> {
        let lease = i64::try_from(self.lease.as_micros()).unwrap_or(i64::MAX);
        Ok(self.engine.now(tx).await?.saturating_add(lease))
    }

    /// Takes the leases away that have run out.
    pub(super) async fn take_over(
        &self,
        tx: &mut AnyConnection,
    ) -> Result<Vec<Orphan>, StoreError> {
        const OPERATION: &str = "take jobs over";
        let now = self.engine.now(tx).await?;
        let rows = sqlx::query(
            "UPDATE jobs SET holder = NULL, lease_until = NULL
             WHERE state = 'running' AND (lease_until <= $1 OR lease_until IS NULL)
             RETURNING id, attempts, reason",
        )
        .bind(now)
        .fetch_all(tx)
        .await
        .during(OPERATION)?;
        let orphan = |row: &sqlx::any::AnyRow| {
            let (job, attempts) = (row.try_get("id")?, row.try_get("attempts")?);
            Ok(Orphan { job, attempts, cancelled: row.try_get("reason")? })
        };
        rows.iter().map(orphan).collect::<Result<_, sqlx::Error>>().during(OPERATION)
    }
}

/// Ends all leases. For a database that one process owns: whoever held them is gone.
pub(super) async fn end_all(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let update = sqlx::query("UPDATE jobs SET lease_until = NULL WHERE state = 'running'");
    update.execute(connection).await.during("end the leases of a former process").map(drop)
}

#[cfg(test)]
mod tests;
