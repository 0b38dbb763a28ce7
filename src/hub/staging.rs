//! The folder that becomes the model: filled beside its place, then renamed into it.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::listing::RemoteFile;
use super::names::RepoId;
use super::{HubError, PullRequest, Pulled};

/// Where a pulled folder says what it is.
const RECORD: &str = "hub.json";

/// What a pulled folder holds; the content of its `hub.json`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    repo: String,
    commit: String,
    /// The weights last.
    files: Vec<RecordedFile>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RecordedFile {
    name: String,
    size: Option<u64>,
}

impl Record {
    pub fn new(repo: &RepoId, commit: &str, files: &[&RemoteFile]) -> Self {
        Self {
            repo: repo.to_string(),
            commit: commit.to_owned(),
            files: files
                .iter()
                .map(|file| RecordedFile { name: file.name.clone(), size: file.size })
                .collect(),
        }
    }

    /// The record of the folder that is to be pulled into; `None` where nothing lies yet.
    ///
    /// # Errors
    /// [`HubError::Occupied`] if something lies there that was not pulled.
    pub fn of(request: &PullRequest) -> Result<Option<Self>, HubError> {
        let folder = &request.folder;
        let occupied = |holds: &str| HubError::Occupied {
            folder: folder.clone(),
            holds: holds.to_owned(),
            wanted: request.repo.to_string(),
        };
        match fs::read(folder.join(RECORD)) {
            Ok(json) => serde_json::from_slice(&json)
                .map(Some)
                .map_err(|_| occupied("a hub.json that is not readable")),
            Err(_) if !folder.exists() => Ok(None),
            Err(_) if !folder.is_dir() => Err(occupied("a file")),
            Err(_) => match fs::read_dir(folder).map_err(HubError::disk(folder))?.next() {
                None => Ok(None),
                Some(_) => Err(occupied("files that were not pulled")),
            },
        }
    }

    pub fn is(&self, repo: &RepoId, commit: &str) -> bool {
        self.repo == repo.to_string() && self.commit == commit
    }

    pub fn is_whole_in(&self, folder: &Path) -> bool {
        self.files.iter().all(|file| {
            fs::metadata(folder.join(&file.name))
                .is_ok_and(|found| found.is_file() && file.size.is_none_or(|n| n == found.len()))
        })
    }

    /// The error for a folder that holds something else.
    pub fn kept_out_of(&self, request: &PullRequest, holds: &str) -> HubError {
        HubError::Occupied {
            folder: request.folder.clone(),
            holds: holds.to_owned(),
            wanted: self.to_string(),
        }
    }

    pub fn pulled(&self, request: &PullRequest, already_there: bool) -> Pulled {
        Pulled {
            folder: request.folder.clone(),
            commit: self.commit.clone(),
            weights: self.files.last().map(|file| file.name.clone()).unwrap_or_default(),
            already_there,
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at commit {}", self.repo, self.commit)
    }
}

/// The partial folder, locked for this process. Dropping it keeps what was transferred.
#[derive(Debug)]
pub(super) struct Staging {
    folder: PathBuf,
    /// Its lock is held as long as it is open.
    _record: File,
}

impl Staging {
    /// Opens `.NAME.partial` beside `target`. What an earlier pull left there is kept if it is of
    /// the same record, and removed otherwise.
    pub fn open(target: &Path, record: &Record) -> Result<Self, HubError> {
        let name = target.file_name().ok_or_else(|| HubError::InvalidFolder(target.to_owned()))?;
        let folder = target.with_file_name(format!(".{}.partial", name.to_string_lossy()));
        fs::create_dir_all(&folder).map_err(HubError::disk(&folder))?;
        let path = folder.join(RECORD);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(HubError::disk(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(HubError::Busy(target.to_owned())),
            Err(TryLockError::Error(error)) => return Err(HubError::disk(&path)(error)),
        }
        let mut json = Vec::new();
        file.read_to_end(&mut json).map_err(HubError::disk(&path))?;
        if serde_json::from_slice::<Record>(&json).ok().as_ref() != Some(record) {
            remove_all_but(RECORD, &folder).map_err(HubError::disk(&folder))?;
            let json = serde_json::to_vec_pretty(record).expect("strings and numbers only");
            file.set_len(0)
                .and_then(|()| file.rewind())
                .and_then(|()| file.write_all(&json))
                .and_then(|()| file.sync_all())
                .map_err(HubError::disk(&path))?;
        }
        Ok(Self { folder, _record: file })
    }

    /// The path for a file of the layout, its folder made.
    pub fn place_for(&self, name: &str) -> Result<PathBuf, HubError> {
        let path = self.folder.join(name);
        let parent = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(parent).map_err(HubError::disk(parent))?;
        Ok(path)
    }

    /// Renames the whole folder into its place.
    pub fn publish(self, target: &Path) -> Result<(), HubError> {
        fs::rename(&self.folder, target).map_err(HubError::disk(target))
    }
}

fn remove_all_but(kept: &str, folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name() == kept {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(commit: &str) -> Record {
        let repo = "a/b".parse().unwrap();
        Record::new(&repo, commit, &[&RemoteFile::named("model.safetensors")])
    }

    #[test]
    fn partial_files_of_the_same_commit_are_kept_and_of_another_removed() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("b");
        let partial = {
            let staging = Staging::open(&target, &record("1111111")).unwrap();
            let partial = staging.place_for("onnx/model.onnx").unwrap();
            fs::write(&partial, "half").unwrap();
            partial
        };
        Staging::open(&target, &record("1111111")).unwrap();
        assert_eq!(fs::read(&partial).unwrap(), b"half");
        Staging::open(&target, &record("2222222")).unwrap();
        assert!(!partial.exists());
    }

    #[test]
    fn two_pulls_into_one_folder_do_not_mix() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("b");
        let _first = Staging::open(&target, &record("1111111")).unwrap();
        let second = Staging::open(&target, &record("1111111"));
        assert!(matches!(second, Err(HubError::Busy(_))), "{second:?}");
    }

    #[test]
    fn a_folder_without_a_name_is_refused() {
        for target in ["/", "..", ""] {
            let staging = Staging::open(Path::new(target), &record("1111111"));
            assert!(matches!(staging, Err(HubError::InvalidFolder(_))), "{target}");
        }
    }
}
