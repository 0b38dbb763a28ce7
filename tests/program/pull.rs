//! `polyhead pull` as a command; what it fetches is tested against a hub of its own in `tests/hub`.

use crate::site::{Site, contents};

/// Nothing listens on a port of this number: it is reserved (RFC 1340, tcpmux) and long out of use.
const NOBODY: &str = "http://127.0.0.1:1";

#[test]
fn a_hub_that_does_not_answer_is_named_and_leaves_no_model() {
    let site = Site::new();
    let before = contents(site.path());
    for endpoint in [&["--endpoint", NOBODY][..], &[]] {
        let mut command =
            site.polyhead(&["pull", "sentence-transformers/bert-base-nli-mean-tokens"]);
        command.args(endpoint).env("HF_ENDPOINT", NOBODY);
        let ended = crate::process::Process::spawn(&mut command).ended();
        assert_eq!(ended.status.code(), Some(1), "{ended:#?}");
        let last = ended.stderr.last().unwrap();
        assert!(last.starts_with("polyhead: ") && last.contains(NOBODY), "{ended:#?}");
        assert!(last.contains("refused"), "{ended:#?}");
        assert_eq!(contents(site.path()), before);
    }
}

#[test]
fn a_repository_that_cannot_exist_is_a_usage_error() {
    let site = Site::new();
    for repository in ["../etc", "a/b/c", ""] {
        let ended = site.run(&["pull", repository, "--endpoint", NOBODY]);
        assert_eq!(ended.status.code(), Some(2), "{repository:?}: {ended:#?}");
    }
}

#[test]
fn a_token_is_never_shown() {
    let site = Site::new();
    let secret = "hf_sesame";
    let mut command = site.polyhead(&["pull", "a/b", "--endpoint", NOBODY]);
    let ended = crate::process::Process::spawn(command.env("HF_TOKEN", secret)).ended();
    assert_eq!(ended.status.code(), Some(1), "{ended:#?}");
    assert!(!format!("{ended:?}").contains(secret), "{ended:#?}");
}
