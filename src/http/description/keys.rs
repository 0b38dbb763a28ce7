//! API keys: the scheme, and the scope that each operation needs.

use serde_json::{Map, Value, json};

use crate::auth::Scope;
use crate::config::AuthConfig;

/// What operations call the scheme.
const NAME: &str = "key";

pub fn schemes() -> Value {
    json!({NAME: {
        "type": "http", "scheme": "bearer",
        "description": "An API key, as `polyhead key` makes it. Servers without keys ask for none.",
    }})
}

/// Says what an operation needs. Where no keys are configured, a key may be brought all the same.
pub fn add(scope: Option<Scope>, auth: &AuthConfig, operation: &mut Map<String, Value>) {
    let guards = auth.file.is_some() || !auth.keys.is_empty();
    let security = match scope {
        None => json!([]),
        Some(scope) if guards => json!([{NAME: [scope]}]),
        Some(scope) => json!([{}, {NAME: [scope]}]),
    };
    operation.insert("security".to_owned(), security);
}
