//! Errors told with their causes.

use std::error::Error;
use std::fmt;

/// An error and its causes in one line, each told once: many messages quote their cause already.
pub struct Causes<'a>(pub &'a dyn Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = self.0.to_string();
        let mut next = self.0.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            if !told.contains(&text) {
                told = format!("{told}: {text}");
            }
            next = cause.source();
        }
        formatter.write_str(&told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read heads.db: {source}")]
    struct Quoting {
        source: Terse,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("the disk refused")]
    struct Terse {
        source: std::fmt::Error,
    }

    #[test]
    fn every_cause_is_told_once() {
        let error = Quoting { source: Terse { source: std::fmt::Error } };
        let innermost = std::fmt::Error.to_string();
        assert_eq!(
            Causes(&error).to_string(),
            format!("cannot read heads.db: the disk refused: {innermost}")
        );
    }
}
