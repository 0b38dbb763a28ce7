//! What is not pulled, what is said then, and that nothing is lost or left behind.

use std::fs;

use polyhead::hub::{HubError, PullRequest};

use crate::machine::{Machine, REPO, files_in, model};
use crate::server::{COMMIT, Content, sha256};

#[test]
fn an_unknown_repository_and_an_unknown_revision_are_told_apart() {
    let machine = Machine::with(model());
    let request =
        PullRequest { repo: "sentence-transformers/other".parse().unwrap(), ..machine.request() };
    let error = machine.hub.pull(&request, &mut ()).unwrap_err();
    assert!(matches!(error, HubError::RepoNotFound { .. }), "{error:?}");
    assert!(error.to_string().contains("private or gated"), "{error}");

    let request = PullRequest { revision: "v9".parse().unwrap(), ..machine.request() };
    let error = machine.hub.pull(&request, &mut ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{REPO} has no revision v9: use a branch, a tag or a commit of it")
    );
    assert!(!machine.models().exists());
}

#[test]
fn hostile_names_in_the_listing_write_nothing() {
    let machine = Machine::with(Content {
        listed_only: vec!["../evil", "/evil", "x/../../config.json", "..\\evil", ""],
        ..model()
    });
    machine.pull().unwrap();
    assert!(machine.asked().iter().all(|(_, target)| !target.contains("..")));
    let outside: Vec<_> = files_in(machine.root.path())
        .into_iter()
        .filter(|path| !path.starts_with("models/tiny/"))
        .collect();
    assert_eq!(outside, [""; 0]);
}

#[test]
fn a_repository_with_pickled_weights_only_is_refused_before_any_transfer() {
    let mut content = model();
    content.files.remove("model.safetensors");
    let machine = Machine::with(content);
    let error = machine.pull().unwrap_err();
    assert!(error.to_string().contains("only pytorch_model.bin"), "{error}");
    assert_eq!(machine.asked().len(), 1);
    assert!(!machine.models().exists());
}

#[test]
fn a_folder_that_holds_something_else_is_left_as_it_is() {
    let machine = Machine::with(model());
    let folder = machine.models().join("tiny");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("notes.txt"), "mine").unwrap();
    let error = machine.pull().unwrap_err();
    assert!(matches!(error, HubError::Occupied { .. }), "{error:?}");
    assert_eq!(files_in(&machine.models()), ["tiny/notes.txt"]);
    assert_eq!(machine.asked(), []);

    fs::remove_file(folder.join("notes.txt")).unwrap();
    machine.pull().expect("an empty folder is free");
}

#[test]
fn a_pulled_model_that_was_damaged_is_named_and_kept() {
    let machine = Machine::with(model());
    let weights = machine.pull().unwrap().folder.join("model.safetensors");
    fs::write(&weights, "short").unwrap();
    let error = machine.pull().unwrap_err();
    assert!(matches!(error, HubError::Occupied { .. }), "{error:?}");
    assert!(error.to_string().contains("damaged"), "{error}");
    assert_eq!(fs::read(&weights).unwrap(), b"short");
}

#[test]
fn a_model_is_not_replaced_by_another_commit() {
    let machine = Machine::with(model());
    let pulled = machine.pull().unwrap();
    let later = COMMIT.replace('0', "f");
    machine.server.change(|content| content.commit = later.clone());
    let error = machine.pull().unwrap_err().to_string();
    assert!(error.contains(COMMIT) && error.contains(&later), "{error}");
    assert!(fs::read(pulled.folder.join("model.safetensors")).unwrap().len() == 3_000_000);
}

#[test]
fn a_file_with_another_checksum_is_discarded_and_no_model_appears() {
    let machine =
        Machine::with(Content { false_checksum: Some(sha256(b"something else")), ..model() });
    let error = machine.pull().unwrap_err();
    assert!(matches!(error, HubError::WrongChecksum { .. }), "{error:?}");
    assert!(!machine.models().join("tiny").exists());
    machine.server.change(|content| content.false_checksum = None);
    machine.server.seen();
    machine.pull().unwrap();
    assert!(machine.server.seen().iter().all(|s| s.range.is_none()), "from the start");
}

#[test]
fn an_endpoint_that_is_not_there_is_named_with_the_way_around_it() {
    let mut machine = Machine::with(model());
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    machine.hub.endpoint = address.parse().unwrap();
    let error = machine.pull().unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&address) && text.contains("by hand"), "{text}");
}

#[test]
fn https_is_really_spoken() {
    let mut machine = Machine::with(model());
    // A server that speaks plain HTTP: TLS gets as far as reading its answer to our greeting.
    let endpoint = machine.server.endpoint.replace("http://", "https://");
    machine.hub.endpoint = endpoint.parse().unwrap();
    let HubError::Unreachable { source, .. } = machine.pull().unwrap_err() else {
        panic!("another error");
    };
    assert!(source.to_string().contains("InvalidContentType"), "{source}");
}

#[test]
fn an_answer_that_is_no_listing_is_named_as_such() {
    let no_listings =
        ["<html>Please log in</html>", "{}", r#"{"sha": "../../../../etc", "siblings": []}"#];
    for answer in no_listings {
        let machine = Machine::with(Content { listing: Some(answer), ..model() });
        let error = machine.pull().unwrap_err();
        assert!(matches!(error, HubError::NotAHub { .. }), "{error:?}");
        assert!(!machine.models().exists());
    }
}

#[test]
fn a_disk_that_refuses_is_named_with_its_path() {
    let machine = Machine::with(model());
    fs::write(machine.models(), "a file where the folder should be").unwrap();
    let error = machine.pull().unwrap_err();
    let HubError::Disk { path, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(path.starts_with(machine.models()), "{error}");
}
