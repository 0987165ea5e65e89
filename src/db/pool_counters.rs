//! Counters of a pool, shared by the pool, its manager and the endpoint.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::HistogramCounts;
use crate::mutex::lock;

/// Counts since the start of the process.
#[derive(Debug, Default)]
pub struct PoolCounters {
    /// A lock costs little here: each caller has just taken others, and is about to call the
    /// database.
    waits: Mutex<HistogramCounts>,
    timeouts: AtomicU64,
    validations: AtomicU64,
    discarded: AtomicU64,
    statements: AtomicU64,
}

impl PoolCounters {
    /// How long calls have waited for a connection.
    pub fn waits(&self) -> HistogramCounts {
        *lock(&self.waits)
    }

    /// Calls that gave up waiting.
    pub fn timeouts(&self) -> u64 {
        self.timeouts.load(Ordering::Relaxed)
    }

    /// Connections that were tested before use.
    pub fn validations(&self) -> u64 {
        self.validations.load(Ordering::Relaxed)
    }

    /// Connections that were dropped because they were dead.
    pub fn discards(&self) -> u64 {
        self.discarded.load(Ordering::Relaxed)
    }

    /// SQL statements sent, including those that control transactions.
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// Counts a statement.
    pub fn statement_sent(&self) {
        self.statements.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a test of a connection.
    pub fn validated(&self) {
        self.validations.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a dead connection.
    pub fn discarded(&self) {
        self.discarded.fetch_add(1, Ordering::Relaxed);
    }

    /// Records how long a call waited for a connection, whether or not it got one.
    pub fn waited(&self, time: std::time::Duration) {
        lock(&self.waits).observe(time);
    }

    /// Counts a call that gave up waiting.
    pub fn timed_out(&self) {
        self.timeouts.fetch_add(1, Ordering::Relaxed);
    }
}
