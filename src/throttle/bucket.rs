//! A bucket of failures, by the generic cell rate algorithm: it holds so many, and they drain away at a constant rate.

use std::time::Duration;

pub(super) const MINUTE_MICROS: i64 = 60_000_000;

/// How much a bucket holds and how fast it drains.
#[derive(Clone, Copy)]
pub(super) struct Rate {
    /// Time in which one failure drains away, in microseconds; at least 1, at most a minute.
    pub each: i64,
    /// Time in which a full bucket drains, in microseconds: about a minute.
    pub whole: i64,
}

impl Rate {
    pub fn per_minute(failures: i64) -> Self {
        let each = (MINUTE_MICROS / failures).max(1);
        Self {
            each,
            whole: each * failures,
        }
    }
}

/// A bucket of failures, kept as the time at which it will have drained.
pub(super) struct Bucket {
    /// Microseconds since the Unix epoch.
    drained_at: i64,
    /// Whether it has been said that it is full; not said again before it is half empty.
    announced: bool,
}

impl Bucket {
    pub fn empty(now: i64) -> Self {
        Self {
            drained_at: now,
            announced: false,
        }
    }

    /// Microseconds until there is room for one more failure; 0 when there is.
    pub fn wait(&mut self, rate: Rate, now: i64) -> i64 {
        // Fuller than full means that the clock was set back: it may not lock anybody out for longer than that.
        self.drained_at = self.drained_at.min(now + rate.whole);
        let left = (self.drained_at - now).max(0);
        if left <= rate.whole / 2 {
            self.announced = false;
        }
        (left + rate.each - rate.whole).max(0)
    }

    /// Adds a failure, for which there is room. Answers the wait until there is room again, and whether that is news.
    pub fn add(&mut self, rate: Rate, now: i64) -> (i64, bool) {
        self.drained_at = self.drained_at.max(now) + rate.each;
        self.news(rate, now)
    }

    /// As full as a bucket that drains within `left`, if it is not fuller. Answers as [`Bucket::add`] does.
    pub fn fill(&mut self, rate: Rate, left: Duration, now: i64) -> (i64, bool) {
        let left = i64::try_from(left.as_micros()).unwrap_or(i64::MAX).min(rate.whole);
        self.drained_at = self.drained_at.max(now + left);
        self.news(rate, now)
    }

    fn news(&mut self, rate: Rate, now: i64) -> (i64, bool) {
        let wait = self.wait(rate, now);
        let news = wait > 0 && !self.announced;
        self.announced |= news;
        (wait, news)
    }
}
