//! A bucket of failures, by the generic cell rate algorithm: a fixed capacity that drains at a
//! constant rate.

use std::time::Duration;

pub(super) const MINUTE_MICROS: i64 = 60_000_000;

/// The capacity and drain rate of a bucket.
#[derive(Clone, Copy)]
pub(super) struct Rate {
    /// Time in which one failure drains, in microseconds: at least 1, at most a minute.
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

/// A bucket of failures, stored as the time at which it will be empty.
pub(super) struct Bucket {
    /// When the bucket will be empty, in microseconds since the Unix epoch.
    drained_at: i64,
    /// Whether it was reported that the bucket is full. Reset once it is half empty.
    reported: bool,
}

impl Bucket {
    pub fn empty(now: i64) -> Self {
        Self {
            drained_at: now,
            reported: false,
        }
    }

    /// Microseconds until the bucket can take one more failure; 0 if it can now.
    pub fn wait(&mut self, rate: Rate, now: i64) -> i64 {
        // A bucket beyond its capacity means that the clock was set back. This must not extend a
        // lockout.
        self.drained_at = self.drained_at.min(now + rate.whole);
        let left = (self.drained_at - now).max(0);
        if left <= rate.whole / 2 {
            self.reported = false;
        }
        (left + rate.each - rate.whole).max(0)
    }

    /// Adds a failure to a bucket that is not full. Returns the wait until it can take another, and
    /// whether it has just become full and was not reported.
    pub fn add(&mut self, rate: Rate, now: i64) -> (i64, bool) {
        self.drained_at = self.drained_at.max(now) + rate.each;
        self.report(rate, now)
    }

    /// Raises the level to that of a bucket that drains within `left`. A fuller bucket stays as it
    /// is. Returns the same as [`Bucket::add`].
    pub fn fill(&mut self, rate: Rate, left: Duration, now: i64) -> (i64, bool) {
        let left = i64::try_from(left.as_micros()).unwrap_or(i64::MAX).min(rate.whole);
        self.drained_at = self.drained_at.max(now + left);
        self.report(rate, now)
    }

    fn report(&mut self, rate: Rate, now: i64) -> (i64, bool) {
        let wait = self.wait(rate, now);
        let is_new = wait > 0 && !self.reported;
        self.reported |= is_new;
        (wait, is_new)
    }
}
