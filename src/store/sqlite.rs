//! An SQLite file that exactly one process owns.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::MigrateError;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Acquire, Any, AnyConnection, AnyPool, ConnectOptions, Connection, Executor};

use crate::store::error::{During, StoreError};
use crate::store::{Engine, Opened, lease};

/// Connections that read while another one writes.
const READERS: u32 = 4;

/// Connections that write. `FULL`: a commit has reached the disk when it returns. `secure_delete`:
/// what is deleted, such as somebody's text, is overwritten.
const WRITE: &str = "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
     PRAGMA secure_delete = ON; PRAGMA busy_timeout = 10000";

/// Connections that read.
const READ: &str = "PRAGMA query_only = ON; PRAGMA busy_timeout = 10000";

/// SQLite's primary result code for a file that is not a database.
/// <https://sqlite.org/rescode.html#notadb>
const SQLITE_NOTADB: &str = "26";

/// Locks the file, creates it and its folder where they are missing, and brings the tables up to
/// date.
pub(super) async fn open(url: &str) -> Result<Opened, StoreError> {
    let file = DatabaseFile::own(url)?;
    let mut connection = file.prepare().await?;
    sqlx::migrate!().run(&mut connection).await.map_err(|source| file.migration_error(source))?;
    lease::end_all(&mut connection).await?;
    // A process that was killed has left its own.
    empty_log(&mut connection).await?;
    connection.close().await.during("close the connection that prepared the store")?;
    // A single one, as only one may write: writers queue for it fairly instead of polling a locked
    // file.
    let writes = file.pool(AnyPoolOptions::new().max_connections(1), WRITE)?;
    Ok(Opened {
        reads: file.pool(AnyPoolOptions::new().max_connections(READERS), READ)?,
        leases: writes.clone(),
        writes,
        engine: Engine::Sqlite { _lock: Arc::new(file.lock) },
    })
}

/// Moves the write-ahead log into the file, where deleted rows are overwritten, and cuts it to nothing:
/// it holds every page as it was before. False where readers kept it in use for the busy timeout.
pub(super) async fn empty_log<'a>(
    database: impl Acquire<'a, Database = Any>,
) -> Result<bool, StoreError> {
    const OPERATION: &str = "empty the write-ahead log";
    let mut connection = database.acquire().await.during(OPERATION)?;
    let busy: i64 = sqlx::query_scalar("PRAGMA wal_checkpoint(TRUNCATE)")
        .fetch_one(&mut *connection)
        .await
        .during(OPERATION)?;
    Ok(busy == 0)
}

/// The path of a database and the lock that keeps other processes away from it.
struct DatabaseFile {
    path: PathBuf,
    lock: File,
}

impl DatabaseFile {
    /// Locks the file that `url` names; creates its folder.
    fn own(url: &str) -> Result<Self, StoreError> {
        let path = resolved(&path_of(url)?)?;
        if path.is_dir() {
            let source = io::ErrorKind::IsADirectory.into();
            return Err(StoreError::File { action: "open the database", path, source });
        }
        let mut lock_path = path.clone().into_os_string();
        lock_path.push(".lock");
        let lock_path = PathBuf::from(lock_path);
        let lock = File::options().create(true).append(true).open(&lock_path);
        let lock = lock.map_err(file_error("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, lock }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path }),
            Err(TryLockError::Error(source)) => Err(file_error("lock", &lock_path)(source)),
        }
    }

    /// Creates the file if it is missing, and switches it to write-ahead logging, which lasts.
    async fn prepare(&self) -> Result<AnyConnection, StoreError> {
        let open = async {
            let mut connection = AnyConnection::connect_with(&self.options()?).await?;
            connection.execute("PRAGMA journal_mode = WAL").await?;
            connection.execute(WRITE).await?;
            Ok(connection)
        };
        open.await.map_err(|source: sqlx::Error| {
            let path = self.path.clone();
            match source.as_database_error().and_then(|e| e.code()).as_deref() {
                Some(SQLITE_NOTADB) => StoreError::NotADatabase { path },
                _ => StoreError::Open { path, source },
            }
        })
    }

    /// A pool of connections that each start with the statements of `setup`.
    fn pool(&self, pool: AnyPoolOptions, setup: &'static str) -> Result<AnyPool, StoreError> {
        let options = self.options().during("open the store")?;
        let pool = pool.after_connect(move |connection, _| {
            Box::pin(async move { connection.execute(setup).await.map(drop) })
        });
        Ok(pool.connect_lazy_with(options))
    }

    fn migration_error(&self, source: MigrateError) -> StoreError {
        let database = self.path.display().to_string();
        match source {
            MigrateError::VersionMissing(migration) => StoreError::Newer { database, migration },
            source => StoreError::Migrate { database, source },
        }
    }

    /// Statements are not logged: the longest carry a hundred rows.
    fn options(&self) -> Result<AnyConnectOptions, sqlx::Error> {
        let path: String = self.path.as_os_str().as_encoded_bytes().iter().map(url_byte).collect();
        let url = format!("sqlite://{path}?mode=rwc");
        Ok(url.parse::<AnyConnectOptions>()?.disable_statement_logging())
    }
}

fn path_of(url: &str) -> Result<PathBuf, StoreError> {
    let rest = url.strip_prefix("sqlite:").ok_or(StoreError::Url)?;
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() || path == ":memory:" || path.contains('?') {
        return Err(StoreError::Url);
    }
    let options: SqliteConnectOptions = url.parse().map_err(|_| StoreError::Url)?;
    Ok(options.get_filename().to_owned())
}

/// The absolute path without symbolic links, so that one database has one lock.
fn resolved(path: &Path) -> Result<PathBuf, StoreError> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(StoreError::Url);
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    fs::create_dir_all(folder).map_err(file_error("create the folder", folder))?;
    let folder = folder.canonicalize().map_err(file_error("open the folder", folder))?;
    let path = folder.join(name);
    Ok(path.canonicalize().unwrap_or(path))
}

fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::File { action, path, source }
}

/// Percent-encodes all but RFC 3986's unreserved characters and the slash.
fn url_byte(byte: &u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
            char::from(*byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use sqlx::{Executor, Row};
    use tempfile::TempDir;

    use crate::store::fixtures::*;
    use crate::store::{Store, StoreError};
    use crate::training::text_hash::TextHash;

    #[tokio::test]
    async fn a_missing_file_and_its_folders_are_created() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("not/there yet/50% ünïcode?#.db");
        let url = format!("sqlite:{}", path.display()).replace('%', "%25").replace('?', "%3F");
        let store = Store::open(&url).await.unwrap();
        store.put_task(&topic()).await.unwrap();
        assert!(fs::read(&path).unwrap().starts_with(b"SQLite format 3\0"));
    }

    #[tokio::test]
    async fn everything_is_there_after_the_file_is_opened_again() {
        let (folder, store) = store_with_tasks().await;
        let learnt = [example("a", &[("topic", "Finance")])];
        let done = start(&store, &spec(), &learnt).await;
        finish(&store, &done.id, vec![new_version(topic(), b"w")]).await.unwrap();
        let waiting = enqueue(&store, &spec(), &learnt).await;
        let done = store.job(&done.id).await.unwrap();
        // Dropped, not closed, as when the process dies.
        drop(store);

        let store = Store::open(&url(&folder)).await.unwrap();
        assert_eq!(store.tasks().await.unwrap(), [sentiment(), topic()]);
        assert_eq!(store.live_versions().await.unwrap()[0].version, 1);
        assert_eq!(store.version("topic", 1).await.unwrap().unwrap().weights, b"w");
        assert_eq!(store.job(&done.as_ref().unwrap().id).await.unwrap(), done);
        assert_eq!(remembered(&store, ["topic"]).await, learnt);
        assert_eq!(store.job_examples(&waiting.id).await.unwrap(), learnt);
        assert_eq!(store.claim_next().await.unwrap().unwrap().id, waiting.id);
    }

    #[tokio::test]
    async fn a_cancelled_request_leaves_the_store_usable_and_unchanged() {
        let (_folder, store) = store().await;
        let mut tx = store.begin("be dropped").await.unwrap();
        tx.execute("UPDATE job_queue SET turn = turn + 1").await.unwrap();
        let insert = "INSERT INTO tasks (name, model, labels, last_version)
             VALUES ('topic', 'minilm', '[]', 0)";
        tx.execute(insert).await.unwrap();
        drop(tx);
        store.put_task(&sentiment()).await.unwrap();
        assert_eq!(store.tasks().await.unwrap(), [sentiment()]);
    }

    #[tokio::test]
    async fn migrating_twice_changes_nothing() {
        let (folder, store) = store_with_tasks().await;
        let applied = async |store: &Store| {
            let rows = store.reads.fetch_all("SELECT version FROM _sqlx_migrations");
            let rows = rows.await.unwrap();
            rows.iter().map(|row| row.get::<i64, _>("version")).collect::<Vec<_>>()
        };
        let first = applied(&store).await;
        store.close().await;
        drop(store);
        let store = Store::open(&url(&folder)).await.unwrap();
        assert_eq!(applied(&store).await, first);
        assert_eq!(store.tasks().await.unwrap(), [sentiment(), topic()]);
    }

    #[tokio::test]
    async fn commits_reach_the_disk_and_foreign_keys_hold() {
        let (_folder, store) = store().await;
        for (pragma, expected) in [("PRAGMA synchronous", 2), ("PRAGMA foreign_keys", 1)] {
            let row = store.writes.fetch_one(pragma).await.unwrap();
            assert_eq!(row.get::<i64, _>(0), expected, "{pragma}");
        }
        let mode = store.writes.fetch_one("PRAGMA journal_mode").await.unwrap();
        assert_eq!(mode.get::<String, _>(0), "wal");
        assert!(store.reads.execute("DELETE FROM tasks").await.is_err());
    }

    #[tokio::test]
    async fn a_second_owner_is_turned_away_until_the_first_is_gone() {
        let (folder, store) = store().await;
        let link = folder.path().join("link.db");
        std::os::unix::fs::symlink(folder.path().join("polyhead.db"), &link).unwrap();
        for url in [url(&folder), format!("sqlite://{}", link.display())] {
            let refused = Store::open(&url).await;
            assert!(matches!(refused, Err(StoreError::InUse { .. })), "{refused:?}");
        }
        let clone = store.clone();
        drop(store);
        assert!(matches!(Store::open(&url(&folder)).await, Err(StoreError::InUse { .. })));
        drop(clone);
        Store::open(&url(&folder)).await.unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_refused_and_left_alone() {
        let folder = TempDir::new().unwrap();
        let garbage = b"label,text\n".repeat(1000);
        fs::write(folder.path().join("polyhead.db"), &garbage).unwrap();
        let refused = Store::open(&url(&folder)).await;
        assert!(matches!(refused, Err(StoreError::NotADatabase { .. })), "{refused:?}");
        assert_eq!(fs::read(folder.path().join("polyhead.db")).unwrap(), garbage);
    }

    #[tokio::test]
    async fn a_database_from_a_newer_polyhead_is_refused() {
        let (folder, store) = store().await;
        store
            .writes
            .execute(
                "INSERT INTO _sqlx_migrations (version, description, success, checksum,
                     execution_time) VALUES (9999, 'from the future', TRUE, x'00', 0)",
            )
            .await
            .unwrap();
        store.close().await;
        drop(store);
        let refused = Store::open(&url(&folder)).await;
        assert!(matches!(refused, Err(StoreError::Newer { migration: 9999, .. })), "{refused:?}");
    }

    #[tokio::test]
    async fn a_path_that_cannot_be_used_is_named() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [file.join("polyhead.db"), folder.path().to_owned()] {
            let refused = Store::open(&format!("sqlite:{}", path.display())).await.unwrap_err();
            let StoreError::File { path: named, .. } = &refused else { panic!("{refused:?}") };
            assert!(path.canonicalize().is_ok_and(|p| p == *named) || path.starts_with(named));
        }
    }

    #[tokio::test]
    async fn only_the_url_of_a_file_is_taken() {
        for url in ["", "polyhead.db", "sqlite:", "sqlite::memory:", "sqlite:a.db?mode=memory"] {
            assert!(matches!(Store::open(url).await, Err(StoreError::Url)), "{url}");
        }
    }

    #[tokio::test]
    async fn reads_go_on_while_a_transaction_writes() {
        let (_folder, store) = store_with_tasks().await;
        let mut tx = store.begin("hold the writer").await.unwrap();
        tx.execute("DELETE FROM tasks").await.unwrap();
        assert_eq!(store.tasks().await.unwrap().len(), 2);
        tx.commit().await.unwrap();
        assert_eq!(store.tasks().await.unwrap().len(), 0);
    }

    #[tokio::test]
    async fn a_text_that_is_not_kept_is_not_in_the_file() {
        for kept in [true, false] {
            let (folder, store) = store_with_tasks().await;
            let store = store.keeping_texts(kept);
            let texts: Vec<_> =
                (0..500).map(|i| format!("a secret sentence, number {i}")).collect();
            let secrets: Vec<_> =
                texts.iter().map(|text| example(text, &[("topic", "Finance")])).collect();
            let job = start(&store, &spec(), &secrets).await;
            let embeddings: Vec<_> =
                texts.iter().map(|text| (TextHash::of(text), &[1.0_f32][..])).collect();
            store.keep_embeddings("minilm@1", &embeddings).await.unwrap();
            finish(&store, &job.id, vec![new_version(topic(), b"w")]).await.unwrap();
            assert_eq!(store.example_counts().await.unwrap()["topic"], 500);
            store.close().await;
            drop(store);
            let mut found = false;
            for file in fs::read_dir(folder.path()).unwrap() {
                let bytes = fs::read(file.unwrap().path()).unwrap();
                found |= bytes.windows(17).any(|window| window == b"a secret sentence");
            }
            assert_eq!(found, kept);
        }
    }
}
