//! `GET /train/{id}/events`: a job as it happens, as server-sent events.

use std::convert::Infallible;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::{Stream, StreamExt, stream};
use tokio::sync::watch;

use crate::http::AppState;
use crate::http::error::Problem;
use crate::http::parameters::Segment;
use crate::readiness::Phase;
use crate::training::job::{EpochReport, Job, JobState};

/// The header by which a client that lost its connection says what it saw last.
const LAST_EVENT_ID: &str = "last-event-id";

/// Streams `epoch` events, whose ids are the epochs' numbers, and at last an `end` event with the
/// whole job. A stream that ends without one was cut off, by a shutdown for example; a client that
/// comes back with `Last-Event-ID` goes on behind what it has seen.
pub async fn events(
    State(state): State<AppState>,
    Segment(id): Segment,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    super::find(&state, &id).await?;
    let seen = headers
        .get(LAST_EVENT_ID)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse().ok());
    let changes = state.trainer.changes();
    let phase = state.readiness.changes();
    let watcher = Watcher { state, id, changes, phase, seen, ended: false };
    let events = stream::unfold(watcher, Watcher::next).flat_map(stream::iter).map(Ok);
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

struct Watcher {
    state: AppState,
    id: String,
    changes: watch::Receiver<u64>,
    phase: watch::Receiver<Phase>,
    /// The last epoch that was sent.
    seen: Option<u32>,
    ended: bool,
}

impl Watcher {
    /// All events since the last ones: the record of a job is read once for many epochs.
    async fn next(mut self) -> Option<(Vec<Event>, Watcher)> {
        while !self.ended {
            // Marked as seen before the look, so that no change between the two is missed.
            self.changes.mark_unchanged();
            // A store that does not answer ends the stream; the client comes back by itself.
            let job = self.state.store.job(&self.id).await.ok()??;
            let events = self.events(&job);
            if !events.is_empty() {
                return Some((events, self));
            }
            // A shutdown ends a running job, which is worth telling; a stream for one that waits
            // would only hold it up.
            let more_to_tell = match self.state.readiness.phase() {
                Phase::Starting | Phase::Ready => true,
                Phase::Draining => job.state == JobState::Running,
                Phase::Failed => false,
            };
            if !more_to_tell {
                return None;
            }
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                // The phase: a trainer that died tells nobody anything any more.
                changed = self.phase.changed() => changed.ok()?,
            }
        }
        None
    }

    fn events(&mut self, job: &Job) -> Vec<Event> {
        let unseen = |report: &&EpochReport| self.seen.is_none_or(|seen| report.epoch > seen);
        let mut events: Vec<Event> = job.epochs.iter().filter(unseen).map(epoch).collect();
        self.seen = job.epochs.last().map(|report| report.epoch).max(self.seen);
        self.ended = !matches!(job.state, JobState::Queued | JobState::Running);
        if self.ended {
            events.push(Event::default().event("end").json_data(job).expect("a job is plain data"));
        }
        events
    }
}

fn epoch(report: &EpochReport) -> Event {
    let event = Event::default().event("epoch").id(report.epoch.to_string());
    event.json_data(report).expect("a report is plain data")
}
