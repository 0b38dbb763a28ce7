//! The file that `auth.file` names: tables `[auth.keys.NAME]` and nothing else.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::config::load::{self, Reader};
use crate::config::problem::Problems;
use crate::config::rules::auth;
use crate::config::{ConfigError, KeyConfig};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct KeysFile {
    auth: Auth,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Auth {
    keys: BTreeMap<String, KeyConfig>,
}

/// The keys of the file together with those of the configuration, by name.
///
/// # Errors
/// As [`Config::load`](crate::config::Config::load); also for a name or a key that both have.
pub fn read(
    path: &Path,
    configured: &BTreeMap<String, KeyConfig>,
) -> Result<BTreeMap<String, KeyConfig>, ConfigError> {
    let no_variables = BTreeMap::new();
    let mut problems = Problems::default();
    let mut table = load::read(path)?;
    load::remove_false_sections(&mut table, &mut problems);
    load::hash_plain_keys(&mut table, &no_variables, &mut problems);
    let file: KeysFile = Reader { table, sources: &no_variables, problems: &mut problems }.read();
    let mut violations = auth::keys(&file.auth.keys);
    violations.extend(auth::taken(&file.auth.keys, configured));
    load::report_violations(violations, &no_variables, &mut problems);
    problems.into_result()?;
    let mut keys = file.auth.keys;
    keys.extend(configured.iter().map(|(name, key)| (name.clone(), key.clone())));
    Ok(keys)
}
