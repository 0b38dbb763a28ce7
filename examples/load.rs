//! A load generator: keep-alive connections that ask a server for embeddings, each the next request
//! as soon as the last one is answered, or at a given rate. Bodies are made beforehand and answers
//! only counted, so that little of the machine goes to it.
//!
//! ```sh
//! load http://127.0.0.1:8080/embed lines.txt --seconds 5 4x32 1x1
//! ```
//!
//! `4x32` is a client with 4 connections and 32 sentences to a request, `4x32@50` one that makes 50
//! requests a second in all; several of them run at the same time. Prints one JSON array, an object for
//! each client.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use clap::Parser;
use futures::future::{join_all, try_join_all};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// Ask a server for embeddings as fast as it answers.
#[derive(Parser)]
struct Arguments {
    /// Where to POST, such as http://127.0.0.1:8080/embed.
    url: Uri,
    /// Sentences, one a line; they are sent in turn, over and over.
    sentences: PathBuf,
    /// How long to go on; requests in flight by then are finished and counted.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Connections x sentences to a request, and @ requests a second.
    #[arg(required = true, value_parser = parse_client, value_name = "4x32")]
    clients: Vec<Client>,
}

#[derive(Clone, Copy)]
struct Client {
    connections: usize,
    inputs: usize,
    /// Requests a second of all connections together; without it, as many as are answered.
    rate: Option<f64>,
}

fn parse_client(text: &str) -> Result<Client, String> {
    let parse = || {
        let (shape, rate) =
            text.split_once('@').map_or((text, None), |(it, rate)| (it, Some(rate)));
        let rate =
            rate.map(|rate| rate.parse().ok().filter(|&it: &f64| it > 0.0 && it.is_finite()));
        let (connections, inputs) = shape.split_once('x')?;
        let (connections, inputs) = (connections.parse().ok()?, inputs.parse().ok()?);
        let client =
            Client { connections, inputs, rate: rate.map_or(Some(None), |it| it.map(Some))? };
        (connections > 0 && inputs > 0).then_some(client)
    };
    parse().ok_or_else(|| {
        "expected CONNECTIONSxSENTENCES or CONNECTIONSxSENTENCES@RATE, such as 4x32 or 4x32@50"
            .to_owned()
    })
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let text = fs::read_to_string(&arguments.sentences)
        .with_context(|| format!("cannot read {}", arguments.sentences.display()))?;
    let sentences: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    ensure!(!sentences.is_empty(), "{} has no sentences", arguments.sentences.display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    let results = tasks.block_on(&runtime, run(&arguments, &sentences))?;
    println!("{}", serde_json::to_string_pretty(&results)?);
    Ok(())
}

async fn run(arguments: &Arguments, sentences: &[&str]) -> anyhow::Result<Vec<Value>> {
    let mut clients = Vec::new();
    for client in &arguments.clients {
        let bodies = bodies(sentences, client.inputs);
        let turns = Rc::new(Turns { rate: client.rate, taken: Cell::new(0) });
        let open = || Connection::open(&arguments.url, Rc::clone(&bodies), Rc::clone(&turns));
        let opening = (0..client.connections).map(|_| open());
        clients.push((*client, try_join_all(opening).await?));
    }
    let deadline = Instant::now() + Duration::from_secs_f64(arguments.seconds);
    let running = clients.into_iter().map(|(client, connections)| async move {
        let started = Instant::now();
        let running = connections.into_iter().map(|it| it.run(started, deadline));
        let times = try_join_all(running).await?;
        anyhow::Ok(report(client, times.concat(), started.elapsed()))
    });
    join_all(running).await.into_iter().collect()
}

/// Request bodies that go through all sentences in turn.
fn bodies(sentences: &[&str], inputs: usize) -> Rc<[Bytes]> {
    let count = sentences.len().div_ceil(inputs);
    let mut turn = sentences.iter().cycle();
    let body = |_| {
        let inputs: Vec<&str> = turn.by_ref().take(inputs).copied().collect();
        Bytes::from(json!({ "inputs": inputs }).to_string())
    };
    (0..count).map(body).collect()
}

/// A client's requests, which its connections take in turn.
struct Turns {
    rate: Option<f64>,
    taken: Cell<usize>,
}

impl Turns {
    /// The number of the next request, and when it is due. With a rate that is the same whatever came
    /// of earlier ones: a request that finds no connection free has waited since then, and what a user
    /// would have waited must not go uncounted.
    fn take(&self, started: Instant) -> (usize, Instant) {
        let turn = self.taken.get();
        self.taken.set(turn + 1);
        let due = self.rate.map(|rate| started + Duration::from_secs_f64(turn as f64 / rate));
        (turn, due.unwrap_or_else(Instant::now))
    }
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    url: Uri,
    bodies: Rc<[Bytes]>,
    turns: Rc<Turns>,
}

impl Connection {
    /// Connects, and checks that the server answers as it should.
    async fn open(url: &Uri, bodies: Rc<[Bytes]>, turns: Rc<Turns>) -> anyhow::Result<Connection> {
        let authority = url.authority().context("the URL has no host")?.as_str();
        let stream = TcpStream::connect(authority)
            .await
            .with_context(|| format!("cannot connect to {authority}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(connection);
        let mut connection = Connection { sender, url: url.clone(), bodies, turns };
        let body = json!({"inputs": ["One.", "And another one."]}).to_string();
        let answer = connection.send(body.into()).await?.collect().await?.to_bytes();
        let embeddings: Vec<Vec<f32>> =
            serde_json::from_slice(&answer).context("the answer is not a list of embeddings")?;
        ensure!(embeddings.len() == 2, "2 sentences got {} embeddings", embeddings.len());
        Ok(connection)
    }

    /// Sends request after request until `deadline`; returns how long after it was due each had
    /// its answer.
    async fn run(mut self, started: Instant, deadline: Instant) -> anyhow::Result<Vec<Duration>> {
        let mut times = Vec::new();
        loop {
            let (turn, due) = self.turns.take(started);
            if due >= deadline && !times.is_empty() {
                return Ok(times);
            }
            let since = if Instant::now() < due {
                tokio::time::sleep_until(due.into()).await;
                // The timer's own lateness, up to a millisecond, is not the server's.
                Instant::now()
            } else {
                due
            };
            let mut answer = self.send(self.bodies[turn % self.bodies.len()].clone()).await?;
            while let Some(part) = answer.frame().await {
                part?;
            }
            times.push(since.elapsed());
        }
    }

    /// Sends one request; returns the answer's body, which is still to be read.
    async fn send(&mut self, body: Bytes) -> anyhow::Result<Incoming> {
        let request = Request::post(self.url.path())
            .header(header::HOST, self.url.authority().map_or("", |it| it.as_str()))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body();
        if status != StatusCode::OK {
            let told = body.collect().await?.to_bytes();
            bail!("the server answered {status}: {}", String::from_utf8_lossy(&told));
        }
        Ok(body)
    }
}

fn report(client: Client, mut times: Vec<Duration>, elapsed: Duration) -> Value {
    times.sort_unstable();
    // Nearest rank.
    let percentile =
        |share: f64| times[(share * times.len() as f64).ceil() as usize - 1].as_secs_f64();
    let sentences = times.len() * client.inputs;
    json!({
        "connections": client.connections,
        "inputs": client.inputs,
        "requests": times.len(),
        "sentences": sentences,
        "seconds": elapsed.as_secs_f64(),
        "sentences_per_second": sentences as f64 / elapsed.as_secs_f64(),
        "p50": percentile(0.5),
        "p99": percentile(0.99),
        "max": percentile(1.0),
    })
}
