//! kill -9 at any moment: what was accepted is there afterwards, and what was published answers as
//! before.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::{Connection, Row, SqliteConnection};
use toml::toml;

use crate::process::Signal;
use crate::server::{ENDLESS, Server, training};
use crate::site::{Site, copy_folder};

const TASKS: [&str; 2] = ["sentiment", "topic"];

#[test]
fn no_accepted_job_and_no_published_version_is_lost_however_often_the_server_is_killed() {
    let site = Site::with(toml! { [training] on_restart = "resume" });
    let mut seen = Seen::default();
    for (round, moment) in moments().into_iter().enumerate() {
        let server = site.start();
        seen.check(&server);
        // Several examples of every round differ, so that no two versions answer alike.
        let id = seen.submit(&server, &training(round, 25));
        if round % 3 == 0 {
            seen.submit(&server, &training(100 + round, 3));
        }
        match moment {
            Moment::Accepted => {}
            Moment::Epochs(count) => {
                let epochs = server.events(&id).take(count).count();
                assert_eq!(epochs, count, "round {round}: {:#?}", server.process.stderr);
            }
            Moment::Ended => drop(server.finished(&id)),
        }
        seen.observe(&server);
        server.end(Signal::Kill);
        check_integrity(&site);
    }

    let server = site.start();
    seen.check(&server);
    for id in seen.jobs.keys() {
        let job = server.finished(id);
        assert_eq!(job["state"], "succeeded", "{job}");
        assert_eq!(job["published"].as_object().unwrap().len(), 2, "{job}");
    }
    seen.observe(&server);
    let (heads, answers) = (server.get("/heads").body, answers(&server));
    server.end(Signal::Kill);

    let server = site.start();
    seen.check(&server);
    assert_eq!(server.get("/heads").body, heads);
    assert_eq!(self::answers(&server), answers, "nothing was left to train");
    check_integrity(&site);
}

#[test]
fn an_interrupted_job_runs_again_from_its_start_and_succeeds() {
    let site = Site::with(toml! { [training] on_restart = "resume" });
    let server = site.start();
    let id = server.train(&training(0, 200));
    assert_eq!(server.events(&id).take(3).count(), 3);
    server.end(Signal::Kill);

    let server = site.start();
    let job = server.finished(&id);
    assert_eq!(job["state"], "succeeded", "{job}");
    assert_eq!(job["attempts"], 2);
    assert_eq!(job["result"]["texts"]["embedded"], 0, "what was embedded before is found");
    let epochs: Vec<u64> =
        job["epochs"].as_array().unwrap().iter().map(|e| e["epoch"].as_u64().unwrap()).collect();
    assert_eq!(epochs, (1..=200).collect::<Vec<_>>(), "each epoch is there once");
    server.stop();
}

#[test]
fn a_job_that_runs_again_learns_what_it_would_have_learnt() {
    let (killed, whole) = (Site::new(), Site::new());
    let job = training(7, 40);
    let server = killed.start();
    let id = server.train(&job);
    assert_eq!(server.events(&id).take(5).count(), 5);
    server.end(Signal::Kill);
    let again = killed.start();
    assert_eq!(again.finished(&id)["state"], "succeeded");

    let undisturbed = whole.start();
    undisturbed.finished(&undisturbed.train(&job));
    assert_same_answers(&answers(&again), &answers(&undisturbed));
}

/// The same labels, their scores as equal as embeddings are: those of a sentence in other company
/// differ by up to 1e-6, and a solver may double that a few times.
fn assert_same_answers(left: &Answers, right: &Answers) {
    const TOLERANCE: f64 = 1e-5;
    assert!(left.keys().eq(right.keys()), "{left:?} {right:?}");
    for (left, right) in left.values().flatten().zip(right.values().flatten()) {
        for (left, right) in left.as_array().unwrap().iter().zip(right.as_array().unwrap()) {
            assert_eq!(left["label"], right["label"]);
            let apart = left["score"].as_f64().unwrap() - right["score"].as_f64().unwrap();
            assert!(apart.abs() < TOLERANCE, "{left} {right}");
        }
    }
}

#[test]
fn an_interrupted_job_is_failed_with_the_reason_where_the_configuration_says_so() {
    let site = Site::with(toml! { [training] on_restart = "fail" });
    let server = site.start();
    let running = server.train(&training(0, ENDLESS));
    let waiting = server.train(&training(1, 2));
    assert_eq!(server.events(&running).next().as_deref(), Some("epoch"));
    server.end(Signal::Kill);

    let server = site.start();
    let job = server.job(&running);
    assert_eq!(job["state"], "failed", "{job}");
    assert!(job["reason"].as_str().unwrap().contains("server stopped"), "{job}");
    assert_eq!(job["published"], json!({}));
    // It had not begun: no reason to fail it.
    assert_eq!(server.finished(&waiting)["state"], "succeeded");
    server.stop();
}

