//! What a load saw: latencies in one histogram, successes, failures.

use std::time::Duration;

use hdrhistogram::Histogram;

pub use super::report::plot::percentile;

/// The result of one run of load.
pub struct Outcome {
    /// Of the answers with 200, in nanoseconds.
    pub latencies: Histogram<u64>,
    /// Answers with another status, and requests without an answer.
    pub failed: u64,
    /// Requests that were to be sent and were not, because the server was too far behind.
    pub unsent: u64,
    /// From the first request to the last answer.
    pub took: Duration,
}

/// The longest latency that a histogram tells apart: a minute.
const LONGEST: u64 = 60_000_000_000;

/// A histogram of nanoseconds with three digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3).expect("these bounds are in order")
}

impl Default for Outcome {
    fn default() -> Self {
        Self {
            latencies: histogram(),
            failed: 0,
            unsent: 0,
            took: Duration::ZERO,
        }
    }
}

impl Outcome {
    /// Takes down one answer.
    pub fn answered(&mut self, success: bool, latency: Duration) {
        match success {
            true => self.latencies.saturating_record(latency.as_nanos() as u64),
            false => self.failed += 1,
        }
    }

    /// Answers with 200.
    pub fn succeeded(&self) -> u64 {
        self.latencies.len()
    }

    /// Answers with 200 a second.
    pub fn rate(&self) -> f64 {
        self.succeeded() as f64 / self.took.as_secs_f64()
    }
}
