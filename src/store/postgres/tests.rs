use std::env;
use std::process::Command;

use futures::future::join_all;
use sqlx::Row;

use crate::store::fixtures::server::Postgres;
use crate::store::fixtures::*;
use crate::store::{Store, StoreError};

/// All tests of the store but those of SQLite's files run again, in a process of their own.
#[test]
fn whatever_holds_on_sqlite_holds_on_postgresql() {
    if postgres().is_some() {
        return;
    }
    let Some(server) = Postgres::start() else { return };
    let again = Command::new(env::current_exe().unwrap())
        .args(["store::", "--skip", "store::sqlite::"])
        .env(SERVER, server.socket())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success(), "{told}\n{}", String::from_utf8_lossy(&again.stderr));
    assert!(told.contains("an_interrupted_job_starts_afresh_before_younger_ones"), "{told}");
}

#[tokio::test]
async fn replicas_that_start_together_on_an_empty_database_migrate_it_once() {
    let Some(_) = postgres() else { return };
    let folder = database().await;
    let url = url(&folder);
    let stores = join_all((0..8).map(|_| Store::open(&url))).await;
    for store in &stores {
        store.as_ref().unwrap().put_task(&topic()).await.unwrap();
    }
    let rows = sqlx::query("SELECT version FROM _sqlx_migrations ORDER BY version");
    let rows = rows.fetch_all(&stores[0].as_ref().unwrap().reads).await.unwrap();
    let applied: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    let known: Vec<i64> = sqlx::migrate!().iter().map(|migration| migration.version).collect();
    assert_eq!(applied, known);
}

#[tokio::test]
async fn a_database_from_a_newer_polyhead_is_refused() {
    let Some(_) = postgres() else { return };
    let (folder, store) = store().await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'from the future', TRUE, '', 0)",
    )
    .execute(&store.writes)
    .await
    .unwrap();
    let refused = Store::open(&url(&folder)).await;
    assert!(matches!(refused, Err(StoreError::Newer { migration: 9999, .. })), "{refused:?}");
}

#[tokio::test]
async fn a_server_that_lets_nobody_in_is_told_without_the_password() {
    let Some(socket) = postgres() else { return };
    let socket = socket.display();
    let url = format!("postgres://polyhead:sesame@db.example:5432/nowhere?host={socket}");
    let refused = Store::open(&url).await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused { .. }), "{refused:?}");
    assert_eq!(refused.to_string(), "the database db.example:5432/nowhere cannot be opened");
    assert!(!format!("{refused:?}").contains("sesame"));
}

#[tokio::test]
async fn a_url_that_cannot_be_read_is_not_repeated() {
    let refused = Store::open("postgres://polyhead:ses:ame@:99999/heads").await.unwrap_err();
    assert!(matches!(refused, StoreError::PostgresUrl), "{refused:?}");
    assert!(!refused.to_string().contains("ame"));
}

#[tokio::test]
async fn a_replica_that_falls_silent_in_a_transaction_holds_up_nobody_for_ever() {
    let Some(_) = postgres() else { return };
    let (_folder, store) = store().await;
    let row = sqlx::query("SHOW idle_in_transaction_session_timeout");
    let row = row.fetch_one(&store.writes).await.unwrap();
    assert_eq!(row.get::<String, _>(0), "10s");
}
