//! Which web pages may call the server from a browser: none, unless the configuration names their origins.

use std::time::Duration;

use axum::http::{HeaderValue, Method};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer, ExposeHeaders};

/// How long a browser may remember what it was allowed.
const REMEMBERED: Duration = Duration::from_secs(600);

/// What answers the browser's preflights, before a key is asked for: they carry none. `None` without origins.
pub fn layer(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let origin = match origins.iter().any(|origin| origin == "*") {
        true => AllowOrigin::any(),
        // What is no header's value has been refused by the configuration's rules.
        false => AllowOrigin::list(origins.iter().filter_map(|it| HeaderValue::from_str(it).ok())),
    };
    let methods = [Method::GET, Method::POST, Method::PUT, Method::DELETE];
    let cors = CorsLayer::new()
        .allow_origin(origin)
        .allow_methods(methods)
        // Whatever is asked for: OpenAI's client adds a dozen of its own.
        .allow_headers(AllowHeaders::mirror_request())
        // Cookies and the like are not used, so that the star stands for every header: request id, head
        // versions, rates, shapes.
        .expose_headers(ExposeHeaders::any())
        .max_age(REMEMBERED);
    Some(cors)
}
