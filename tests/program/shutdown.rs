//! Asked to end: readiness first, then what is in flight, then the exit status that tells how it
//! went.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use toml::toml;

use crate::process::{PATIENCE, Signal};
use crate::server::{ENDLESS, Server, training};
use crate::site::Site;
use crate::start::loading_for_ever;

#[test]
fn sigterm_and_sigint_end_an_idle_server_with_status_0() {
    for signal in [Signal::Term, Signal::Int] {
        let site = Site::new();
        let ended = site.start().end(signal);
        assert_eq!(ended.status.code(), Some(0), "SIG{signal}: {ended:#?}");
    }
}

#[test]
fn readiness_falls_at_once_and_requests_are_answered_during_the_delay() {
    for signal in [Signal::Term, Signal::Int] {
        // Longer than the test: whatever is seen below is seen during the delay.
        let site = Site::with(toml! { [server.shutdown] delay = "1h" });
        let server = site.start();
        server.process.signal(signal);
        server.wait_for_readiness(503);
        assert_eq!(server.get("/readyz").code(), "draining");
        assert_eq!(server.get("/livez").status, 200);
        assert_eq!(server.get("/startupz").status, 200);
        assert_eq!(server.embed(&["fun"]).len(), 1);
        let refused = server.post("/train", &training(0, 1));
        assert_eq!((refused.status, refused.code()), (503, "draining"), "{refused:?}");
    }
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    // With the statuses that a shell reports for a process that died of such a signal.
    for (second, status) in [(Signal::Term, 143), (Signal::Int, 130)] {
        let site = Site::with(toml! { [server.shutdown] delay = "1h" });
        let server = site.start();
        server.process.signal(Signal::Term);
        server.wait_for_readiness(503);
        let ended = server.end(second);
        assert_eq!(ended.status.code(), Some(status), "{ended:#?}");
    }
}

#[test]
fn the_server_ends_after_the_delay() {
    let site = Site::with(toml! { [server.shutdown] delay = "700ms" });
    let server = site.start();
    let asked = Instant::now();
    server.stop();
    assert!(asked.elapsed() >= Duration::from_millis(700), "{:?}", asked.elapsed());
}

#[test]
fn a_request_in_flight_is_finished() {
    let site = Site::new();
    let server = site.start();
    let mut request = HalfSent::embed(&server, "fun");
    server.process.signal(Signal::Term);
    wait_until_closed(&server);
    let answer = request.finish();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(serde_json::from_str::<Vec<Vec<f32>>>(body).unwrap()[0].len(), 32);
    let ended = server.process.ended();
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
}

#[test]
fn a_request_that_outlasts_the_grace_time_is_cut_off_and_reported() {
    let site = Site::with(toml! { [server.shutdown] grace = "300ms" });
    let server = site.start();
    let _request = HalfSent::embed(&server, "fun");
    let ended = server.end(Signal::Term);
    assert_eq!(ended.status.code(), Some(1), "{ended:#?}");
    let last = ended.stderr.last().unwrap();
    assert!(last.starts_with("polyhead: ") && last.contains("300ms"), "{ended:#?}");
}

#[test]
fn connections_without_a_request_do_not_hold_up_the_end() {
    let site = Site::new();
    let server = site.start();
    let untouched = TcpStream::connect(server.address()).unwrap();
    let mut used = TcpStream::connect(server.address()).unwrap();
    used.write_all(b"GET /livez HTTP/1.1\r\nHost: polyhead\r\n\r\n").unwrap();
    let mut status = String::new();
    BufReader::new(used.try_clone().unwrap()).read_line(&mut status).unwrap();
    assert_eq!(status, "HTTP/1.1 200 OK\r\n");
    // Status 0 says that nothing had to be cut off.
    server.stop();
    drop((untouched, used));
}

#[test]
fn a_running_training_is_cancelled_and_recorded() {
    for signal in [Signal::Term, Signal::Int] {
        let site = Site::new();
        let server = site.start();
        let running = server.train(&training(0, ENDLESS));
        let waiting = server.train(&training(1, 2));
        assert_eq!(server.events(&running).next().as_deref(), Some("epoch"));
        let ended = server.end(signal);
        assert_eq!(ended.status.code(), Some(0), "{ended:#?}");

        let server = site.start();
        let job = server.job(&running);
        assert_eq!(job["state"], "cancelled", "{job}");
        assert!(job["reason"].as_str().unwrap().contains("shut down"), "{job}");
        assert!(!job["epochs"].as_array().unwrap().is_empty(), "its progress is kept");
        assert_eq!(job["published"], json!({}));
        // What had not begun is no casualty.
        assert_eq!(server.finished(&waiting)["state"], "succeeded");
    }
}

#[test]
fn those_who_watch_a_training_are_told_of_its_end() {
    let site = Site::new();
    let server = site.start();
    let running = server.train(&training(0, ENDLESS));
    let mut events = server.events(&running);
    assert_eq!(events.next().as_deref(), Some("epoch"));
    server.process.signal(Signal::Term);
    assert_eq!(events.last().as_deref(), Some("end"));
    let ended = server.process.ended();
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
}

#[test]
fn those_who_watch_a_waiting_job_do_not_hold_up_the_end() {
    let site = Site::new();
    let server = site.start();
    let running = server.train(&training(0, ENDLESS));
    let waiting = server.train(&training(1, 2));
    assert_eq!(server.events(&running).next().as_deref(), Some("epoch"));
    let events = server.events(&waiting);
    server.process.signal(Signal::Term);
    assert_eq!(events.count(), 0, "the job has not begun");
    let ended = server.process.ended();
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
}

#[test]
fn a_server_that_is_still_loading_ends_promptly() {
    for signal in [Signal::Term, Signal::Int] {
        let site = Site::new();
        let server = Server::listening(&mut loading_for_ever(&site));
        let ended = server.end(signal);
        assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    }
}

/// A request that the server has begun to handle and whose body has yet to come.
struct HalfSent {
    stream: TcpStream,
    body: Value,
}

impl HalfSent {
    fn embed(server: &Server, text: &str) -> HalfSent {
        let body = json!({"inputs": text});
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.to_string().len();
        write!(
            stream,
            "POST /embed HTTP/1.1\r\nHost: polyhead\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        // The server asks for the body only once a handler wants it (RFC 9110, 10.1.1).
        let expected = b"HTTP/1.1 100 Continue\r\n\r\n";
        let mut interim = vec![0; expected.len()];
        stream.read_exact(&mut interim).unwrap();
        assert_eq!(interim, expected);
        HalfSent { stream, body }
    }

    /// Sends the body and gives the answer.
    fn finish(&mut self) -> String {
        self.stream.write_all(self.body.to_string().as_bytes()).unwrap();
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

/// Waits until the server takes no new connections.
fn wait_until_closed(server: &Server) {
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(server.address()).is_ok() {
        assert!(Instant::now() < deadline, "the server still listens");
        server.process.stderr.wait_for_news(Duration::from_millis(10));
    }
}
