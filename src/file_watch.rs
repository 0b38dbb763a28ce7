//! Files that are read again when they change, without a restart.

use std::path::PathBuf;
use std::time::Duration;

use crate::sha256::Sha256Sum;

/// Between two looks. Orchestrators replace files by renaming a link to their folder, which events of the
/// file system tell in as many ways as there are file systems; looking tells it on all.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What the files held when they were last looked at, as hashes: keys and secrets are not kept.
#[derive(Clone, PartialEq)]
struct Look(Vec<Option<Sha256Sum>>);

/// Small files, looked at twice a second.
pub struct FileWatch {
    paths: Vec<PathBuf>,
    /// The look that [`FileWatch::changed`] last told of.
    told: Option<Look>,
}

impl FileWatch {
    /// Watches files of which nothing is known, so that the first look is a change.
    pub fn new(paths: Vec<PathBuf>) -> FileWatch {
        FileWatch { paths, told: None }
    }

    /// Waits until the files hold something else than when it last returned. They must have held it at
    /// two looks: a file that is just being written is not taken half done.
    pub async fn changed(&mut self) {
        let mut before = None;
        loop {
            let now = Some(self.look().await);
            if now == before && now != self.told {
                self.told = now;
                return;
            }
            before = now;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// A file that cannot be read is told from all others.
    async fn look(&self) -> Look {
        let mut hashes = Vec::with_capacity(self.paths.len());
        for path in &self.paths {
            let content = tokio::fs::read(path).await;
            hashes.push(content.ok().map(Sha256Sum::of));
        }
        Look(hashes)
    }
}
