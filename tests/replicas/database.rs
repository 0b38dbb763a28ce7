//! The database goes away, and comes back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::process::PATIENCE;
use crate::server::{Server, training};
use crate::system::{System, live, long, until};

#[test]
fn without_its_database_the_system_serves_and_goes_on_training_when_it_is_back() {
    let Some(mut system) = System::of(3) else { return };
    let first = system.replicas[0].train(&training(0, 3));
    assert_eq!(system.replicas[0].finished(&first)["state"], "succeeded");
    system.answers_soon_with(1);
    let running = system.replicas[1].train(&long(1));
    let waiting = system.replicas[2].train(&training(2, 3));
    system.runner(&running);

    let System { replicas, postgres, .. } = &mut system;
    let back = AtomicBool::new(false);
    thread::scope(|scope| {
        for replica in &*replicas {
            scope.spawn(|| {
                // Each panic ends the test: nothing but 200 will do, from before to after.
                while !back.load(Ordering::Relaxed) {
                    assert_eq!(replica.embed(&["a great film"])[0].len(), 32);
                    assert_ne!(live(replica), json!({}));
                }
            });
        }
        // Set whatever happens: those who look on would go on for ever.
        let _back = WhenDropped(&back);
        postgres.kill();
        replicas.iter().for_each(check_is_away);
        postgres.restart();
        for replica in &*replicas {
            until("the database is back", PATIENCE, || {
                (replica.get("/readyz").body == json!({"status": "ready"})).then_some(())
            });
        }
        for id in [&running, &waiting] {
            let job = until("the job is done", PATIENCE, || {
                // A database that has just come back may be slow: who is told 503 comes again.
                let answer = replicas[0].get(&format!("/train/{id}"));
                assert!([200, 503].contains(&answer.status), "{answer:?}");
                let job = answer.body;
                (answer.status == 200 && job["state"] != "running" && job["state"] != "queued")
                    .then_some(job)
            });
            assert_eq!(job["state"], "succeeded", "{}", job["reason"]);
            // The one that ran went on where it was.
            assert_eq!(job["attempts"], 1);
            check_epochs(&job);
        }
    });
    system.answers_soon_with(3);
    for task in ["topic", "sentiment"] {
        let head = system.replicas[1].get(&format!("/heads/{task}")).body;
        assert_eq!(head["versions"].as_array().unwrap().len(), 3, "{head}");
    }
}

#[test]
fn a_replica_that_starts_before_its_database_waits_for_it() {
    let Some(mut system) = System::of(0) else { return };
    system.postgres.kill();
    let early = system.listening();
    assert!(early.process.stderr.line_with("waiting for the database").is_some());
    let answer = early.get("/startupz");
    assert_eq!((answer.status, answer.code()), (503, "starting"), "{answer:?}");
    assert_eq!(early.get("/livez").status, 200);
    system.postgres.restart();
    early.wait_until_ready();
    early.stop();
}

/// Each epoch is recorded once, and none is left out.
fn check_epochs(job: &Value) {
    let epochs = job["epochs"].as_array().unwrap();
    let numbers: Vec<u64> = epochs.iter().map(|epoch| epoch["epoch"].as_u64().unwrap()).collect();
    assert_eq!(
        numbers,
        (1..=job["spec"]["solver"]["epochs"].as_u64().unwrap()).collect::<Vec<_>>()
    );
}

/// The replica says that the store is away, and refuses what needs it with a reason.
fn check_is_away(replica: &Server) {
    until("the replica has noticed", PATIENCE, || {
        let ready = replica.get("/readyz");
        assert_eq!(ready.status, 200, "requests are welcome: {ready:?}");
        (ready.body == json!({"status": "ready", "store": "unreachable"})).then_some(())
    });
    assert_eq!(replica.get("/health").status, 200);
    for answer in [replica.post("/train", &training(9, 3)), replica.get("/train")] {
        assert_eq!((answer.status, answer.code()), (503, "store_unavailable"), "{answer:?}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
    }
    let metrics = replica.get("/metrics").body;
    assert!(metrics.as_str().unwrap().contains("polyhead_store_up 0\n"), "{metrics}");
}

struct WhenDropped<'a>(&'a AtomicBool);

impl Drop for WhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
