//! A child process whose output is read as it comes and which never outlives its test.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// No test waits longer than this for anything: a busy machine needs seconds, a hung program for ever.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A running program.
pub struct Process {
    child: Child,
    pub stdout: Lines,
    pub stderr: Lines,
}

/// How a program ended and what it had said by then.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: Vec<String>,
    pub stderr: Vec<String>,
}

#[derive(Clone, Copy)]
pub enum Signal {
    Term,
    Int,
    Kill,
}

impl Process {
    pub fn spawn(command: &mut Command) -> Process {
        Process::spawn_with(command, Stdio::piped(), Stdio::piped())
    }

    /// A program whose standard output nobody reads.
    pub fn with_unread_stdout(command: &mut Command) -> Process {
        Process::spawn_with(command, unread(), Stdio::piped())
    }

    /// A program whose standard error nobody reads.
    pub fn with_unread_stderr(command: &mut Command) -> Process {
        Process::spawn_with(command, Stdio::piped(), unread())
    }

    fn spawn_with(command: &mut Command, stdout: Stdio, stderr: Stdio) -> Process {
        let command = command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = child.stdout.take().map_or_else(|| Lines::of(io::empty()), Lines::of);
        let stderr = child.stderr.take().map_or_else(|| Lines::of(io::empty()), Lines::of);
        Process { child, stdout, stderr }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        // The shell's own `kill` is on every machine, the program of that name is not.
        let sent =
            Command::new("sh").args(["-c", &format!("kill -s {signal} {}", self.id())]).status();
        assert!(sent.unwrap().success(), "SIG{signal} could not be sent");
    }

    /// Waits for the program to end by itself.
    pub fn ended(mut self) -> Ended {
        // The pipes close with the process, and can be waited for with a limit.
        let stdout = self.stdout.all();
        let stderr = self.stderr.all();
        Ended { status: self.child.wait().unwrap(), stdout, stderr }
    }
}

/// A pipe that has lost its reader: whoever writes to it gets an error.
fn unread() -> Stdio {
    let (_, writer) = io::pipe().unwrap();
    writer.into()
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Signal::Term => "TERM",
            Signal::Int => "INT",
            Signal::Kill => "KILL",
        })
    }
}

/// What a stream has carried so far.
#[derive(Clone)]
pub struct Lines(Arc<(Mutex<Carried>, Condvar)>);

#[derive(Default)]
struct Carried {
    lines: Vec<String>,
    ended: bool,
}

impl fmt::Debug for Lines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.0.lock().unwrap().lines.fmt(formatter)
    }
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Lines {
        let lines = Lines(Arc::default());
        let writer = lines.clone();
        std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                writer.change(|carried| carried.lines.push(text));
                line.clear();
            }
            writer.change(|carried| carried.ended = true);
        });
        lines
    }

    fn change(&self, change: impl FnOnce(&mut Carried)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    /// The first line that contains `text`, as soon as there is one; `None` when the stream ends
    /// without.
    pub fn line_with(&self, text: &str) -> Option<String> {
        let found =
            |carried: &Carried| carried.lines.iter().find(|line| line.contains(text)).cloned();
        let carried = self.until(|carried| carried.ended || found(carried).is_some(), text);
        found(&carried)
    }

    /// Waits for another line or the end, at most for `limit`.
    pub fn wait_for_news(&self, limit: Duration) {
        let carried = self.0.0.lock().unwrap();
        let (known, ended) = (carried.lines.len(), carried.ended);
        let nothing_new =
            |carried: &mut Carried| carried.lines.len() == known && carried.ended == ended;
        drop(self.0.1.wait_timeout_while(carried, limit, nothing_new).unwrap());
    }

    /// All lines, once the stream has ended.
    fn all(&self) -> Vec<String> {
        self.until(|carried| carried.ended, "its end").lines.clone()
    }

    fn until(
        &self,
        reached: impl Fn(&Carried) -> bool,
        what: &str,
    ) -> std::sync::MutexGuard<'_, Carried> {
        let carried = self.0.0.lock().unwrap();
        let (carried, timeout) =
            self.0.1.wait_timeout_while(carried, PATIENCE, |carried| !reached(carried)).unwrap();
        assert!(!timeout.timed_out(), "no {what:?} in time; so far: {:#?}", carried.lines);
        carried
    }
}
