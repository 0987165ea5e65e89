//! [`FeedLag`]: when the change feed last heard from the database, which is how old what this instance knows may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The moment up to which this instance knows all changes: when the last poll began whose changes are all done.
///
/// Not when it ended, and not when it was answered: what was written meanwhile is not in the answer, and until a change is
/// done it might as well not be known.
///
/// Kept by the monotonic clock: were it the wall clock, setting that forward would look like an outage.
#[derive(Clone, Debug)]
pub struct FeedLag {
    since: Instant,
    /// Milliseconds after `since`, plus one; 0 before there was such a poll.
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
    /// How long ago that was, or `None` if there was none.
    pub fn age(&self) -> Option<Duration> {
        let at = self.at.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.since.elapsed().saturating_sub(Duration::from_millis(at)))
    }

    /// All that was written before this moment is known.
    pub fn set(&self, asked: Instant) {
        let at = asked.saturating_duration_since(self.since).as_millis() as u64 + 1;
        // Of two polls at a time, the one that ends last may have begun first.
        self.at.fetch_max(at, Ordering::Relaxed);
    }
}
