//! A running server and a client of it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::http::{Request, Response};
use ureq::{Agent, Body};

use crate::process::{Ended, PATIENCE, Process, Signal};

/// A server that has printed its address.
pub struct Server {
    pub url: String,
    pub process: Process,
    client: Agent,
}

/// A status and a body, JSON where it is JSON.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Value,
}

impl Server {
    /// Waits until the server is ready.
    pub fn start(command: &mut Command) -> Server {
        let server = Server::listening(command);
        server.wait_until_ready();
        server
    }

    /// Waits until the server listens, no longer.
    pub fn listening(command: &mut Command) -> Server {
        Server::of(Process::spawn(command))
    }

    /// The server that a process is, once it listens.
    pub fn of(process: Process) -> Server {
        let Some(line) = process.stdout.line_with("listening on ") else {
            panic!("the server ended: {:#?}", process.ended());
        };
        let url = line.strip_prefix("listening on ").unwrap().to_owned();
        let client = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .proxy(None)
            .build()
            .into();
        Server { url, process, client }
    }

    /// Asks `/readyz` until it says so.
    pub fn wait_until_ready(&self) {
        self.wait_for_readiness(200);
    }

    /// Asks `/readyz` until it answers `status`.
    pub fn wait_for_readiness(&self, status: u16) {
        let deadline = Instant::now() + PATIENCE;
        while self.get("/readyz").status != status {
            assert!(Instant::now() < deadline, "/readyz never answered {status}");
            // A start or an end is logged in several lines: a good moment to ask again.
            self.process.stderr.wait_for_news(Duration::from_millis(50));
        }
    }

    pub fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], Vec::new())
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path, &[], Vec::new())
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.request("POST", path, &[], body.to_string().into_bytes())
    }

    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.request("PUT", path, &[], body.to_string().into_bytes())
    }

    /// A request with a JSON body, or with none where `body` is empty.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        Answer::read(self.send(method, path, headers, body))
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = if body.is_empty() {
            self.client.run(request.body(()).unwrap())
        } else {
            let request = request.header("content-type", "application/json");
            self.client.run(request.body(body).unwrap())
        };
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// The embeddings of `texts`.
    pub fn embed(&self, texts: &[&str]) -> Vec<Vec<f64>> {
        let answer = self.post("/embed", &json!({"inputs": texts}));
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_value(answer.body).unwrap()
    }

    /// Submits a training and gives the job's id.
    pub fn train(&self, request: &Value) -> String {
        let answer = self.post("/train", request);
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.body["id"].as_str().unwrap().to_owned()
    }

    pub fn job(&self, id: &str) -> Value {
        let answer = self.get(&format!("/train/{id}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// A job's events: epochs as they come, then its end.
    pub fn events(&self, id: &str) -> impl Iterator<Item = String> + use<> {
        let answer = self.send("GET", &format!("/train/{id}/events"), &[], Vec::new());
        assert_eq!(answer.status(), 200, "{:#?}", self.process.stderr);
        let lines = BufReader::new(answer.into_body().into_reader()).lines();
        lines
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("event: ").map(str::to_owned))
            .filter(|event| event == "epoch" || event == "end")
    }

    /// Waits for a job to end and gives its record.
    pub fn finished(&self, id: &str) -> Value {
        // The last event is the end; a server that dies ends the stream as well.
        let last = self.events(id).last();
        assert_eq!(last.as_deref(), Some("end"), "{:?}", self.process.stderr);
        self.job(id)
    }

    /// Ends the server by a signal and gives what it left behind.
    pub fn end(self, signal: Signal) -> Ended {
        self.process.signal(signal);
        self.process.ended()
    }

    /// Ends the server as an orchestrator does, and expects that to go well.
    pub fn stop(self) -> Ended {
        let ended = self.end(Signal::Term);
        assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
        ended
    }
}

impl Answer {
    fn read(mut answer: Response<Body>) -> Answer {
        let status = answer.status().as_u16();
        let headers = answer.headers().iter();
        let headers = headers
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        let body = answer.body_mut().read_to_vec().unwrap();
        let body = serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
        Answer { status, headers, body }
    }

    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

/// Examples that two tasks learn from; `round` makes them differ from those of other rounds.
pub fn examples(count: usize, round: usize) -> Value {
    let topics = [
        ("market price stock", "Finance"),
        ("film actor story", "Entertainment"),
        ("computer idea work", "Technology"),
    ];
    let moods = [("good great", "Positive"), ("bad dull", "Negative")];
    (0..count)
        .map(|index| {
            let (words, topic) = topics[index % topics.len()];
            let (mood, sentiment) = moods[index % moods.len()];
            json!({
                "text": format!("{mood} {words} {} {}", index, round),
                "labels": {"topic": topic, "sentiment": sentiment},
            })
        })
        .collect()
}

/// A training that goes on for so many epochs, each of which is written to the disk.
pub fn training(round: usize, epochs: u32) -> Value {
    json!({
        "examples": examples(300, round),
        "solver": "adam",
        "epochs": epochs,
        "batch_size": 4,
        "seed": round,
    })
}

/// Epochs that no test waits for.
pub const ENDLESS: u32 = 1_000_000;
