//! How much a key may ask for in a minute: a bucket of requests and one of tokens, each of which holds a
//! minute's worth and fills evenly (the generic cell rate algorithm, ITU-T I.371).
//!
//! What a request costs in tokens is known only once it has been tokenised. A request is therefore let in
//! while the bucket is not empty, and may leave it in debt, which the next one has to wait for.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A minute's worth; `None` bounds nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub requests: Option<NonZeroUsize>,
    pub tokens: Option<NonZeroUsize>,
}

/// What there is two buckets of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Requests,
    Tokens,
}

/// A bucket is empty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exceeded {
    pub kind: Kind,
    pub limit: NonZeroUsize,
    /// Until one is left.
    pub wait: Duration,
}

/// How a bucket stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    pub kind: Kind,
    pub limit: NonZeroUsize,
    /// Whole ones that are left; 0 in debt.
    pub remaining: usize,
    /// Until it is full.
    pub reset: Duration,
}

/// What one key has used of its limits.
#[derive(Debug)]
pub struct Rates {
    limits: Limits,
    buckets: Mutex<Vec<Bucket>>,
}

impl Rates {
    pub fn new(limits: Limits, now: Instant) -> Rates {
        let kinds = [(Kind::Requests, limits.requests), (Kind::Tokens, limits.tokens)];
        let buckets = kinds
            .into_iter()
            .filter_map(|(kind, limit)| Some(Bucket { kind, limit: limit?, full_at: now }));
        Rates { limits, buckets: Mutex::new(buckets.collect()) }
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Takes one request.
    ///
    /// # Errors
    /// A bucket is empty; nothing is taken then.
    pub fn admit(&self, now: Instant) -> Result<(), Exceeded> {
        self.with(|buckets| {
            buckets.iter().try_for_each(|bucket| bucket.check(now))?;
            Bucket::take(buckets, Kind::Requests, 1, now);
            Ok(())
        })
    }

    /// Takes tokens, into debt if need be.
    pub fn charge(&self, tokens: usize, now: Instant) {
        self.with(|buckets| Bucket::take(buckets, Kind::Tokens, tokens, now));
    }

    /// How each bucket stands.
    pub fn standings(&self, now: Instant) -> Vec<Standing> {
        self.with(|buckets| buckets.iter().map(|bucket| bucket.standing(now)).collect())
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vec<Bucket>) -> T) -> T {
        work(&mut self.buckets.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Debug)]
struct Bucket {
    kind: Kind,
    /// What it holds, and what flows into it in a minute.
    limit: NonZeroUsize,
    /// The whole state: it is as far from full as fills until then.
    full_at: Instant,
}

/// What rounding may take from a whole one: durations are in nanoseconds.
const ROUNDING: f64 = 1e-6;

impl Bucket {
    fn take(buckets: &mut [Bucket], kind: Kind, amount: usize, now: Instant) {
        for bucket in buckets.iter_mut().filter(|bucket| bucket.kind == kind) {
            bucket.full_at = bucket.full_at.max(now) + bucket.time_of(amount as f64);
        }
    }

    fn check(&self, now: Instant) -> Result<(), Exceeded> {
        let missing = 1.0 - self.left(now);
        if missing <= ROUNDING {
            return Ok(());
        }
        Err(Exceeded { kind: self.kind, limit: self.limit, wait: self.time_of(missing) })
    }

    fn standing(&self, now: Instant) -> Standing {
        // A negative number becomes 0.
        let remaining = (self.left(now) + ROUNDING) as usize;
        let reset = self.full_at.saturating_duration_since(now);
        Standing { kind: self.kind, limit: self.limit, remaining, reset }
    }

    /// Less than 0 in debt.
    fn left(&self, now: Instant) -> f64 {
        let used = self.full_at.saturating_duration_since(now).as_secs_f64() * self.per_second();
        self.limit.get() as f64 - used
    }

    /// In which so many flow in.
    fn time_of(&self, amount: f64) -> Duration {
        Duration::from_secs_f64(amount / self.per_second())
    }

    fn per_second(&self) -> f64 {
        self.limit.get() as f64 / 60.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(requests: usize, tokens: usize) -> (Rates, Instant) {
        let now = Instant::now();
        let limits =
            Limits { requests: NonZeroUsize::new(requests), tokens: NonZeroUsize::new(tokens) };
        (Rates::new(limits, now), now)
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_minutes_worth_may_come_at_once_and_then_one_as_each_flows_in() {
        let (rates, now) = rates(4, 0);
        for remaining in [3, 2, 1, 0] {
            rates.admit(now).unwrap();
            let standings = rates.standings(now);
            let reset = seconds(15.0 * (4 - remaining) as f64);
            let limit = NonZeroUsize::new(4).unwrap();
            assert_eq!(standings, [Standing { kind: Kind::Requests, limit, remaining, reset }]);
        }
        let exceeded = rates.admit(now + seconds(5.0)).unwrap_err();
        assert_eq!((exceeded.kind, exceeded.limit.get()), (Kind::Requests, 4));
        // Nanoseconds are what durations are rounded to.
        assert!(exceeded.wait.abs_diff(seconds(10.0)) < seconds(1e-6), "{exceeded:?}");
        rates.admit(now + seconds(15.0)).unwrap();
        rates.admit(now + seconds(15.0)).unwrap_err();
    }

    #[test]
    fn tokens_go_into_debt_which_has_to_be_worked_off() {
        let (rates, now) = rates(0, 60);
        rates.admit(now).unwrap();
        rates.charge(90, now);
        assert_eq!(rates.standings(now)[0].remaining, 0);
        let exceeded = rates.admit(now).unwrap_err();
        assert_eq!(exceeded.kind, Kind::Tokens);
        assert!(exceeded.wait.abs_diff(seconds(31.0)) < seconds(1e-6), "{exceeded:?}");
        rates.admit(now + seconds(30.5)).unwrap_err();
        rates.admit(now + seconds(31.0)).unwrap();
    }

    #[test]
    fn a_request_that_is_refused_costs_nothing() {
        let (rates, now) = rates(2, 10);
        rates.charge(10, now);
        for _ in 0..5 {
            assert_eq!(rates.admit(now).unwrap_err().kind, Kind::Tokens);
        }
        assert_eq!(rates.standings(now)[0].remaining, 2);
    }

    #[test]
    fn no_more_than_a_minutes_worth_is_saved_up() {
        let (rates, now) = rates(2, 0);
        let later = now + seconds(3600.0);
        assert_eq!(rates.standings(later)[0].remaining, 2);
        assert_eq!(rates.standings(later)[0].reset, Duration::ZERO);
    }

    #[test]
    fn without_limits_everything_is_let_in() {
        let (rates, now) = rates(0, 0);
        (0..1000).for_each(|_| rates.admit(now).unwrap());
        rates.charge(usize::MAX, now);
        rates.admit(now).unwrap();
        assert!(rates.standings(now).is_empty());
    }
}
