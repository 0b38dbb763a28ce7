//! How far the running job is, and about how much longer it takes. In memory only: the job's record
//! keeps what lasts.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use utoipa::ToSchema;

use crate::training::job::JobState;

/// What is being done for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It waits for its turn.
    Queued,
    /// Its examples are read.
    Gathering,
    /// Texts become embeddings; a step is a text.
    Embedding,
    /// Heads are fit to embeddings; a step is an epoch.
    Fitting,
    /// The new versions become durable, then live.
    Publishing,
}

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct Progress {
    pub phase: Phase,
    /// For the phases whose length is known beforehand.
    #[serde(flatten)]
    pub steps: Option<Steps>,
}

/// How far a phase is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct Steps {
    /// Texts or epochs.
    pub done: usize,
    /// At most: a fit that has converged ends before its last epoch.
    pub total: usize,
    /// Until the end of this phase at the rate so far; `None` before the first step.
    pub seconds_left: Option<f64>,
}

/// The progress of the one job that this process runs: the run writes, whoever asks reads.
#[derive(Default)]
pub struct Meter(Mutex<Option<Work>>);

struct Work {
    job: String,
    phase: Phase,
    done: usize,
    /// 0 where it is not known.
    total: usize,
    since: Instant,
}

impl Meter {
    /// The job enters a phase of `total` steps; 0 where their number is not known.
    pub fn enter(&self, job: &str, phase: Phase, total: usize) {
        let work = Work { job: job.to_owned(), phase, done: 0, total, since: Instant::now() };
        *self.work() = Some(work);
    }

    /// So many steps of the phase have been done in all.
    pub fn reach(&self, done: usize) {
        if let Some(work) = &mut *self.work() {
            work.done = done;
        }
    }

    /// No job runs any more.
    pub fn clear(&self) {
        *self.work() = None;
    }

    /// Where a job is; `None` once it has ended, and where another process runs it.
    pub fn of(&self, job: &str, state: JobState) -> Option<Progress> {
        match state {
            JobState::Queued => Some(Progress { phase: Phase::Queued, steps: None }),
            JobState::Running => {
                let work = self.work();
                work.as_ref().filter(|work| work.job == job).map(Work::progress)
            }
            _ => None,
        }
    }

    fn work(&self) -> MutexGuard<'_, Option<Work>> {
        // Every change is one assignment: a panic leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    fn progress(&self) -> Progress {
        let (done, total) = (self.done, self.total);
        let steps = (total > 0).then(|| Steps {
            done,
            total,
            seconds_left: seconds_left(done, total, self.since.elapsed()),
        });
        Progress { phase: self.phase, steps }
    }
}

/// The time that the steps to come take if each takes as long as one has taken so far; in tenths of
/// a second.
fn seconds_left(done: usize, total: usize, elapsed: Duration) -> Option<f64> {
    let per_step = elapsed.as_secs_f64() / (done > 0).then_some(done as f64)?;
    Some((per_step * total.saturating_sub(done) as f64 * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_the_rate_so_far() {
        let seconds = Duration::from_secs;
        assert_eq!(seconds_left(0, 100, seconds(9)), None);
        assert_eq!(seconds_left(25, 100, seconds(5)), Some(15.0));
        assert_eq!(seconds_left(3, 10, seconds(1)), Some(2.3));
        assert_eq!(seconds_left(100, 100, seconds(5)), Some(0.0));
    }

    #[test]
    fn a_job_has_the_progress_of_its_own_state_and_none_of_anothers() {
        let meter = Meter::default();
        let running = || meter.of("first", JobState::Running);
        let waiting = || meter.of("second", JobState::Queued);
        let queued = Progress { phase: Phase::Queued, steps: None };
        assert_eq!((running(), waiting()), (None, Some(queued)));

        meter.enter("first", Phase::Embedding, 512);
        let steps = Steps { done: 0, total: 512, seconds_left: None };
        let begun = Progress { phase: Phase::Embedding, steps: Some(steps) };
        assert_eq!((running(), waiting()), (Some(begun), Some(queued)));
        meter.reach(256);
        let steps = running().unwrap().steps.unwrap();
        assert_eq!((steps.done, steps.total), (256, 512));
        assert!(steps.seconds_left.is_some());
        meter.enter("first", Phase::Publishing, 0);
        assert_eq!(running(), Some(Progress { phase: Phase::Publishing, steps: None }));

        assert_eq!(meter.of("second", JobState::Running), None);
        assert_eq!(meter.of("first", JobState::Succeeded), None);
        meter.clear();
        assert_eq!(running(), None);
    }
}
