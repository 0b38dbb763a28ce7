//! From a file and the environment to a configuration, with everything that is wrong on the way.
//!
//! A value that does not fit is recorded, taken out and the rest is read again, until all of it fits:
//! serde by itself stops at the first error.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::config::environment::overlay;
use crate::config::key::Key;
use crate::config::plain_keys;
use crate::config::problem::Problems;
use crate::config::rules::{self, Violation};
use crate::config::{Config, ConfigError};

impl Config {
    /// Reads a file, or the defaults where there is none, and lets the environment override it.
    ///
    /// A variable `POLYHEAD__SECTION__KEY` sets a key; `config.toml` describes the details. A file
    /// with `models` gets none of the default models, and one with `models` or `tasks` none of the
    /// default tasks. A single model is the default one if the file names no other.
    ///
    /// # Errors
    /// A file that cannot be read, or is not TOML (with line and column). Otherwise every unknown
    /// key, wrong type, value out of range and dangling reference at once.
    pub fn load(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut table = path.map_or(Ok(Table::new()), read)?;
        let mut problems = Problems::default();
        remove_false_sections(&mut table, &mut problems);
        add_default_entries(&mut table);
        let sources = overlay(environment, &mut table, &mut problems);
        hash_plain_keys(&mut table, &sources, &mut problems);
        choose_default_model(&mut table);
        let config: Self = Reader { table, sources: &sources, problems: &mut problems }.read();
        report_violations(rules::violations(&config), &sources, &mut problems);
        problems.into_result().map(|()| config)
    }
}

/// Whether the key has keys in it and no value of its own.
pub fn is_section(key: &Key) -> bool {
    match key.names() {
        [parent, _] if parent == "models" || parent == "tasks" => true,
        [auth, keys, _] if auth == "auth" && keys == "keys" => true,
        _ => key.get(&defaults()).is_some_and(Value::is_table),
    }
}

pub fn read(path: &Path) -> Result<Table, ConfigError> {
    let path_buf = || path.to_owned();
    let text =
        fs::read_to_string(path).map_err(|error| ConfigError::Read { path: path_buf(), error })?;
    text.parse().map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        ConfigError::Syntax {
            path: path_buf(),
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
            message: error.message().replace('\n', ", "),
        }
    })
}

/// Replaces keys by their hashes, and reports those that cannot be used.
pub fn hash_plain_keys(
    table: &mut Table,
    sources: &BTreeMap<Key, String>,
    problems: &mut Problems,
) {
    for (key, message) in plain_keys::hash(table) {
        problems.report(&key, sources.get(&key).map(String::as_str), message);
    }
}

/// Reports broken rules, but not those that look at a value which could not be read.
pub fn report_violations(
    mut violations: Vec<Violation>,
    sources: &BTreeMap<Key, String>,
    problems: &mut Problems,
) {
    violations.retain(|Violation { key, depends_on, .. }| {
        !problems.concern(key) && !depends_on.iter().any(|key| problems.concern(key))
    });
    for Violation { key, message, .. } in violations {
        problems.report(&key, sources.get(&key).map(String::as_str), message);
    }
}

fn defaults() -> Table {
    Table::try_from(Config::default()).expect("every field of the configuration has a form in TOML")
}

/// Takes out values where a section belongs. Serde would read an array as a section's fields in
/// the order of their declaration.
pub fn remove_false_sections(table: &mut Table, problems: &mut Problems) {
    fn visit(table: &mut Table, parent: &Key, problems: &mut Problems) {
        table.retain(|name, value| {
            let key = parent.child(name);
            if let Value::Table(section) = value {
                visit(section, &key, problems);
                return true;
            }
            if is_section(&key) {
                let message = format!(
                    "found {}, allowed: a section, [{key}] with keys below it",
                    shown(&key, value)
                );
                problems.report(&key, None, message);
                return false;
            }
            true
        });
    }
    visit(table, &Key::default(), problems);
}

