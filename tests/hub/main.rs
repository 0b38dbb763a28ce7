//! Pulling models, against a small hub on this machine.

mod machine;
mod refusals;
mod server;

use std::fs;

use machine::{Machine, REPO, files_in, model};
use polyhead::hub::{Hub, HubError, Progress, PullRequest, Pulled};
use server::{COMMIT, Content};

#[test]
fn a_pulled_folder_holds_the_layouts_files_and_its_record_and_nothing_else() {
    let machine = Machine::with(model());
    let pulled = machine.pull().unwrap();
    assert_eq!(
        pulled,
        Pulled {
            folder: machine.models().join("tiny"),
            commit: COMMIT.to_owned(),
            weights: "model.safetensors".to_owned(),
            already_there: false,
        }
    );
    let expected = [
        "1_Pooling/config.json",
        "config.json",
        "hub.json",
        "model.safetensors",
        "modules.json",
        "tokenizer.json",
    ];
    assert_eq!(files_in(&pulled.folder), expected);
    for (name, bytes) in model().files {
        if expected.contains(&name) {
            assert!(fs::read(pulled.folder.join(name)).unwrap() == bytes, "{name}");
        }
    }
    assert_eq!(fs::read_dir(machine.models()).unwrap().count(), 1);
}

#[test]
fn a_pull_asks_for_the_listing_and_for_each_file_once_and_for_nothing_else() {
    let machine = Machine::with(model());
    machine.pull().unwrap();
    let seen = machine.server.seen();
    let at_commit = |file| ("hub", format!("/{REPO}/resolve/{COMMIT}/{file}"));
    let asked: Vec<_> = seen.iter().map(|s| (s.host, s.target.clone())).collect();
    assert_eq!(
        asked,
        [
            ("hub", format!("/api/models/{REPO}/revision/main?blobs=true")),
            at_commit("config.json"),
            at_commit("tokenizer.json"),
            at_commit("modules.json"),
            at_commit("1_Pooling/config.json"),
            at_commit("model.safetensors"),
            ("storage", "/blob/model.safetensors".to_owned()),
        ]
    );
    for request in seen {
        assert_eq!(request.token, None);
        let agent = request.agent.unwrap();
        assert!(agent.contains("polyhead/"), "{agent}");
    }
}

#[test]
fn a_transfer_that_broke_off_is_continued_where_it_stopped() {
    const CUT: usize = 1_000_000;
    let machine = Machine::with(model());
    machine.server.cut_next_large_file_after(CUT);
    let error = machine.pull().unwrap_err();
    assert!(error.to_string().contains("run the same command again"), "{error}");
    let HubError::Interrupted { file, received, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!((file.as_str(), received), ("model.safetensors", CUT as u64));
    assert!(!machine.models().join("tiny").exists());
    machine.server.seen();

    let pulled = machine.pull().unwrap();
    let seen = machine.server.seen();
    let ranges: Vec<_> = seen.iter().filter_map(|s| s.range.as_deref()).collect();
    assert_eq!(ranges, ["bytes=1000000-"; 2], "to the hub, and on to the storage");
    // The small files were there: the listing, the weights' address, and the weights.
    assert_eq!(seen.len(), 3, "{seen:?}");
    let weights = fs::read(pulled.folder.join("model.safetensors")).unwrap();
    assert!(weights == model().files["model.safetensors"]);
}

#[test]
fn progress_counts_every_byte_once_even_when_continued() {
    #[derive(Default)]
    struct Count(Vec<(String, usize, usize, bool)>);
    impl Progress for Count {
        fn init(&mut self, size: usize, filename: &str) {
            self.0.push((filename.to_owned(), size, 0, false));
        }
        fn update(&mut self, size: usize) {
            self.0.last_mut().unwrap().2 += size;
        }
        fn finish(&mut self) {
            self.0.last_mut().unwrap().3 = true;
        }
    }
    let machine = Machine::with(model());
    machine.server.cut_next_large_file_after(1_000_000);
    let mut first = Count::default();
    machine.hub.pull(&machine.request(), &mut first).unwrap_err();
    let weights = "model.safetensors".to_owned();
    assert_eq!(first.0.pop(), Some((weights, 3_000_000, 1_000_000, false)));
    let mut second = Count::default();
    machine.hub.pull(&machine.request(), &mut second).unwrap();
    assert_eq!(second.0.len(), 5);
    for (file, size, counted, finished) in second.0 {
        assert_eq!(counted, size, "{file}");
        assert!(finished, "{file}");
    }
}

#[test]
fn a_server_that_cannot_continue_is_asked_for_the_whole_file() {
    let machine = Machine::with(model());
    machine.server.cut_next_large_file_after(1_000_000);
    machine.pull().unwrap_err();
    machine.server.change(|content| content.ignores_ranges = true);
    let pulled = machine.pull().unwrap();
    let weights = fs::read(pulled.folder.join("model.safetensors")).unwrap();
    assert!(weights == model().files["model.safetensors"]);
}

#[test]
fn a_mirror_that_lists_only_names_works_and_resumes() {
    let machine = Machine::with(Content { bare_listing: true, ..model() });
    machine.server.cut_next_large_file_after(1_000_000);
    machine.pull().unwrap_err();
    // Complete small files cannot be told from partial ones here: the server says so with 416.
    let pulled = machine.pull().unwrap();
    for name in ["config.json", "model.safetensors"] {
        let bytes = fs::read(pulled.folder.join(name)).unwrap();
        assert!(bytes == model().files[name], "{name}");
    }
    assert!(machine.pull().unwrap().already_there);
}

#[test]
fn a_token_reaches_the_hub_and_no_other_host() {
    let mut machine = Machine::with(Content { token: Some("hf_secret"), ..model() });
    let error = machine.pull().unwrap_err();
    assert!(matches!(error, HubError::TokenRequired { .. }), "{error:?}");
    assert!(error.to_string().contains("HF_TOKEN"), "{error}");

    machine.hub.token = Some("hf_wrong".parse().unwrap());
    let error = machine.pull().unwrap_err();
    assert!(matches!(error, HubError::Refused { status: 401, .. }), "{error:?}");
    assert!(error.to_string().contains("Invalid credentials"), "{error}");
    assert!(!error.to_string().contains("hf_wrong"), "{error}");

    machine.hub.token = Some("hf_secret".parse().unwrap());
    machine.server.seen();
    machine.pull().unwrap();
    let seen = machine.server.seen();
    assert!(seen.iter().any(|request| request.host == "storage"));
    for request in seen {
        let expected = (request.host == "hub").then(|| "Bearer hf_secret".to_owned());
        assert_eq!(request.token, expected, "{}", request.target);
    }
}

#[test]
fn a_private_repository_that_was_renamed_is_found_under_its_former_name() {
    let mut machine = Machine::with(Content {
        former: Some("someone/tiny"),
        token: Some("hf_secret"),
        ..model()
    });
    machine.hub.token = Some("hf_secret".parse().unwrap());
    let request = PullRequest { repo: "someone/tiny".parse().unwrap(), ..machine.request() };
    let pulled = machine.hub.pull(&request, &mut ()).unwrap();
    assert!(pulled.folder.join("model.safetensors").exists());
}

#[test]
fn the_environment_names_the_endpoint_the_home_and_the_token() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("token"), "hf_from_file\n").unwrap();
    let home_path = home.path().display().to_string();
    let hub = |token: Option<&str>, endpoint: &str| {
        Hub::from_vars(|name| match name {
            "HF_HOME" => Some(home_path.clone()),
            "HF_TOKEN" => token.map(str::to_owned),
            "HF_ENDPOINT" => Some(endpoint.to_owned()),
            _ => None,
        })
    };
    let plain = hub(None, "").unwrap();
    assert_eq!(plain.endpoint.to_string(), "https://huggingface.co");
    assert_eq!(plain.cache, home.path().join("hub"));
    assert_eq!(plain.token, Some("hf_from_file".parse().unwrap()));
    let set = hub(Some("hf_from_variable"), "http://mirror.example/").unwrap();
    assert_eq!(set.endpoint.to_string(), "http://mirror.example");
    assert_eq!(set.token, Some("hf_from_variable".parse().unwrap()));
    let error = hub(None, "mirror.example").unwrap_err();
    assert!(matches!(error, HubError::InvalidEndpoint(_)), "{error:?}");
}

