//! `GET /train/{id}/events`: a job as it happens, as server-sent events.

use std::convert::Infallible;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::Stream;
use futures::stream;
use tokio::sync::watch;

use crate::http::AppState;
use crate::http::error::Problem;
use crate::http::parameters::Segment;
use crate::readiness::Phase;
use crate::training::job::{Job, JobState};

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
    let watcher = Watcher { state, id, changes, seen, ended: false };
    Ok(Sse::new(stream::unfold(watcher, Watcher::next)).keep_alive(KeepAlive::default()))
}

struct Watcher {
    state: AppState,
    id: String,
    changes: watch::Receiver<u64>,
    /// The last epoch that was sent.
    seen: Option<u32>,
    ended: bool,
}

impl Watcher {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Watcher)> {
        while !self.ended {
            // Marked as seen before the look, so that no change between the two is missed.
            self.changes.mark_unchanged();
            // A store that does not answer ends the stream; the client comes back by itself.
            let job = self.state.store.job(&self.id).await.ok()??;
            if let Some(event) = self.event(&job) {
                return Some((Ok(event), self));
            }
            // A stream for a job that waits would hold up the shutdown for as long as it may take.
            if self.state.readiness.phase() != Phase::Ready {
                return None;
            }
            self.changes.changed().await.ok()?;
        }
        None
    }

    fn event(&mut self, job: &Job) -> Option<Event> {
        let unseen = |epoch: u32| self.seen.is_none_or(|seen| epoch > seen);
        if let Some(report) = job.epochs.iter().find(|report| unseen(report.epoch)) {
            self.seen = Some(report.epoch);
            let event = Event::default().event("epoch").id(report.epoch.to_string());
            return Some(event.json_data(report).expect("a report is plain data"));
        }
        if matches!(job.state, JobState::Queued | JobState::Running) {
            return None;
        }
        self.ended = true;
        Some(Event::default().event("end").json_data(job).expect("a job is plain data"))
    }
}
