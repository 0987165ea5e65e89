//! The database, and the only room that knows diesel: rows stay inside, domain types leave.
//!
//! Callers hold a [`Db`]. Every call through it passes a circuit breaker, waits for one of as many permits as the
//! pool has connections, runs on a blocking thread, and has a deadline: a database that hangs looks like one that
//! is down, and never holds a worker.

pub mod changes;
pub mod clients;
mod conn;
mod error;
pub mod migrations;
mod pool;
pub mod revocations;
pub mod routes;
mod schema;
pub mod secrets;
pub mod signing_keys;
pub mod standing;
pub mod tokens;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::breaker::{Breaker, BreakerSettings, BreakerState};
use crate::config;

pub use conn::{Backend, Conn};
pub use error::DbError;

/// The handle to the database; a clone is the same database.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

struct Inner {
    backend: Backend,
    pool: r2d2::Pool<conn::Manager>,
    /// One for each connection: who waits for a connection waits here, without a thread.
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    counters: Arc<pool::PoolCounters>,
    breaker: Mutex<Breaker>,
    connection_timeout: Duration,
    query_timeout: Duration,
}

/// `/admin/pool/stats`
#[derive(Clone, Debug, Serialize)]
pub struct PoolStats {
    backend: &'static str,
    max_size: u32,
    connections: u32,
    idle: u32,
    in_use: u32,
    waiting: usize,
    wait_seconds_total: f64,
    timeouts_total: u64,
    breaker: &'static str,
}

impl Db {
    /// Builds the handle without connecting: a database that is down now may be up later.
    pub fn open(database: &config::Database) -> Self {
        let counters = Arc::new(pool::PoolCounters::default());
        let breaker = Breaker::new(BreakerSettings {
            failure_rate: database.breaker.failure_rate,
            window: database.breaker.window as usize,
            open_for: database.breaker.open_for.0,
        });
        Self {
            inner: Arc::new(Inner {
                backend: Backend::of_url(&database.url),
                pool: pool::build(&database.url, database, counters.clone()),
                permits: Arc::new(Semaphore::new(database.pool.max_size as usize)),
                waiting: AtomicUsize::new(0),
                counters,
                breaker: Mutex::new(breaker),
                connection_timeout: database.pool.connection_timeout.0,
                query_timeout: database.query_timeout.0,
            }),
        }
    }

    /// Runs `work` with a connection, off this thread.
    ///
    /// # Errors
    /// [`DbError::Unavailable`] at once while the breaker is open, after `connection_timeout` without a connection
    /// and after `query_timeout` without an answer (`work` may still finish then); otherwise what `work` gave.
    pub async fn run<T, F>(&self, work: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T, DbError> + Send + 'static,
    {
        let deadline = Instant::now() + self.inner.query_timeout;
        let mut call = Call::admitted(&self.inner)?;
        let permit = self.permit(deadline).await?;
        let inner = self.inner.clone();
        let job = tokio::task::spawn_blocking(move || {
            let result = match inner.pool.get() {
                Ok(mut conn) => work(&mut conn),
                Err(error) => Err(DbError::Unavailable(error.to_string())),
            };
            drop(permit);
            result
        });
        let result = match timeout_at(deadline, job).await {
            Ok(Ok(result)) => result,
            Ok(Err(stopped)) => Err(DbError::Unavailable(format!("the call did not end: {stopped}"))),
            Err(_) => Err(DbError::Unavailable("no answer within database.query_timeout".into())),
        };
        call.ended(&result);
        result
    }

    /// Runs `work` with a connection on this thread: for the command line, which has nothing else to do.
    ///
    /// # Errors
    /// As [`Db::run`], without breaker and deadline.
    pub fn run_here<T>(&self, work: impl FnOnce(&mut Conn) -> Result<T, DbError>) -> Result<T, DbError> {
        let conn = self.inner.pool.get();
        work(&mut *conn.map_err(|error| DbError::Unavailable(error.to_string()))?)
    }

    /// At the end of a run: on SQLite moves what is in the WAL file into the database file, so that it stands alone.
    ///
    /// # Errors
    /// When the database cannot be reached; everything is safe in the WAL file then.
    pub async fn settle(&self) -> Result<(), DbError> {
        self.run(|conn| {
            if let Conn::Sqlite(conn) = conn {
                use diesel::connection::SimpleConnection;
                conn.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)")?;
            }
            Ok(())
        })
        .await
    }

    /// Whether calls are let through.
    pub fn breaker_state(&self) -> BreakerState {
        self.inner.breaker().state()
    }

    /// The longest that a call may take.
    pub fn query_timeout(&self) -> Duration {
        self.inner.query_timeout
    }

    /// The state of pool and breaker.
    pub fn stats(&self) -> PoolStats {
        let state = self.inner.pool.state();
        PoolStats {
            backend: self.inner.backend.name(),
            max_size: self.inner.pool.max_size(),
            connections: state.connections,
            idle: state.idle_connections,
            in_use: state.connections - state.idle_connections,
            waiting: self.inner.waiting.load(Ordering::Relaxed),
            wait_seconds_total: self.inner.counters.wait_seconds(),
            timeouts_total: self.inner.counters.timeouts(),
            breaker: self.breaker_state().name(),
        }
    }

    async fn permit(&self, deadline: Instant) -> Result<tokio::sync::OwnedSemaphorePermit, DbError> {
        let permits = self.inner.permits.clone();
        if let Ok(permit) = permits.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let waiting = Waiting::begin(&self.inner);
        let began = Instant::now();
        let patience = deadline.min(began + self.inner.connection_timeout);
        let permit = timeout_at(patience, permits.acquire_owned()).await;
        drop(waiting);
        self.inner.counters.waited(began.elapsed());
        match permit {
            Ok(Ok(permit)) => Ok(permit),
            _ => {
                self.inner.counters.timed_out();
                Err(DbError::Unavailable(
                    "no free connection within database.pool.connection_timeout".into(),
                ))
            }
        }
    }
}

impl Inner {
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a caller that waits, also when it gives up half-way.
struct Waiting<'a>(&'a Inner);

impl<'a> Waiting<'a> {
    fn begin(inner: &'a Inner) -> Self {
        inner.waiting.fetch_add(1, Ordering::Relaxed);
        Self(inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A call that the breaker let through: it reports how it ended, or that it was given up.
struct Call<'a> {
    inner: &'a Inner,
    reported: bool,
}

impl<'a> Call<'a> {
    fn admitted(inner: &'a Inner) -> Result<Self, DbError> {
        if !inner.breaker().admit(Instant::now().into_std()) {
            return Err(DbError::Unavailable("the circuit breaker is open".into()));
        }
        Ok(Self { inner, reported: false })
    }

    fn ended<T>(&mut self, result: &Result<T, DbError>) {
        self.reported = true;
        let mut breaker = self.inner.breaker();
        let before = breaker.state();
        match result {
            Err(error) if error.is_unavailable() => breaker.failed(Instant::now().into_std()),
            _ => breaker.succeeded(),
        }
        let after = breaker.state();
        drop(breaker);
        match (before, after, result) {
            (BreakerState::Closed, BreakerState::Open, Err(error)) => log::error!("circuit breaker opened: {error}"),
            (BreakerState::HalfOpen, BreakerState::Closed, _) => {
                log::info!("circuit breaker closed: the database answers again")
            }
            _ => {}
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.reported {
            self.inner.breaker().abandoned(Instant::now().into_std());
        }
    }
}
