//! The clock: the only code that reads the machine's time. All other code receives a [`Clock`] or a
//! [`UnixMillis`].
//!
//! clippy's `disallowed-methods` enforces this. A test can then start at any point in time and
//! advance it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::time::UnixMillis;

/// A source of the current time.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that a test sets.
    Mock(Arc<AtomicI64>),
}

impl Clock {
    /// A mock clock that shows `start` until it is advanced.
    pub fn mock(start: UnixMillis) -> Self {
        Self::Mock(Arc::new(AtomicI64::new(start.0)))
    }

    /// The current time.
    #[allow(clippy::disallowed_methods, reason = "the only place that reads the machine's clock")]
    pub fn now(&self) -> UnixMillis {
        match self {
            Self::System => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                UnixMillis(since_epoch.as_millis() as i64)
            }
            Self::Mock(millis) => UnixMillis(millis.load(Ordering::SeqCst)),
        }
    }

    /// Advances a mock clock. Has no effect on the machine's clock.
    pub fn advance(&self, millis: i64) {
        if let Self::Mock(now) = self {
            now.fetch_add(millis, Ordering::SeqCst);
        }
    }
}
