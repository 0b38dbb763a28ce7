//! What an older polyhead has written comes through the migrations.

use serde_json::json;
use sqlx::{AnyConnection, Connection};
use tempfile::TempDir;

use crate::config::OnRestart;
use crate::store::fixtures::*;
use crate::store::{JobQuery, Store};
use crate::training::job::JobState;
use crate::training::result::Promote;
use crate::training::text_hash::TextHash;

/// A database as the first migration leaves it, with rows in every table.
async fn first_database(folder: &TempDir) {
    let url = match postgres() {
        Some(_) => url(folder),
        None => format!("{}?mode=rwc", url(folder)),
    };
    let mut connection = AnyConnection::connect(&url).await.unwrap();
    let mut migrator = sqlx::migrate!();
    migrator.migrations.to_mut().truncate(1);
    assert_eq!(migrator.migrations[0].version, 1);
    migrator.run(&mut connection).await.unwrap();
    // As it was written then, without what came later.
    let spec = json!({
        "model": "minilm", "tasks": ["topic"], "frozen": [], "mode": "extend",
        "solver": spec().solver, "validation": 0.0, "seed": 7,
    });
    let blob = if postgres().is_some() { "'\\x" } else { "x'" };
    let (finance, a, b) = ("Finance", TextHash::of("a"), TextHash::of("b"));
    for statement in [
        "INSERT INTO tasks VALUES
            ('topic', 'minilm', '[\"Finance\", \"Entertainment\", \"Technology\"]', 3)"
            .to_owned(),
        format!(
            "INSERT INTO jobs VALUES
            ('1', 'succeeded', '{spec}', 2, 10, 20, 30, 1, '{{\"topic\": 2}}', NULL),
            ('2', 'failed', '{spec}', 1, 11, 21, 31, 2, '{{}}', 'why'),
            ('3', 'running', '{spec}', 1, 12, 22, NULL, 1, '{{}}', NULL),
            ('4', 'queued', '{spec}', 1, 13, NULL, NULL, 0, '{{}}', NULL)"
        ),
        "INSERT INTO job_epochs VALUES ('1', 1, '{\"epoch\": 1, \"loss\": 0.5, \"tasks\": {}}'),
            ('3', 1, '{\"epoch\": 1, \"loss\": 0.25, \"tasks\": {}}')"
            .to_owned(),
        format!(
            "INSERT INTO job_examples VALUES ('3', 0, 'c', '{{\"topic\": \"{finance}\"}}'),
            ('4', 0, 'd', '{{\"topic\": \"{finance}\"}}')"
        ),
        format!("INSERT INTO examples VALUES (1, '{a}', 'a'), (2, '{b}', 'b')"),
        "INSERT INTO example_labels VALUES (1, 'topic', 'Finance'), (2, 'topic', 'Technology')"
            .to_owned(),
        format!(
            "INSERT INTO head_versions VALUES
            ('topic', 1, 'minilm@1', NULL, '0', 5, {blob}01'),
            ('topic', 2, 'minilm@1', 1, '1', 30, {blob}02')"
        ),
        "INSERT INTO live_versions VALUES ('topic', 2)".to_owned(),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_database_of_the_first_release_comes_through_whole() {
    let folder = database().await;
    first_database(&folder).await;
    let store = Store::open(&url(&folder)).await.unwrap();

    let jobs = store.jobs(&JobQuery { limit: 10, before: None, state: None }).await.unwrap();
    let states: Vec<_> = jobs.iter().map(|job| (job.id.as_str(), job.state)).collect();
    let expected = [
        ("4", JobState::Queued),
        ("3", JobState::Running),
        ("2", JobState::Failed),
        ("1", JobState::Succeeded),
    ];
    assert_eq!(states, expected);
    assert_eq!((jobs[2].reason.as_deref(), jobs[2].attempts), (Some("why"), 2));
    assert_eq!((jobs[3].published["topic"], &jobs[3].result), (2, &None));
    assert_eq!((jobs[0].spec.promote, jobs[0].spec.margin), (Promote::IfNotWorse, 0.01));
    assert_eq!(store.job("1").await.unwrap().unwrap().epochs[0].loss, 0.5);
    assert_eq!(store.job("3").await.unwrap().unwrap().epochs[0].loss, 0.25);

    let versions = store.versions("topic").await.unwrap();
    let lineage: Vec<_> = versions.iter().map(|v| (v.version, v.parent, v.live)).collect();
    assert_eq!(lineage, [(2, Some(1), true), (1, None, false)]);
    let version = store.version("topic", 2).await.unwrap().unwrap();
    assert_eq!((version.weights.as_slice(), version.twin), (&[2][..], None));
    let remembered = remembered(&store, ["topic"]).await;
    let labels = [("a", "Finance"), ("b", "Technology")];
    assert_eq!(remembered, labels.map(|(text, label)| example(text, &[("topic", label)])));
    assert_eq!(store.job_examples("4").await.unwrap()[0].text, "d");
    assert_eq!(store.task("topic").await.unwrap(), Some(topic()));

    // And it goes on from there.
    assert_eq!(store.roll_back("topic", None, "minilm@1").await.unwrap().weights, [1]);
    assert_eq!(recover(&store, OnRestart::Resume).await.queued, ["3"]);
    assert_eq!(store.claim_next().await.unwrap().unwrap().id, "3");
    let published = finish(&store, "3", vec![new_version(topic(), b"w")]).await.unwrap();
    assert_eq!(published[0].version, 4, "3 was given before");
    assert_eq!(store.claim_next().await.unwrap().unwrap().id, "4");
}
