//! What keeps the server from starting: one clear line, status 1, nothing that only a programmer of
//! it could read.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use toml::{Table, Value, toml};

use crate::process::{Ended, Process};
use crate::server::{Server, training};
use crate::site::{Site, contents, copy_folder, in_repository, path_value, table, tiny};

#[test]
fn a_missing_library_says_what_to_run() {
    let site = Site::with(toml! { [runtime] library = "lib/gone.so" });
    let line = refusal(&site);
    assert_says(&line, &["lib/gone.so", "is missing", "`make models`", "runtime.library"]);
}

#[test]
fn a_file_that_is_no_library_is_named() {
    let site = Site::with(toml! { [runtime] library = "library.so" });
    fs::write(site.path().join("library.so"), "not a library").unwrap();
    assert_says(&refusal(&site), &["library.so", "cannot be loaded"]);
}

#[test]
fn a_library_of_something_else_is_named() {
    let library = loaded_library("libc.so");
    let site = Site::with(table(&["runtime", "library"], path_value(&library)));
    assert_says(&refusal(&site), &[library.to_str().unwrap(), "cannot be loaded"]);
}

#[test]
fn a_missing_model_folder_says_what_to_run() {
    let site = Site::with(toml! { [models.tiny] path = "models/gone" });
    let line = refusal(&site);
    assert_says(&line, &["tiny", "models/gone", "is missing", "`make models`", "`polyhead pull`"]);
}

#[test]
fn without_a_configuration_the_default_models_are_looked_for_here() {
    let site = Site::new();
    let library = in_repository("lib/libonnxruntime.so");
    let mut command = site.polyhead(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("POLYHEAD__RUNTIME__LIBRARY", library);
    let line = refused(Process::spawn(&mut command).ended());
    assert_says(&line, &["models/", "is missing", "`make models`"]);
}

#[test]
fn a_model_without_weights_lists_what_was_looked_for() {
    let site = with_model(|model| fs::remove_file(model.join("model.safetensors")).unwrap());
    let line = refusal(&site);
    assert_says(&line, &["tiny", "model.safetensors", "model.onnx", "onnx/model.onnx"]);
}

#[test]
fn a_damaged_model_names_the_file() {
    for file in ["model.safetensors", "config.json", "tokenizer.json", "1_Pooling/config.json"] {
        let site = with_model(|model| {
            let whole = fs::read(model.join(file)).unwrap();
            fs::write(model.join(file), &whole[..whole.len() / 2]).unwrap();
        });
        assert_says(&refusal(&site), &[Path::new(file).file_name().unwrap().to_str().unwrap()]);
    }
}

#[test]
fn a_model_that_does_not_say_how_to_pool_asks_for_the_setting() {
    let site = with_model(|model| fs::remove_dir_all(model.join("1_Pooling")).unwrap());
    assert_says(&refusal(&site), &["tiny", "1_Pooling/config.json", "pooling", "mean", "cls"]);
}

#[test]
fn every_mistake_of_a_configuration_is_reported_with_its_key_and_what_is_allowed() {
    let site = Site::with(toml! {
        [server]
        request_timeout = "soon"
        lissten = "127.0.0.1:0"
        [log]
        format = "xml"
        [limits]
        inputs_per_request = 0
        [models.tiny]
        precision = "fp64"
        [tasks.topic]
        labels = ["Finance"]
        [tasks.mood]
        model = "mini"
        labels = ["up", "down"]
    });
    let mut command = site.serve();
    command.env("POLYHEAD__TRAINING__QUEUED_JOBS", "many");
    let message = refused(Process::spawn(&mut command).ended());
    for (key, allowed) in [
        ("server.request_timeout", "30s"),
        ("server.lissten", "listen"),
        ("log.format", "json"),
        ("limits.inputs_per_request", "at least 1"),
        ("models.tiny.precision", "fp32"),
        ("tasks.topic.labels", "at least 2"),
        ("tasks.mood.model", "\"tiny\""),
        ("POLYHEAD__TRAINING__QUEUED_JOBS (sets training.queued_jobs)", "at least 1"),
    ] {
        let line = message.lines().find(|line| line.contains(key));
        let line = line.unwrap_or_else(|| panic!("{key} is not reported: {message}"));
        assert_says(line, &[allowed]);
    }
    assert!(message.contains("8 problems"), "{message}");
}

#[test]
fn one_mistake_is_one_line_with_the_key() {
    let site = Site::with(toml! { [store] path = "data" });
    assert_says(&refusal(&site), &["1 problem", "store.path", "unknown key", "allowed: url"]);
}

#[test]
fn a_missing_or_malformed_configuration_file_is_named() {
    let site = Site::new();
    let gone = refused(site.run(&["serve", "--config", "gone.toml"]));
    assert_says(&gone, &["gone.toml", "No such file"]);
    assert_eq!(gone.lines().count(), 1, "{gone}");

    site.write_config("[server]\nlisten = 127.0.0.1\n");
    let malformed = refused(site.run(&["serve", "--config", "polyhead.toml"]));
    assert_says(&malformed, &["polyhead.toml", "TOML", "line 2"]);
}

#[test]
fn an_address_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let site = Site::with(table(&["server", "listen"], Value::String(address.clone())));
    assert_says(&refusal(&site), &["cannot listen", &address, "in use"]);
}

