//! Deadlines: how they are set, and that work beyond them is given up.

use std::num::NonZeroUsize;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use reqwest::header::HeaderValue;
use reqwest::{Body, Method, RequestBuilder, StatusCode};
use serde_json::json;
use tokio::time::interval;

use crate::app::{TestApp, answer, assert_problem};

const REQUEST_TIMEOUT: &str = "x-request-timeout-ms";

/// A request whose body never ends.
fn endless(app: &TestApp, route: &str) -> RequestBuilder {
    let body = Body::wrap_stream(stream::pending::<Result<Vec<u8>, String>>());
    app.request(Method::POST, route).header("content-type", "application/json").body(body)
}

#[tokio::test]
async fn slow_clients_do_not_outlast_the_deadline() {
    let app = TestApp::with(|config| {
        config.server.request_timeout = Duration::from_millis(100);
    })
    .await;
    let late = answer(endless(&app, "/embed")).await;
    assert_problem(&late, 504, "deadline_exceeded", None, &["100ms", REQUEST_TIMEOUT]);
}

#[tokio::test]
async fn a_client_may_ask_for_less_time_but_not_for_more() {
    let app = TestApp::with(|config| {
        config.server.request_timeout = Duration::from_millis(300);
    })
    .await;
    let longest = u64::MAX.to_string();
    for (asked, allowed) in [("20", "20ms"), ("300000", "300ms"), (&longest, "300ms")] {
        for route in ["/embed", "/classify"] {
            let late = answer(endless(&app, route).header(REQUEST_TIMEOUT, asked)).await;
            assert_problem(&late, 504, "deadline_exceeded", None, &[allowed]);
        }
    }
    let late = answer(endless(&app, "/train").header(REQUEST_TIMEOUT, "20")).await;
    assert_problem(&late, 504, "deadline_exceeded", None, &["20ms"]);
}

const TIMEOUT: Duration = Duration::from_secs(2);

/// A line of NDJSON of somewhat more than so many bytes every 400 ms.
fn slow_lines(count: usize, bytes: usize) -> impl Stream<Item = Result<String, String>> {
    let line = move |number: usize| {
        let label = ["Negative", "Positive"][number % 2];
        let text = format!("film {number} {}", "x".repeat(bytes));
        json!({"text": text, "labels": {"sentiment": label}})
    };
    stream::unfold((0, interval(TIMEOUT / 5)), move |(number, mut beat)| async move {
        beat.tick().await;
        (number < count).then(|| (Ok(format!("{}\n", line(number))), (number + 1, beat)))
    })
}

fn upload(
    app: &TestApp,
    lines: impl Stream<Item = Result<String, String>> + Send + 'static,
) -> RequestBuilder {
    let request = app.request(Method::POST, "/train?dry_run=true");
    request.header("content-type", "application/x-ndjson").body(Body::wrap_stream(lines))
}

#[tokio::test]
async fn an_upload_may_take_longer_than_other_requests_as_long_as_it_goes_on() {
    let app = TestApp::with(|config| config.server.request_timeout = TIMEOUT).await;
    // 25 kB a second, for 2.4 seconds.
    let (status, found) = answer(upload(&app, slow_lines(7, 10_000))).await;
    assert_eq!((status, &found["examples"]), (StatusCode::OK, &json!(7)), "{found}");
}

#[tokio::test]
async fn an_upload_that_stops_or_trickles_is_given_up_and_told_why() {
    let app = TestApp::with(|config| config.server.request_timeout = TIMEOUT).await;
    let stops = slow_lines(2, 10_000).chain(stream::pending());
    let trickles = slow_lines(usize::MAX, 10);
    let mentions = ["too slowly", "2s", "16384 bytes"];
    let (stopped, trickled) =
        tokio::join!(answer(upload(&app, stops)), answer(upload(&app, trickles)));
    assert_problem(&stopped, 408, "body_too_slow", None, &mentions);
    assert_problem(&trickled, 408, "body_too_slow", None, &mentions);
    let json = answer(endless(&app, "/train")).await;
    assert_problem(&json, 408, "body_too_slow", None, &mentions);
}

#[tokio::test]
async fn a_timeout_that_is_none_is_refused() {
    let app = TestApp::start().await;
    let embed = || app.request(Method::POST, "/embed").json(&json!({"inputs": "fun"}));
    let refused = [&b""[..], b"soon", b"0", b"-5", b"1.5", b"1e3", b"5s", b" ", b"\xff", b"1, 2"];
    for value in refused {
        let value = HeaderValue::from_bytes(value).unwrap();
        let refused = answer(embed().header(REQUEST_TIMEOUT, value)).await;
        let mentions = &[REQUEST_TIMEOUT, "milliseconds", "1 or more"];
        assert_problem(&refused, 400, "invalid_timeout", Some(REQUEST_TIMEOUT), mentions);
    }
    let twice = embed().header(REQUEST_TIMEOUT, "5000").header(REQUEST_TIMEOUT, "6000");
    assert_eq!(answer(twice).await.0, StatusCode::BAD_REQUEST);
    let (status, _) = answer(embed().header(REQUEST_TIMEOUT, "5000")).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_queued_beyond_its_deadline_is_not_encoded() {
    let count = |count: usize| NonZeroUsize::new(count).unwrap();
    let app = TestApp::with(|config| {
        config.limits.inputs_per_request = count(200_000);
        config.limits.tokens_per_request = count(4_000_000);
        config.batching.queue_tokens = count(4_000_000);
    })
    .await;
    // Seconds of work: 1.8 million tokens, of which only a part is encoded.
    let text = "the film was very good and not dull and the market was bad and old and new";
    let request = app.request(Method::POST, "/embed").header(REQUEST_TIMEOUT, "200");
    let late = answer(request.json(&json!({"inputs": vec![text; 90_000]}))).await;
    assert_problem(&late, 504, "deadline_exceeded", None, &["200ms"]);
    app.embed(json!({"inputs": "still there"})).await;
    assert!(encoded_tokens(&app).await < 1_800_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_tokenised_by_its_deadline_is_not_encoded() {
    let app = TestApp::start().await;
    // Even to read 3.6 MB takes longer than the millisecond that there is.
    let texts = vec!["the film was good ".repeat(2000); 100];
    let request = app.request(Method::POST, "/embed").header(REQUEST_TIMEOUT, "1");
    let late = answer(request.json(&json!({"inputs": texts}))).await;
    assert_problem(&late, 504, "deadline_exceeded", None, &["1ms"]);
    app.embed(json!({"inputs": "fun"})).await;
    // [CLS] fun [SEP]; they are counted right after the answer.
    assert!(encoded_tokens(&app).await <= 3);
}

/// Tokens that have gone through the model, once nothing is left in the queue.
async fn encoded_tokens(app: &TestApp) -> u64 {
    let metrics = app.metrics().await;
    assert!(metrics.contains("polyhead_queue_tokens 0\n"), "{metrics}");
    let name = "polyhead_tokens_total{model=\"model\"} ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |value| value.parse().unwrap())
}
