//! The hold of this process on the job that it runs: the lease is renewed, others are told how
//! far the job is, and a database that falls silent is noticed and waited for.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::store::{Renewal, Store, StoreError};
use crate::training::job::JobState;
use crate::training::progress::Meter;
use crate::training::run::RunError;

/// The longest time between two renewals of a lease: they also tell of cancellations elsewhere.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// How long to leave a store alone that has just refused an operation.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// See the [module](self).
pub(super) struct Hold<'a> {
    store: &'a Store,
    job: &'a str,
    meter: &'a Meter,
    cancel: &'a CancellationToken,
    /// Counts the silences that are over.
    silences: watch::Sender<u64>,
}

impl<'a> Hold<'a> {
    /// `cancel` is cancelled when the run is to stop.
    pub fn new(
        store: &'a Store,
        job: &'a str,
        meter: &'a Meter,
        cancel: &'a CancellationToken,
    ) -> Hold<'a> {
        Hold { store, job, meter, cancel, silences: watch::Sender::new(0) }
    }

    /// Renews the lease, for ever; cancels the run when that is asked for elsewhere, or when the lease
    /// is lost. One that ran out while the database was away is held again as soon as it is back, unless
    /// another replica was quicker.
    pub async fn keep(&self) -> Infallible {
        let lease = self.store.lease();
        let mut beats = interval((lease / 3).min(RENEW_EVERY));
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silent = false;
        loop {
            beats.tick().await;
            match timeout(lease, self.renew()).await {
                Ok(Ok(Renewal::Continue)) => {}
                Ok(Ok(Renewal::Cancel)) => self.cancel.cancel(),
                Ok(Err(error)) if error.is_outage() => {
                    silent = true;
                    continue;
                }
                Err(_) => {
                    // A file cannot fall silent, but what goes on there may take long.
                    silent = self.store.is_shared();
                    continue;
                }
                // As long as nobody has taken the job over, it is still ours.
                Ok(Err(error)) if error.is_passing() => {}
                // The work ends at its next step, which the store refuses.
                Ok(Err(_)) => self.cancel.cancel(),
            }
            if std::mem::take(&mut silent) {
                self.silences.send_modify(|count| *count += 1);
            }
        }
    }

    async fn renew(&self) -> Result<Renewal, StoreError> {
        self.store.renew(self.job, self.meter.of(self.job, JobState::Running)).await
    }

    /// Waits for what the store is asked to do, unless the database was out of reach meanwhile: `None`.
    /// It may have forgotten the connection that the operation waits at, and would never answer there.
    pub async fn unless_silent<T>(&self, operation: impl Future<Output = T>) -> Option<T> {
        let mut silences = self.silences.subscribe();
        tokio::select! {
            biased;
            outcome = operation => Some(outcome),
            _ = silences.changed() => None,
        }
    }

    /// Asks the store for something that may be asked for twice, until it is there again, has refused,
    /// or the run is to stop. Whether the job is still this replica's, the store says then.
    pub async fn persist<T, F>(&self, operation: impl Fn() -> F) -> Result<T, RunError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        loop {
            match self.unless_silent(operation()).await {
                Some(Ok(done)) => return Ok(done),
                Some(Err(error)) if !error.is_outage() => return Err(error.into()),
                Some(Err(_)) => pause(self.cancel).await,
                None => {}
            }
            if self.cancel.is_cancelled() {
                return Err(RunError::Cancelled);
            }
        }
    }
}

/// Leaves the store alone for a while, unless `stop` comes first: nothing may hold that up.
pub(super) async fn pause(stop: &CancellationToken) {
    let _ = timeout(STORE_PAUSE, stop.cancelled()).await;
}
