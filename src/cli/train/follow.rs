//! A job from its events to its end, as a bar on a terminal and as lines elsewhere.

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use serde_json::Value;

use super::sse::{Event, Events};
use crate::cli::client::{Client, Refusal};
use crate::cli::output::say;

/// How often in a row to come back to a server that does not answer.
const RETRIES: usize = 30;

const PAUSE: Duration = Duration::from_secs(1);

/// What a person sees of a job; clones share it.
#[derive(Clone)]
pub struct Bar {
    bar: ProgressBar,
    lines: bool,
}

/// Watches a job until it ends, also across interruptions, and gives its record.
pub fn follow(client: &Client, job: &str, bar: &Bar) -> anyhow::Result<Value> {
    let mut seen: Option<String> = None;
    let mut failures = 0;
    let mut shown = Shown::default();
    loop {
        match client.events(job, seen.as_deref()) {
            Ok(stream) => {
                // An error breaks the stream off, as its end does.
                for event in Events::of(stream).map_while(Result::ok) {
                    let data = serde_json::from_str(&event.data);
                    let data: Value = data.context("an event is not JSON")?;
                    if event.name == "end" {
                        bar.clear();
                        return Ok(data);
                    }
                    shown.take(&event, &data, bar);
                    seen = event.id.or(seen);
                    failures = 0;
                }
            }
            // It answers, but not for this job: to ask again would not help.
            Err(error) if error.is::<Refusal>() => return Err(error),
            Err(error) if failures >= RETRIES => {
                return Err(error.context(format!("lost sight of job {job}, which may still run")));
            }
            Err(_) => {}
        }
        if failures >= RETRIES {
            bail!("the server breaks off the events of job {job} at once; it may still run");
        }
        failures += 1;
        sleep(PAUSE);
    }
}

/// What was said last.
#[derive(Default)]
struct Shown(String);

impl Shown {
    fn take(&mut self, event: &Event, data: &Value, bar: &Bar) {
        match event.name.as_str() {
            "state" => self.say(&data["state"], bar),
            "progress" => {
                self.say(&data["phase"], bar);
                bar.progress(data);
            }
            "epoch" => bar.epoch(data),
            _ => {}
        }
    }

    fn say(&mut self, what: &Value, bar: &Bar) {
        let what = what.as_str().unwrap_or_default().replace('_', " ");
        if self.0 != what {
            bar.say(&what);
            self.0 = what;
        }
    }
}

impl Bar {
    pub fn new() -> Bar {
        let bar = ProgressBar::no_length();
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
        bar.set_style(style.expect("the template is sound"));
        Bar { bar, lines: !io::stderr().is_terminal() }
    }

    /// Clears the screen's line for a last message.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn say(&self, what: &str) {
        if self.lines {
            say(what);
        } else {
            self.bar.set_message(what.to_owned());
        }
    }

    fn progress(&self, data: &Value) {
        let (Some(done), Some(total)) = (data["done"].as_u64(), data["total"].as_u64()) else {
            // How long this phase takes is not known: the former one's measure is not its own.
            self.bar.unset_length();
            self.bar.set_position(0);
            return;
        };
        self.bar.set_length(total);
        self.bar.set_position(done);
        let mut message = data["phase"].as_str().unwrap_or_default().replace('_', " ");
        if let Some(fit) = fit(data) {
            write!(message, ", {fit}").expect("a string takes all");
        }
        if let Some(left) = data["seconds_left"].as_f64() {
            let left = Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX);
            write!(message, ", {} left", HumanDuration(left)).expect("a string takes all");
        }
        self.bar.set_message(message);
    }

    fn epoch(&self, report: &Value) {
        self.bar.set_position(report["epoch"].as_u64().unwrap_or_default());
        if let Some(loss) = report["loss"].as_f64() {
            self.bar.set_message(format!("fitting, loss {loss:.4}"));
        }
    }
}

/// Which fit of a cross-validation is going on.
fn fit(data: &Value) -> Option<String> {
    let [strength, strengths, fold, folds] = ["strength", "strengths", "fold", "folds"]
        .map(|name| data[name].as_u64().map(|number| number.to_string()));
    Some(format!("strength {} of {}, fold {} of {}", strength?, strengths?, fold?, folds?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(events: &[Value]) -> (Option<u64>, u64, String) {
        let bar = Bar { bar: ProgressBar::hidden(), lines: false };
        events.iter().for_each(|event| bar.progress(event));
        (bar.bar.length(), bar.bar.position(), bar.bar.message())
    }

    #[test]
    fn a_phase_has_its_own_length_or_none_and_never_the_one_before() {
        let embedding =
            json!({"phase": "embedding", "done": 256, "total": 512, "seconds_left": 4.0});
        let fitting = json!({"phase": "fitting", "done": 3, "total": 100, "seconds_left": null});
        let publishing = json!({"phase": "publishing"});
        let events = [embedding, publishing.clone(), fitting, publishing];
        for (seen, length, position) in
            [(1, Some(512), 256), (2, None, 0), (3, Some(100), 3), (4, None, 0)]
        {
            let (found, at, _) = shown(&events[..seen]);
            assert_eq!((found, at), (length, position), "after {seen} events");
        }
    }

    #[test]
    fn a_cross_validation_shows_what_it_fits_and_the_time_left() {
        let search = json!({
            "phase": "cross_validation", "done": 11, "total": 60, "seconds_left": 4.0,
            "l2": 0.3, "strength": 3, "strengths": 7, "fold": 2, "folds": 5,
        });
        let (length, position, message) = shown(&[search]);
        assert_eq!((length, position), (Some(60), 11));
        assert_eq!(message, "cross validation, strength 3 of 7, fold 2 of 5, 4 seconds left");
    }
}
