//! [`FeedLag`]: how far behind the change log this instance may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The moment up to which this instance has applied all changes: the start of the last poll whose
/// changes are all applied.
///
/// Neither the end of the poll nor the arrival of its result would be correct: changes committed
/// meanwhile are not in the result, and a change that is read but not applied has no effect yet.
///
/// Measured with the monotonic clock: with the wall clock, setting it forward would look like an
/// outage.
#[derive(Clone, Debug)]
pub struct FeedLag {
    since: Instant,
    /// Milliseconds from `since` to that moment, plus one; 0 before the first complete poll.
    at: Arc<AtomicU64>,
}

impl Default for FeedLag {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            at: Arc::default(),
        }
    }
}

impl FeedLag {
    /// The time since that moment; `None` before the first complete poll.
    pub fn age(&self) -> Option<Duration> {
        let at = self.at.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.since.elapsed().saturating_sub(Duration::from_millis(at)))
    }

    /// Records that every change committed before `began` is applied.
    pub fn set(&self, began: Instant) {
        let at = began.saturating_duration_since(self.since).as_millis() as u64 + 1;
        // Of two concurrent polls, the one that ends last may have started first.
        self.at.fetch_max(at, Ordering::Relaxed);
    }
}
