//! The outcome of one run of load: a histogram of latencies, and the number of failed requests.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The outcome of one run.
pub struct Outcome {
    /// Of the responses with status 200, in nanoseconds.
    pub latencies: Histogram<u64>,
    /// Responses with another status, and requests without a response.
    pub failed: u64,
    /// Requests that were due but not sent, because the server was too far behind.
    pub unsent: u64,
    /// From the first request to the last response.
    pub took: Duration,
}

/// The longest latency that the histogram distinguishes, in nanoseconds: a minute.
const MAX_LATENCY: u64 = 60_000_000_000;

impl Default for Outcome {
    fn default() -> Self {
        Self {
            latencies: Histogram::new_with_bounds(1, MAX_LATENCY, 3).expect("the bounds are in order"),
            failed: 0,
            unsent: 0,
            took: Duration::ZERO,
        }
    }
}

impl Outcome {
    /// Records one response.
    pub fn answered(&mut self, success: bool, latency: Duration) {
        match success {
            true => self.latencies.saturating_record(latency.as_nanos() as u64),
            false => self.failed += 1,
        }
    }

    /// Responses with status 200.
    pub fn succeeded(&self) -> u64 {
        self.latencies.len()
    }

    /// Responses with status 200 per second.
    pub fn rate(&self) -> f64 {
        self.succeeded() as f64 / self.took.as_secs_f64()
    }

    /// A percentile of the latencies, in seconds.
    pub fn percentile(&self, percent: f64) -> f64 {
        self.latencies.value_at_percentile(percent) as f64 / 1e9
    }
}
