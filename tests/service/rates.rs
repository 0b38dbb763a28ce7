//! What a key may ask for in a minute.
//!
//! No test waits for a bucket to fill, and none takes so long that one of its two requests or tokens a minute
//! could flow in: that takes half a minute.

use std::num::NonZeroUsize;

use polyhead::auth::Scope;
use polyhead::config::{AuthConfig, KeyConfig};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::app::{TestApp, assert_problem};
use crate::auth::key;

const BOUNDED: &str = "ph_with-its-own-bounds";
const OPERATOR: &str = "ph_that-sees-metrics";
const OTHER: &str = "ph_with-the-defaults";

/// A server with a key of its own limits, and one that follows the defaults.
async fn start(own: (usize, usize), default: (usize, usize)) -> TestApp {
    let [(requests, tokens), defaults] = [own, default]
        .map(|(requests, tokens)| (NonZeroUsize::new(requests), NonZeroUsize::new(tokens)));
    let bounded = KeyConfig {
        requests_per_minute: requests,
        tokens_per_minute: tokens,
        ..key(BOUNDED, &[Scope::Infer])
    };
    let operator = KeyConfig {
        requests_per_minute: NonZeroUsize::new(1000),
        ..key(OPERATOR, &[Scope::Admin])
    };
    TestApp::with(|config| {
        config.auth = AuthConfig {
            requests_per_minute: defaults.0,
            tokens_per_minute: defaults.1,
            keys: [
                ("bounded".to_owned(), bounded),
                ("operator".to_owned(), operator),
                ("other".to_owned(), key(OTHER, &[Scope::Infer])),
            ]
            .into(),
            ..AuthConfig::default()
        };
    })
    .await
}

async fn embed(app: &TestApp, key: &str, texts: &[&str]) -> (StatusCode, HeaderMap, Value) {
    let request = app.request(Method::POST, "/embed").bearer_auth(key);
    let response = request.json(&json!({"inputs": texts})).send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    (status, headers, response.json().await.unwrap())
}

/// A sample of the metrics.
async fn metric(app: &TestApp, name: &str) -> f64 {
    let request = app.request(Method::GET, "/metrics").bearer_auth(OPERATOR);
    let metrics = request.send().await.unwrap().text().await.unwrap();
    let sample = metrics.lines().find_map(|line| line.strip_prefix(name));
    sample.unwrap_or_else(|| panic!("no {name} in {metrics}")).trim().parse().unwrap()
}

const BOUNDED_TOKENS: &str = "polyhead_key_tokens_total{key=\"bounded\"}";

fn rate_headers(headers: &HeaderMap) -> Vec<&str> {
    headers.keys().map(|name| name.as_str()).filter(|it| it.starts_with("x-ratelimit")).collect()
}

#[tokio::test]
async fn requests_beyond_a_minutes_worth_are_told_when_to_come_again() {
    let app = start((2, 0), (0, 0)).await;
    for remaining in ["1", "0"] {
        let (status, headers, _) = embed(&app, BOUNDED, &["a film"]).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers["x-ratelimit-limit-requests"], "2");
        assert_eq!(headers["x-ratelimit-remaining-requests"], remaining);
    }
    let (status, headers, problem) = embed(&app, BOUNDED, &["a film"]).await;
    let mentions = ["\"bounded\"", "2 requests a minute", "retry after"];
    assert_problem(&(status, problem), 429, "rate_limited", None, &mentions);
    let wait: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    assert_eq!(headers["x-ratelimit-remaining-requests"], "0");
    let reset = headers["x-ratelimit-reset-requests"].to_str().unwrap();
    assert!(reset.ends_with('s'), "{reset}");
    // The tokens are not bounded, and so nothing is told of them.
    assert_eq!(rate_headers(&headers).len(), 3, "{headers:?}");
}

#[tokio::test]
async fn tokens_are_those_that_the_tokenizer_counts_and_debt_holds_up_the_next_request() {
    let app = start((0, 1000), (0, 2)).await;
    // Two words and the two special tokens that begin and end a text, twice.
    let (_, headers, _) = embed(&app, BOUNDED, &["the film", "the film"]).await;
    assert_eq!(headers["x-ratelimit-limit-tokens"], "1000");
    let remaining: usize =
        headers["x-ratelimit-remaining-tokens"].to_str().unwrap().parse().unwrap();
    // What flowed in meanwhile counts again.
    assert!((992..=1000).contains(&remaining), "{remaining}");
    assert_eq!(metric(&app, BOUNDED_TOKENS).await, 8.0);

    let (status, headers, _) = embed(&app, OTHER, &["the film", "the film"]).await;
    assert_eq!(
        (status, &headers["x-ratelimit-remaining-tokens"]),
        (StatusCode::OK, &"0".parse().unwrap())
    );
    let (status, headers, problem) = embed(&app, OTHER, &["the film"]).await;
    let mentions = ["\"other\"", "2 tokens a minute"];
    assert_problem(&(status, problem), 429, "rate_limited", None, &mentions);
    // A debt of six and one to come with, at two a minute, less what flowed in meanwhile.
    let wait: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((180..=210).contains(&wait), "{wait}");
}

#[tokio::test]
async fn classifying_costs_what_its_texts_have_and_a_refused_request_costs_no_tokens() {
    let app = start((0, 1000), (0, 0)).await;
    let request = app.request(Method::POST, "/classify").bearer_auth(BOUNDED);
    let body = json!({"inputs": "the film", "labels": ["film", "the"]});
    let response = request.json(&body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    // The text has four tokens, each of its labels three.
    assert_eq!(metric(&app, BOUNDED_TOKENS).await, 10.0);
    assert_eq!(embed(&app, BOUNDED, &[""]).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(metric(&app, BOUNDED_TOKENS).await, 10.0);
}

#[tokio::test]
async fn keys_do_not_use_up_each_others_rates() {
    let app = start((1, 0), (1, 0)).await;
    assert_eq!(embed(&app, BOUNDED, &["a"]).await.0, StatusCode::OK);
    assert_eq!(embed(&app, BOUNDED, &["a"]).await.0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(embed(&app, OTHER, &["a"]).await.0, StatusCode::OK);
    assert_eq!(app.get("/readyz").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_key_without_limits_is_told_nothing_of_rates_and_the_metrics_tell_who_was_refused() {
    let app = start((1, 0), (0, 0)).await;
    let (_, headers, _) = embed(&app, OTHER, &["the film"]).await;
    assert!(rate_headers(&headers).is_empty(), "{headers:?}");
    for _ in 0..3 {
        embed(&app, BOUNDED, &["the film"]).await;
    }
    for (name, value) in [
        ("polyhead_requests_rejected_total{reason=\"rate_limited\"}", 2.0),
        ("polyhead_key_requests_total{key=\"bounded\"}", 3.0),
        (BOUNDED_TOKENS, 4.0),
        ("polyhead_key_tokens_total{key=\"other\"}", 4.0),
    ] {
        assert_eq!(metric(&app, name).await, value, "{name}");
    }
}
