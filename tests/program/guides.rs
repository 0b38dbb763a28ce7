//! The guides: their commands run as they are written and print what the guides show.
//!
//! A fence of a guide is
//!
//! - `sh`: run, by one bash for the whole guide, in a folder laid out as a clone is. The fence behind
//!   it, `json` or `text`, if nothing stands between them, is what it prints: see [`expected`].
//! - `sh needs PROGRAM`: run where that program is installed.
//! - `sh not run: WHY`: for people only.
//!
//! Whatever is not run is told, with the reason.

mod expected;
mod fences;
mod session;

use std::fs;
use std::process::Command;

use crate::guides::fences::Use;
use crate::guides::session::{Session, Start};
use crate::site::{in_repository, not_checked};

#[test]
fn the_readme_does_what_it_says() {
    follow("README.md", Start::Served);
}

#[test]
fn the_guide_for_authors_of_clients_does_what_it_says() {
    follow("docs/client.md", Start::Served);
}

#[test]
fn the_guide_for_trainers_does_what_it_says() {
    follow("docs/training.md", Start::Served);
}

#[test]
fn the_guide_for_operators_does_what_it_says() {
    follow("docs/operating.md", Start::Bare);
}

fn follow(guide: &str, start: Start) {
    if let Err(why) = curl_is_there() {
        not_checked(&format!("the commands of {guide}: {why}"));
        return;
    }
    let text = fs::read_to_string(in_repository(guide)).unwrap();
    let mut session = Session::new(start);
    let mut ran = 0;
    for block in fences::blocks(&text) {
        let told = format!("{guide}, line {}: {}", block.line, block.first_command());
        match &block.usage {
            Use::Run => {}
            Use::Needs(program) if is_installed(program) => {}
            Use::Needs(program) => {
                not_checked(&format!("{told} (needs {program})"));
                continue;
            }
            Use::NotRun(why) => {
                not_checked(&format!("{told} ({why})"));
                continue;
            }
        }
        session.add(block);
        ran += 1;
    }
    assert!(ran > 0, "{guide} has no commands");
    session.run(guide);
}

/// Guides say `curl --json`, which is of 7.82.
fn curl_is_there() -> Result<(), String> {
    let output = Command::new("curl").arg("--version").output();
    let output = output.map_err(|error| format!("curl: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().nth(1).unwrap_or_default();
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
    let version_pair = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    if version_pair < (7, 82) { Err(format!("curl is {version}, needed is 7.82")) } else { Ok(()) }
}

fn is_installed(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v \"$0\"", program]).output();
    found.is_ok_and(|output| output.status.success())
}
