//! A shell in which somebody follows a guide.

use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::{env, fs};

use crate::guides::expected;
use crate::guides::fences::Block;
use crate::process::Process;
use crate::server::Server;
use crate::site::{POLYHEAD, Site, in_repository};

/// What there is before the first command.
#[derive(Clone, Copy, PartialEq)]
pub enum Start {
    /// A server with the repository's configuration.
    Served,
    /// Nothing: the guide starts servers by itself.
    Bare,
}

/// The blocks of a guide and where they are run.
pub struct Session {
    site: Site,
    /// Ends with the session.
    _server: Option<Server>,
    /// What stands for port 8080 here.
    address: String,
    blocks: Vec<Block>,
}

/// All processes that a shell started; none of them outlives its test.
struct Group(u32);

/// Ends what the guide has started. `settle` waits for jobs at work, as somebody who reads on does
/// without knowing; `grep -c` reads all, so that the pipe breaks for nobody.
const PREPARATIONS: &str = r#"
set -e -o pipefail
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT
settle() {
    while curl 'localhost:8080/train?limit=20' 2>/dev/null |
        grep -cE '"state":"(queued|running)"' >/dev/null; do
        sleep 0.1
    done
}
"#;

impl Session {
    pub fn new(start: Start) -> Session {
        let site = Site::new();
        for name in ["lib", "models", "config.toml", "deploy"] {
            symlink(in_repository(name), site.path().join(name)).unwrap();
        }
        fs::create_dir_all(site.path().join("target/release")).unwrap();
        symlink(POLYHEAD, site.path().join("target/release/polyhead")).unwrap();
        let serve = ["serve", "--config", "config.toml", "--listen", "127.0.0.1:0"];
        let server = (start == Start::Served).then(|| Server::start(&mut site.polyhead(&serve)));
        let address = match &server {
            Some(server) => server.address().to_owned(),
            // Free for now: nobody else asks the system for this very port.
            None => {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                listener.local_addr().unwrap().to_string()
            }
        };
        let curl = format!("connect-to = \"localhost:8080:{address}\"\nsilent\nshow-error\n");
        fs::write(site.home().join(".curlrc"), curl).unwrap();
        Session { site, _server: server, address, blocks: Vec::new() }
    }

    pub fn add(&mut self, block: Block) {
        self.blocks.push(block);
    }

    /// Runs all blocks and compares what they print with what the guide shows.
    pub fn run(self, guide: &str) {
        let script = self.site.temporary().join("guide.sh");
        fs::write(&script, self.script(guide)).unwrap();
        let path = format!(
            "{}:{}",
            self.site.path().join("target/release").display(),
            env::var("PATH").unwrap_or_default()
        );
        let mut bash: Command = self.site.command("bash");
        bash.arg(&script)
            .env("PATH", path)
            .env("POLYHEAD_SERVER", format!("http://{}", self.address))
            .env("POLYHEAD__SERVER__LISTEN", &self.address)
            .process_group(0);
        let process = Process::spawn(&mut bash);
        let _group = Group(process.id());
        for block in &self.blocks {
            // Block by block: each has the patience of a test.
            process.stderr.line_with(&announcement(guide, block));
        }
        let ended = process.ended();
        assert!(ended.status.success(), "{guide}: a command failed: {:#?}", ended.stderr);
        for (index, block) in self.blocks.iter().enumerate() {
            let printed = fs::read(self.output(index)).unwrap();
            let printed = String::from_utf8_lossy(&printed);
            if let Err(why) = expected::check(block.shown.as_ref(), &printed) {
                panic!("{guide}, line {}: {why}\nprinted was:\n{printed}", block.line);
            }
        }
    }

    fn script(&self, guide: &str) -> String {
        let mut script = PREPARATIONS.to_owned();
        for (index, block) in self.blocks.iter().enumerate() {
            let (announcement, commands) = (announcement(guide, block), &block.commands);
            let output = self.output(index);
            script += &format!(
                "echo '{announcement}' >&2\n{{\n{commands}}} >'{}'\nsettle\n",
                output.display()
            );
        }
        script
    }

    fn output(&self, block: usize) -> std::path::PathBuf {
        self.site.temporary().join(format!("{block}.out"))
    }
}

/// What the shell says before it runs a block.
fn announcement(guide: &str, block: &Block) -> String {
    format!("following {guide}, line {}:", block.line)
}

impl Drop for Group {
    fn drop(&mut self) {
        let group = format!("kill -s KILL -- -{} 2>/dev/null", self.0);
        // An error says that all have ended already.
        let _ = Command::new("sh").args(["-c", &group]).status();
    }
}
