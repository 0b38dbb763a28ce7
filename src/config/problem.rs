//! What can be wrong with a configuration.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::config::key::Key;

/// Why there is no configuration to run with.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("cannot read the configuration {}: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
    /// The text there is not shown: it may be an API key, or a password.
    #[error("{} is not valid TOML: line {line}, column {column}: {message}", path.display())]
    Syntax { path: PathBuf, line: usize, column: usize, message: String },
    /// Everything that is wrong with keys and values, in the order of the keys; not empty.
    #[error("{}", listed(.0))]
    Invalid(Vec<Problem>),
}

/// One thing that is wrong with one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    key: Key,
    /// The environment variable that set the key.
    variable: Option<String>,
    /// What was found and what is allowed.
    message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, variable, message } = self;
        match variable {
            Some(variable) => write!(formatter, "{variable} (sets {key}): {message}"),
            None => write!(formatter, "{key}: {message}"),
        }
    }
}

/// Problems as they are found, at most one for a key from one source.
#[derive(Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Adds a problem; a later message for the same key and variable takes the earlier one's place.
    pub fn report(&mut self, key: &Key, variable: Option<&str>, message: String) {
        let known = self
            .0
            .iter_mut()
            .find(|known| known.key == *key && known.variable.as_deref() == variable);
        match known {
            Some(known) => known.message = message,
            None => self.0.push(Problem {
                key: key.clone(),
                variable: variable.map(str::to_owned),
                message,
            }),
        }
    }

    /// Whether a problem is already known with the key, with something in it or with what it is in,
    /// so that its value says nothing.
    pub fn concern(&self, key: &Key) -> bool {
        self.0.iter().any(|known| known.key.is_within(key) || key.is_within(&known.key))
    }

    /// All problems in the order of their keys, if there are any.
    pub fn into_result(mut self) -> Result<(), ConfigError> {
        self.0.sort_by(|one, other| one.key.cmp(&other.key));
        if self.0.is_empty() { Ok(()) } else { Err(ConfigError::Invalid(self.0)) }
    }
}

fn listed(problems: &[Problem]) -> String {
    let count = match problems.len() {
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    };
    let lines: String = problems.iter().map(|problem| format!("\n  {problem}")).collect();
    format!("{count} in the configuration:{lines}")
}
