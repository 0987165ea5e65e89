//! Endpoint: one database that can be asked, the primary or a replica, with all that stands between it and a caller.
//!
//! A call passes the circuit breaker, waits for one of as many permits as the pool has connections, runs on a blocking
//! thread, and has a deadline.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use r2d2::PooledConnection;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::conn::{Backend, Conn};
use super::error::DbError;
use super::manager::Manager;
use super::pool::{self, PoolCounters};
use crate::breaker::{Breaker, BreakerSettings, BreakerState};
use crate::config;

/// One database.
pub struct Endpoint {
    /// `primary` or `replica N`, for the log.
    role: String,
    backend: Backend,
    pool: r2d2::Pool<Manager>,
    /// One for each connection: who waits for a connection waits here, without a thread.
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    counters: Arc<PoolCounters>,
    breaker: Mutex<Breaker>,
    connection_timeout: Duration,
}

/// `/admin/pool/stats`
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct PoolStats {
    backend: &'static str,
    max_size: u32,
    connections: u32,
    idle: u32,
    in_use: u32,
    waiting: usize,
    wait_seconds_total: f64,
    timeouts_total: u64,
    validations_total: u64,
    discarded_total: u64,
    breaker: &'static str,
}

impl Endpoint {
    /// Does not connect: a database that is down now may be up later.
    pub fn new(role: String, url: &str, database: &config::Database) -> Self {
        let counters = Arc::new(PoolCounters::default());
        let breaker = Breaker::new(BreakerSettings {
            failure_rate: database.breaker.failure_rate,
            window: database.breaker.window as usize,
            open_for: database.breaker.open_for.0,
        });
        Self {
            role,
            backend: Backend::of_url(url),
            pool: pool::build(url, database, counters.clone()),
            permits: Arc::new(Semaphore::new(database.pool.max_size as usize)),
            waiting: AtomicUsize::new(0),
            counters,
            breaker: Mutex::new(breaker),
            connection_timeout: database.pool.connection_timeout.0,
        }
    }

    /// Runs `work` with a connection, off this thread, and gives it up at `deadline`; it may still finish then.
    ///
    /// # Errors
    /// [`DbError::Unavailable`] at once while the breaker is open, after `connection_timeout` without a connection
    /// and past the deadline; otherwise what `work` gave.
    pub async fn run<T, F>(self: &Arc<Self>, deadline: Instant, work: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T, DbError> + Send + 'static,
    {
        self.call(deadline, move |endpoint| endpoint.connection()?.call(work))
            .await
    }

    /// As [`Endpoint::run`], for work that may be done twice: where the connection is lost under it, it is done once
    /// more on another. Others that died with it are sorted out before that, when they leave the pool.
    ///
    /// # Errors
    /// As [`Endpoint::run`].
    pub async fn run_repeatable<T, F>(self: &Arc<Self>, deadline: Instant, work: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: Fn(&mut Conn) -> Result<T, DbError> + Send + 'static,
    {
        let twice = move |endpoint: &Endpoint| match endpoint.connection()?.call(&work) {
            Err(DbError::Disconnected(_)) => endpoint.connection()?.call(&work),
            outcome => outcome,
        };
        self.call(deadline, twice).await
    }

    /// Runs `work` with a connection on this thread, past breaker and deadline.
    ///
    /// # Errors
    /// When no connection can be had; otherwise what `work` gave.
    pub fn run_here<T>(&self, work: impl FnOnce(&mut Conn) -> Result<T, DbError>) -> Result<T, DbError> {
        self.connection()?.call(work)
    }

    /// Whether a call would be let through now.
    pub fn answers(&self) -> bool {
        self.breaker().admits(Instant::now().into_std())
    }

    /// Whether calls are let through.
    pub fn breaker_state(&self) -> BreakerState {
        self.breaker().state()
    }

    /// The state of pool and breaker.
    pub fn stats(&self) -> PoolStats {
        let state = self.pool.state();
        PoolStats {
            backend: self.backend.name(),
            max_size: self.pool.max_size(),
            connections: state.connections,
            idle: state.idle_connections,
            in_use: state.connections - state.idle_connections,
            waiting: self.waiting.load(Ordering::Relaxed),
            wait_seconds_total: self.counters.wait_seconds(),
            timeouts_total: self.counters.timeouts(),
            validations_total: self.counters.validations(),
            discarded_total: self.counters.discards(),
            breaker: self.breaker_state().name(),
        }
    }

    async fn call<T, W>(self: &Arc<Self>, deadline: Instant, work: W) -> Result<T, DbError>
    where
        T: Send + 'static,
        W: FnOnce(&Endpoint) -> Result<T, DbError> + Send + 'static,
    {
        let mut call = Call::admitted(self)?;
        let permit = match self.permit(deadline).await {
            Ok(permit) => permit,
            Err(error) => {
                call.ended::<T>(&Err(error.clone()));
                return Err(error);
            }
        };
        let endpoint = self.clone();
        let job = tokio::task::spawn_blocking(move || {
            let result = work(&endpoint);
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

    fn connection(&self) -> Result<PooledConnection<Manager>, DbError> {
        self.pool.get().map_err(|error| DbError::Unavailable(error.to_string()))
    }

    async fn permit(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, DbError> {
        let permits = self.permits.clone();
        if let Ok(permit) = permits.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let waiting = Waiting::begin(self);
        let began = Instant::now();
        let patience = deadline.min(began + self.connection_timeout);
        let permit = timeout_at(patience, permits.acquire_owned()).await;
        drop(waiting);
        self.counters.waited(began.elapsed());
        match permit {
            Ok(Ok(permit)) => Ok(permit),
            _ => {
                self.counters.timed_out();
                Err(DbError::Unavailable(
                    "no free connection within database.pool.connection_timeout".into(),
                ))
            }
        }
    }
}

impl Endpoint {
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a caller that waits, also when it gives up half-way.
struct Waiting<'a>(&'a Endpoint);

impl<'a> Waiting<'a> {
    fn begin(endpoint: &'a Endpoint) -> Self {
        endpoint.waiting.fetch_add(1, Ordering::Relaxed);
        Self(endpoint)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A call that the breaker let through: it reports how it ended, or that it was given up.
struct Call<'a> {
    endpoint: &'a Endpoint,
    reported: bool,
}

impl<'a> Call<'a> {
    fn admitted(endpoint: &'a Endpoint) -> Result<Self, DbError> {
        if !endpoint.breaker().admit(Instant::now().into_std()) {
            return Err(DbError::Unavailable("the circuit breaker is open".into()));
        }
        Ok(Self {
            endpoint,
            reported: false,
        })
    }

    fn ended<T>(&mut self, result: &Result<T, DbError>) {
        self.reported = true;
        let mut breaker = self.endpoint.breaker();
        let before = breaker.state();
        match result {
            Err(error) if error.is_unavailable() => breaker.failed(Instant::now().into_std()),
            _ => breaker.succeeded(),
        }
        let after = breaker.state();
        drop(breaker);
        match (before, after, result) {
            (BreakerState::Closed, BreakerState::Open, Err(error)) => {
                log::error!("circuit breaker opened database={}: {error}", self.endpoint.role)
            }
            (BreakerState::HalfOpen, BreakerState::Closed, _) => {
                log::info!(
                    "circuit breaker closed, it answers again database={}",
                    self.endpoint.role
                )
            }
            _ => {}
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.reported {
            self.endpoint.breaker().abandoned(Instant::now().into_std());
        }
    }
}
