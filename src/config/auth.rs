//! API keys as the configuration has them: names, hashes, scopes and rates, never the keys themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::auth::{KeyHash, Scope};
use crate::config::text;

/// Who may ask for what. With neither keys nor a file, everybody may ask for everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// A file with further keys, which is read again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// What everybody may ask for, besides health checks.
    pub open: BTreeSet<Open>,
    /// Of each key that does not say it; `None` bounds nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<NonZeroUsize>,
    /// The same of the tokens of its texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<NonZeroUsize>,
    /// By name.
    pub keys: BTreeMap<String, KeyConfig>,
}

/// What may be left open to everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Open {
    /// `/metrics`.
    Metrics,
    /// `/docs` and `/openapi.json`.
    Docs,
    /// The page at `/`.
    Page,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// Not empty once loaded.
    #[serde(default)]
    pub scopes: BTreeSet<Scope>,
    /// Never `None` once loaded. In the file, `key` may stand in its place with the key itself, which is
    /// hashed before all else; the alias makes errors tell of it.
    #[serde(
        default,
        alias = "key",
        deserialize_with = "text::key_hash",
        skip_serializing_if = "Option::is_none"
    )]
    pub sha256: Option<KeyHash>,
    /// `None` follows [`AuthConfig::requests_per_minute`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<NonZeroUsize>,
    /// `None` follows [`AuthConfig::tokens_per_minute`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<NonZeroUsize>,
}
