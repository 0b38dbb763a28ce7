//! Durable state in SQL: tasks, head versions, jobs and examples. The only place with SQL.
//!
//! Every query and migration runs unchanged on SQLite, which one process owns, and on PostgreSQL,
//! which any number of replicas share: `$1` placeholders, types and clauses that both know, rows that
//! must be changed in turn locked by an update. What is one step for the caller is one transaction
//! here, durable when the method returns. Texts and labels are never logged and never part of an
//! error.

mod embeddings;
mod error;
mod examples;
#[cfg(test)]
mod fixtures;
mod job_examples;
mod jobs;
mod lease;
mod live_versions;
mod memory;
#[cfg(test)]
mod migrations;
mod outcome;
mod postgres;
mod queue;
mod revision;
mod sqlite;
mod tasks;
mod versions;

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, AnyPool, Row, Transaction};
use uuid::Uuid;

pub use error::StoreError;
pub use examples::{ExampleQuery, ExampleSelection, ListedExample};
pub use jobs::{JobCounts, JobQuery};
pub use lease::Renewal;
pub use memory::StoredExample;
pub use outcome::Outcome;
pub use queue::{Cancellation, MOST_ATTEMPTS, Recovered, Submission};
pub use revision::Revision;
pub use tasks::TaskChange;
pub use versions::{NewVersion, StoredVersion, Twin, VersionInfo};

use error::During;

use crate::causes::Causes;
use crate::training::text_hash::TextHash;

/// A handle on the durable state; clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    reads: AnyPool,
    writes: AnyPool,
    /// For the renewal of leases, which wait for nobody.
    leases: AnyPool,
    engine: Engine,
    /// Whether the texts of examples are kept.
    texts: bool,
    /// What the leases of this process are known by.
    replica: Arc<str>,
    /// How long a lease lasts that is not renewed.
    lease: Duration,
}

/// The database behind a store.
#[derive(Clone, Debug)]
enum Engine {
    /// The lock makes this process the file's only one. The system lets go of it however the process
    /// ends.
    Sqlite {
        _lock: Arc<File>,
    },
    Postgres,
}

/// A database that is ready for use.
struct Opened {
    reads: AnyPool,
    writes: AnyPool,
    leases: AnyPool,
    engine: Engine,
}

/// Rows that one statement carries. More gain nothing: SQLite finds the name of a parameter by
/// walking through all of the statement's names.
const ROWS_PER_STATEMENT: usize = 100;

impl Store {
    /// Opens `sqlite:PATH` or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, and brings the tables up
    /// to date. A PostgreSQL server that is out of reach is waited for, up to a minute.
    ///
    /// # Errors
    /// A URL of another kind. SQLite: a path that cannot be used, a file that is no database or is in
    /// use by another process. PostgreSQL: a server that is still out of reach or lets nobody in. A
    /// database from a newer polyhead.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let Opened { reads, writes, leases, engine } = match url.split_once(':') {
            Some(("sqlite", _)) => sqlite::open(url).await?,
            Some(("postgres" | "postgresql", _)) => postgres::open(url).await?,
            _ => return Err(StoreError::Url),
        };
        let replica = Uuid::now_v7().to_string().into();
        Ok(Self { reads, writes, leases, engine, texts: true, replica, lease: lease::DEFAULT })
    }

    /// Whether jobs that end from now on leave the texts of their examples, or only their hashes.
    pub fn keeping_texts(self, texts: bool) -> Self {
        Self { texts, ..self }
    }

    /// How long the replica that runs a job may be silent before another one takes the job over.
    pub fn with_leases_of(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// See [`Store::with_leases_of`].
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// Whether other processes may work on the same state.
    pub fn is_shared(&self) -> bool {
        matches!(self.engine, Engine::Postgres)
    }

    /// Waits for the operations under way, then closes all connections; later operations fail. A
    /// file may be opened again once every clone is dropped.
    pub async fn close(&self) {
        self.reads.close().await;
        self.writes.close().await;
        self.leases.close().await;
    }

    async fn begin(
        &self,
        operation: &'static str,
    ) -> Result<Transaction<'static, Any>, StoreError> {
        self.writes.begin().await.during(operation)
    }

    /// Commits the deletion of texts; no file holds them afterwards. PostgreSQL reuses their place in
    /// its own time.
    async fn commit_deletion(
        &self,
        tx: Transaction<'static, Any>,
        operation: &'static str,
    ) -> Result<(), StoreError> {
        tx.commit().await.during(operation)?;
        if let Engine::Postgres = self.engine {
            return Ok(());
        }
        // Deleted they are in any case; the next deletion empties the log as well.
        match sqlite::empty_log(&self.writes).await {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!("the write-ahead log is in use: it still holds deleted texts")
            }
            Err(error) => {
                tracing::warn!(error = %Causes(&error), "deleted texts are still in the log")
            }
        }
        Ok(())
    }
}

impl Engine {
    /// The database's clock, the only one that all replicas read alike; in microseconds since the
    /// Unix epoch. A file's is that of the process that owns it.
    async fn now(&self, connection: &mut AnyConnection) -> Result<i64, StoreError> {
        match self {
            Self::Sqlite { .. } => Ok(now()),
            Self::Postgres => {
                let clock = sqlx::query_scalar(
                    "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
                );
                clock.fetch_one(connection).await.during("read the database's clock")
            }
        }
    }
}

/// This machine's clock, in microseconds since the Unix epoch.
fn now() -> i64 {
    Timestamp::now().as_microsecond()
}

fn timestamp(microseconds: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(microseconds).map_err(|e| StoreError::corrupt("a timestamp", e))
}

/// `($1, $2), ($3, $4)` and so on, for a `VALUES` clause or, with one row, an `IN` list.
fn placeholders(rows: usize, columns: usize) -> String {
    let row = |row: usize| {
        let numbers = (1..=columns).map(|column| format!("${}", row * columns + column));
        format!("({})", numbers.collect::<Vec<_>>().join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

/// Reads the column `sha256`.
fn hash_of(row: &AnyRow) -> Result<TextHash, StoreError> {
    let hash: &str = row.try_get("sha256").during("read the hash of a text")?;
    hash.parse().map_err(|e| StoreError::corrupt("the hash of a text", e))
}

/// PostgreSQL's `TEXT` cannot hold U+0000, so no store takes it.
fn refuse_nul(what: &str, text: &str) -> Result<(), StoreError> {
    match text.contains('\0') {
        true => Err(StoreError::NulCharacter { what: what.to_owned() }),
        false => Ok(()),
    }
}
