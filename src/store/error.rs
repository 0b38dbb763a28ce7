//! What can go wrong with durable state.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;

use sqlx::migrate::MigrateError;

use crate::heads::Kind;
use crate::training::job::JobState;

/// Why an operation on the store failed; it then changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "the store's URL must be `sqlite:` and the path of a file, without parameters, such as sqlite:data/polyhead.db; or the URL of a PostgreSQL database"
    )]
    Url,
    #[error(
        "the store's URL is none of a PostgreSQL database, such as postgres://USER:PASSWORD@HOST:5432/DATABASE (in user and password, all but letters, digits and - . _ ~ as %XX)"
    )]
    PostgresUrl,
    #[error("the database {database} cannot be reached")]
    Unreachable { database: String, source: sqlx::Error },
    #[error("the database {database} cannot be opened")]
    Refused { database: String, source: sqlx::Error },
    #[error("cannot {action} {}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot open the database {}", path.display())]
    Open { path: PathBuf, source: sqlx::Error },
    #[error("{} is in use by another polyhead; one process at a time may own an SQLite file", path.display())]
    InUse { path: PathBuf },
    #[error("{} is not an SQLite database", path.display())]
    NotADatabase { path: PathBuf },
    #[error(
        "{database} was written by a newer polyhead (it has migration {migration}, unknown here)"
    )]
    Newer { database: String, migration: i64 },
    #[error("cannot bring the tables of {database} up to date")]
    Migrate { database: String, source: MigrateError },

    #[error("could not {operation}")]
    Database { operation: &'static str, source: sqlx::Error },
    #[error("{record} in the store cannot be read: {cause}")]
    Corrupt { record: String, cause: String },
    #[error("{what} contains the character U+0000, which cannot be stored")]
    NulCharacter { what: String },

    #[error("there is no task {task:?}")]
    UnknownTask { task: String },
    #[error(
        "task {task:?} already has head versions or examples for model {model:?} and, as {kind}, the labels {labels:?}; to define it otherwise, delete it first (a configured one: take it out of the configuration, start the server, and DELETE /heads/{task})"
    )]
    TaskInUse { task: String, model: String, labels: Vec<String>, kind: Kind },
    #[error(
        "job {job} is to train task {task:?}; cancel it or wait for its end before the task is deleted"
    )]
    TaskInTraining { task: String, job: String },
    #[error("task {task:?} was defined otherwise or deleted in the meantime")]
    TaskChanged { task: String },
    #[error("job {job} does not train task {task:?}, so it cannot publish a version of it")]
    NotTrained { job: String, task: String },

    #[error("task {task:?} has no version {version}")]
    UnknownVersion { task: String, version: i64 },
    #[error(
        "version {version} of task {task:?} was fit on another encoder than the one that is loaded"
    )]
    OtherEncoder { task: String, version: i64 },
    #[error("no version of task {task:?} was live before the one that is")]
    NoEarlierVersion { task: String },
    #[error(
        "version {version} of task {task:?} was not live before the one that is; promote it instead"
    )]
    NeverLive { task: String, version: i64 },

    #[error("the queue is full: {max_queued} jobs are waiting")]
    QueueFull { max_queued: u32 },
    #[error("there is no job {job}")]
    UnknownJob { job: String },
    #[error("cannot {operation}: job {job} is {state}", state = state.as_str())]
    JobState { operation: &'static str, job: String, state: JobState },
    #[error("job {job} is no longer this replica's to run: another one has taken it over")]
    LeaseLost { job: String },
    #[error(
        "another version of task {task:?} went live while the job was being judged by the former"
    )]
    ChampionChanged { task: String },
    #[error("the cancellation of job {job} was requested")]
    CancelRequested { job: String },
    #[error("epoch {epoch} of job {job} has a score that is not a finite number")]
    NotFinite { job: String, epoch: u32 },
}

impl StoreError {
    /// Whether the same operation may work later: the database was busy or out of reach, and has not
    /// refused what it was asked for.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Database { source: sqlx::Error::Database(refusal), .. } => {
                refusal.kind() == sqlx::error::ErrorKind::Other
            }
            Self::Database { source, .. } => is_outage(source),
            _ => false,
        }
    }

    /// Whether the database is out of reach or cannot work at the moment, and may be back later.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Database { source, .. } => is_outage(source),
            _ => false,
        }
    }

    pub(super) fn corrupt(record: impl Into<String>, cause: impl Display) -> Self {
        Self::Corrupt { record: record.into(), cause: cause.to_string() }
    }
}

/// See [`StoreError::is_outage`].
pub(super) fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(refusal) => refusal.code().is_some_and(|code| is_outage_code(&code)),
        sqlx::Error::Io(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}

/// PostgreSQL's codes for a connection that broke, resources that are used up, an operator's
/// intervention such as a shutdown, a transaction that was idle for too long, and one that was given
/// up for the sake of another. SQLite's codes are shorter.
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn is_outage_code(code: &str) -> bool {
    code.len() == 5 && (code == "25P03" || ["08", "53", "57", "40"].contains(&&code[..2]))
}

/// PostgreSQL's code for a text that it cannot hold: Rust's texts are UTF-8, so that it has U+0000.
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
const INVALID_TEXT: &str = "22021";

/// Says what the store was doing when the database refused.
pub(super) trait During<T> {
    fn during(self, operation: &'static str) -> Result<T, StoreError>;
}

impl<T> During<T> for Result<T, sqlx::Error> {
    fn during(self, operation: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| match source.as_database_error().and_then(|it| it.code()) {
            Some(code) if code == INVALID_TEXT => {
                StoreError::NulCharacter { what: "what was asked for".to_owned() }
            }
            _ => StoreError::Database { operation, source },
        })
    }
}
