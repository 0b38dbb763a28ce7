//! API keys that stand in a file or a variable as they are: hashed before anything else sees them, so
//! that no error can show one.

use toml::{Table, Value};

use crate::auth::{ALLOWED, KeyHash};
use crate::config::key::Key;

/// Of `auth.keys.NAME`, what may be shown. Anything else may be a key that was put in a wrong place.
const SHOWN: [&str; 3] = ["scopes", "requests_per_minute", "tokens_per_minute"];

/// Puts the hash of each `auth.keys.NAME.key` in its place. Returns what is wrong with those that cannot
/// be used, which are taken out.
pub fn hash(table: &mut Table) -> Vec<(Key, String)> {
    let keys = table.get_mut("auth").and_then(|auth| auth.get_mut("keys"));
    let mut unusable = Vec::new();
    for (name, entry) in keys.and_then(Value::as_table_mut).into_iter().flatten() {
        let Some(entry) = entry.as_table_mut() else { continue };
        let Some(plain) = entry.remove("key") else { continue };
        let hash = match plain.as_str().map(KeyHash::of_usable) {
            _ if entry.contains_key("sha256") => {
                Err("found sha256 beside it, allowed: one of the two".to_owned())
            }
            Some(Ok(hash)) => Ok(hash),
            Some(Err(unusable)) => Err(format!("{unusable}, allowed: {ALLOWED}")),
            None => Err(format!("found no text, allowed: {ALLOWED}")),
        };
        match hash {
            Ok(hash) => drop(entry.insert("sha256".to_owned(), Value::String(hash.to_string()))),
            Err(message) => unusable.push((Key::from(["auth", "keys", name, "key"]), message)),
        }
    }
    unusable
}

/// Whether a value may be a key, or have one in it.
pub fn may_be_one(key: &Key) -> bool {
    key.is_within(&Key::from(["auth", "keys"])) && !SHOWN.contains(&key.last())
}
