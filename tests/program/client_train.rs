//! `polyhead train`: a file up, a job watched, its end told.

use std::fs::{self, File};

use serde_json::{Value, json};
use toml::toml;

use crate::process::{Ended, Process, Signal};
use crate::server::Server;
use crate::site::Site;

/// A job that goes on until it is cancelled.
const FOR_EVER: [&str; 6] =
    ["--solver", "adam", "--learning-rate", "1e-9", "--option", "epochs=1000000"];

const ROWS: &str = "\
text,label,source
market price stock,Finance,x
film actor story,Entertainment,y
computer idea work,Technology,z
stock market crash,Finance,x
a great film,Entertainment,y
computer work,Technology,z
";

fn site() -> Site {
    let site = Site::new();
    fs::write(site.path().join("rows.csv"), ROWS).unwrap();
    site
}

fn train(site: &Site, server: &Server, arguments: &[&str]) -> Ended {
    watch(site, server, arguments).ended()
}

fn watch(site: &Site, server: &Server, arguments: &[&str]) -> Process {
    let mut command = site.polyhead(&["train", "--server", &server.url]);
    Process::spawn(command.args(arguments))
}

#[test]
fn a_file_is_trained_on_and_the_result_told() {
    let site = site();
    let server = site.start();
    let ended = train(&site, &server, &["--task", "topic", "rows.csv"]);
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    let [header, topic] = &ended.stdout[..] else { panic!("{ended:#?}") };
    assert_eq!(header.split_whitespace().next(), Some("task"));
    let row: Vec<&str> = topic.split_whitespace().collect();
    // Too few rows to hold any out.
    let ["topic", accuracy, macro_f1, "6", "training", "1", "live"] = row[..] else {
        panic!("{topic}")
    };
    for score in [accuracy, macro_f1] {
        assert!((0.0..=1.0).contains(&score.parse::<f64>().unwrap()), "{topic}");
    }
    assert!(ended.stderr[0].ends_with(": 6 examples"), "{ended:#?}");

    let lines = "{\"text\": \"good\", \"labels\": {\"sentiment\": \"Positive\"}}\n\
        {\"text\": \"dull\", \"labels\": {\"sentiment\": \"Negative\"}}\nno JSON\n";
    fs::write(site.path().join("rows.ndjson"), lines).unwrap();
    let refused = train(&site, &server, &["rows.ndjson"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:#?}");
    assert!(refused.stderr.concat().contains("line 3"), "{refused:#?}");

    let mut piped = site.polyhead(&["train", "-", "--on-bad-row", "skip", "--seed", "3"]);
    let input = File::open(site.path().join("rows.ndjson")).unwrap();
    let ended = piped.env("POLYHEAD_SERVER", &server.url).stdin(input).output().unwrap();
    let (told, table) =
        (String::from_utf8_lossy(&ended.stderr), String::from_utf8_lossy(&ended.stdout));
    assert_eq!(ended.status.code(), Some(0), "{told}");
    assert!(told.contains("1 rows were skipped") && told.contains("line 3: "), "{told}");
    assert!(table.lines().nth(1).unwrap().starts_with("sentiment"), "{table}");
    server.stop();
}

#[test]
fn a_label_that_is_an_order_to_the_terminal_is_told_escaped() {
    let site = site();
    let server = site.start();
    let rows = format!("{ROWS}so it goes,\u{1b}[2JFinance,x\n");
    fs::write(site.path().join("rows.csv"), rows).unwrap();
    let arguments = ["--task", "topic", "rows.csv"];
    for more in [&[][..], &["--on-bad-row", "skip"]] {
        let ended = train(&site, &server, &[&arguments[..], more].concat());
        let told = ended.stderr.join("\n");
        assert!(told.contains(r"\u{1b}[2JFinance"), "{told:?}");
        let shown = ended.stdout.iter().chain(&ended.stderr);
        assert!(!shown.flat_map(|line| line.chars()).any(char::is_control), "{ended:#?}");
    }
    server.stop();
}

#[test]
fn sets_of_labels_are_trained_on_and_judged_by_their_f1() {
    let site = Site::with(toml! {
        [tasks.tags]
        labels = ["billing", "outage", "urgent"]
        multi_label = true
    });
    let server = site.start();
    let rows = "text,tags\nmarket price,billing | urgent\na dull computer,outage\na film,|\n\
        stock,billing\nold story,\n";
    fs::write(site.path().join("rows.csv"), rows).unwrap();
    let ended = train(&site, &server, &["--task", "tags", "--on-bad-row", "skip", "rows.csv"]);
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    let [header, tags] = &ended.stdout[..] else { panic!("{ended:#?}") };
    let columns: Vec<&str> = header.split_whitespace().collect();
    let expected = ["task", "accuracy", "micro-F1", "macro-F1", "rows", "version", "state"];
    assert_eq!(columns, expected);
    let row: Vec<&str> = tags.split_whitespace().collect();
    let ["tags", accuracy, micro_f1, macro_f1, "4", "training", "1", "live"] = row[..] else {
        panic!("{tags}")
    };
    for score in [accuracy, micro_f1, macro_f1] {
        assert!((0.0..=1.0).contains(&score.parse::<f64>().unwrap()), "{tags}");
    }
    let kept = server.get("/examples?task=tags").body;
    let kept: Vec<&Value> =
        kept["examples"].as_array().unwrap().iter().map(|it| &it["labels"]["tags"]).collect();
    let sets = [json!(["billing", "urgent"]), json!(["outage"]), json!([]), json!(["billing"])];
    assert_eq!(kept, sets.iter().collect::<Vec<_>>());
    server.stop();
}

#[test]
fn a_job_that_is_cancelled_or_fails_ends_the_watch_with_status_1() {
    let site = site();
    let server = site.start();
    let watch = watch(&site, &server, &[&["--task", "topic", "rows.csv"], &FOR_EVER[..]].concat());
    let id = id(&watch);
    assert_eq!(server.delete(&format!("/train/{id}")).status, 202);
    let ended = watch.ended();
    assert_eq!(ended.status.code(), Some(1), "{ended:#?}");
    assert!(ended.stderr.last().unwrap().contains("is cancelled: cancelled by request"));
    assert!(ended.stdout[1].ends_with("cancelled"), "{ended:#?}");

    let diverging = ["--task", "topic", "--solver", "adam", "--learning-rate", "1e30", "rows.csv"];
    let ended = train(&site, &server, &diverging);
    assert_eq!(ended.status.code(), Some(1), "{ended:#?}");
    assert!(ended.stderr.last().unwrap().contains("the job is failed: "), "{ended:#?}");
    let unknown = train(&site, &server, &["--task", "mood", "rows.csv"]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:#?}");
    assert!(unknown.stderr.concat().contains("there is no task \"mood\""), "{unknown:#?}");
    server.stop();
}

#[test]
fn ctrl_c_leaves_the_job_to_itself() {
    let site = site();
    let server = site.start();
    let watch = watch(&site, &server, &[&["--task", "topic", "rows.csv"], &FOR_EVER[..]].concat());
    let id = id(&watch);
    // The job runs and is watched.
    watch.stderr.line_with("fitting").unwrap();
    watch.signal(Signal::Int);
    let ended = watch.ended();
    assert_eq!(ended.status.code(), Some(130), "{ended:#?}");
    let told = ended.stderr.join("\n");
    let place = format!("{}/train/{id}", server.url);
    for mention in ["goes on", &format!("{place}/events"), &format!("DELETE {place}")] {
        assert!(told.contains(mention), "{told}");
    }
    assert_eq!(server.job(&id)["state"], "running");
    server.stop();
}

#[test]
fn a_job_may_be_left_to_itself_from_the_start() {
    let site = site();
    let server = site.start();
    let ended = train(&site, &server, &["--no-follow", "--task", "topic", "rows.csv"]);
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    let [id] = &ended.stdout[..] else { panic!("{ended:#?}") };
    assert_eq!(server.finished(id)["published"], json!({"topic": 1}));
    server.stop();
}

#[test]
fn a_watch_tells_when_the_server_goes_away_in_mid_job() {
    let site = site();
    let server = site.start();
    let watch = watch(&site, &server, &[&["--task", "topic", "rows.csv"], &FOR_EVER[..]].concat());
    watch.stderr.line_with("fitting").unwrap();
    // An ordered end cancels the job, and says so to those who watch.
    server.stop();
    let ended = watch.ended();
    assert_eq!(ended.status.code(), Some(1), "{ended:#?}");
    assert!(ended.stderr.last().unwrap().contains("shut down"), "{ended:#?}");
}

/// The job that a client watches.
fn id(watch: &Process) -> String {
    let line = watch.stderr.line_with("job ").unwrap();
    line.strip_prefix("job ").unwrap().split_once(':').unwrap().0.to_owned()
}
