//! Environment variables that set keys of the file.

use std::collections::BTreeMap;
use std::env;

use toml::{Table, Value};

use crate::config::key::{Key, NotASection};
use crate::config::load::is_section;
use crate::config::problem::Problems;

const PREFIX: &str = "polyhead__";
const SEPARATOR: &str = "__";
/// Sets `log.level` over all else: people set it to look into one run.
const RUST_LOG: &str = "RUST_LOG";

/// This process's environment, for [`Config::load`](super::Config::load).
///
/// What is not UTF-8 has its wrong bytes replaced; `std::env::vars` would panic.
pub fn variables() -> impl Iterator<Item = (String, String)> {
    env::vars_os().map(|(name, value)| {
        (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
    })
}

/// Writes each variable's text into the table; the type that its key wants is not known here.
///
/// Returns the variable of each key that was set.
pub fn overlay(
    environment: impl IntoIterator<Item = (String, String)>,
    table: &mut Table,
    problems: &mut Problems,
) -> BTreeMap<Key, String> {
    // Sorted, so that neither values nor reports depend on the environment's order.
    let environment: BTreeMap<String, String> = environment.into_iter().collect();
    let log_level = ["log", "level"].map(str::to_owned).to_vec();
    let rust_log = environment.get_key_value(RUST_LOG).filter(|(_, text)| !text.is_empty());
    let settings = environment
        .iter()
        .filter_map(|(variable, text)| Some((names(variable)?, variable, text)))
        .filter(|(names, ..)| rust_log.is_none() || *names != log_level)
        .chain(rust_log.map(|(variable, text)| (log_level.clone(), variable, text)));
    let mut sources = BTreeMap::new();
    for (names, variable, text) in settings {
        match set(&names, text, table, &sources) {
            Ok(key) => {
                sources.insert(key, variable.clone());
            }
            Err((key, message)) => problems.report(&key, Some(variable), message),
        }
    }
    sources
}

/// `POLYHEAD__SERVER__LISTEN` → `server`, `listen`; `None` for variables that are not ours.
fn names(variable: &str) -> Option<Vec<String>> {
    let variable = variable.to_lowercase();
    let names = variable.strip_prefix(PREFIX)?;
    Some(names.split(SEPARATOR).map(str::to_owned).collect())
}

/// Writes the text at the key that the names stand for, and returns that key; else the key and
/// what is wrong with it.
fn set(
    names: &[String],
    text: &str,
    table: &mut Table,
    sources: &BTreeMap<Key, String>,
) -> Result<Key, (Key, String)> {
    let mut key = Key::default();
    let mut here = Some(&*table);
    for name in names {
        let found = match here.map_or(Ok(None), |table| existing(name, table)) {
            Ok(found) => found.unwrap_or(name),
            Err(several) => {
                return Err((
                    key.child(name),
                    format!("ambiguous, could be {}", several.join(" or ")),
                ));
            }
        };
        here = here.and_then(|table| table.get(found)).and_then(Value::as_table);
        key = key.child(found);
    }
    if let Some(other) = sources.get(&key) {
        return Err((key, format!("already set by {other}, allowed: one of the two")));
    }
    if is_section(&key) {
        return Err((
            key,
            "a section, allowed: a variable for each key in it, with __KEY added to the name"
                .to_owned(),
        ));
    }
    match key.insert(Value::String(text.to_owned()), table) {
        Ok(()) => Ok(key),
        Err(NotASection(leaf)) => Err((key, format!("unknown key, as {leaf} has no keys in it"))),
    }
}

/// The table's key that a lower-case name means: the same but for case, else the same but for case
/// and with `_` for dashes and dots, which shells do not let a variable have. Several are an error.
fn existing<'t>(name: &str, table: &'t Table) -> Result<Option<&'t String>, Vec<&'t str>> {
    let rules: [fn(&str) -> String; 2] =
        [str::to_lowercase, |key| key.to_lowercase().replace(['-', '.'], "_")];
    for rule in rules {
        let found: Vec<&String> = table.keys().filter(|key| rule(key) == name).collect();
        match found[..] {
            [] => {}
            [one] => return Ok(Some(one)),
            _ => return Err(found.into_iter().map(String::as_str).collect()),
        }
    }
    Ok(None)
}
