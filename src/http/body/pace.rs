//! How slowly a body may arrive that may take long.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::http::error::Problem;

/// Bytes a second, as of a slow modem. Who sends less holds a connection for the sake of holding it.
const LEAST_RATE: usize = 16 << 10;

/// The time that a body has, which grows as it arrives: a pause may be as long as `patience`, and all of
/// it may take that long and a second for each 16 KiB. Apache's `mod_reqtimeout` has
/// the like.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    since: Instant,
    patience: Duration,
}

impl Pace {
    /// For a body that begins now.
    pub fn new(patience: Duration) -> Pace {
        Pace { since: Instant::now(), patience }
    }

    /// Waits for the next piece of a body of which there are `read` bytes.
    ///
    /// # Errors
    /// 408 where it does not come in time.
    pub async fn keep<T>(&self, read: usize, next: impl Future<Output = T>) -> Result<T, Problem> {
        let arrived = timeout_at(self.until(read, Instant::now()), next).await;
        arrived.map_err(|_| {
            let detail = format!(
                "the body stopped or came too slowly, after {read} bytes; allowed: pauses up to {:?}, and that long and a second for each {LEAST_RATE} bytes in all",
                self.patience
            );
            Problem::too_slow(detail)
        })
    }

    fn until(&self, read: usize, now: Instant) -> Instant {
        let earned = Duration::from_secs_f64(read as f64 / LEAST_RATE as f64);
        (now + self.patience).min(self.since + self.patience + earned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_bounded_and_so_is_a_trickle() {
        let seconds = Duration::from_secs;
        let since = Instant::now();
        let pace = Pace { since, patience: seconds(30) };
        let left = |read, after| {
            let now = since + seconds(after);
            pace.until(read, now).saturating_duration_since(now)
        };
        assert_eq!(left(0, 0), seconds(30));
        assert_eq!(left(0, 20), seconds(10));
        // Whoever is quick may pause for as long as the patience lasts, and no longer.
        assert_eq!(left(60 << 20, 20), seconds(30));
        // 64 MiB at 32 KiB a second take 2048 seconds.
        assert_eq!(left(64 << 20, 2048), seconds(30));
        // A byte a second earns next to nothing.
        assert_eq!(left(31, 31), Duration::ZERO);
        // A megabyte earns 64 seconds.
        assert_eq!(left(1 << 20, 84), seconds(10));
    }
}
