//! The line to the database goes dead: nothing arrives any more, and nobody says so. That is what a
//! host that fails, or a firewall that forgets its connections, looks like.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde_json::json;
use tempfile::TempDir;

use crate::postgres::{self, Postgres};
use crate::process::PATIENCE;
use crate::system::{System, lasting, long, until};

#[test]
fn a_replica_trains_again_after_its_connections_have_died_in_silence() {
    let Some(postgres) = Postgres::start() else { return };
    postgres.create("heads");
    let line = Line::to(postgres.socket());
    let system = System::on(postgres, postgres::url(line.folder.path(), "heads"), 1);
    let replica = &system.replicas[0];
    let running = replica.train(&long(0));
    system.runner(&running);

    line.cut();
    until("the replica has noticed", PATIENCE, || {
        assert_eq!(replica.embed(&["a great film"])[0].len(), 32);
        (replica.get("/readyz").body["store"] == "unreachable").then_some(())
    });
    line.mend();
    until("the database is back", PATIENCE, || {
        (replica.get("/readyz").body == json!({"status": "ready"})).then_some(())
    });
    let made = replica.put("/heads/mood", &json!({"labels": ["up", "down"]}));
    assert_eq!(made.status, 201, "{made:?}");
    let next = replica.train(&lasting(1, 2));
    for (id, version) in [(running, 1), (next, 2)] {
        // Nobody else took the running one over meanwhile: it went on.
        let job = until("the job is done", PATIENCE, || {
            let job = replica.job(&id);
            job["finished_at"].is_string().then_some(job)
        });
        assert_eq!(job["state"], "succeeded", "{}", job["reason"]);
        assert_eq!(job["published"], json!({"sentiment": version, "topic": version}));
        assert_eq!(job["attempts"], 1);
    }
}

/// A line to a database that can be cut.
struct Line {
    /// Of the socket at this end.
    folder: TempDir,
    cuts: Arc<Cuts>,
}

/// Odd while the line is cut. A connection works as long as the number is the one that it began with,
/// and even: those that a cut has killed stay dead.
#[derive(Default)]
struct Cuts(AtomicU64);

/// What PostgreSQL's clients look for in a folder.
const SOCKET: &str = ".s.PGSQL.5432";

impl Line {
    fn to(database: &Path) -> Line {
        let folder = tempfile::tempdir().unwrap();
        let (end, listener) =
            (database.join(SOCKET), UnixListener::bind(folder.path().join(SOCKET)).unwrap());
        let cuts = Arc::new(Cuts::default());
        let line = Line { folder, cuts: Arc::clone(&cuts) };
        thread::spawn(move || accept(&listener, &end, &cuts));
        line
    }

    fn cut(&self) {
        self.cuts.0.fetch_add(1, Ordering::SeqCst);
    }

    fn mend(&self) {
        self.cuts.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn accept(listener: &UnixListener, end: &PathBuf, cuts: &Arc<Cuts>) {
    for near in listener.incoming().map_while(Result::ok) {
        let Ok(far) = UnixStream::connect(end) else { return };
        let began = cuts.0.load(Ordering::SeqCst);
        for (from, to) in [(&near, &far), (&far, &near)] {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let cuts = Arc::clone(cuts);
            thread::spawn(move || carry(from, to, &cuts, began));
        }
    }
}

/// Carries bytes while the connection lives, then swallows them: whoever sends them is not told.
fn carry(mut from: UnixStream, mut to: UnixStream, cuts: &Cuts, began: u64) {
    let mut bytes = [0; 1 << 12];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let lives = began.is_multiple_of(2) && cuts.0.load(Ordering::SeqCst) == began;
        if lives && to.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
}
