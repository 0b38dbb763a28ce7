//! Where a value stands in the file.

use std::fmt;

use serde_path_to_error::{Path, Segment};
use toml::{Table, Value};

/// The names that lead to a value and, inside an array, its position: `tasks.topic.labels[1]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    names: Vec<String>,
    element: Option<usize>,
}

/// The key's first part that has a value and so no keys in it.
#[derive(Debug)]
pub struct NotASection(pub Key);

impl Key {
    pub fn child(&self, name: &str) -> Self {
        let mut names = self.names.clone();
        names.push(name.to_owned());
        Self { names, element: None }
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The innermost name; empty for the whole file.
    pub fn last(&self) -> &str {
        self.names.last().map_or("", String::as_str)
    }

    /// Whether this is the other key or something in it.
    pub fn is_within(&self, other: &Self) -> bool {
        match other.element {
            Some(_) => self == other,
            None => self.names.starts_with(&other.names),
        }
    }

    pub fn get<'v>(&self, table: &'v Table) -> Option<&'v Value> {
        let (first, rest) = self.names.split_first()?;
        let value = rest.iter().try_fold(table.get(first)?, |value, name| value.get(name))?;
        self.element.map_or(Some(value), |index| value.get(index))
    }

    pub fn get_mut<'v>(&self, table: &'v mut Table) -> Option<&'v mut Value> {
        let (first, rest) = self.names.split_first()?;
        let value =
            rest.iter().try_fold(table.get_mut(first)?, |value, name| value.get_mut(name))?;
        match self.element {
            Some(index) => value.get_mut(index),
            None => Some(value),
        }
    }

    /// Puts the value here, in new tables where there are none yet.
    pub fn insert(&self, value: Value, table: &mut Table) -> Result<(), NotASection> {
        let Some((last, sections)) = self.names.split_last() else {
            return Ok(());
        };
        let mut here = table;
        let mut key = Self::default();
        for name in sections {
            key = key.child(name);
            let section = here.entry(name).or_insert_with(|| Value::Table(Table::new()));
            here = section.as_table_mut().ok_or_else(|| NotASection(key.clone()))?;
        }
        here.insert(last.clone(), value);
        Ok(())
    }

    /// Removes the value, or the whole array that it is an element of.
    pub fn remove(&self, table: &mut Table) {
        let Some((last, sections)) = self.names.split_last() else {
            return;
        };
        let section =
            sections.iter().try_fold(table, |table, name| table.get_mut(name)?.as_table_mut());
        if let Some(section) = section {
            section.remove(last);
        }
    }
}

impl<const N: usize> From<[&str; N]> for Key {
    fn from(names: [&str; N]) -> Self {
        Self { names: names.map(str::to_owned).into(), element: None }
    }
}

impl From<&Path> for Key {
    fn from(path: &Path) -> Self {
        let mut key = Self::default();
        for segment in path {
            match segment {
                Segment::Map { key: name } => key = key.child(name),
                Segment::Seq { index } => {
                    return Self { element: Some(*index), ..key };
                }
                // Inside a leaf: an enum's variant.
                Segment::Enum { .. } | Segment::Unknown => return key,
            }
        }
        key
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, name) in self.names.iter().enumerate() {
            let dot = if depth == 0 { "" } else { "." };
            if is_bare(name) {
                write!(formatter, "{dot}{name}")?;
            } else {
                write!(formatter, "{dot}{name:?}")?;
            }
        }
        self.element.map_or(Ok(()), |index| write!(formatter, "[{index}]"))
    }
}

/// Whether TOML takes the name without quotes.
fn is_bare(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}
