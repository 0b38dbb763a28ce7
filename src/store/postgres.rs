//! A PostgreSQL database that any number of replicas share.

use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::MigrateError;
use sqlx::{AnyConnection, AnyPool, ConnectOptions, Connection, Executor};
use tokio::time::{Instant, sleep, timeout};

use crate::causes::Causes;
use crate::store::error::{During, StoreError, is_outage};
use crate::store::{Engine, Opened};

/// Connections of one replica, one of which renews leases: many who read and write may keep these
/// waiting, but not the lease. Few operations run at once, and a server has a hundred for all.
const CONNECTIONS: u32 = 8;

/// How long an operation waits for a connection before it says that there is none.
const ACQUIRE: Duration = Duration::from_secs(3);

/// How long a start waits for a database that is away: they are often started together.
const START: Duration = Duration::from_secs(60);

/// Between two attempts to reach it then.
const AGAIN: Duration = Duration::from_millis(500);

/// A transaction whose replica falls silent in the middle of it is ended by the server: its locks
/// would hold up all others.
const SETUP: &str = "SET idle_in_transaction_session_timeout = '10s'";

/// Connects, waiting for a database that is out of reach, and brings the tables up to date. Replicas
/// that start together do so one after the other: sqlx takes an advisory lock.
pub(super) async fn open(url: &str) -> Result<Opened, StoreError> {
    let server = Server::of(url)?;
    let mut connection = server.connect().await?;
    sqlx::migrate!().run(&mut connection).await.map_err(|source| server.migration_error(source))?;
    connection.close().await.during("close the connection that prepared the store")?;
    let pool = server.pool(CONNECTIONS - 1);
    let leases = server.pool(1);
    Ok(Opened { reads: pool.clone(), writes: pool, leases, engine: Engine::Postgres })
}

struct Server {
    options: AnyConnectOptions,
    /// Without the user and the password.
    name: String,
}

impl Server {
    fn of(url: &str) -> Result<Server, StoreError> {
        let options: AnyConnectOptions = url.parse().map_err(|_| StoreError::PostgresUrl)?;
        let mut options = options.disable_statement_logging();
        let url = &mut options.database_url;
        let name = format!(
            "{}{}{}",
            url.host_str().unwrap_or("localhost"),
            url.port().map(|port| format!(":{port}")).unwrap_or_default(),
            // With an @ it is no name, but a password that was not escaped.
            Some(url.path()).filter(|path| !path.contains(['@', ':'])).unwrap_or_default(),
        );
        // A prepared statement breaks when a newer replica changes its table, and behind a pooler that
        // changes sessions between transactions.
        if !url.query_pairs().any(|(key, _)| key == STATEMENT_CACHE) {
            url.query_pairs_mut().append_pair(STATEMENT_CACHE, "0");
        }
        if !url.query_pairs().any(|(key, _)| key == "application_name") {
            url.query_pairs_mut().append_pair("application_name", "polyhead");
        }
        Ok(Server { options, name })
    }

    /// # Errors
    /// A server that refuses at once, or is still out of reach after [`START`].
    async fn connect(&self) -> Result<AnyConnection, StoreError> {
        let deadline = Instant::now() + START;
        let mut told = false;
        loop {
            let connecting = timeout(ACQUIRE, AnyConnection::connect_with(&self.options)).await;
            let source = match connecting.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
                Ok(connection) => return Ok(connection),
                Err(source) => source,
            };
            let database = self.name.clone();
            if !is_outage(&source) {
                return Err(StoreError::Refused { database, source });
            }
            if Instant::now() >= deadline {
                return Err(StoreError::Unreachable { database, source });
            }
            if !std::mem::replace(&mut told, true) {
                tracing::warn!(database, error = %Causes(&source), "waiting for the database");
            }
            sleep(AGAIN).await;
        }
    }

    fn pool(&self, connections: u32) -> AnyPool {
        AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE)
            .after_release(|connection, _| Box::pin(answers(connection)))
            .after_connect(|connection, _| {
                Box::pin(async { connection.execute(SETUP).await.map(drop) })
            })
            .connect_lazy_with(self.options.clone())
    }

    fn migration_error(&self, source: MigrateError) -> StoreError {
        let database = self.name.clone();
        match source {
            MigrateError::VersionMissing(migration) => StoreError::Newer { database, migration },
            source => StoreError::Migrate { database, source },
        }
    }
}

/// Whether a connection that is given back still answers. sqlx asks as well, but for ever: one whose
/// operation was given up because the server fell silent would never leave its place to another.
async fn answers(connection: &mut AnyConnection) -> Result<bool, sqlx::Error> {
    let answered = timeout(ACQUIRE, connection.ping()).await;
    answered.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map(|()| true)
}

/// sqlx's name for the number of prepared statements that a connection keeps.
const STATEMENT_CACHE: &str = "statement-cache-capacity";

#[cfg(test)]
mod tests;
