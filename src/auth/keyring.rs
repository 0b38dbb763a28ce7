//! The keys that count now: those of the configuration, and those of a file that is followed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::auth::{KeyHash, Limits, Rates, Scope};
use crate::config::{AuthConfig, ConfigError, KeyConfig, keys_file};
use crate::file_watch::FileWatch;
use crate::metrics::{FileLabel, KeyLabel, Metrics};

/// Who may ask for what, at this moment.
pub struct Keyring {
    configured: BTreeMap<String, KeyConfig>,
    /// Of keys that name none.
    default_limits: Limits,
    file: Option<PathBuf>,
    keys: ArcSwap<Vec<Arc<Key>>>,
    metrics: Arc<Metrics>,
}

/// A key that a client may come with.
#[derive(Debug)]
pub struct Key {
    pub name: String,
    scopes: BTreeSet<Scope>,
    hash: KeyHash,
    /// Outlive a change of the file which leaves the limits as they are.
    pub rates: Arc<Rates>,
}

/// Why there are no keys to go by.
#[derive(Debug, Error)]
#[error("auth.file: {0}")]
pub struct KeyringError(#[from] ConfigError);

impl Keyring {
    /// # Errors
    /// The file cannot be read, or something is wrong in it.
    pub fn open(config: &AuthConfig, metrics: Arc<Metrics>) -> Result<Keyring, KeyringError> {
        let keyring = Keyring {
            configured: config.keys.clone(),
            default_limits: Limits {
                requests: config.requests_per_minute,
                tokens: config.tokens_per_minute,
            },
            file: config.file.clone(),
            keys: ArcSwap::default(),
            metrics,
        };
        keyring.read()?;
        Ok(keyring)
    }

    /// Whether there are keys to be asked for. A file asks for keys even while it has none.
    pub fn guards(&self) -> bool {
        self.file.is_some() || !self.configured.is_empty()
    }

    /// The key that a client came with. All are compared, so that the time tells nothing.
    pub fn find(&self, presented: &str) -> Option<Arc<Key>> {
        let presented = KeyHash::of(presented);
        let keys = self.keys.load();
        keys.iter().fold(None, |found, key| {
            if key.hash.matches(&presented) { Some(Arc::clone(key)) } else { found }
        })
    }

    /// Reads the file again whenever it changes, until `shutdown`. One that cannot be used leaves the
    /// former keys in place.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let Some(file) = self.file.clone() else { return shutdown.cancelled().await };
        // Its first look counts as a change, so that what came since the start is read as well.
        let mut watch = FileWatch::new(vec![file.clone()]);
        while shutdown.run_until_cancelled(watch.changed()).await.is_some() {
            let label = FileLabel { file: "keys" };
            let unused = self.metrics.unused_files.get_or_create(&label).clone();
            match self.read() {
                Ok(is_new) => {
                    unused.set(0);
                    if is_new {
                        tracing::info!(file = %file.display(), "the keys were read again");
                    }
                }
                Err(error) => {
                    unused.set(1);
                    tracing::error!(%error, "the keys cannot be read again; the former ones hold");
                }
            }
        }
    }

    /// Makes those keys current that are written down now; whether they are others than before.
    fn read(&self) -> Result<bool, KeyringError> {
        let keys = match &self.file {
            Some(file) => keys_file::read(file, &self.configured)?,
            None => self.configured.clone(),
        };
        let former = self.keys.load_full();
        let now = Instant::now();
        let key = |(name, config): (String, KeyConfig)| {
            let limits = Limits {
                requests: config.requests_per_minute.or(self.default_limits.requests),
                tokens: config.tokens_per_minute.or(self.default_limits.tokens),
            };
            let used = former.iter().find(|it| it.name == name && it.rates.limits() == limits);
            let rates = match used {
                Some(former) => Arc::clone(&former.rates),
                None => Arc::new(Rates::new(limits, now)),
            };
            // A key without a hash has been refused by the configuration's rules.
            Some(Arc::new(Key { name, scopes: config.scopes, hash: config.sha256?, rates }))
        };
        let keys: Vec<Arc<Key>> = keys.into_iter().filter_map(key).collect();
        let names: BTreeSet<&str> = keys.iter().map(|key| key.name.as_str()).collect();
        for gone in former.iter().filter(|key| !names.contains(key.name.as_str())) {
            let label = KeyLabel { key: gone.name.clone() };
            self.metrics.key_requests.remove(&label);
            self.metrics.key_tokens.remove(&label);
        }
        let is_new = former.len() != keys.len()
            || former.iter().zip(&keys).any(|(former, key)| !former.is_same(key));
        self.keys.store(Arc::new(keys));
        Ok(is_new)
    }
}

impl Key {
    /// Whether it is good for this.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }

    /// Whether nothing about it has changed.
    fn is_same(&self, other: &Key) -> bool {
        self.name == other.name
            && self.scopes == other.scopes
            && self.hash == other.hash
            && Arc::ptr_eq(&self.rates, &other.rates)
    }

    /// What it is good for, as users write it.
    pub fn scopes(&self) -> String {
        self.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(", ")
    }
}
