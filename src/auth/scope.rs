//! What a key is good for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What a key may be used for; a key has a set of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Embed, classify, and see what there is to do so with.
    Infer,
    /// Train, and change tasks, head versions and examples.
    Train,
    /// Everything.
    Admin,
}

/// A text that is none of the scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("allowed: infer, train, admin")]
pub struct UnknownScope;

impl Scope {
    pub const ALL: [Scope; 3] = [Scope::Infer, Scope::Train, Scope::Admin];

    /// As users write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Infer => "infer",
            Scope::Train => "train",
            Scope::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Scope, UnknownScope> {
        Scope::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(UnknownScope)
    }
}