#[test]
fn a_store_that_is_no_database_is_named_and_left_alone() {
    let site = Site::new();
    fs::create_dir(site.data()).unwrap();
    let text = b"label,text\n".repeat(1000);
    fs::write(site.data().join("polyhead.db"), &text).unwrap();
    assert_says(&refusal(&site), &["polyhead.db", "is not an SQLite database"]);
    assert_eq!(fs::read(site.data().join("polyhead.db")).unwrap(), text);
}

#[test]
fn a_store_that_cannot_be_written_is_named() {
    // A file where the folder should be; and a file system in which not even root makes folders.
    for (folder, cause) in [("polyhead.toml", "exists"), ("/sys/polyhead", "not permitted")] {
        let site = Site::with(table(
            &["store", "url"],
            Value::String(format!("sqlite://{folder}/polyhead.db")),
        ));
        let line = refusal(&site);
        assert_says(&line, &["cannot create the folder", folder]);
        let known = [cause, "denied", "Read-only", "Not a directory"];
        assert!(known.iter().any(|known| line.contains(known)), "{line}");
    }
}

#[test]
fn a_store_in_use_by_another_server_is_named_and_that_server_goes_on() {
    let site = Site::new();
    let server = site.start();
    assert_says(&refusal(&site), &["polyhead.db", "in use by another polyhead"]);
    let id = server.train(&training(0, 1));
    assert_eq!(server.finished(&id)["state"], "succeeded");
    server.stop();
}

#[test]
fn cuda_without_cuda_says_which_library_has_it() {
    let site = Site::with(toml! { [models.tiny] provider = "cuda" });
    let line = refusal(&site);
    assert_says(&line, &["tiny", "cuda", "onnxruntime-gpu", "runtime.library", "cpu", "auto"]);
}

#[test]
fn a_precision_that_the_weights_do_not_have_lists_those_that_they_have() {
    let stock = in_repository("tests/fixtures/tiny-bert/onnx-token-states");
    for (folder, precision, file) in
        [(tiny(), "bf16", "model.safetensors"), (stock, "int8", "model.onnx")]
    {
        let mut model = Table::new();
        model.insert("path".into(), path_value(&folder));
        model.insert("precision".into(), precision.into());
        let site = Site::with(table(&["models", "tiny"], Value::Table(model)));
        assert_says(&refusal(&site), &["tiny", precision, file, "allowed", "auto", "fp32"]);
    }
}

#[test]
fn a_task_on_an_unknown_model_lists_the_models() {
    let site = Site::with(toml! { [tasks.topic] model = "minilm" });
    assert_says(&refusal(&site), &["tasks.topic.model", "\"minilm\"", "allowed", "\"tiny\""]);
}

