//! What the program does where nobody reads what it says.

use std::fs;

use serde_json::json;
use toml::toml;

use crate::process::{Process, Signal};
use crate::server::Server;
use crate::site::{Site, copy_folder, in_repository, tiny};

#[test]
fn a_server_whose_log_nobody_reads_answers_and_ends_as_ever() {
    for format in ["text", "json"] {
        let site = Site::new();
        let process =
            Process::with_unread_stderr(site.serve().env("POLYHEAD__LOG__FORMAT", format));
        let server = Server::of(process);
        server.wait_until_ready();
        assert_eq!(server.embed(&["fun"])[0].len(), 32);
        assert_eq!(server.post("/embed", &json!({"inputs": ""})).status, 422);
        server.stop();
    }
}

#[test]
fn a_server_whose_address_nobody_reads_tells_it_in_its_log_and_ends_as_ever() {
    let site = Site::new();
    let process = Process::with_unread_stdout(&mut site.serve());
    let ready = process.stderr.line_with(" ready ").unwrap_or_default();
    assert!(ready.contains("127.0.0.1:"), "{ready:?}, then {:#?}", process.stderr);
    process.signal(Signal::Term);
    let ended = process.ended();
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
}

#[test]
fn a_command_whose_result_nobody_reads_does_its_work_without_a_complaint() {
    let site = Site::with(toml! { [models.tiny] path = "model" });
    copy_folder(&tiny(), &site.path().join("model"));
    let ended = Process::with_unread_stdout(&mut site.polyhead(&["export", "model"])).ended();
    assert_eq!((ended.status.code(), ended.stderr.len()), (Some(0), 0), "{ended:#?}");
    assert!(fs::metadata(site.path().join("model/onnx/model.onnx")).unwrap().len() > 1000);

    let lines = in_repository("README.md");
    let lines = lines.to_str().unwrap();
    let measure = ["bench", "--config", "polyhead.toml", "--repeats", "1", "--precision", "fp32"];
    for more in [&["--sentences", lines][..], &["--sentences", lines, "--json"]] {
        let mut command = site.polyhead(&[&measure[..], more].concat());
        let ended = Process::with_unread_stdout(&mut command).ended();
        assert_eq!((ended.status.code(), ended.stderr.len()), (Some(0), 0), "{ended:#?}");
    }
}

#[test]
fn an_error_that_nobody_reads_is_still_one_by_its_status() {
    let site = Site::with(toml! { [models.tiny] path = "models/gone" });
    let ended = Process::with_unread_stderr(&mut site.serve()).ended();
    assert_eq!(ended.status.code(), Some(1), "{ended:#?}");
}
