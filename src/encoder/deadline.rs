//! Until when somebody waits for an answer.

use std::time::{Duration, Instant};

use crate::encoder::EncodeError;

/// The moment after which an answer is of no use.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    moment: Instant,
    allowed: Duration,
}

/// A hundred years: more than anybody waits, and no more than a clock can tell.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl Deadline {
    /// So much time from now on.
    pub fn after(allowed: Duration) -> Deadline {
        Deadline { moment: Instant::now() + allowed.min(LONGEST), allowed }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_time_may_be_allowed() {
        assert!(Deadline::after(Duration::ZERO).check().is_err());
        for allowed in [Duration::from_secs(i64::MAX as u64), Duration::MAX] {
            let deadline = Deadline::after(allowed);
            deadline.check().unwrap();
            assert_eq!(deadline.allowed(), allowed);
        }
    }
}
