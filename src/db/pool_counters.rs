//! Counters of what happens in a pool, shared by the pool, its manager and the endpoint.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::metrics::HistogramCounts;

/// What has happened in a pool since the start.
#[derive(Debug, Default)]
pub struct PoolCounters {
    /// A lock is as good here as anything: whoever comes by has just had others, and is on its way to the database.
    waits: Mutex<HistogramCounts>,
    timeouts: AtomicU64,
    validations: AtomicU64,
    discarded: AtomicU64,
    statements: AtomicU64,
}

impl PoolCounters {
    /// How long calls have waited for a connection.
    pub fn waits(&self) -> HistogramCounts {
        *self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls that gave up waiting.
    pub fn timeouts(&self) -> u64 {
        self.timeouts.load(Ordering::Relaxed)
    }

    /// Connections that were asked whether they live.
    pub fn validations(&self) -> u64 {
        self.validations.load(Ordering::Relaxed)
    }

    /// Connections that were dropped because they had died.
    pub fn discards(&self) -> u64 {
        self.discarded.load(Ordering::Relaxed)
    }

    /// SQL statements sent, transactions' own included.
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// A statement is sent.
    pub fn stated(&self) {
        self.statements.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection is asked whether it lives.
    pub fn validated(&self) {
        self.validations.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection had died.
    pub fn discarded(&self) {
        self.discarded.fetch_add(1, Ordering::Relaxed);
    }

    /// A call has its connection, or has given up; this is how long it waited.
    pub fn waited(&self, time: std::time::Duration) {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner).observe(time);
    }

    /// It has given up.
    pub fn timed_out(&self) {
        self.timeouts.fetch_add(1, Ordering::Relaxed);
    }
}
