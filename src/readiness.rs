//! [`Readiness`]: whether an orchestrator should send traffic here, which is what `/readyz` says, and why not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::breaker::{BreakerState, BreakerView};
use crate::cluster::feed_lag::FeedLag;

/// Whether an orchestrator should send traffic here, and why not.
pub struct Readiness {
    began: Instant,
    started: AtomicBool,
    draining: AtomicBool,
    breaker: BreakerView,
    /// Up to when all changes are known.
    pub feed_lag: FeedLag,
}

/// With a change log older than this, whether a token is active can only be guessed (G2).
const MAX_FEED_LAG: Duration = Duration::from_secs(5);

/// The feed polls four times a second, and a poll takes less than `database.query_timeout` as long as the database answers:
/// even so the last one that is done began less than this ago. A server that is not ready must say so within 5 s.
const MAX_SILENCE: Duration = Duration::from_secs(4);

/// So long after its beginning, a server that lacks what it loads at the start lets a request wait for it: nginx and others
/// that do not ask `/readyz` send traffic here as soon as it listens. If it takes longer, the database is away.
const WARM_UP: Duration = Duration::from_secs(3);

/// Between two looks whether the start is over.
const WARM_UP_CHECK: Duration = Duration::from_millis(5);

impl Readiness {
    /// Of a server that begins now; `breaker` is that of the primary database.
    pub fn new(breaker: BreakerView) -> Self {
        Self {
            began: Instant::now(),
            started: AtomicBool::default(),
            draining: AtomicBool::default(),
            breaker,
            feed_lag: FeedLag::default(),
        }
    }

    /// Keys are loaded and caches warm.
    pub fn started(&self) {
        self.started.store(true, Ordering::Release);
    }

    /// For a request that lacks something: whether all is loaded now, after waiting for that if the server has just begun.
    pub async fn warmed_up(&self) -> bool {
        while !self.started.load(Ordering::Acquire) {
            if self.began.elapsed() > WARM_UP {
                return false;
            }
            tokio::time::sleep(WARM_UP_CHECK).await;
        }
        true
    }

    /// The server stops: from now on every answer closes its connection.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the server stops.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Whether the revocations that others made are known, up to a few seconds ago. It is one load: the feed has its first
    /// answer when all has been read that it goes on from.
    pub fn knows_revocations(&self) -> bool {
        self.feed_lag.age().is_some_and(|age| age <= MAX_FEED_LAG)
    }

    /// `None` when ready, otherwise the reason.
    pub fn obstacle(&self) -> Option<&'static str> {
        if self.is_draining() {
            return Some("the server is stopping");
        }
        if !self.started.load(Ordering::Acquire) {
            return Some("the server is starting: keys and clients are not loaded yet");
        }
        let silent = self.feed_lag.age().is_none_or(|age| age > MAX_SILENCE);
        if self.breaker.state() == BreakerState::Open || silent {
            return Some("the database does not answer");
        }
        None
    }
}
