//! A PostgreSQL server of a test's own, which ends with it. The store's unit tests use it as well.

use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use tempfile::TempDir;

/// Makes it an error that there are no server programs.
const REQUIRED: &str = "POLYHEAD_REQUIRE_POSTGRES";

/// Where Debian puts them, one folder a major version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The user of the databases.
const USER: &str = "polyhead";

/// A server needs seconds to start; after a crash, until the remains of the former one are gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that is reached through a socket in a folder of its own.
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    /// Who runs it where the tests run as root, which the server refuses.
    user: Option<User>,
    server: Child,
}

#[derive(Clone, Copy)]
struct User {
    id: u32,
    group: u32,
}

impl Postgres {
    /// A new server with the database `postgres`; `None`, told on standard error, where there are no
    /// server programs.
    pub fn start() -> Option<Postgres> {
        let Some(programs) = programs() else {
            assert!(env::var_os(REQUIRED).is_none(), "{REQUIRED}: PostgreSQL is not installed");
            // What `eprintln` prints is captured, and nobody would read it.
            let told = "NOT CHECKED: PostgreSQL's server programs are not installed";
            writeln!(io::stderr().lock(), "{told}").unwrap();
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let user = (fs::metadata(folder.path()).unwrap().uid() == 0).then(unprivileged);
        if let Some(user) = user {
            chown(folder.path(), Some(user.id), Some(user.group)).unwrap();
        }
        // The socket inside is for whoever runs the program under test.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let mut initdb = command(&programs, "initdb", user, folder.path());
        initdb.args(["-D", "data", "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]);
        let made = initdb.arg("--no-sync").output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let server = serve(&programs, user, folder.path()).unwrap_or_else(|log| panic!("{log}"));
        Some(Postgres { folder, programs, user, server })
    }

    /// The folder that the socket is in.
    pub fn socket(&self) -> &Path {
        self.folder.path()
    }

    /// Makes an empty database and gives its URL.
    pub fn create(&self, database: &str) -> String {
        let mut create = command(&self.programs, "createdb", self.user, self.folder.path());
        create.args(["-U", USER, "-h"]).arg(self.socket()).arg(database);
        let made = create.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        url(self.socket(), database)
    }

    /// Kills the server as a crash does.
    pub fn kill(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    /// Starts it again.
    pub fn restart(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match serve(&self.programs, self.user, self.folder.path()) {
                Ok(server) => {
                    self.server = server;
                    return;
                }
                // The former one's children may still be on their way out.
                Err(log) => assert!(Instant::now() < deadline, "{log}"),
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // At once, but with its children. An error says that it has ended already.
        let quit = format!("kill -s QUIT {}", self.server.id());
        let _ = Command::new("sh").args(["-c", &quit]).stderr(Stdio::null()).status();
        let _ = self.server.wait();
    }
}

/// The URL of a database of the server whose socket is in `folder`.
pub fn url(folder: &Path, database: &str) -> String {
    format!("postgres:///{database}?host={}&user={USER}", folder.display())
}

/// The folder of the server programs: one that is on the path, else Debian's newest.
fn programs() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let debian = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let mut debian: Vec<PathBuf> = debian.map(|version| version.path().join("bin")).collect();
    debian.sort();
    folders.extend(debian.into_iter().rev());
    let complete = |folder: &PathBuf| {
        ["initdb", "postgres", "createdb"].iter().all(|program| folder.join(program).exists())
    };
    folders.into_iter().find(complete)
}

/// The server's own user, else one that owns nothing.
fn unprivileged() -> User {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let mut found = fields.filter(|fields| fields[0] == name);
        found.next().map(|it| User { id: it[2].parse().unwrap(), group: it[3].parse().unwrap() })
    };
    find("postgres").or_else(|| find("nobody")).expect("there is somebody other than root")
}

fn command(programs: &Path, program: &str, user: Option<User>, folder: &Path) -> Command {
    let mut command = Command::new(programs.join(program));
    command.current_dir(folder).stdin(Stdio::null());
    if let Some(user) = user {
        command.uid(user.id).gid(user.group);
    }
    command
}

/// A server that takes connections, or what it said when it ended.
fn serve(programs: &Path, user: Option<User>, folder: &Path) -> Result<Child, String> {
    let mut command = command(programs, "postgres", user, folder);
    command.args(["-D", "data", "-c", "listen_addresses=", "-c", "max_connections=300"]);
    // What survives a crash of the machine is not tested.
    command.args(["-c", "fsync=off", "-c", "full_page_writes=off"]);
    command.arg("-k").arg(folder).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut server = command.spawn().unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut log = String::new();
    for line in lines.by_ref() {
        if line.contains("ready to accept connections") {
            // Somebody has to read the rest.
            thread::spawn(move || lines.for_each(drop));
            return Ok(server);
        }
        log += &format!("{line}\n");
    }
    server.wait().unwrap();
    Err(log)
}
