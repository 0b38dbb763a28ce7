//! Jobs: listed, watched, cancelled, refused.

use std::num::NonZeroUsize;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::app::{TestApp, answer, assert_problem, seed_examples};
use crate::train::epochs;

#[tokio::test]
async fn an_accepted_job_says_where_it_is() {
    let app = TestApp::start().await;
    let request = app.request(Method::POST, "/train").json(&json!({"examples": seed_examples()}));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let accepted: Value = response.json().await.unwrap();
    let id = accepted["id"].as_str().unwrap();
    assert_eq!(location, format!("/train/{id}"));
    assert_eq!(accepted["state"], "queued");
    assert_eq!(accepted["examples"], 5);

    let job = app.ended(id).await;
    assert_eq!(app.get(&location).await, (StatusCode::OK, job.clone()));
    assert_eq!(job["state"], "succeeded");
    assert_eq!(job["attempts"], 1);
    assert_eq!(job["reason"], json!(null));
    assert_eq!(job["spec"]["tasks"], json!(["sentiment", "topic"]));
    let time = |key: &str| job[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(time("created_at") <= time("started_at"), "{job}");
    assert!(time("started_at") <= time("finished_at"), "{job}");
}

#[tokio::test]
async fn jobs_are_listed_newest_first_by_page_and_by_state() {
    let app = TestApp::start().await;
    let mut ids = Vec::new();
    for learning_rate in [0.1, 1e30, 0.1, 0.1, 1e30] {
        let job = app
            .train(json!({
                "examples": seed_examples(), "solver": "adam",
                "learning_rate": learning_rate, "epochs": 2,
            }))
            .await;
        ids.insert(0, job["id"].as_str().unwrap().to_owned());
    }
    let list = async |query: &str| {
        let (status, page) = app.get(&format!("/train{query}")).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        let jobs = page["jobs"].as_array().unwrap().iter();
        let found: Vec<String> = jobs.map(|job| job["id"].as_str().unwrap().to_owned()).collect();
        (found, page["next"].as_str().map(str::to_owned))
    };
    assert_eq!(list("").await.0, ids);
    let (first, next) = list("?limit=2").await;
    assert_eq!(first, ids[..2]);
    let (second, next) = list(&format!("?limit=2&before={}", next.unwrap())).await;
    assert_eq!(second, ids[2..4]);
    let (third, next) = list(&format!("?limit=2&before={}", next.unwrap())).await;
    assert_eq!((third, next), (ids[4..].to_vec(), None));
    assert_eq!(list("?state=failed").await.0, [ids[0].clone(), ids[3].clone()]);
    assert_eq!(list("?state=succeeded&limit=1").await.0, ids[1..2]);
    assert_eq!(list("?state=running").await.0, Vec::<String>::new());
}

#[tokio::test]
async fn a_job_that_does_not_exist_is_not_found() {
    let app = TestApp::start().await;
    for id in ["0198e6a4-0000-7000-8000-000000000000", "1", "%20"] {
        let shown = app.get(&format!("/train/{id}")).await;
        assert_problem(&shown, 404, "unknown_job", None, &["no job"]);
        let cancelled = app.delete(&format!("/train/{id}")).await;
        assert_problem(&cancelled, 404, "unknown_job", None, &["no job"]);
        let watched = app.get(&format!("/train/{id}/events")).await;
        assert_problem(&watched, 404, "unknown_job", None, &["no job"]);
    }
}

#[tokio::test]
async fn a_waiting_job_is_cancelled_at_once_and_a_running_one_soon() {
    let app = TestApp::start().await;
    let running = app.train_for_ever().await;
    let waiting = app.submit(json!({"examples": seed_examples()})).await;
    assert_eq!(app.get(&format!("/train/{waiting}")).await.1["state"], "queued");

    let (status, job) = app.delete(&format!("/train/{waiting}")).await;
    assert_eq!((status, &job["state"]), (StatusCode::OK, &json!("cancelled")), "{job}");
    let (status, _) = app.delete(&format!("/train/{running}")).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    for id in [&running, &waiting] {
        let job = app.ended(id).await;
        assert_eq!(job["state"], "cancelled", "{job}");
        assert!(job["reason"].as_str().unwrap().contains("cancelled"), "{job}");
        assert_eq!(job["published"], json!({}));
    }
    assert!(app.get(&format!("/train/{running}")).await.1["started_at"].is_string());
    assert!(app.get(&format!("/train/{waiting}")).await.1["started_at"].is_null());
    let heads = app.get("/heads").await.1;
    assert!(heads["heads"].as_array().unwrap().iter().all(|head| head["version"] == 0), "{heads}");
    app.trained(json!({"examples": seed_examples()})).await;
}

#[tokio::test]
async fn a_job_that_has_ended_cannot_be_cancelled() {
    let app = TestApp::start().await;
    let job = app.trained(json!({"examples": seed_examples()})).await;
    let refused = app.delete(&format!("/train/{}", job["id"].as_str().unwrap())).await;
    assert_problem(&refused, 409, "job_ended", None, &["succeeded"]);
}

#[tokio::test]
async fn a_full_queue_refuses_further_jobs_until_there_is_room() {
    let app =
        TestApp::with(|config| config.training.queued_jobs = NonZeroUsize::new(2).unwrap()).await;
    let running = app.train_for_ever().await;
    let body = json!({"examples": seed_examples()});
    let waiting = [app.submit(body.clone()).await, app.submit(body.clone()).await];
    let refused = app.post("/train", body.clone()).await;
    assert_problem(&refused, 429, "jobs_full", None, &["2"]);
    let response = app.request(Method::POST, "/train").json(&body).send().await.unwrap();
    assert!(response.headers()["retry-after"].to_str().unwrap().parse::<u32>().unwrap() >= 1);
    assert_eq!(app.get("/train").await.1["jobs"].as_array().unwrap().len(), 3);
    let counted = "polyhead_requests_rejected_total{reason=\"jobs_full\"} 2\n";
    assert!(app.metrics().await.contains(counted));

    app.delete(&format!("/train/{}", waiting[0])).await;
    let next = app.submit(body).await;
    app.delete(&format!("/train/{running}")).await;
    for id in [&waiting[1], &next] {
        assert_eq!(app.ended(id).await["state"], "succeeded");
    }
}

#[tokio::test]
async fn jobs_run_one_at_a_time_in_the_order_of_their_arrival() {
    let app = TestApp::start().await;
    let mut jobs = Vec::new();
    for _ in 0..5 {
        jobs.push(app.submit(json!({"examples": seed_examples()})).await);
    }
    let mut ended = Vec::new();
    for id in &jobs {
        ended.push(app.ended(id).await);
    }
    for (index, job) in ended.iter().enumerate() {
        assert_eq!(job["published"], json!({"topic": index + 1, "sentiment": index + 1}));
    }
    for pair in ended.windows(2) {
        let time = |job: &Value, key: &str| -> jiff::Timestamp {
            job[key].as_str().unwrap().parse().unwrap()
        };
        assert!(time(&pair[0], "finished_at") <= time(&pair[1], "started_at"), "{pair:?}");
    }
}

#[tokio::test]
async fn the_event_stream_tells_every_epoch_and_the_end() {
    let app = TestApp::start().await;
    let id = app.submit(json!({"examples": seed_examples(), "solver": "adam", "epochs": 6})).await;
    let response = app.request(Method::GET, &format!("/train/{id}/events")).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let events = lasting(parse(&response.text().await.unwrap()));
    let job = app.get(&format!("/train/{id}")).await.1;
    let (end, reports) = events.split_last().unwrap();
    assert_eq!((end.kind.as_str(), &end.data), ("end", &job));
    assert_eq!(reports.len(), 6);
    for (report, epoch) in reports.iter().zip(epochs(&job)) {
        assert_eq!((report.kind.as_str(), &report.data), ("epoch", epoch));
        assert_eq!(report.id.as_deref().unwrap(), epoch["epoch"].to_string());
    }
}

#[tokio::test]
async fn a_client_that_comes_back_goes_on_behind_what_it_saw() {
    let app = TestApp::start().await;
    let job =
        app.trained(json!({"examples": seed_examples(), "solver": "adam", "epochs": 6})).await;
    let path = format!("/train/{}/events", job["id"].as_str().unwrap());
    let after = async |id: &str| {
        let request = app.request(Method::GET, &path).header("last-event-id", id);
        request.send().await.unwrap()
    };
    let events = parse(&after("4").await.text().await.unwrap());
    let seen: Vec<_> =
        events.iter().map(|event| (event.kind.as_str(), event.id.as_deref())).collect();
    assert_eq!(seen, [("epoch", Some("5")), ("epoch", Some("6")), ("end", Some("end"))]);
    // Nothing is left to tell; an `EventSource` stops at this status.
    assert_eq!(after("end").await.status(), StatusCode::NO_CONTENT);

    let request = app.request(Method::GET, &path).header("last-event-id", "the fourth");
    let position = Some("last-event-id");
    assert_problem(&answer(request).await, 400, "invalid_event_id", position, &["number"]);
}

#[tokio::test]
async fn a_stream_that_breaks_in_mid_job_loses_and_repeats_nothing() {
    let app = TestApp::start().await;
    let id = app.train_for_ever().await;
    let path = format!("/train/{id}/events");
    let mut seen: Vec<u32> = Vec::new();
    for _ in 0..3 {
        let mut request = app.request(Method::GET, &path);
        if let Some(last) = seen.last() {
            request = request.header("last-event-id", last.to_string());
        }
        let mut stream = request.send().await.unwrap();
        let (mut told, mut new) = (String::new(), Vec::<u32>::new());
        while new.len() < 4 {
            told += std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap();
            // What comes after the last blank line is half an event, which a client forgets.
            let whole = told.rfind("\n\n").map_or("", |end| &told[..end]);
            let epochs = parse(whole).into_iter().filter_map(|event| event.id);
            new = epochs.map(|id| id.parse().unwrap()).collect();
        }
        seen.extend(new);
    }
    app.delete(&format!("/train/{id}")).await;
    let job = app.ended(&id).await;
    let recorded = epochs(&job).iter().map(|epoch| epoch["epoch"].as_u64().unwrap() as u32);
    assert_eq!(seen, recorded.take(seen.len()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_job_tells_its_state_and_how_far_it_is() {
    let app = TestApp::start().await;
    let running = app.train_for_ever().await;
    let endless = json!({
        "examples": seed_examples(), "solver": "adam", "learning_rate": 1e-9,
        "epochs": 4_000_000_000_u32,
    });
    let waiting = app.submit(endless).await;
    let job = app.get(&format!("/train/{waiting}")).await.1;
    assert_eq!(job["progress"], json!({"phase": "queued"}), "{job}");
    let job = app.get(&format!("/train/{running}")).await.1;
    let progress = &job["progress"];
    assert_eq!(progress["phase"], "fitting", "{job}");
    assert_eq!(progress["total"], 4_000_000_000_u32, "{job}");
    assert!(progress["done"].as_u64().unwrap() >= 1, "{job}");
    // Four thousand million epochs take longer than an hour.
    assert!(progress["seconds_left"].as_f64().unwrap() > 3600.0, "{job}");

    let request = app.request(Method::GET, &format!("/train/{waiting}/events"));
    let mut watching = request.send().await.unwrap();
    let mut told = watching.chunk().await.unwrap().unwrap().to_vec();
    app.delete(&format!("/train/{running}")).await;
    while !told.windows(12).any(|bytes| bytes == b"event: epoch") {
        told.extend(watching.chunk().await.unwrap().unwrap());
    }
    app.delete(&format!("/train/{waiting}")).await;
    told.extend(watching.bytes().await.unwrap());
    let events = parse(std::str::from_utf8(&told).unwrap());
    let states: Vec<&Value> =
        events.iter().filter(|event| event.kind == "state").map(|event| &event.data).collect();
    assert_eq!(states, [&json!({"state": "queued"}), &json!({"state": "running"})]);
    assert_eq!(events[1].kind, "progress");
    assert_eq!(events[1].data, json!({"phase": "queued"}));
    assert!(events[..2].iter().all(|event| event.id.is_none()));
    let job = app.ended(&waiting).await;
    assert_eq!((events.last().unwrap().kind.as_str(), &events.last().unwrap().data), ("end", &job));
    assert!(job.get("progress").is_none(), "{job}");
}

#[tokio::test]
async fn a_cross_validation_is_told_as_it_goes_and_ends_when_cancelled() {
    let app = TestApp::start().await;
    let examples: Vec<Value> = (0..12)
        .map(|number| {
            let label = ["Negative", "Positive"][number % 2];
            json!({"text": format!("film {number}"), "labels": {"sentiment": label}})
        })
        .collect();
    let endless = json!({
        "examples": examples, "solver": "adam", "learning_rate": 1e-9,
        "epochs": 4_000_000_000_u32, "patience": 4_000_000_000_u32,
    });
    let id = app.submit(endless).await;
    let request = app.request(Method::GET, &format!("/train/{id}/events"));
    let mut watching = request.send().await.unwrap();
    let mut told = Vec::new();
    while !told.windows(16).any(|bytes| bytes == b"cross_validation") {
        told.extend(watching.chunk().await.unwrap().unwrap());
    }
    let job = app.get(&format!("/train/{id}")).await.1;
    let progress = &job["progress"];
    assert_eq!(progress["phase"], "cross_validation", "{job}");
    assert_eq!(progress["total"], 4_000_000_000_u32, "{job}");
    assert!(progress["done"].is_u64(), "{job}");
    app.delete(&format!("/train/{id}")).await;
    let job = app.ended(&id).await;
    assert_eq!((&job["state"], epochs(&job).len()), (&json!("cancelled"), 0), "{job}");
}

#[tokio::test]
async fn a_job_of_many_epochs_is_told_whole() {
    let app = TestApp::start().await;
    let id =
        app.submit(json!({"examples": seed_examples(), "solver": "adam", "epochs": 3000})).await;
    let response = app.request(Method::GET, &format!("/train/{id}/events")).send().await.unwrap();
    assert_eq!(lasting(parse(&response.text().await.unwrap())).len(), 3001);
}

struct Event {
    kind: String,
    id: Option<String>,
    data: Value,
}

/// The events that stay as they are whenever one looks.
fn lasting(mut events: Vec<Event>) -> Vec<Event> {
    events.retain(|event| event.id.is_some());
    events
}

/// Reads `text/event-stream`; comments, which keep a connection alive, are passed over.
fn parse(stream: &str) -> Vec<Event> {
    let events = stream.split("\n\n").map(|event| {
        let field = |name: &str| {
            let lines = event.lines().filter_map(|line| line.split_once(": "));
            lines.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).next()
        };
        Some(Event {
            kind: field("event")?,
            id: field("id"),
            data: serde_json::from_str(&field("data")?).unwrap(),
        })
    });
    events.flatten().collect()
}