/// Adds the default models and tasks where the file has none of its own.
fn add_default_entries(table: &mut Table) {
    let wanted: &[&str] = match (table.contains_key("models"), table.contains_key("tasks")) {
        (false, false) => &["models", "tasks"],
        (false, true) => &["models"],
        (true, _) => &[],
    };
    let mut defaults = defaults();
    for &section in wanted {
        table.extend(defaults.remove_entry(section));
    }
    // An absent section would stand for the default tasks.
    table.entry("tasks").or_insert_with(|| Value::Table(Table::new()));
}

fn choose_default_model(table: &mut Table) {
    let models = table.get("models").and_then(Value::as_table).into_iter().flat_map(Table::keys);
    if let [only] = models.collect::<Vec<_>>()[..]
        && !table.contains_key("default_model")
    {
        let only = only.clone();
        table.insert("default_model".to_owned(), Value::String(only));
    }
}

pub struct Reader<'p> {
    pub table: Table,
    /// The variable that set a key.
    pub sources: &'p BTreeMap<Key, String>,
    pub problems: &'p mut Problems,
}

impl Reader<'_> {
    /// Reads what fits of the table and reports the rest.
    pub fn read<T: DeserializeOwned + Default>(mut self) -> T {
        let mut untyped: BTreeSet<&Key> = self.sources.keys().collect();
        let mut unfit = BTreeMap::new();
        loop {
            let error = match serde_path_to_error::deserialize(self.table.clone()) {
                Ok(config) => return config,
                Err(error) => error,
            };
            let key = Key::from(error.path());
            let message = error.inner().message();
            let Some(value) = key.get_mut(&mut self.table) else {
                // Nothing to take out, so that nothing more can be found.
                self.problems.report(&key, None, message.to_owned());
                return T::default();
            };
            // A variable's text that is not itself the value may be the value's notation in TOML.
            if untyped.remove(&key)
                && let Some(notation) = value.as_str().and_then(|text| text.parse().ok())
            {
                *value = notation;
                continue;
            }
            let found = unfit.entry(key.clone()).or_insert_with(|| shown(&key, value));
            let (misfit, allowed) = message.rsplit_once(", expected ").unwrap_or(("", message));
            let unknown = misfit.starts_with("unknown field");
            let what = if unknown {
                format!("unknown key {:?}", key.last())
            } else {
                format!("found {found}")
            };
            // A choice lists its variants only to a text.
            if value.is_str() || unknown {
                key.remove(&mut self.table);
            } else {
                *value = Value::String(found.clone());
            }
            self.report(&key, &format!("{what}, allowed: {}", plain(allowed)));
        }
    }

    /// Blames the variable that set the key, or those that set something in it, or the file.
    fn report(&mut self, key: &Key, message: &str) {
        let mut blamed = self
            .sources
            .iter()
            .filter(|(source, _)| key.is_within(source) || source.is_within(key))
            .peekable();
        if blamed.peek().is_none() {
            self.problems.report(key, None, message.to_owned());
        }
        for (source, variable) in blamed {
            let key = if source.is_within(key) { source } else { key };
            self.problems.report(key, Some(variable), message.to_owned());
        }
    }
}

/// A value as the file would have it, on one line and shortened; of what may be a key, nothing.
fn shown(key: &Key, value: &Value) -> String {
    const LONGEST: usize = 80;
    if plain_keys::may_be_one(key) {
        return "a value that is not shown here".to_owned();
    }
    let text = value.to_string().replace('\n', "\\n");
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// What serde expects, for people who do not program in Rust.
fn plain(expected: &str) -> String {
    match expected {
        "usize" => "a whole number of at least 0".to_owned(),
        "a nonzero usize" => "a whole number of at least 1".to_owned(),
        "f32" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" | "path string" => "text in quotes".to_owned(),
        "a sequence" => "an array of texts".to_owned(),
        list => list.trim_start_matches("one of ").replace('`', ""),
    }
}
