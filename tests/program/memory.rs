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
    let status = fs::read_to_string(format!("/proc/{}/status", server.process.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kilobytes: usize = resident.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    server.stop();
    kilobytes << 10
}
