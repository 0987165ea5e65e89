//! The clock. Nobody else asks for the time: whoever needs it is given a [`Clock`] or a [`UnixMillis`].
//!
//! clippy's `disallowed-methods` keeps it so; a test can then stand at any point in time and move on when it likes.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::time::UnixMillis;

/// Where the time comes from.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that a test sets.
    Mock(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `start` until it is moved.
    pub fn mock(start: UnixMillis) -> Self {
        Self::Mock(Arc::new(AtomicI64::new(start.0)))
    }

    /// The time now.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
    pub fn now(&self) -> UnixMillis {
        match self {
            Self::System => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                UnixMillis(since_epoch.as_millis() as i64)
            }
            Self::Mock(millis) => UnixMillis(millis.load(Ordering::SeqCst)),
        }
    }

    /// Moves a mock clock; the machine's clock is not ours to move.
    pub fn advance(&self, millis: i64) {
        if let Self::Mock(now) = self {
            now.fetch_add(millis, Ordering::SeqCst);
        }
    }
}
