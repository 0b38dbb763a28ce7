//! A user's machine and the model that its hub offers.

use std::fs;
use std::path::{Path, PathBuf};

use polyhead::hub::{Hub, HubError, PullRequest, Pulled};
use tempfile::TempDir;

use crate::server::{COMMIT, Content, Server};

pub const REPO: &str = "sentence-transformers/tiny";

/// The files of the layout, the weights large enough to need many reads.
pub fn model() -> Content {
    let weights: Vec<u8> = (0..3_000_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    Content {
        repo: REPO,
        commit: COMMIT.to_owned(),
        revisions: vec!["main", "refs/pr/1"],
        files: [
            ("config.json", b"{\"model_type\":\"bert\"}".to_vec()),
            ("tokenizer.json", b"{\"version\":\"1.0\"}".to_vec()),
            ("1_Pooling/config.json", b"{}".to_vec()),
            ("modules.json", b"[]".to_vec()),
            ("model.safetensors", weights),
            ("pytorch_model.bin", b"pickle".to_vec()),
            ("README.md", b"# tiny".to_vec()),
        ]
        .into(),
        large: vec!["model.safetensors", "pytorch_model.bin"],
        ..Content::default()
    }
}

/// A user's machine: an own HF_HOME, and a folder for models.
pub struct Machine {
    pub server: Server,
    pub hub: Hub,
    pub root: TempDir,
}

impl Machine {
    pub fn with(content: Content) -> Self {
        let server = Server::start(content);
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("hf_home");
        let hub = Hub::from_vars(|name| match name {
            "HF_ENDPOINT" => Some(server.endpoint.clone()),
            "HF_HOME" => Some(home.display().to_string()),
            _ => None,
        });
        Self { server, hub: hub.unwrap(), root }
    }

    pub fn models(&self) -> PathBuf {
        self.root.path().join("models")
    }

    pub fn request(&self) -> PullRequest {
        PullRequest {
            folder: self.models().join("tiny"),
            ..PullRequest::new(REPO.parse().unwrap())
        }
    }

    pub fn pull(&self) -> Result<Pulled, HubError> {
        self.hub.pull(&self.request(), &mut ())
    }

    /// The addresses that were asked for since the last call, with the hosts that were asked.
    pub fn asked(&self) -> Vec<(&'static str, String)> {
        let seen = self.server.seen();
        seen.into_iter().map(|s| (s.host, s.target)).collect()
    }
}

/// All files below a folder, as paths with `/`, sorted.
pub fn files_in(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            assert!(!kind.is_symlink(), "{entry:?} is a link");
            if kind.is_dir() {
                folders.push(entry.path());
            } else {
                let path = entry.path();
                found.push(path.strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}
