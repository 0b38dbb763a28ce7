//! Limits: each with its own refusal, and after a refusal everything works.

use std::io::ErrorKind;
use std::num::NonZeroUsize;

use futures::future::join_all;
use futures::stream;
use reqwest::{Body, Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::app::{TestApp, answer, assert_problem, seed_examples};

fn count(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_whether_or_not_its_length_is_announced() {
    let app = TestApp::with(|config| config.limits.body_bytes = count(1000)).await;
    let body = json!({"inputs": "a".repeat(1000)}).to_string();
    for route in ["/embed", "/classify"] {
        let announced = app.send(route, "application/json", body.clone()).await;
        assert_problem(&announced, 413, "body_too_large", None, &["1000"]);

        let chunks: Vec<_> =
            body.as_bytes().chunks(100).map(|chunk| Ok::<_, String>(chunk.to_vec())).collect();
        let chunked = Body::wrap_stream(stream::iter(chunks));
        let chunked = app.send(route, "application/json", chunked).await;
        assert_problem(&chunked, 413, "body_too_large", None, &["1000"]);
    }
    let (status, _) = app.post("/embed", json!({"inputs": "a".repeat(980)})).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn large_bodies_share_the_room_that_there_is_and_small_ones_need_none() {
    let app = TestApp::with(|config| {
        config.limits.body_bytes = count(200_000);
        config.limits.train_body_bytes = count(200_000);
        config.limits.body_bytes_in_flight = count(300_000);
        config.limits.tokens_per_request = count(4);
    })
    .await;
    // Most of a body: its request goes on until the rest comes.
    let (rest, pieces) = mpsc::unbounded_channel::<Result<String, String>>();
    rest.send(Ok(format!("{{\"inputs\": \"{}", "a".repeat(150_000)))).unwrap();
    let pieces = stream::unfold(pieces, async |mut pieces| Some((pieces.recv().await?, pieces)));
    let body = Body::wrap_stream(pieces);
    let request = app.request(Method::POST, "/embed").header("content-type", "application/json");
    let first = tokio::spawn(answer(request.body(body)));
    let large = json!({"inputs": "a".repeat(180_000), "truncate": true}).to_string();
    // Until the first one's bytes have arrived, the second one is taken.
    let refused = loop {
        let answer = app.send("/embed", "application/json", large.clone()).await;
        if answer.0 != StatusCode::OK {
            break answer;
        }
    };
    assert_problem(&refused, 429, "bodies_full", None, &["180", "300000", "65536"]);
    let (status, _) = app.post("/embed", json!({"inputs": "a"})).await;
    assert_eq!(status, StatusCode::OK);

    rest.send(Ok("\", \"truncate\": true}".to_owned())).unwrap();
    drop(rest);
    assert_eq!(first.await.unwrap().0, StatusCode::OK);
    let (status, _) = app.send("/embed", "application/json", large).await;
    assert_eq!(status, StatusCode::OK);
    let metrics = app.metrics().await;
    assert!(metrics.contains("reason=\"bodies_full\"} 1"), "{metrics}");
}

#[tokio::test]
async fn examples_take_up_room_until_they_are_stored_however_short_their_rows_are() {
    const ROWS: usize = 3000;
    let app = TestApp::with(|config| config.limits.body_bytes_in_flight = count(3 << 20)).await;
    let rows: String = (0..ROWS).map(|row| format!("{row},Finance\n")).collect();
    let upload = format!("text,topic\n{rows}");
    assert!(upload.len() < 64 << 10, "as bytes of a body, they need no room");
    let (rest, pieces) = mpsc::unbounded_channel::<Result<String, String>>();
    rest.send(Ok(upload.clone())).unwrap();
    let pieces = stream::unfold(pieces, async |mut pieces| Some((pieces.recv().await?, pieces)));
    let request = app.request(Method::POST, "/train").header("content-type", "text/csv");
    let first = tokio::spawn(answer(request.body(Body::wrap_stream(pieces))));
    // Until the first one's rows have arrived, the second one is read to its end, which is no row.
    let refused = loop {
        let answer = app.send("/train", "text/csv", format!("{upload}no row\n")).await;
        if answer.1["code"] != "invalid_csv" {
            break answer;
        }
    };
    assert_problem(&refused, 429, "bodies_full", None, &["3145728"]);

    rest.send(Ok("the end,Technology\n".to_owned())).unwrap();
    drop(rest);
    let (status, job) = first.await.unwrap();
    assert_eq!((status, &job["examples"]), (StatusCode::ACCEPTED, &json!(ROWS + 1)), "{job}");
    let (status, _) = app.send("/train", "text/csv", format!("{upload}more,Technology\n")).await;
    assert_eq!(status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_connection_that_never_begins_a_request_is_closed() {
    let app = TestApp::start().await;
    let silent = ["", "PRI * HTTP", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", "GET"];
    join_all(silent.map(async |beginning| {
        let mut stream = TcpStream::connect(app.url.trim_start_matches("http://")).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let mut told = Vec::new();
        // Its end is what the test waits for; the client of all tests gives up before long.
        stream.read_to_end(&mut told).await.unwrap();
    }))
    .await;
}

#[tokio::test]
async fn an_answer_has_at_most_so_many_scores() {
    let app = TestApp::start().await;
    let labels: Vec<String> = (0..600).map(|label| format!("label {label}")).collect();
    let inputs = vec!["a"; 2000];
    for (body, scores) in [
        (json!({"inputs": inputs, "labels": labels}), "1200000"),
        (json!({"inputs": inputs, "labels": labels, "top_k": 530}), "1060000"),
    ] {
        let refused = app.post("/classify", body).await;
        assert_problem(&refused, 422, "too_many_scores", Some("top_k"), &[scores, "1048576"]);
    }
}

#[tokio::test]
async fn further_connections_wait_until_one_ends() {
    const PROBE: &[u8] = b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n";
    let app = TestApp::with(|config| config.limits.connections = count(1)).await;
    let connect = async || TcpStream::connect(app.url.trim_start_matches("http://")).await.unwrap();
    let mut answer = [0; 1000];
    let mut first = connect().await;
    first.write_all(PROBE).await.unwrap();
    assert_ne!(first.read(&mut answer).await.unwrap(), 0);
    let mut second = connect().await;
    second.write_all(PROBE).await.unwrap();
    // The first one is answered again and again, the second one not at all.
    for _ in 0..20 {
        first.write_all(PROBE).await.unwrap();
        assert_ne!(first.read(&mut answer).await.unwrap(), 0);
    }
    assert_eq!(second.try_read(&mut answer).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(first);
    assert_ne!(second.read(&mut answer).await.unwrap(), 0);
}

#[tokio::test]
async fn an_upload_far_over_the_limit_is_refused_and_not_cut_off() {
    let app = TestApp::start().await;
    let body = json!({"inputs": "a".repeat(20 << 20)}).to_string();
    let refused = app.send("/embed", "application/json", body).await;
    assert_problem(&refused, 413, "body_too_large", None, &["8388608"]);
}

#[tokio::test]
async fn train_has_a_body_limit_of_its_own() {
    let app = TestApp::with(|config| {
        config.limits.body_bytes = count(100);
        config.limits.train_body_bytes = count(1000);
    })
    .await;
    let (status, job) = app.post("/train", json!({"examples": seed_examples()})).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{job}");
    let long = json!({"examples": [{"text": "a".repeat(1000), "labels": {"topic": "Finance"}}]});
    assert_problem(&app.post("/train", long).await, 413, "body_too_large", None, &["1000"]);
}

#[tokio::test]
async fn more_inputs_than_allowed_are_refused() {
    let app = TestApp::with(|config| config.limits.inputs_per_request = count(3)).await;
    for route in ["/embed", "/classify"] {
        let refused = app.post(route, json!({"inputs": ["a", "b", "c", "d"]})).await;
        assert_problem(&refused, 422, "too_many_inputs", Some("inputs"), &["4", "1 to 3"]);
    }
    app.embed(json!({"inputs": ["a", "b", "c"]})).await;
}

#[tokio::test]
async fn more_tokens_than_allowed_are_refused() {
    let app = TestApp::with(|config| config.limits.tokens_per_request = count(30)).await;
    // 20 tokens each: the model's limit, to which they are cut.
    let long = "film ".repeat(50);
    let refused = app.post("/embed", json!({"inputs": [long, long]})).await;
    assert_problem(&refused, 422, "too_many_tokens", Some("inputs"), &["40", "30"]);
    app.embed(json!({"inputs": [long]})).await;
}

#[tokio::test]
async fn more_examples_than_allowed_are_refused() {
    let app = TestApp::with(|config| config.limits.examples_per_job = count(4)).await;
    let refused = app.post("/train", json!({"examples": seed_examples()})).await;
    assert_problem(&refused, 422, "too_many_examples", Some("examples"), &["5", "1 to 4"]);
}

#[tokio::test]
async fn more_tasks_than_allowed_are_refused() {
    let app = TestApp::with(|config| config.limits.tasks = count(3)).await;
    let labels = json!({"labels": ["x", "y"]});
    assert_eq!(app.put("/heads/third", labels.clone()).await.0, StatusCode::CREATED);
    let refused = app.put("/heads/fourth", labels.clone()).await;
    assert_problem(&refused, 409, "too_many_tasks", None, &["3"]);
    assert_eq!(app.put("/heads/third", labels.clone()).await.0, StatusCode::OK);
    assert_eq!(app.delete("/heads/third").await.0, StatusCode::NO_CONTENT);
    assert_eq!(app.put("/heads/fourth", labels).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn a_crowd_cannot_make_more_tasks_than_allowed() {
    let app = TestApp::with(|config| config.limits.tasks = count(5)).await;
    let made = join_all((0..20).map(|number| {
        let path = format!("/heads/task-{number}");
        let app = &app;
        async move { app.put(&path, json!({"labels": ["x", "y"]})).await.0 }
    }))
    .await;
    let made = made.into_iter().filter(|&status| status == StatusCode::CREATED).count();
    assert_eq!(made, 3);
    assert_eq!(app.get("/heads").await.1["heads"].as_array().unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overfull_queue_is_refused_at_once_and_recovers() {
    let app = TestApp::with(|config| {
        config.batching.queue_tokens = count(200);
        config.limits.tokens_per_request = count(200);
    })
    .await;
    let body = json!({"inputs": vec!["the film was very good and not dull"; 10]});
    let crowd = || {
        join_all((0..100).map(|_| {
            let request = app.request(Method::POST, "/embed").json(&body);
            async { request.send().await.unwrap() }
        }))
    };
    let mut refused = 0;
    for response in crowd().await {
        if response.status() == StatusCode::OK {
            continue;
        }
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        let seconds = response.headers()["retry-after"].to_str().unwrap().parse::<u32>().unwrap();
        assert!(seconds >= 1);
        let problem: serde_json::Value = response.json().await.unwrap();
        assert_eq!(problem["code"], "queue_full");
        assert!(problem["detail"].as_str().unwrap().contains("200"), "{problem}");
        refused += 1;
    }
    // A hundred requests at a time for a queue that holds one or two.
    assert!(refused > 0);
    let counted = format!("polyhead_requests_rejected_total{{reason=\"queue_full\"}} {refused}");
    let metrics = app.metrics().await;
    assert!(metrics.contains(&counted), "{counted} is not in {metrics}");

    assert_eq!(app.embed(body.clone()).await.len(), 10);
    // What was admitted has been given back to the last token.
    assert!(app.metrics().await.contains("polyhead_queue_tokens 0\n"));
}

#[tokio::test]
async fn labels_are_bounded_in_number_and_length() {
    let app = TestApp::with(|config| {
        config.limits.labels_per_task = count(3);
        config.limits.label_bytes = count(13);
    })
    .await;
    let many = app.put("/heads/many", json!({"labels": ["a", "b", "c", "d"]})).await;
    assert_problem(&many, 422, "invalid_task", Some("labels"), &["4", "3"]);
    let long = app.put("/heads/long", json!({"labels": ["a", "ääääääää"]})).await;
    assert_problem(&long, 422, "invalid_task", Some("labels[1]"), &["16 bytes", "13"]);
}

#[tokio::test]
async fn a_request_id_that_is_empty_or_too_long_is_replaced() {
    let app = TestApp::start().await;
    for (id, is_kept) in
        [("mine-7", true), (&*"x".repeat(200), true), ("", false), (&*"x".repeat(201), false)]
    {
        let request = app.request(Method::GET, "/info").header("x-request-id", id);
        let response = request.send().await.unwrap();
        let told = response.headers()["x-request-id"].to_str().unwrap();
        assert_eq!(told == id, is_kept, "{id:?}: {told:?}");
        assert!(!told.is_empty());
    }
}
