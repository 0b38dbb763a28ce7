//! Durable state in SQL: tasks, head versions, jobs and examples. The only place with SQL.
//!
//! Every query and migration runs unchanged on SQLite and on PostgreSQL: `$1` placeholders, types
//! and clauses that both know, rows that must be changed in turn locked by an update. What is one
//! step for the caller is one transaction here, durable when the method returns. Texts and labels
//! are never logged and never part of an error.

mod embeddings;
mod error;
mod examples;
#[cfg(test)]
mod fixtures;
mod jobs;
mod live_versions;
mod memory;
#[cfg(test)]
mod migrations;
mod outcome;
mod queue;
mod sqlite;
mod tasks;
mod versions;

use std::fs::File;
use std::sync::Arc;

use jiff::Timestamp;
use sqlx::any::{AnyPoolOptions, AnyRow};
use sqlx::{Any, AnyPool, Connection, Row, Transaction};

pub use error::StoreError;
pub use examples::{ExampleQuery, ExampleSelection, ListedExample};
pub use jobs::{JobCounts, JobQuery};
pub use memory::StoredExample;
pub use outcome::Outcome;
pub use queue::{Cancellation, MOST_ATTEMPTS, Recovered};
pub use tasks::TaskChange;
pub use versions::{NewVersion, StoredVersion, VersionInfo};

use error::During;
use sqlite::DatabaseFile;

use crate::training::text_hash::TextHash;

/// A handle on the durable state; clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    reads: AnyPool,
    /// A single connection on SQLite, where only one may write: writers queue for it fairly instead
    /// of polling a locked file.
    writes: AnyPool,
    /// Whether the texts of examples are kept.
    texts: bool,
    /// Makes this process the file's only one. The system lets go of it however the process ends.
    _lock: Arc<File>,
}

/// SQLite connections that read while another one writes.
const READERS: u32 = 4;

/// Rows that one statement carries. More gain nothing: SQLite finds the name of a parameter by
/// walking through all of the statement's names.
const ROWS_PER_STATEMENT: usize = 100;

impl Store {
    /// Opens `sqlite:PATH`, creates the file and its folder where they are missing, and brings the
    /// tables up to date.
    ///
    /// # Errors
    /// A URL of another kind, a path that cannot be used, a file that is no database, comes from a
    /// newer polyhead or is in use by another process.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let file = DatabaseFile::own(url)?;
        let mut connection = file.prepare().await?;
        let migrated = sqlx::migrate!().run(&mut connection).await;
        migrated.map_err(|source| file.migration_error(source))?;
        connection.close().await.during("close the connection that prepared the store")?;
        Ok(Self {
            reads: file.pool(AnyPoolOptions::new().max_connections(READERS), sqlite::READ)?,
            writes: file.pool(AnyPoolOptions::new().max_connections(1), sqlite::WRITE)?,
            texts: true,
            _lock: Arc::new(file.into_lock()),
        })
    }

    /// Whether jobs that end from now on leave the texts of their examples, or only their hashes.
    pub fn keeping_texts(self, texts: bool) -> Self {
        Self { texts, ..self }
    }

    /// Waits for the operations under way, then closes all connections; later operations fail. The
    /// file may be opened again once every clone is dropped.
    pub async fn close(&self) {
        self.reads.close().await;
        self.writes.close().await;
    }

    async fn begin(
        &self,
        operation: &'static str,
    ) -> Result<Transaction<'static, Any>, StoreError> {
        self.writes.begin().await.during(operation)
    }
}

/// The clock of the store, in microseconds since the Unix epoch.
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
