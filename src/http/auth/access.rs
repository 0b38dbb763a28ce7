//! Which scope each route needs.

use std::collections::BTreeSet;

use axum::http::Method;

use crate::auth::Scope;
use crate::config::Open;

/// The scope that a request with this method to this route needs where there are keys, unless the
/// configuration leaves it `open`.
pub fn scope(method: &Method, route: &str, open: &BTreeSet<Open>) -> Option<Scope> {
    match of(method, route) {
        Access::Everybody => None,
        Access::Part(part, scope) => (!open.contains(&part)).then_some(scope),
        Access::With(scope) => Some(scope),
    }
}

/// Who may ask for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Everybody,
    /// Everybody if the configuration leaves this part open, else who has the scope.
    Part(Open, Scope),
    With(Scope),
}

/// Who may send a request with this method to this route, by the first segment of its pattern.
fn of(method: &Method, route: &str) -> Access {
    let looks = [Method::GET, Method::HEAD].contains(method);
    let family = route.split('/').nth(1).unwrap_or_default();
    match family {
        // Of these, only that of a model comes this way.
        "livez" | "readyz" | "startupz" | "health" => Access::Everybody,
        "v2" if looks && is_health_check(route) => Access::Everybody,
        "" | "page" if looks => Access::Part(Open::Page, Scope::Infer),
        "docs" | "openapi.json" => Access::Part(Open::Docs, Scope::Infer),
        "metrics" => Access::Part(Open::Metrics, Scope::Admin),
        "train" | "examples" => Access::With(Scope::Train),
        "heads" if route.ends_with("/predict") => Access::With(Scope::Infer),
        "heads" if !looks => Access::With(Scope::Train),
        "heads" | "info" => Access::With(Scope::Infer),
        "" | "embed" | "classify" => Access::With(Scope::Infer),
        // As other servers of embeddings call it.
        "embed_all" | "embeddings" | "predict" | "similarity" | "tokenize" | "decode"
        | "models" | "v1" | "v2" => Access::With(Scope::Infer),
        // A route that nobody has thought of here is not for everybody.
        _ => Access::With(Scope::Admin),
    }
}

fn is_health_check(route: &str) -> bool {
    route.starts_with("/v2/health/")
        || (route.starts_with("/v2/models/") && route.ends_with("/ready"))
}
