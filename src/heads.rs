//! Tasks, their head versions, and which of these answer now.

pub mod follow;
pub mod head;
pub mod live;
pub mod task;
pub mod zero_shot;

use sha2::{Digest, Sha256};

pub use crate::heads::task::{Kind, NewLabels, Task};

use crate::encoder::ModelInfo;
use crate::heads::head::{Decision, Head, HeadError};
use crate::store::{StoredVersion, VersionInfo};

/// Immutable weights of one task plus what made them.
#[derive(Clone, Debug)]
pub struct HeadVersion {
    pub task: String,
    /// Counts from 1 for trained heads; 0 is the seeded random head that no training has touched.
    pub version: i64,
    pub head: Head,
    /// Identifies the encoder whose embeddings the weights were fit on.
    pub encoder: String,
    /// The version that the fit started from; `None` when it started afresh.
    pub parent: Option<i64>,
    /// The job that made the version; `None` for version 0.
    pub job: Option<String>,
    pub created_at: jiff::Timestamp,
}

/// Seeds the weights of a head that starts afresh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InitialSeed(pub u64);

/// The weights of a stored version cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("version {version} of task {task:?} cannot be read: {source}")]
pub struct VersionError {
    task: String,
    version: i64,
    source: HeadError,
}

impl HeadVersion {
    /// The head that answers, if at all, before any training: version 0, random but always the same.
    pub fn untrained(task: &Task, encoder: &ModelInfo, seed: InitialSeed) -> HeadVersion {
        // Mixed with the name: heads of one width must not start from the same numbers.
        let digest = Sha256::new().chain_update(seed.0.to_le_bytes()).chain_update(&task.name);
        let digest: [u8; 32] = digest.finalize().into();
        let (seed, _) = digest.split_first_chunk().expect("32 bytes hold 8");
        let decision = Decision::undecided(task.kind, task.labels.len());
        let head = Head::seeded(task.labels.clone(), encoder.dimensions, u64::from_le_bytes(*seed))
            .and_then(|head| head.with_decision(decision))
            .expect("a task's labels are distinct and an embedding has a width");
        HeadVersion {
            task: task.name.clone(),
            version: 0,
            head,
            encoder: encoder.fingerprint.clone(),
            parent: None,
            job: None,
            created_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    /// A version as the store keeps it.
    pub fn restored(stored: StoredVersion) -> Result<HeadVersion, VersionError> {
        let StoredVersion { info, weights, .. } = stored;
        match Head::from_bytes(&weights) {
            Ok(head) => Ok(HeadVersion::published(info, head)),
            Err(source) => Err(VersionError { task: info.task, version: info.version, source }),
        }
    }

    /// A version that the store has just made durable, with the weights that it was given.
    pub fn published(info: VersionInfo, head: Head) -> HeadVersion {
        HeadVersion {
            task: info.task,
            version: info.version,
            head,
            encoder: info.encoder,
            parent: info.parent,
            job: info.job,
            created_at: info.created_at,
        }
    }

    /// Whether a training has made it.
    pub fn is_trained(&self) -> bool {
        self.version > 0
    }
}
