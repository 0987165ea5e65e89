//! What the connections of a worker share.

use std::cell::Cell;
use std::sync::Arc;

use crate::metrics::ConnectionCounts;

/// What the connections of a worker share.
#[derive(Debug)]
pub struct WorkerContext {
    /// Milliseconds since the start of the worker, as of the last run of its sweeper: reading it
    /// costs nothing.
    pub(super) now: Cell<u64>,
    /// Numbers the changes of connections.
    pub(super) changes: Cell<u64>,
    pub(super) counts: Arc<ConnectionCounts>,
}

impl WorkerContext {
    /// The time is 0.
    pub fn new(counts: Arc<ConnectionCounts>) -> Self {
        Self {
            now: Cell::new(0),
            changes: Cell::new(0),
            counts,
        }
    }

    /// The time.
    pub fn now(&self) -> u64 {
        self.now.get()
    }

    /// Sets the time.
    pub fn set_now(&self, now: u64) {
        self.now.set(now);
    }
}
