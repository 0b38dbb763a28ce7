//! Until when somebody waits for an answer.

use std::time::{Duration, Instant};

use crate::encoder::EncodeError;

/// The moment after which an answer is of no use.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    moment: Instant,
    allowed: Duration,
}

impl Deadline {
    /// So much time from now on.
    pub fn after(allowed: Duration) -> Deadline {
        Deadline { moment: Instant::now() + allowed, allowed }
    }

    pub fn moment(self) -> Instant {
        self.moment
    }

    /// The time that there was at first.
    pub fn allowed(self) -> Duration {
        self.allowed
    }

    /// # Errors
    /// [`EncodeError::DeadlineExceeded`] once the moment has come.
    pub fn check(self) -> Result<(), EncodeError> {
        if Instant::now() < self.moment {
            return Ok(());
        }
        Err(EncodeError::DeadlineExceeded { allowed: self.allowed })
    }
}
