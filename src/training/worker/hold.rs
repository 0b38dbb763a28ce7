//! The hold of this process on the job that it runs: the lease is renewed, others are told how
//! far the job is, and a database that falls silent is noticed.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::store::{Renewal, Store, StoreError};
use crate::training::job::JobState;
use crate::training::progress::Meter;

/// The longest time between two renewals of a lease: they also tell of cancellations elsewhere.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// See the [module](self).
pub(super) struct Hold<'a> {
    store: &'a Store,
    job: &'a str,
    meter: &'a Meter,
    cancel: &'a CancellationToken,
    silence: Notify,
}

impl<'a> Hold<'a> {
    /// `cancel` is cancelled when the run is to stop.
    pub fn new(
        store: &'a Store,
        job: &'a str,
        meter: &'a Meter,
        cancel: &'a CancellationToken,
    ) -> Hold<'a> {
        Hold { store, job, meter, cancel, silence: Notify::new() }
    }

    /// Renews the lease, for ever; cancels the run when that is asked for elsewhere, or when the lease
    /// is lost.
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
                self.silence.notify_one();
            }
        }
    }

    async fn renew(&self) -> Result<Renewal, StoreError> {
        self.store.renew(self.job, self.meter.of(self.job, JobState::Running)).await
    }

    /// Waits for what the store is asked to do, unless the database was out of reach meanwhile: `None`.
    /// It may have forgotten the connection that the operation waits at, and would never answer there.
    pub async fn unless_silent<T>(&self, operation: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            outcome = operation => Some(outcome),
            () = self.silence.notified() => None,
        }
    }
}
