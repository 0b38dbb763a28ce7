//! Where a program runs: a folder of its own with a configuration, and an environment without
//! surprises.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use tempfile::TempDir;
use toml::{Table, Value, toml};

use crate::process::{Ended, Process};
use crate::server::Server;

/// The program under test.
pub const POLYHEAD: &str = env!("CARGO_BIN_EXE_polyhead");

/// A folder with a configuration; deleted with the test.
pub struct Site {
    folder: TempDir,
}

/// The path of something in the repository.
pub fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The path of a random BERT that loads in milliseconds: two layers, 32 wide, 24 tokens at most.
pub fn tiny() -> PathBuf {
    in_repository("tests/fixtures/tiny-bert/mean-normalized")
}

impl Site {
    /// A site on the tiny model with the seed's two tasks, on a port that the system chooses.
    pub fn new() -> Site {
        Site::with(Table::new())
    }

    /// The same with further settings.
    pub fn with(settings: Table) -> Site {
        let site = Site { folder: tempfile::tempdir().unwrap() };
        for folder in [site.home(), site.temporary()] {
            fs::create_dir(folder).unwrap();
        }
        site.configure(settings);
        site
    }

    /// Replaces the configuration by the one of [`Site::with`].
    pub fn configure(&self, settings: Table) {
        let mut config = toml! {
            [server]
            listen = "127.0.0.1:0"
            [runtime]
            workers = 1
            [tasks.topic]
            labels = ["Finance", "Entertainment", "Technology"]
            [tasks.sentiment]
            labels = ["Negative", "Positive"]
        };
        let library = path_value(&in_repository("lib/libonnxruntime.so"));
        merge(&mut config, table(&["runtime", "library"], library));
        merge(&mut config, table(&["models", "tiny", "path"], path_value(&tiny())));
        // Tests that need a job which runs for as long as they like say so by its epochs.
        let epochs = toml::Value::Integer(u32::MAX.into());
        merge(&mut config, table(&["limits", "epochs_per_job"], epochs));
        merge(&mut config, settings);
        self.write_config(&config.to_string());
    }

    /// Replaces the configuration by this text.
    pub fn write_config(&self, text: &str) {
        fs::write(self.path().join("polyhead.toml"), text).unwrap();
    }

    /// The working directory of whatever runs here.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where the default `store.url` puts its files.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    pub fn home(&self) -> PathBuf {
        self.path().join("home")
    }

    pub fn temporary(&self) -> PathBuf {
        self.path().join("tmp")
    }

    /// `polyhead` with these arguments, to be run here.
    pub fn polyhead(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(POLYHEAD);
        command.args(arguments);
        command
    }

    /// `polyhead serve` with this site's configuration.
    pub fn serve(&self) -> Command {
        self.polyhead(&["serve", "--config", "polyhead.toml"])
    }

    /// Any program, to be run here, with an environment that holds nothing for it but what the
    /// test's own process needs.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (name, _) in env::vars_os() {
            let name_text = name.to_string_lossy();
            if ["POLYHEAD_", "HF_", "RUST_LOG", "NO_COLOR"].iter().any(|p| name_text.starts_with(p))
            {
                command.env_remove(&name);
            }
        }
        command
            .current_dir(self.path())
            .env("HOME", self.home())
            .env("TMPDIR", self.temporary())
            // Were there a backtrace to be seen, an operator would see it.
            .env("RUST_BACKTRACE", "1");
        command
    }

    /// A server that is ready.
    pub fn start(&self) -> Server {
        Server::start(&mut self.serve())
    }

    /// Runs to the end.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        Process::spawn(&mut self.polyhead(arguments)).ended()
    }
}

/// A setting whose value is computed.
pub fn table(key: &[&str], value: Value) -> Table {
    let [parents @ .., last] = key else { panic!("a key has parts") };
    let entry = Table::from_iter([((*last).to_owned(), value)]);
    parents
        .iter()
        .rev()
        .fold(entry, |inner, &parent| Table::from_iter([(parent.to_owned(), Value::Table(inner))]))
}

pub fn path_value(path: &Path) -> Value {
    Value::String(path.to_str().expect("the repository's path is UTF-8").to_owned())
}

/// Adds `settings` to `config`, section by section; the former win.
fn merge(config: &mut Table, settings: Table) {
    for (key, value) in settings {
        match (config.get_mut(&key), value) {
            (Some(Value::Table(section)), Value::Table(settings)) => merge(section, settings),
            (_, value) => drop(config.insert(key, value)),
        }
    }
}

/// A copy of a folder of the repository, to be changed by a test.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// All files below a folder with their contents, in order.
pub fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(contents(&path)),
            false => found.push((path.clone(), fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

/// Says that this machine lacks what a test needs; also where the test's own output is not shown.
pub fn not_checked(what: &str) {
    // What `eprintln` prints is captured, and nobody would read it.
    let mut stderr = io::stderr().lock();
    writeln!(stderr, "NOT CHECKED: {what}").unwrap();
}
