//! How far the running job is, and about how much longer it takes. What is known here is told to other
//! replicas with each renewal of the job's lease.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::training::job::JobState;
use crate::training::selection::{FoldFit, Stage};

/// What is being done for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It waits for its turn.
    Queued,
    /// Its examples are read.
    Gathering,
    /// Texts become embeddings; a step is a text.
    Embedding,
    /// How strong the penalty is, how sure a head may be, or when to stop is found out on parts of the rows;
    /// a step is a fit to one part, or, where it is about when to stop, an epoch.
    CrossValidation,
    /// Heads are fit to embeddings; a step is an epoch.
    Fitting,
    /// The same once more, with the rows that were held out; a step is an epoch of a task.
    Refitting,
    /// The new versions become durable, then live.
    Publishing,
}

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    pub phase: Phase,
    /// For the phases whose length is known beforehand.
    #[serde(flatten, default)]
    pub steps: Option<Steps>,
    /// Of a cross-validation: what is being fit.
    #[serde(flatten, default)]
    pub fit: Option<FoldFit>,
}

/// How far a phase is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Steps {
    /// Texts, fits or epochs.
    pub done: usize,
    /// At most: a fit that has converged ends before its last epoch, a search when it gets worse.
    pub total: usize,
    /// Until the end of this phase at the rate so far; `None` before the first step. The fits of a
    /// cross-validation take longer and longer, but most often fewer are needed.
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
    fit: Option<FoldFit>,
    /// The phase's beginning, and its last step.
    since: Instant,
    last: Instant,
}

impl Meter {
    /// The job enters a phase of `total` steps; 0 where their number is not known.
    pub fn enter(&self, job: &str, phase: Phase, total: usize) {
        let now = Instant::now();
        let job = job.to_owned();
        *self.work() = Some(Work { job, phase, done: 0, total, fit: None, since: now, last: now });
    }

    /// So many steps of the phase have been done in all.
    pub fn reach(&self, done: usize) {
        if let Some(work) = &mut *self.work() {
            work.done = done;
        }
    }

    /// The `done`th step has been done of a phase of `total` steps. If that is not the phase that was
    /// entered last, it began when that did its last step.
    pub fn step(&self, phase: Phase, done: usize, total: usize) {
        if let Some(work) = &mut *self.work() {
            work.step(phase, (done, total), Instant::now());
        }
    }

    /// As [`Meter::step`], for a cross-validation.
    pub fn cross_validate(&self, Stage { done, total, fit }: Stage) {
        if let Some(work) = &mut *self.work() {
            work.step(Phase::CrossValidation, (done, total), Instant::now());
            work.fit = fit;
        }
    }

    /// No job runs any more.
    pub fn clear(&self) {
        *self.work() = None;
    }

    /// Where a job is; `None` once it has ended, and where another process runs it.
    pub fn of(&self, job: &str, state: JobState) -> Option<Progress> {
        match state {
            JobState::Queued => Some(Progress { phase: Phase::Queued, steps: None, fit: None }),
            JobState::Running => {
                let work = self.work();
                let work = work.as_ref().filter(|work| work.job == job);
                work.map(|work| work.progress(Instant::now()))
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
    fn step(&mut self, phase: Phase, (done, total): (usize, usize), now: Instant) {
        if self.phase != phase {
            (self.phase, self.since) = (phase, self.last);
        }
        (self.done, self.total, self.fit, self.last) = (done, total, None, now);
    }

    fn progress(&self, now: Instant) -> Progress {
        let (done, total) = (self.done, self.total);
        let elapsed = now.saturating_duration_since(self.since);
        let steps = (total > 0).then(|| Steps {
            done,
            total,
            seconds_left: seconds_left(done, total, elapsed),
        });
        Progress { phase: self.phase, steps, fit: self.fit }
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
    use serde_json::json;

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
    fn the_time_of_one_phase_says_nothing_of_the_next() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let (job, phase) = ("first".to_owned(), Phase::Fitting);
        let mut work =
            Work { job, phase, done: 0, total: 100, fit: None, since: start, last: start };
        let left = |work: &Work, seconds| work.progress(after(seconds)).steps?.seconds_left;
        // A hundred seconds of cross-validation, which turns out to need less than it might have.
        for (done, total, second) in [(0, 60, 1), (20, 60, 50), (35, 45, 100)] {
            work.step(Phase::CrossValidation, (done, total), after(second));
        }
        assert_eq!(left(&work, 105), Some(30.0));
        for epoch in 1..=10 {
            work.step(Phase::Fitting, (epoch, 100), after(100 + epoch as u64));
        }
        assert_eq!(left(&work, 110), Some(90.0));
        // The fit has converged, and another one goes on from there.
        work.step(Phase::Refitting, (1, 100), after(112));
        assert_eq!(left(&work, 112), Some(198.0));
    }

    #[test]
    fn a_job_has_the_progress_of_its_own_state_and_none_of_anothers() {
        let meter = Meter::default();
        let running = || meter.of("first", JobState::Running);
        let waiting = || meter.of("second", JobState::Queued);
        let queued = Progress { phase: Phase::Queued, steps: None, fit: None };
        assert_eq!((running(), waiting()), (None, Some(queued)));

        meter.enter("first", Phase::Embedding, 512);
        let steps = Steps { done: 0, total: 512, seconds_left: None };
        let begun = Progress { phase: Phase::Embedding, steps: Some(steps), fit: None };
        assert_eq!((running(), waiting()), (Some(begun), Some(queued)));
        meter.reach(256);
        let steps = running().unwrap().steps.unwrap();
        assert_eq!((steps.done, steps.total), (256, 512));
        assert!(steps.seconds_left.is_some());

        let fit = FoldFit { l2: 0.1, strength: 3, strengths: 7, fold: 2, folds: 5 };
        meter.cross_validate(Stage { done: 11, total: 60, fit: Some(fit) });
        let told = serde_json::to_value(running()).unwrap();
        assert_eq!((&told["phase"], &told["done"]), (&json!("cross_validation"), &json!(11)));
        assert_eq!((&told["strength"], &told["fold"]), (&json!(3), &json!(2)));
        let read: Progress = serde_json::from_value(told).unwrap();
        assert_eq!(read.fit, Some(fit));

        meter.enter("first", Phase::Publishing, 0);
        let last = Progress { phase: Phase::Publishing, steps: None, fit: None };
        assert_eq!(running(), Some(last));

        assert_eq!(meter.of("second", JobState::Running), None);
        assert_eq!(meter.of("first", JobState::Succeeded), None);
        meter.clear();
        assert_eq!(running(), None);
    }
}