#[test]
fn a_stored_task_whose_model_is_gone_is_left_out_and_keeps_its_data() {
    let other = table(&["models", "other", "path"], path_value(&tiny()));
    let default_model = toml! { default_model = "tiny" };
    let site = Site::with(other.into_iter().chain(default_model).collect::<Table>());
    let server = site.start();
    let body = serde_json::json!({"labels": ["up", "down"], "model": "other"});
    assert_eq!(server.put("/heads/mood", &body).status, 201);
    server.stop();

    site.configure(Table::new());
    let server = site.start();
    assert_eq!(server.get("/heads/mood").status, 404);
    server.stop();

    site.configure(table(&["models", "other", "path"], path_value(&tiny())));
    let server = Server::start(site.serve().env("POLYHEAD__DEFAULT_MODEL", "tiny"));
    assert_eq!(server.get("/heads/mood").body["labels"], serde_json::json!(["up", "down"]));
    server.stop();
}

#[test]
fn a_head_of_another_encoder_does_not_answer_and_is_kept() {
    let site = Site::new();
    train(&site);
    let other = in_repository("tests/fixtures/tiny-bert/cls");
    site.configure(table(&["models", "tiny", "path"], path_value(&other)));
    let server = site.start();
    let answer = server.post("/classify", &serde_json::json!({"inputs": "a"}));
    assert_eq!((answer.status, &answer.body["code"]), (409, &"encoder_mismatch".into()));
    server.stop();

    site.configure(Table::new());
    let server = site.start();
    assert_eq!(server.get("/heads/sentiment").body["version"], 1);
    server.stop();
}

#[test]
fn other_labels_for_a_trained_task_are_refused_with_those_that_it_has() {
    let site = Site::new();
    train(&site);
    site.configure(toml! { [tasks.sentiment] labels = ["bad", "good"] });
    assert_says(&refusal(&site), &["\"sentiment\"", "Negative", "Positive"]);
}

#[test]
fn a_refused_start_leaves_no_file_outside_the_store() {
    let site = Site::with(toml! { [models.tiny] path = "models/gone" });
    refusal(&site);
    for (path, _) in contents(site.path()) {
        let expected = path.starts_with(site.data()) || path.ends_with("polyhead.toml");
        assert!(expected, "{}", path.display());
    }
}

/// Publishes a first version of both heads.
fn train(site: &Site) {
    let server = site.start();
    assert_eq!(server.finished(&server.train(&training(0, 1)))["state"], "succeeded");
    server.stop();
}

/// What the server says when it refuses to start: one line, without its prefix.
fn refusal(site: &Site) -> String {
    let message = refused(Process::spawn(&mut site.serve()).ended());
    let lines: Vec<&str> = message.lines().collect();
    // A configuration's problems stand below their number.
    assert!(lines.len() == 1 || lines.len() == 2 && lines[0].contains("1 problem"), "{message}");
    message
}

/// The message with which a program ended; nothing may follow it, and logs may come before it.
fn refused(ended: Ended) -> String {
    assert_eq!(ended.status.code(), Some(1), "{ended:#?}");
    let everything = ended.stderr.join("\n");
    for noise in ["panicked", "backtrace", "thread '", "{ ", "Error(", "src/"] {
        assert!(!everything.contains(noise), "{noise:?}: {everything}");
    }
    let start = ended.stderr.iter().position(|line| line.starts_with("polyhead: "));
    let start = start.unwrap_or_else(|| panic!("no message: {everything}"));
    let message = ended.stderr[start..].join("\n");
    assert_said_once(&message);
    message.strip_prefix("polyhead: ").unwrap().to_owned()
}

/// A cause that is told twice makes a line hard to read.
fn assert_said_once(message: &str) {
    let parts: Vec<&str> = message.split(": ").collect();
    for (index, part) in parts.iter().enumerate() {
        let repeated = part.len() > 12 && parts[index + 1..].contains(part);
        assert!(!repeated, "{part:?} is said twice: {message}");
    }
}

fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not said: {message}");
    }
}

/// A site on a changed copy of the tiny model.
fn with_model(change: impl FnOnce(&Path)) -> Site {
    let site = Site::with(toml! { [models.tiny] path = "model" });
    let model = site.path().join("model");
    copy_folder(&tiny(), &model);
    change(&model);
    site
}

/// The file of a library that this very process has loaded.
fn loaded_library(name: &str) -> std::path::PathBuf {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.contains(&format!("/{name}")));
    let path = line.unwrap_or_else(|| panic!("{name} is not loaded: {maps}"));
    Path::new(&path[path.find('/').unwrap()..]).to_owned()
}
