//! What a server keeps in memory.

use std::fs;

use serde_json::json;

use crate::server::Server;
use crate::site::{Site, in_repository, path_value};

/// What operators are promised for all-MiniLM-L6-v2 alone: 91 MB of weights, whatever the workers.
const MOST: usize = 400 << 20;

#[test]
fn weights_are_held_once_and_not_once_for_each_worker() {
    let [one, four] = [1, 4].map(|workers| {
        let resident = resident_with(workers);
        assert!(resident < MOST, "{workers} workers: {resident} bytes");
        resident
    });
    // Three further sessions with weights of their own would take 270 MB.
    assert!(four < one + (60 << 20), "{one} bytes with one worker, {four} with four");
}

/// Bytes in memory once a server on all-MiniLM-L6-v2 has answered a large request.
fn resident_with(workers: i64) -> usize {
    let site = Site::new();
    let quoted = |path: &str| path_value(&in_repository(path)).to_string();
    site.write_config(&format!(
        "[server]\nlisten = '127.0.0.1:0'\n\
         [runtime]\nworkers = {workers}\nlibrary = {}\n\
         [models.minilm]\npath = {}\n",
        quoted("lib/libonnxruntime.so"),
        quoted("models/all-MiniLM-L6-v2"),
    ));
    let server = Server::start(&mut site.serve());
    let text = "a film about a long journey ".repeat(5);
    let answer = server.post("/embed", &json!({"inputs": vec![text; 64]}));
    assert_eq!(answer.status, 200, "{answer:?}");
    let resident = memory(&server, "VmRSS:");
    server.stop();
    resident
}

#[test]
fn an_upload_is_held_row_by_row() {
    let site = Site::new();
    let server = site.start();
    let (good, bad) = ("good,Finance\nbad,Technology\n", format!(" ,{}\n", "a".repeat(999)));
    let rows = format!("text,topic\n{good}{}", bad.repeat(60_000));
    fs::write(site.path().join("rows.csv"), &rows).unwrap();
    let before = memory(&server, "VmRSS:");
    let arguments = ["--on-bad-row", "skip", "--server", &server.url, "rows.csv"];
    let ended = site.run(&[&["train"], &arguments[..]].concat());
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    assert!(ended.stderr.concat().contains("60000 rows were skipped"), "{ended:#?}");
    let grown = memory(&server, "VmHWM:").saturating_sub(before);
    // The threads that a first training starts and the buffers of a connection take a few megabytes.
    assert!(grown < rows.len() / 2, "{grown} bytes more for {} of upload", rows.len());
    server.stop();
}

/// Bytes that the kernel accounts to a server: `VmRSS:` in memory now, `VmHWM:` at most so far.
fn memory(server: &Server, kind: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", server.process.id())).unwrap();
    let found = status.lines().find_map(|line| line.strip_prefix(kind)).unwrap();
    let kilobytes: usize = found.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    kilobytes << 10
}
