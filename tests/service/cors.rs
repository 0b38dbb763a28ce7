//! Which web pages may call the server, and what browsers are told of its answers.

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::app::TestApp;
use crate::auth::guarded;

const PAGE: &str = "https://page.example.org";

fn cors_headers(headers: &HeaderMap) -> Vec<&str> {
    let names = headers.keys().map(|name| name.as_str());
    names.filter(|name| name.starts_with("access-control-")).collect()
}

/// What a browser asks before it lets a page send a request with a key and JSON.
async fn preflight(app: &TestApp, origin: &str) -> (StatusCode, HeaderMap) {
    let request = app
        .request(Method::OPTIONS, "/embed")
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization, content-type");
    let response = request.send().await.unwrap();
    (response.status(), response.headers().clone())
}

#[tokio::test]
async fn by_default_no_page_is_allowed() {
    let app = TestApp::start().await;
    let (status, headers) = preflight(&app, PAGE).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(cors_headers(&headers).is_empty(), "{headers:?}");
    let request = app.request(Method::GET, "/info").header("origin", PAGE);
    let headers = request.send().await.unwrap().headers().clone();
    assert!(cors_headers(&headers).is_empty(), "{headers:?}");
}

#[tokio::test]
async fn a_page_that_is_named_may_ask_beforehand_without_a_key_and_read_every_header() {
    let app = TestApp::with(|config| {
        config.auth = guarded();
        config.server.cors_origins = vec!["http://other.example.org".to_owned(), PAGE.to_owned()];
    })
    .await;
    let (status, headers) = preflight(&app, PAGE).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["access-control-allow-origin"], PAGE);
    assert_eq!(headers["access-control-allow-headers"], "authorization, content-type");
    let methods = headers["access-control-allow-methods"].to_str().unwrap();
    assert!(["GET", "POST", "PUT", "DELETE"].iter().all(|method| methods.contains(method)));

    // Refusals are for the page to read, too.
    let request = app.request(Method::POST, "/embed").header("origin", PAGE);
    let response = request.json(&json!({"inputs": "a"})).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()["access-control-allow-origin"], PAGE);
    assert_eq!(response.headers()["access-control-expose-headers"], "*");

    let (_, headers) = preflight(&app, "https://page.example.org.evil.example").await;
    assert!(!headers.contains_key("access-control-allow-origin"), "{headers:?}");
}

#[tokio::test]
async fn a_star_stands_for_every_page() {
    let app = TestApp::with(|config| config.server.cors_origins = vec!["*".to_owned()]).await;
    let (_, headers) = preflight(&app, "https://anybody.example").await;
    assert_eq!(headers["access-control-allow-origin"], "*");
}
