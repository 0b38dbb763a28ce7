//! `GET /train/{id}/events`: a job as it happens, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use futures::{StreamExt, stream};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use utoipa::ToSchema;

use crate::http::AppState;
use crate::http::error::Problem;
use crate::http::parameters::Segment;
use crate::http::train::JobView;
use crate::readiness::Phase;
use crate::training::job::{EpochReport, Job, JobState};
use crate::training::progress::Progress;

/// The header by which a client that lost its connection says what it saw last.
const LAST_EVENT_ID: &str = "last-event-id";

/// The id of the last event; those of epochs are their numbers.
const END: &str = "end";

/// How long to wait for a job's record.
const LOOK: Duration = Duration::from_secs(10);

/// Between two looks at the progress, which changes all the time.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Streams what happens to a job:
///
/// | event | id | data |
/// |---|---|---|
/// | `state` | | `{"state"}`, at the beginning and when it changes |
/// | `progress` | | the job's `progress`, at most once a second |
/// | `epoch` | the epoch's number | the epoch's report |
/// | `end` | `end` | the whole job |
///
/// A stream that ends without `end` was cut off, by a shutdown for example. A client that comes back
/// with `Last-Event-ID` goes on behind what it has seen; one that has seen the end gets 204, at which
/// an `EventSource` stops coming back. A job that runs anew after a crash repeats its epochs bit for
/// bit, so that their numbers hold across attempts.
#[utoipa::path(
    get, path = "/train/{id}/events", tag = "training", operation_id = "watch_job",
    params(
        ("id" = String, Path, description = "The job's id"),
        ("last-event-id" = Option<String>, Header, pattern = "^([0-9]{1,9}|end)?$", description = "The id of the last event that the client has seen"),
    ),
    responses(
        (status = 200, description = "The job's events", body = String, content_type = "text/event-stream"),
        (status = 204, description = "The client has seen the end"),
        (status = 400, description = "invalid_event_id"),
        (status = 404, description = "unknown_job"),
        (status = 503, description = "store_unavailable"),
    ),
)]
pub async fn events(
    State(state): State<AppState>,
    Segment(id): Segment,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    super::find(&state, &id).await?;
    let seen = match last_seen(&headers)? {
        Seen::End => return Ok(StatusCode::NO_CONTENT.into_response()),
        Seen::Nothing => None,
        Seen::Epoch(epoch) => Some(epoch),
    };
    let watcher = Watcher {
        changes: state.trainer.changes(),
        phase: state.readiness.changes(),
        state,
        id,
        told: None,
        progress: None,
        look: Instant::now(),
        seen,
        ended: false,
    };
    let events = stream::unfold(watcher, Watcher::next).flat_map(stream::iter);
    let events = events.map(Ok::<_, Infallible>);
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

/// What a client that comes back has seen.
#[derive(Debug, PartialEq)]
enum Seen {
    Nothing,
    Epoch(u32),
    End,
}

fn last_seen(headers: &HeaderMap) -> Result<Seen, Problem> {
    // An empty id is what the specification resets a client's memory to.
    let Some(id) = headers.get(LAST_EVENT_ID).filter(|id| !id.is_empty()) else {
        return Ok(Seen::Nothing);
    };
    let id = id.to_str().unwrap_or_default();
    if id == END {
        return Ok(Seen::End);
    }
    id.parse().map(Seen::Epoch).map_err(|_| {
        let detail = format!(
            "{LAST_EVENT_ID} is no id of an event here; allowed: an epoch's number, or {END:?}"
        );
        Problem::malformed("invalid_event_id", detail).at(LAST_EVENT_ID)
    })
}

struct Watcher {
    state: AppState,
    id: String,
    changes: watch::Receiver<u64>,
    phase: watch::Receiver<Phase>,
    /// The state and the progress that were sent last.
    told: Option<JobState>,
    progress: Option<Progress>,
    /// When the progress is worth another look.
    look: Instant,
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
            let runs_here = self.state.trainer.runs(&self.id);
            // A store that does not answer ends the stream; the client comes back by itself.
            let job = timeout(LOOK, self.state.store.job(&self.id)).await.ok()?.ok()??;
            if job.state.has_ended() {
                self.state.trainer.let_go(&self.id).await;
            }
            let events = self.events(&job);
            if !events.is_empty() {
                return Some((events, self));
            }
            // A shutdown ends the job that runs here, which is worth telling; a stream for another one
            // would only hold it up.
            let more_to_tell = match self.state.readiness.phase() {
                Phase::Starting | Phase::Ready => true,
                Phase::Draining => job.state == JobState::Running && runs_here,
                Phase::Failed => false,
            };
            if !more_to_tell {
                return None;
            }
            if let Some(event) = self.until_a_change(&job).await? {
                return Some((vec![event], self));
            }
        }
        None
    }

    /// Waits until there is reason to read the job's record again, or tells of its progress first.
    async fn until_a_change(&mut self, job: &Job) -> Option<Option<Event>> {
        loop {
            tokio::select! {
                changed = self.changes.changed() => return changed.ok().map(|()| None),
                // The phase: a trainer that died tells nobody anything any more.
                changed = self.phase.changed() => return changed.ok().map(|()| None),
                () = sleep_until(self.look) => {}
            }
            if let Some(event) = self.progress(job) {
                return Some(Some(event));
            }
            // Nothing here tells what other replicas do.
            if self.state.store.is_shared() && !self.state.trainer.runs(&self.id) {
                return Some(None);
            }
        }
    }

    fn events(&mut self, job: &Job) -> Vec<Event> {
        let mut events = Vec::new();
        self.ended = job.state.has_ended();
        if self.told != Some(job.state) && !self.ended {
            self.told = Some(job.state);
            events.push(event("state", &StateEvent { state: job.state }));
        }
        let unseen = |report: &&EpochReport| self.seen.is_none_or(|seen| report.epoch > seen);
        let epochs = job.epochs.iter().filter(unseen);
        events.extend(epochs.map(|report| event("epoch", report).id(report.epoch.to_string())));
        self.seen = job.epochs.last().map(|report| report.epoch).max(self.seen);
        if self.look <= Instant::now() {
            events.extend(self.progress(job));
        }
        if self.ended {
            events.push(event("end", &JobView::of(job.clone(), &self.state)).id(END));
        }
        events
    }

    fn progress(&mut self, job: &Job) -> Option<Event> {
        self.look = Instant::now() + PROGRESS_EVERY;
        let progress = self.state.trainer.progress(job);
        if progress == self.progress {
            return None;
        }
        self.progress = progress;
        progress.map(|progress| event("progress", &progress))
    }
}

/// The data of a `state` event.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct StateEvent {
    state: JobState,
}

fn event(name: &str, data: &impl Serialize) -> Event {
    Event::default().event(name).json_data(data).expect("what is told is plain data")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn seen(id: &'static [u8]) -> Result<Seen, Problem> {
        let id = HeaderValue::from_bytes(id).unwrap();
        last_seen(&HeaderMap::from_iter([(LAST_EVENT_ID.parse().unwrap(), id)]))
    }

    #[test]
    fn an_id_is_an_epoch_or_the_end() {
        assert_eq!(last_seen(&HeaderMap::new()).unwrap(), Seen::Nothing);
        assert_eq!(seen(b"").unwrap(), Seen::Nothing);
        assert_eq!(seen(b"0").unwrap(), Seen::Epoch(0));
        assert_eq!(seen(b"17").unwrap(), Seen::Epoch(17));
        assert_eq!(seen(b"end").unwrap(), Seen::End);
        for impossible in [&b"-1"[..], b"4294967296", b"1.5", b"first", b"\xff"] {
            assert!(seen(impossible).is_err(), "{impossible:?}");
        }
    }
}
