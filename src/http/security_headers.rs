//! What browsers are told not to do with answers.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;

/// For every answer: what it says it is, and not what its content looks like.
const NO_SNIFFING: (HeaderName, &str) = (header::X_CONTENT_TYPE_OPTIONS, "nosniff");

/// For pages: nothing from elsewhere, nothing inline, in nobody's frame, and no address told to others.
const PAGES: [(HeaderName, &str); 3] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

/// Adds what an answer does not say itself.
///
/// `strict-transport-security` is not among it: browsers remember it for the whole host, with all its other
/// ports and services, for months. Only who runs the host can promise that.
pub async fn add(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let media_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_page = media_type.is_some_and(|it| it.starts_with(b"text/html"));
    let (name, value) = NO_SNIFFING;
    headers.insert(name, HeaderValue::from_static(value));
    for (name, value) in PAGES.into_iter().filter(|_| is_page) {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::response::{Html, IntoResponse};

    use super::*;

    #[tokio::test]
    async fn a_page_may_neither_load_from_elsewhere_nor_be_framed() {
        let answer = add(Html("<p>").into_response()).await;
        let headers = answer.headers();
        assert!(
            headers["content-security-policy"].to_str().unwrap().contains("default-src 'self';")
        );
        assert_eq!(headers["x-frame-options"], "DENY");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert_eq!(headers["x-content-type-options"], "nosniff");
    }

    #[tokio::test]
    async fn a_pages_own_policy_stands() {
        let own = [(header::CONTENT_SECURITY_POLICY, "default-src 'none'")];
        let answer = add((own, Html("<p>")).into_response()).await;
        assert_eq!(answer.headers()["content-security-policy"], "default-src 'none'");
        assert_eq!(answer.headers()["x-frame-options"], "DENY");
    }

    #[tokio::test]
    async fn what_is_no_page_has_no_policy() {
        let answer = add("text".into_response()).await;
        assert!(!answer.headers().contains_key(header::CONTENT_SECURITY_POLICY));
    }
}
