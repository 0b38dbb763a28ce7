//! Nothing leaves the machine, and nothing is written outside the store's folder: every system call
//! that could do either is watched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::process::Process;
use crate::server::{Server, examples};
use crate::site::{POLYHEAD, Site, not_checked};

/// How long the server is kept busy under watch. ONNX Runtime's telemetry, where it is on, makes
/// its first attempts to reach its maker within the first seconds.
const WATCHED: Duration = Duration::from_secs(10);

/// What can open a file for writing, create, move or remove one; `?` where not every architecture
/// has it.
const FILE_CALLS: &str = "?open,openat,?openat2,?creat,?mkdir,mkdirat,?mknod,mknodat,?unlink,\
    unlinkat,?rmdir,?rename,?renameat,renameat2,?link,linkat,?symlink,symlinkat,truncate";

#[test]
fn a_server_at_work_calls_nobody_and_writes_only_to_its_store() {
    let site = Site::new();
    if let Err(why) = tracing_works(&site) {
        not_checked(&format!("that nothing leaves the machine: {why}"));
        return;
    }
    let trace = tempfile::tempdir().unwrap();
    let trace = trace.path().join("trace");
    let mut command = site.command("strace");
    // -D: the server is the child, and signals reach it; strace looks on from aside.
    command.args(["-D", "-f", "-qq", "-y", "-s", "512", "-o"]).arg(&trace);
    command.args(["-e", &format!("trace=%network,{FILE_CALLS}")]);
    command.args([POLYHEAD, "serve", "--config", "polyhead.toml"]);
    // As on a machine whose owner has never heard of the variable.
    let server = Server::start(command.env_remove("ORT_DISABLE_TELEMETRY"));
    work(&server);
    server.stop();

    let trace = fs::read_to_string(trace).unwrap();
    let calls: Vec<Call> = trace.lines().filter_map(Call::parse).collect();
    let listens = calls.iter().filter(|call| call.name == "listen").count();
    assert_eq!(listens, 1, "the trace has seen the server");
    let database = site.data().join("polyhead.db");
    assert!(
        calls.iter().any(|call| call.written(site.path()).contains(&database)),
        "it has seen the store"
    );

    let calling: Vec<&Call> = calls.iter().filter(|call| call.contacts_somebody()).collect();
    assert!(calling.is_empty(), "{calling:#?}");
    let outside = |path: &PathBuf| !path.starts_with(site.data()) && path != Path::new("/dev/null");
    let writing: Vec<&Call> =
        calls.iter().filter(|call| call.written(site.path()).iter().any(outside)).collect();
    assert!(writing.is_empty(), "{writing:#?}");
    for folder in [site.home(), site.temporary()] {
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "{} is empty", folder.display());
    }
}