#[test]
fn a_cancellation_that_was_accepted_outlives_a_crash() {
    let site = Site::new();
    let server = site.start();
    let running = server.train(&training(0, ENDLESS));
    let waiting = server.train(&training(1, ENDLESS));
    assert_eq!(server.events(&running).next().as_deref(), Some("epoch"));
    for id in [&running, &waiting] {
        let answer = server.delete(&format!("/train/{id}"));
        assert!([200, 202].contains(&answer.status), "{answer:?}");
    }
    server.end(Signal::Kill);

    let server = site.start();
    for id in [&running, &waiting] {
        assert_eq!(server.job(id)["state"], "cancelled");
    }
    server.stop();
}

#[test]
fn a_task_made_over_http_outlives_a_crash() {
    let site = Site::new();
    let server = site.start();
    let made = server.put("/heads/mood", &json!({"labels": ["up", "down"]}));
    assert_eq!(made.status, 201, "{made:?}");
    server.end(Signal::Kill);
    assert_eq!(site.start().get("/heads/mood").body, made.body);
}

/// When a round's server is killed, counted from the last accepted job.
enum Moment {
    Accepted,
    Epochs(usize),
    Ended,
}

fn moments() -> Vec<Moment> {
    use Moment::{Accepted, Ended, Epochs};
    vec![
        Accepted,
        Epochs(1),
        Ended,
        Epochs(2),
        Epochs(24),
        Accepted,
        Epochs(25),
        Ended,
        Epochs(3),
        Accepted,
        Epochs(13),
        Epochs(5),
        Ended,
        Epochs(25),
        Epochs(8),
        Ended,
    ]
}

/// All that clients were ever told.
#[derive(Default)]
struct Seen {
    /// By id; the last record that was seen.
    jobs: BTreeMap<String, Value>,
    /// Task and version to the answers that it gave.
    answers: BTreeMap<(String, i64), Vec<Value>>,
}

impl Seen {
    fn submit(&mut self, server: &Server, request: &Value) -> String {
        let id = server.train(request);
        self.jobs.insert(id.clone(), server.job(&id));
        id
    }

    /// Notes what jobs and heads say now.
    fn observe(&mut self, server: &Server) {
        for (id, job) in &mut self.jobs {
            *job = server.job(id);
        }
        for (version, answers) in answers(server) {
            self.answers.insert(version, answers);
        }
    }

    /// Nothing that was seen may be gone or different.
    fn check(&self, server: &Server) {
        for (id, seen) in &self.jobs {
            let now = server.job(id);
            if seen["state"] == "succeeded" {
                assert_eq!(&now, seen, "an ended job's record does not change");
            } else {
                let states = ["queued", "running", "succeeded"];
                assert!(states.iter().any(|state| now["state"] == *state), "{now}");
            }
        }
        let published = self.jobs.values().flat_map(|job| job["published"].as_object().unwrap());
        let published = published.map(|(task, version)| (task.clone(), version.as_i64().unwrap()));
        let versions = versions(server);
        for version in published.chain(self.answers.keys().cloned()).filter(|(_, it)| *it > 0) {
            assert!(versions.contains(&version), "{version:?} is not among {versions:?}");
        }
        for (version, now) in answers(server) {
            if let Some(seen) = self.answers.get(&version) {
                assert_eq!(&now, seen, "{version:?} answers otherwise");
            }
            let newest = self.answers.keys().filter(|(task, _)| *task == version.0).max();
            assert!(newest.is_none_or(|newest| *newest <= version), "{version:?} is older");
        }
    }
}

/// Every version that the server keeps.
fn versions(server: &Server) -> Vec<(String, i64)> {
    let of = |task: &str| -> Vec<(String, i64)> {
        let head = server.get(&format!("/heads/{task}")).body;
        let versions = head["versions"].as_array().unwrap().iter();
        versions.map(|version| (task.to_owned(), version["version"].as_i64().unwrap())).collect()
    };
    TASKS.into_iter().flat_map(of).collect()
}

/// What each version of a head answered.
type Answers = BTreeMap<(String, i64), Vec<Value>>;

/// What the live versions make of a few texts; empty before the first training.
fn answers(server: &Server) -> Answers {
    let texts = ["a good film story", "the market price was bad", "computer", "dull work idea"];
    let answer = server.post("/classify", &json!({"inputs": texts}));
    let mut answers = BTreeMap::new();
    if answer.status == 409 {
        return answers;
    }
    assert_eq!(answer.status, 200, "{answer:?}");
    for result in answer.body["results"].as_array().unwrap() {
        for (task, prediction) in result.as_object().unwrap() {
            let version = (task.clone(), prediction["version"].as_i64().unwrap());
            answers.entry(version).or_insert_with(Vec::new).push(prediction["scores"].clone());
        }
    }
    assert_eq!(answers.len(), TASKS.len(), "one version of each head answers");
    answers
}

/// Asks SQLite whether the store is sound. It asks about a copy: opening the store itself would
/// repair it before the server has to.
fn check_integrity(site: &Site) {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(&site.data(), copy.path());
    let url = format!("sqlite://{}/polyhead.db", copy.path().display());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut database = SqliteConnection::connect(&url).await.unwrap();
        let rows = sqlx::query("PRAGMA integrity_check").fetch_all(&mut database).await.unwrap();
        let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(found, ["ok"]);
        let dangling = sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut database).await;
        assert!(dangling.unwrap().is_empty(), "rows refer to what is gone");
    });
}
