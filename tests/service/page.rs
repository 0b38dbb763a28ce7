//! The page to try the server with, as a browser fetches it. What it does there is tested in tests/page.

use reqwest::{Method, Response, StatusCode};
use serde_json::json;

use crate::app::{TestApp, assert_problem};

async fn fetched(app: &TestApp, path: &str) -> Response {
    app.request(Method::GET, path).send().await.unwrap()
}

/// What is within double quotes behind each `before`.
fn quoted<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    text.split(before).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[tokio::test]
async fn the_page_and_everything_that_it_names_is_served_with_its_type() {
    let app = TestApp::start().await;
    let page = fetched(&app, "/").await;
    assert_eq!(page.status(), StatusCode::OK);
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let text = page.text().await.unwrap();
    let mut named = quoted(&text, "src=\"");
    named.extend(quoted(&text, "<link rel=\"icon\" href=\""));
    named.extend(quoted(&text, "<link rel=\"stylesheet\" href=\""));
    assert!(named.contains(&"page/main.js") && named.contains(&"page/style.css"), "{named:?}");
    for path in named {
        let file = fetched(&app, &format!("/{path}")).await;
        let expected = match path.rsplit_once('.').unwrap().1 {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            _ => "image/svg+xml; charset=utf-8",
        };
        assert_eq!(file.headers()["content-type"], expected, "{path}");
    }
}

#[tokio::test]
async fn the_page_may_load_nothing_from_elsewhere_and_nothing_inline() {
    let app = TestApp::start().await;
    for path in ["/", "/page/main.js", "/page/style.css"] {
        let file = fetched(&app, path).await;
        let policy = file.headers()["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'self';") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(file.headers()["x-content-type-options"], "nosniff");
        let text = file.text().await.unwrap();
        for elsewhere in ["http://", "https://", "<style", " style=", "onclick="] {
            assert!(!text.contains(elsewhere), "{path} has {elsewhere}");
        }
    }
}

#[tokio::test]
async fn a_file_that_a_browser_has_is_not_sent_again() {
    let app = TestApp::start().await;
    for path in ["/", "/page/style.css", "/docs", "/docs/docs.js"] {
        let first = fetched(&app, path).await;
        let etag = first.headers()["etag"].clone();
        let known = app.request(Method::GET, path).header("if-none-match", &etag);
        let known = known.send().await.unwrap();
        assert_eq!((known.status(), &known.headers()["etag"]), (StatusCode::NOT_MODIFIED, &etag));
        assert_eq!(known.bytes().await.unwrap().len(), 0);
        let other = app.request(Method::GET, "/page/main.js").header("if-none-match", &etag);
        assert_eq!(other.send().await.unwrap().status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_file_that_the_page_does_not_have_is_not_found() {
    let app = TestApp::start().await;
    for path in ["/page/other.js", "/page/../page.rs", "/page/tabs", "/page/%2e%2e/page.rs"] {
        assert_problem(&app.get(path).await, 404, "unknown_route", None, &["page"]);
    }
    // The root goes on taking sentences.
    let (status, _) = app.post("/", json!({"inputs": "a sentence"})).await;
    assert_eq!(status, StatusCode::OK);
}
