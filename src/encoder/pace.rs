//! How fast a model is on this machine, measured while it works.

use std::time::Duration;

/// What is left of earlier measurements' weight after each new one: some twenty of them count.
const MEMORY: f64 = 0.95;

/// A running mean of a model's speed on one worker, in which every token weighs the same.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    tokens: f64,
    seconds: f64,
}

impl Pace {
    /// Takes a micro-batch of so many tokens, padding included, into account.
    pub fn record(&mut self, tokens: usize, time: Duration) {
        self.tokens = MEMORY * self.tokens + tokens as f64;
        self.seconds = MEMORY * self.seconds + time.as_secs_f64();
    }

    /// The number of tokens that take about `time`; 0 while nothing has been measured.
    pub fn tokens_in(&self, time: Duration) -> usize {
        if self.seconds == 0.0 {
            return 0;
        }
        (self.tokens / self.seconds * time.as_secs_f64()) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn the_pace_is_that_of_the_tokens_and_follows_a_change() {
        let mut pace = Pace::default();
        assert_eq!(pace.tokens_in(MILLISECOND), 0);
        // A short sentence costs more a token, but is hardly any of the work.
        pace.record(1000, 10 * MILLISECOND);
        pace.record(10, MILLISECOND);
        assert!((85..100).contains(&pace.tokens_in(MILLISECOND)));
        for _ in 0..100 {
            pace.record(1000, 20 * MILLISECOND);
        }
        assert!((49..=51).contains(&pace.tokens_in(MILLISECOND)));
    }
}
