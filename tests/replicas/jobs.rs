//! A job is run by one replica, and by another one when that fails.

use serde_json::{Value, json};

use crate::process::{PATIENCE, Signal};
use crate::server::ENDLESS;
use crate::system::{System, freeze, lasting, long, until};

#[test]
fn the_job_of_a_replica_that_is_killed_is_done_once_by_another() {
    let Some(mut system) = System::of(3) else { return };
    let id = system.replicas[0].train(&long(0));
    let runner = system.runner(&id);
    // Whoever does not run it shows it as it happens.
    let other = &system.replicas[(runner + 1) % 3];
    assert_eq!(other.events(&id).next().as_deref(), Some("epoch"));
    until("its progress is told as well", PATIENCE, || {
        let progress = &other.job(&id)["progress"];
        (progress["phase"] == "fitting" && progress["seconds_left"].is_f64()).then_some(())
    });
    system.replicas.remove(runner).end(Signal::Kill);

    let job = system.replicas[0].finished(&id);
    check_done_once(&job);
    system.answers_soon_with(1);
    check_one_version(&system, &id);
    // And it stays one system.
    let next = system.replicas[1].train(&lasting(1, 2));
    assert_eq!(
        system.replicas[0].finished(&next)["published"],
        json!({"sentiment": 2, "topic": 2})
    );
    system.answers_soon_with(2);
}

#[test]
fn a_replica_that_hangs_past_its_lease_publishes_nothing_when_it_goes_on() {
    let Some(system) = System::of(3) else { return };
    let id = system.replicas[0].train(&long(0));
    let runner = system.runner(&id);
    let hanging = &system.replicas[runner];
    freeze(hanging, true);
    let other = &system.replicas[(runner + 1) % 3];
    let job = other.finished(&id);
    check_done_once(&job);

    freeze(hanging, false);
    let told = hanging.process.stderr.line_with("taken over by another replica");
    assert!(told.is_some(), "{:#?}", hanging.process.stderr);
    system.answers_soon_with(1);
    check_one_version(&system, &id);
    for replica in &system.replicas {
        assert_eq!(replica.job(&id), job, "what is recorded stays");
    }
}

#[test]
fn a_job_is_cancelled_on_any_replica_and_not_by_the_end_of_another() {
    let Some(mut system) = System::of(3) else { return };
    let id = system.replicas[0].train(&lasting(0, ENDLESS));
    let waiting = system.replicas[1].train(&lasting(1, 2));
    let runner = system.runner(&id);
    // The orderly end of one that does not run it is none of its business.
    system.replicas.remove((runner + 1) % 3).stop();
    let runner = system.runner(&id);
    let cancelled = system.replicas[1 - runner].delete(&format!("/train/{id}"));
    assert_eq!(cancelled.status, 202, "{cancelled:?}");
    let job = until("the job is cancelled", PATIENCE, || {
        let job = system.replicas[1 - runner].job(&id);
        (job["state"] != "running").then_some(job)
    });
    assert_eq!((&job["state"], &job["attempts"]), (&json!("cancelled"), &json!(1)), "{job}");
    assert_eq!(job["published"], json!({}));
    assert_eq!(system.replicas[0].finished(&waiting)["state"], "succeeded");
    system.answers_soon_with(1);
}

/// It succeeded after it was taken over, and each of its epochs is recorded once. A machine that is
/// too busy for a replica to show itself in time sees the job change hands more than once.
fn check_done_once(job: &Value) {
    assert_eq!(job["state"], "succeeded", "{job}");
    assert!(job["attempts"].as_u64() >= Some(2), "{job}");
    assert_eq!(job["published"], json!({"sentiment": 1, "topic": 1}));
    let epochs = job["epochs"].as_array().unwrap().iter().map(|it| it["epoch"].as_u64().unwrap());
    assert!(epochs.eq(1..=job["spec"]["solver"]["epochs"].as_u64().unwrap()), "{job}");
}

/// Whatever went on, one version of each task was made, and the job made it.
fn check_one_version(system: &System, job: &str) {
    for replica in &system.replicas {
        for task in ["topic", "sentiment"] {
            let head = replica.get(&format!("/heads/{task}")).body;
            let versions = head["versions"].as_array().unwrap();
            let made = versions.iter().map(|it| (&it["version"], &it["job"], &it["live"]));
            assert!(made.eq([(&json!(1), &json!(job), &json!(true))]), "{head}");
        }
    }
}
