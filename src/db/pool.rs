//! The pool: r2d2 with every setting of `[database.pool]`, and counters of what happens in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use r2d2::event::{CheckoutEvent, HandleEvent, TimeoutEvent};
use r2d2::{HandleError, Pool};

use super::manager::{ConnectError, Manager};
use crate::config;

/// What has happened in a pool since the start.
#[derive(Debug, Default)]
pub struct PoolCounters {
    wait_micros: AtomicU64,
    timeouts: AtomicU64,
    validations: AtomicU64,
    discarded: AtomicU64,
    statements: AtomicU64,
}

impl PoolCounters {
    /// Time that calls have waited for a connection, in seconds.
    pub fn wait_seconds(&self) -> f64 {
        self.wait_micros.load(Ordering::Relaxed) as f64 / 1e6
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

    /// Adds a wait that took place before r2d2 was asked.
    pub fn waited(&self, time: std::time::Duration) {
        self.wait_micros.fetch_add(time.as_micros() as u64, Ordering::Relaxed);
    }

    /// Adds a wait that was given up before r2d2 was asked.
    pub fn timed_out(&self) {
        self.timeouts.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Watch(Arc<PoolCounters>);

impl HandleEvent for Watch {
    fn handle_checkout(&self, event: CheckoutEvent) {
        self.0.waited(event.duration());
    }

    fn handle_timeout(&self, event: TimeoutEvent) {
        self.0.waited(event.timeout());
        self.0.timed_out();
    }
}

/// r2d2's own handler logs an error at each reconnect; the breaker already tells an outage once.
#[derive(Debug)]
struct Quiet;

impl HandleError<ConnectError> for Quiet {
    fn handle_error(&self, error: ConnectError) {
        log::debug!("no connection: {error}");
    }
}

/// Builds the pool without waiting for a connection: a database that is down at the start means "not ready".
pub fn build(url: &str, database: &config::Database, counters: Arc<PoolCounters>) -> Pool<Manager> {
    let settings = &database.pool;
    Pool::builder()
        .max_size(settings.max_size)
        .min_idle(Some(settings.min_idle))
        .max_lifetime(Some(settings.max_lifetime.0))
        .idle_timeout(Some(settings.idle_timeout.0))
        .connection_timeout(settings.connection_timeout.0)
        // The manager asks a connection only when it has reason to: see there.
        .test_on_check_out(true)
        .error_handler(Box::new(Quiet))
        .event_handler(Box::new(Watch(counters.clone())))
        .build_unchecked(Manager::new(url, database.query_timeout.0, counters))
}
