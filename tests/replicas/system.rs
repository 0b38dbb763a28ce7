//! Replicas that share a database.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use toml::{Table, toml};

use crate::postgres::Postgres;
use crate::process::PATIENCE;
use crate::server::{Server, examples};
use crate::site::Site;

/// How soon what one replica publishes answers on all.
pub const SOON: Duration = Duration::from_secs(3);

/// Replicas and their database; all end with the test.
pub struct System {
    pub replicas: Vec<Server>,
    pub postgres: Postgres,
    url: String,
    /// Where the replicas run.
    sites: Vec<Site>,
}

impl System {
    /// So many replicas that are ready; `None` where there is no PostgreSQL.
    pub fn of(count: usize) -> Option<System> {
        let postgres = Postgres::start()?;
        let url = postgres.create("heads");
        Some(System::on(postgres, url, count))
    }

    /// So many replicas that reach the database at `url` and are ready.
    pub fn on(postgres: Postgres, url: String, count: usize) -> System {
        let mut system = System { replicas: Vec::new(), postgres, url, sites: Vec::new() };
        // All of them first: they start together.
        for _ in 0..count {
            let server = system.listening();
            system.replicas.push(server);
        }
        system.replicas.iter().for_each(Server::wait_until_ready);
        system
    }

    /// Another replica, which is starting.
    pub fn listening(&mut self) -> Server {
        let mut settings = toml! {
            [training]
            lease = "6s"
        };
        let store = Table::from_iter([("url".to_owned(), self.url.clone().into())]);
        settings.insert("store".to_owned(), store.into());
        let site = Site::with(settings);
        let server = Server::listening(&mut site.serve());
        self.sites.push(site);
        server
    }

    /// The place of the replica that runs the job, once it has done an epoch.
    pub fn runner(&self, job: &str) -> usize {
        until("the job runs", PATIENCE, || {
            let begins = format!("training starts job=\\\"{job}\\\"");
            let begun = |server: &Server| format!("{:?}", server.process.stderr).contains(&begins);
            let runner = self.replicas.iter().position(begun)?;
            (self.replicas[runner].job(job)["epochs"] != json!([])).then_some(runner)
        })
    }

    /// Waits until version `version` of both tasks answers on every replica, no longer than it may
    /// take.
    pub fn answers_soon_with(&self, version: i64) {
        let expected = json!({"sentiment": version, "topic": version});
        for replica in &self.replicas {
            until(&format!("{expected} on {}", replica.url), SOON, || {
                (live(replica) == expected).then_some(())
            });
        }
    }
}

/// The version of each task that answers on a replica, as an answer tells.
pub fn live(replica: &Server) -> Value {
    let answer = replica.post("/classify", &json!({"inputs": "a good film"}));
    if answer.status == 409 {
        return json!({});
    }
    assert_eq!(answer.status, 200, "{answer:?}");
    let tasks = answer.body["results"][0].as_object().unwrap();
    tasks.iter().map(|(task, answer)| (task.clone(), answer["version"].clone())).collect()
}

/// A job that takes some seconds.
pub fn long(round: usize) -> Value {
    lasting(round, 120)
}

/// A job of so many epochs, some dozens a second.
pub fn lasting(round: usize, epochs: u32) -> Value {
    json!({
        "examples": examples(1500, round),
        "solver": "adam",
        "epochs": epochs,
        "batch_size": 1,
        "promote": "always",
    })
}

/// Asks until there is an answer, at most for `limit`.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Stops a process where it stands, as a machine that hangs would, or lets it go on.
pub fn freeze(server: &Server, frozen: bool) {
    let signal = if frozen { "STOP" } else { "CONT" };
    let kill = format!("kill -s {signal} {}", server.process.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}
