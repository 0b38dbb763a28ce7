//! What browsers are told not to do with answers.

use reqwest::Method;

use crate::app::TestApp;

#[tokio::test]
async fn no_answer_is_taken_for_something_else_than_it_says() {
    let app = TestApp::start().await;
    for path in ["/livez", "/readyz", "/info", "/metrics", "/heads/nothing", "/nothing"] {
        let response = app.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{path}");
        // Only pages have a policy.
        assert!(!response.headers().contains_key("content-security-policy"), "{path}");
    }
}