#[test]
fn the_watch_tells_calls_and_writes_from_what_is_harmless() {
    let harmless = [
        r#"7 socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_IP) = 9<TCP:[1]>"#,
        r#"7 bind(9<TCP:[1]>, {sa_family=AF_INET, sin_port=htons(0), sin_addr=inet_addr("127.0.0.1")}, 16) = 0"#,
        r#"7 accept4(9<TCP:[1]>, {sa_family=AF_INET, sin_port=htons(4), sin_addr=inet_addr("127.0.0.1")}, [128 => 16], SOCK_CLOEXEC) = 10"#,
        r#"7 sendto(10<TCP:[127.0.0.1:1->127.0.0.1:4]>, "HTTP/1.1 200 OK", 15, MSG_NOSIGNAL, NULL, 0) = 15"#,
        r#"7 openat(AT_FDCWD</site>, "/proc/self/maps", O_RDONLY|O_CLOEXEC) = 9</proc/7/maps>"#,
        r#"7 openat(AT_FDCWD</site>, "/etc/ld.so.cache", O_RDONLY|O_CLOEXEC) = 9</etc/ld.so.cache>"#,
    ];
    for line in harmless {
        let call = Call::parse(line).unwrap();
        assert!(!call.contacts_somebody() && call.written(Path::new("/site")).is_empty(), "{line}");
    }
    let contacts = [
        r#"7 connect(9<UDP:[1]>, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("127.0.0.53")}, 16) = 0"#,
        r#"7 connect(9<TCPv6:[1]>, {sa_family=AF_INET6, sin6_port=htons(443), inet_pton(AF_INET6, "2603::1", &sin6_addr)}, 28 <unfinished ...>"#,
        r#"7 connect(9<UNIX-STREAM:[1]>, {sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"}, 110) = -1 ENOENT (No such file or directory)"#,
        r#"7 sendto(9<UDP:[1]>, "q", 1, 0, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("10.0.0.1")}, 16) = 1"#,
        r#"7 sendmmsg(9<UDP:[10.0.0.2:4->10.0.0.1:53]>, [{msg_hdr={msg_name=NULL}}], 2, MSG_NOSIGNAL) = 2"#,
    ];
    for line in contacts {
        assert!(Call::parse(line).unwrap().contacts_somebody(), "{line}");
    }
    let writes = [
        (r#"7 openat(AT_FDCWD</site>, "/a", O_RDWR|O_CREAT|O_CLOEXEC, 0644) = 9</a>"#, "/a"),
        (r#"7 openat(AT_FDCWD</site>, "a b", O_WRONLY|O_TRUNC <unfinished ...>"#, "/site/a b"),
        (r#"7 openat(8</d>, "a", O_WRONLY|O_APPEND) = 9</d/a>"#, "/d/a"),
        (r#"7 mkdir("data", 0777) = 0"#, "/site/data"),
        (r#"7 mkdir("/home/.cache", 0777) = -1 EEXIST (File exists)"#, "/home/.cache"),
        (r#"7 unlink("/a") = 0"#, "/a"),
        (r#"7 renameat2(AT_FDCWD</site>, "a", AT_FDCWD</site>, "/b", 0) = 0"#, "/b"),
    ];
    for (line, path) in writes {
        let written = Call::parse(line).unwrap().written(Path::new("/site"));
        assert!(written.contains(&PathBuf::from(path)), "{line}: {written:?}");
    }
    assert!(Call::parse("7 <... connect resumed>) = 0").is_none());
    assert!(Call::parse("7 --- SIGTERM {si_signo=SIGTERM} ---").is_none());
    assert!(Call::parse("7 +++ exited with 0 +++").is_none());
}

/// A request of each kind, then more of them until the time is over.
fn work(server: &Server) {
    let end = Instant::now() + WATCHED;
    let job = server.train(&json!({"examples": examples(12, 0)}));
    assert_eq!(server.finished(&job)["state"], "succeeded");
    while Instant::now() < end {
        server.embed(&["the film was good"]);
        let answer = server.post("/classify", &json!({"inputs": "the film was good"}));
        assert_eq!(answer.status, 200, "{answer:?}");
        for path in ["/metrics", "/info", "/readyz"] {
            assert_eq!(server.get(path).status, 200, "{path}");
        }
    }
}

/// Whether system calls can be watched here, or why not.
fn tracing_works(site: &Site) -> Result<(), String> {
    let found = Command::new("strace").arg("-V").output();
    if let Err(error) = found {
        return Err(format!("strace cannot be run: {error}; install it"));
    }
    let tried = Process::spawn(site.command("strace").args(["-D", "-f", "-qq", "true"])).ended();
    match tried.status.success() {
        true => Ok(()),
        false => Err(format!("strace does not work here: {:?}", tried.stderr)),
    }
}

/// The beginning of a system call, as strace writes it: what was asked for, with what result or
/// none.
#[derive(Debug)]
struct Call<'a> {
    name: &'a str,
    arguments: &'a str,
}

impl<'a> Call<'a> {
    /// `None` for signals, exits and the second halves of interrupted calls.
    fn parse(line: &'a str) -> Option<Call<'a>> {
        let (_process, call) = line.split_once(char::is_whitespace)?;
        let (name, arguments) = call.trim_start().split_once('(')?;
        let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        is_name.then_some(Call { name, arguments })
    }

    /// Whether somebody else is spoken to. A server only answers on connections that it accepted;
    /// it has no reason to connect, not even on this machine: a name server may be there as well.
    fn contacts_somebody(&self) -> bool {
        match self.name {
            "connect" | "sendmmsg" => true,
            "sendto" | "sendmsg" => self.arguments.contains("sa_family="),
            _ => false,
        }
    }

    /// The absolute paths of all that is created, changed or removed, or opened for that.
    fn written(&self, working_folder: &Path) -> Vec<PathBuf> {
        let reads = self.name.starts_with("open")
            && !["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_TMPFILE"]
                .iter()
                .any(|flag| self.arguments.contains(flag));
        let is_file_call = FILE_CALLS.split(',').any(|it| it.trim_start_matches('?') == self.name);
        if reads || !is_file_call {
            return Vec::new();
        }
        // Each path stands in quotes, behind the folder that it starts from where one is given.
        let mut folder = working_folder.to_owned();
        let mut paths = Vec::new();
        for (index, piece) in self.arguments.split('"').enumerate() {
            if index % 2 == 1 {
                paths.push(folder.join(piece));
            } else if let Some((start, end)) = piece.find('<').zip(piece.find('>'))
                && start < end
            {
                folder = PathBuf::from(&piece[start + 1..end]);
            }
        }
        paths
    }
}
