//! What a shell and `man` are told of the program, taken from its argument parser.

use std::fs;
use std::process::Command;

use crate::process::Ended;
use crate::site::{Site, not_checked};

#[track_caller]
fn printed(ended: &Ended) -> String {
    assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:#?}");
    ended.stdout.join("\n")
}

#[test]
fn every_shell_gets_a_script_that_knows_the_commands() {
    let site = Site::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = printed(&site.run(&["completions", shell]));
        for word in ["serve", "classify", "on-bad-row"] {
            assert!(script.contains(word), "{shell} is not told of {word}");
        }
    }
    let unknown = site.run(&["completions", "command.com"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(unknown.stderr.concat().contains("possible values: bash"), "{unknown:#?}");
}

#[test]
fn bash_completes_commands_options_and_values() {
    let site = Site::new();
    let script = site.path().join("polyhead.bash");
    fs::write(&script, printed(&site.run(&["completions", "bash"]))).unwrap();
    for (typed, expected) in [
        (vec!["cl"], "classify"),
        (vec!["train", "--on-b"], "--on-bad-row"),
        (vec!["embed", "--format", "nd"], "ndjson"),
        (vec!["completions", "z"], "zsh"),
    ] {
        // As readline calls it: the words of the line, the last of them unfinished.
        let words: Vec<&str> = ["polyhead"].into_iter().chain(typed).collect();
        let last = words.len() - 1;
        let complete = format!(
            "source '{}'; COMP_WORDS=({}); COMP_CWORD={last}; _polyhead polyhead '{}' '{}'; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            script.display(),
            words.join(" "),
            words[last],
            words[last - 1],
        );
        let output = site.command("bash").args(["-c", &complete]).output().unwrap();
        let found = String::from_utf8(output.stdout).unwrap();
        assert_eq!(found.trim(), expected, "{words:?}");
    }
}

#[test]
fn the_manual_has_a_page_for_the_program_and_one_for_each_command() {
    let site = Site::new();
    let ended = site.run(&["man", "--to", "pages/man1"]);
    assert_eq!(printed(&ended), "");
    let mut pages: Vec<String> = fs::read_dir(site.path().join("pages/man1"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    let help = printed(&site.run(&["help"]));
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| !line.is_empty());
    let mut expected: Vec<String> = commands
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .map(|command| format!("polyhead-{command}.1"))
        .collect();
    expected.push("polyhead.1".to_owned());
    expected.sort();
    assert_eq!(pages, expected);

    let page = printed(&site.run(&["man", "train"]));
    assert_eq!(
        page.trim_end(),
        fs::read_to_string(site.path().join("pages/man1/polyhead-train.1")).unwrap().trim_end()
    );
    let heading = format!(".TH polyhead-train 1  \"polyhead {}\"", env!("CARGO_PKG_VERSION"));
    assert!(page.contains(&heading), "{page}");
    let unknown = site.run(&["man", "bake"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(unknown.stderr.concat().contains("commands: serve, pull"), "{unknown:#?}");
}

#[test]
fn man_reads_the_pages() {
    let site = Site::new();
    printed(&site.run(&["man", "--to", "man1"]));
    let rendered = Command::new("man")
        .args(["--local-file", "--warnings"])
        .arg(site.path().join("man1/polyhead-train.1"))
        .output();
    let Ok(rendered) = rendered else {
        not_checked("that man reads the pages: there is no `man`");
        return;
    };
    let told = String::from_utf8_lossy(&rendered.stderr);
    let text = String::from_utf8_lossy(&rendered.stdout);
    // A minimal system has a `man` that only says so.
    if !rendered.status.success() || !text.contains("SYNOPSIS") {
        not_checked(&format!("that man reads the pages: {}", told.trim()));
        return;
    }
    assert!(told.is_empty(), "{told}");
    assert!(text.contains("polyhead-train") && text.contains("on-bad-row"), "{text}");
}