#[test]
fn the_revision_reaches_the_hub_as_it_was_named() {
    let machine = Machine::with(model());
    let request = PullRequest { revision: "refs/pr/1".parse().unwrap(), ..machine.request() };
    machine.hub.pull(&request, &mut ()).unwrap();
    let (_, first) = machine.asked().swap_remove(0);
    assert_eq!(first, format!("/api/models/{REPO}/revision/refs/pr/1?blobs=true"));
}

#[test]
fn a_repository_with_an_onnx_export_only_is_pulled() {
    let mut content = model();
    let graph = content.files.remove("model.safetensors").unwrap();
    content.files.insert("onnx/model.onnx", graph.clone());
    let machine = Machine::with(content);
    let pulled = machine.pull().unwrap();
    assert_eq!(pulled.weights, "onnx/model.onnx");
    assert!(fs::read(pulled.folder.join("onnx/model.onnx")).unwrap() == graph);
}

#[test]
fn a_second_pull_transfers_nothing_and_with_a_commit_needs_no_network() {
    let machine = Machine::with(model());
    machine.pull().unwrap();
    machine.asked();
    let again = machine.pull().unwrap();
    assert!(again.already_there);
    assert_eq!(machine.asked().len(), 1, "the listing only");

    let pinned = PullRequest { revision: COMMIT.parse().unwrap(), ..machine.request() };
    assert_eq!(machine.hub.pull(&pinned, &mut ()).unwrap(), again);
    assert_eq!(machine.asked(), []);
}

#[test]
fn files_in_the_shared_cache_are_copied_and_not_fetched() {
    let machine = Machine::with(model());
    let repo = machine.hub.cache.join("models--sentence-transformers--tiny");
    let snapshot = repo.join("snapshots").join(COMMIT);
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(repo.join("blobs")).unwrap();
    let blob = repo.join("blobs/weights");
    fs::write(&blob, &model().files["model.safetensors"]).unwrap();
    std::os::unix::fs::symlink("../../blobs/weights", snapshot.join("model.safetensors")).unwrap();
    // The right length and not the right content: what the cache has is checked, too.
    fs::write(snapshot.join("config.json"), "{\"model_type\":\"bort\"}").unwrap();

    let pulled = machine.pull().unwrap();
    assert!(machine.asked().iter().all(|(host, _)| *host == "hub"), "no weights fetched");
    assert!(files_in(&pulled.folder).contains(&"model.safetensors".to_owned()));
    let weights = fs::read(pulled.folder.join("model.safetensors")).unwrap();
    assert!(weights == model().files["model.safetensors"]);
}
