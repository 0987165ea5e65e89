//! [`Readiness`]: whether an orchestrator should send traffic to this instance, reported by
//! `/readyz`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::breaker::{BreakerState, BreakerView};
use crate::cluster::feed_lag::FeedLag;

/// Whether an orchestrator should send traffic to this instance, and if not, why.
pub struct Readiness {
    began: Instant,
    started: AtomicBool,
    /// Whether the start waits for the database.
    pub start_waits: Arc<AtomicBool>,
    draining: AtomicBool,
    breaker: BreakerView,
    /// Up to which moment all changes are applied.
    pub feed_lag: FeedLag,
}

/// With a larger lag, a token that was revoked could still be reported as active
/// (docs/guarantees.md#g2).
const MAX_FEED_LAG: Duration = Duration::from_secs(5);

/// With a larger lag, the server is not ready. The feed polls four times a second, and while the
/// database answers, a poll takes less than `database.query_timeout`. So the last complete poll
/// started less than this ago. A server that is not ready must report so within 5 s.
const MAX_READY_FEED_LAG: Duration = Duration::from_secs(4);

/// For this long after its start, a server lets requests wait for what it is still loading: nginx
/// and other proxies that do not check `/readyz` send traffic as soon as the server listens. If
/// loading takes longer, the database is unavailable.
const WARM_UP_TIMEOUT: Duration = Duration::from_secs(3);

/// The time between two checks whether the start is complete.
const WARM_UP_CHECK_INTERVAL: Duration = Duration::from_millis(5);

impl Readiness {
    /// For a server that starts now. `breaker` is that of the primary database.
    pub fn new(breaker: BreakerView) -> Self {
        Self {
            began: Instant::now(),
            started: AtomicBool::default(),
            start_waits: Arc::default(),
            draining: AtomicBool::default(),
            breaker,
            feed_lag: FeedLag::default(),
        }
    }

    /// Marks the start as complete: keys are loaded and caches are warm.
    pub fn started(&self) {
        self.started.store(true, Ordering::Release);
    }

    /// Waits until the start is complete, at most `WARM_UP_TIMEOUT` after the server began;
    /// returns whether it is complete. For a request that needs something not loaded yet.
    pub async fn warmed_up(&self) -> bool {
        while !self.started.load(Ordering::Acquire) {
            if self.began.elapsed() > WARM_UP_TIMEOUT {
                return false;
            }
            tokio::time::sleep(WARM_UP_CHECK_INTERVAL).await;
        }
        true
    }

    /// Starts draining: from now on every response closes its connection.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the server is draining.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Whether the revocations of other instances are known, up to a few seconds ago. One atomic
    /// load suffices: the feed sets its lag only after the start has loaded the revocations.
    pub fn knows_revocations(&self) -> bool {
        self.feed_lag.age().is_some_and(|age| age <= MAX_FEED_LAG)
    }

    /// Why the server is not ready; `None` when it is.
    pub fn obstacle(&self) -> Option<&'static str> {
        if self.is_draining() {
            return Some("the server is stopping");
        }
        if !self.started.load(Ordering::Acquire) {
            if self.start_waits.load(Ordering::Relaxed) {
                return Some("the server is starting: the database cannot be reached");
            }
            return Some("the server is starting: keys and clients are not loaded yet");
        }
        let lagging = self.feed_lag.age().is_none_or(|age| age > MAX_READY_FEED_LAG);
        if self.breaker.state() == BreakerState::Open || lagging {
            return Some("the database does not answer");
        }
        None
    }
}
