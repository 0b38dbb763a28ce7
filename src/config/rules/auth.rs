//! What keys must be, by themselves and beside each other.

use std::collections::BTreeMap;

use crate::config::KeyConfig;
use crate::config::key::Key;
use crate::config::rules::Violation;
use crate::name;

/// Every broken rule of these keys.
pub fn keys(keys: &BTreeMap<String, KeyConfig>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (name, config) in keys {
        let key = Key::from(["auth", "keys", name]);
        if !name::is_valid(name) {
            let message = format!("found the name {name:?}, allowed: {}", name::ALLOWED);
            violations.push(Violation::at(key.clone(), message));
        }
        if config.scopes.is_empty() {
            let message = "found none, allowed: one or more of infer, train, admin".to_owned();
            violations.push(Violation::at(key.child("scopes"), message));
        }
        if config.sha256.is_none() {
            let message =
                "found no key, allowed: sha256, its hash, or key, the key itself".to_owned();
            violations.push(Violation::at(key.clone(), message));
        }
        let earlier = keys.range::<String, _>(..name);
        violations.extend(repeated(&key, config, earlier));
    }
    violations
}

/// Names and keys of a file that the configuration has as well.
pub fn taken(
    keys: &BTreeMap<String, KeyConfig>,
    configured: &BTreeMap<String, KeyConfig>,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (name, config) in keys {
        let key = Key::from(["auth", "keys", name]);
        if configured.contains_key(name) {
            let message = format!(
                "found the name {name:?}, which the configuration has as well, allowed: another one"
            );
            violations.push(Violation::at(key, message));
        } else {
            violations.extend(repeated(&key, config, configured.iter()));
        }
    }
    violations
}

/// One key by two names would have the scopes of either.
fn repeated<'k>(
    key: &Key,
    config: &KeyConfig,
    mut others: impl Iterator<Item = (&'k String, &'k KeyConfig)>,
) -> Option<Violation> {
    let hash = config.sha256.as_ref()?;
    let (other, _) = others.find(|(_, other)| other.sha256.as_ref() == Some(hash))?;
    let message =
        format!("found the same key as that of {other:?}, allowed: one name for each key");
    Some(Violation::at(key.clone(), message))
}
