//! An endpoint: the primary or a replica, with its pool and circuit breaker.
//!
//! A call passes the circuit breaker, waits for one of as many permits as the pool has connections,
//! runs on a blocking thread, and has a deadline.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use r2d2::{ManageConnection, PooledConnection};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::conn::{Backend, Conn};
use super::error::DbError;
use super::manager::{Manager, Pooled};
use super::pool;
use super::pool_counters::PoolCounters;
use crate::breaker::{Breaker, BreakerSettings, BreakerState};
use crate::config;
use crate::metrics::HistogramCounts;
use crate::mutex::lock;

/// What r2d2 puts before the cause.
const TIMED_OUT: &str = "timed out waiting for connection: ";

/// The primary or a replica.
pub struct Endpoint {
    /// `primary` or `replica N`, for the log.
    role: String,
    backend: Backend,
    pool: r2d2::Pool<Manager>,
    /// Opens connections outside the pool.
    direct: Manager,
    /// One permit per connection. A call waits here for a connection without blocking a thread.
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    counters: Arc<PoolCounters>,
    breaker: Mutex<Breaker>,
    settings: PoolSettings,
}

/// The response of `/admin/pool/stats`, with additional values for `/metrics`.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct PoolStats {
    /// `sqlite` or `postgres`.
    pub backend: &'static str,
    /// Maximum number of connections.
    pub max_size: u32,
    /// Open connections.
    pub connections: u32,
    /// Open connections that are idle.
    pub idle: u32,
    /// Open connections that are in use.
    pub in_use: u32,
    /// Calls that are waiting for a permit.
    pub waiting: usize,
    /// Total time that calls have waited, in seconds.
    pub wait_seconds_total: f64,
    /// Calls that gave up waiting.
    pub timeouts_total: u64,
    /// Connections that were tested before use.
    pub validations_total: u64,
    /// Connections that were dropped because they were dead.
    pub discarded_total: u64,
    /// SQL statements sent, `BEGIN` and `COMMIT` included.
    pub statements_total: u64,
    /// The name of `breaker_state`.
    pub breaker: &'static str,
    /// The state of the circuit breaker.
    #[serde(skip)]
    pub breaker_state: BreakerState,
    /// How long calls have waited.
    #[serde(skip)]
    pub waits: HistogramCounts,
    /// The settings of the pool.
    #[serde(skip)]
    pub settings: PoolSettings,
}

/// The settings of a pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolSettings {
    /// Minimum number of idle connections.
    pub min_idle: u32,
    /// Maximum age of a connection.
    pub max_lifetime: Duration,
    /// How long a connection beyond `min_idle` may be idle.
    pub idle_timeout: Duration,
    /// How long a call waits for a connection.
    pub connection_timeout: Duration,
}

impl Endpoint {
    /// Creates the endpoint without connecting. A database that is down now may be up later.
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
            direct: Manager::new(url, database.query_timeout.0, counters.clone()),
            permits: Arc::new(Semaphore::new(database.pool.max_size as usize)),
            waiting: AtomicUsize::new(0),
            counters,
            breaker: Mutex::new(breaker),
            settings: PoolSettings {
                min_idle: database.pool.min_idle,
                max_lifetime: database.pool.max_lifetime.0,
                idle_timeout: database.pool.idle_timeout.0,
                connection_timeout: database.pool.connection_timeout.0,
            },
        }
    }

    /// Runs `work` with a connection on a blocking thread, and abandons it at `deadline`; `work`
    /// may still finish then.
    ///
    /// # Errors
    /// [`DbError::Unavailable`] immediately while the breaker is open, after `connection_timeout`
    /// without a connection, and after the deadline. Otherwise the error of `work`.
    pub async fn run<T, F>(self: &Arc<Self>, deadline: Instant, work: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T, DbError> + Send + 'static,
    {
        self.call(deadline, move |endpoint, waited| {
            endpoint.connection(waited)?.call(work)
        })
        .await
    }

    /// As [`Endpoint::run`], for work that may run twice: if its connection is lost, it runs again
    /// on another one. The pool tests its connections before that, so those that were lost at the
    /// same time are not used.
    ///
    /// # Errors
    /// As [`Endpoint::run`]. [`DbError::NotAuthorized`] only if nothing is changed.
    pub async fn run_repeatable<T, F>(self: &Arc<Self>, deadline: Instant, work: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: Fn(&mut Conn) -> Result<T, DbError> + Send + 'static,
    {
        let twice = move |endpoint: &Endpoint, waited| match endpoint.connection(waited)?.call(&work) {
            Err(lost @ DbError::Disconnected(_)) => match endpoint.connection(Duration::ZERO)?.call(&work) {
                // The first run may have been committed, and have ended the right to the second.
                Err(DbError::NotAuthorized(_)) => Err(lost),
                outcome => outcome,
            },
            outcome => outcome,
        };
        self.call(deadline, twice).await
    }

    /// Runs `work` with a connection on this thread, without breaker and deadline.
    ///
    /// # Errors
    /// No connection is available: at once if the first one cannot be opened, and then
    /// [`DbError::Unusable`] if waiting does not help. Otherwise the error of `work`.
    pub fn run_here<T>(&self, work: impl FnOnce(&mut Conn) -> Result<T, DbError>) -> Result<T, DbError> {
        if self.pool.state().connections == 0 {
            // The pool would try until `connection_timeout`.
            match self.direct.connect().map_err(DbError::from) {
                // The pool waits for it.
                Err(DbError::Unavailable(cause)) if cause.contains("locked") => {}
                connected => return connected?.call(work),
            }
        }
        self.connection(Duration::ZERO)?.call(work)
    }

    /// A connection outside the pool, in addition to its connections.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn another(&self) -> Result<Pooled, DbError> {
        Ok(self.direct.connect()?)
    }

    /// Whether the circuit breaker would admit a call now.
    pub fn answers(&self) -> bool {
        self.breaker().admits(Instant::now().into_std())
    }

    /// The kind of the database.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The state of the circuit breaker.
    pub fn breaker_state(&self) -> BreakerState {
        self.breaker().state()
    }

    /// The state of pool and circuit breaker.
    pub fn stats(&self) -> PoolStats {
        let (state, waits) = (self.pool.state(), self.counters.waits());
        let breaker_state = self.breaker_state();
        PoolStats {
            backend: self.backend.name(),
            max_size: self.pool.max_size(),
            connections: state.connections,
            idle: state.idle_connections,
            in_use: state.connections - state.idle_connections,
            waiting: self.waiting.load(Ordering::Relaxed),
            wait_seconds_total: waits.seconds(),
            timeouts_total: self.counters.timeouts(),
            validations_total: self.counters.validations(),
            discarded_total: self.counters.discards(),
            statements_total: self.counters.statements(),
            breaker: breaker_state.name(),
            breaker_state,
            waits,
            settings: self.settings,
        }
    }

    async fn call<T, W>(self: &Arc<Self>, deadline: Instant, work: W) -> Result<T, DbError>
    where
        T: Send + 'static,
        W: FnOnce(&Endpoint, Duration) -> Result<T, DbError> + Send + 'static,
    {
        let mut call = Call::admitted(self)?;
        let (permit, waited) = match self.permit(deadline).await {
            Ok(permit) => permit,
            Err(error) => {
                call.ended::<T>(&Err(error.clone()));
                return Err(error);
            }
        };
        let endpoint = self.clone();
        let job = tokio::task::spawn_blocking(move || {
            let result = work(&endpoint, waited);
            drop(permit);
            result
        });
        let result = match timeout_at(deadline, job).await {
            Ok(result) => result.map_err(DbError::stopped).flatten(),
            Err(_) => Err(DbError::Unavailable("no answer within database.query_timeout".into())),
        };
        call.ended(&result);
        result
    }

    /// Takes a connection, for a call that has already waited for `waited`.
    fn connection(&self, waited: Duration) -> Result<PooledConnection<Manager>, DbError> {
        let began = Instant::now();
        let connection = self.pool.get();
        self.counters.waited(waited + began.elapsed());
        connection.map_err(|error| {
            self.counters.timed_out();
            let cause = error.to_string();
            DbError::Unavailable(cause.strip_prefix(TIMED_OUT).unwrap_or(&cause).to_owned())
        })
    }

    /// Waits for a permit. Returns it with the time that it took.
    async fn permit(&self, deadline: Instant) -> Result<(OwnedSemaphorePermit, Duration), DbError> {
        let permits = self.permits.clone();
        if let Ok(permit) = permits.clone().try_acquire_owned() {
            return Ok((permit, Duration::ZERO));
        }
        let waiting = Waiting::begin(self);
        let began = Instant::now();
        let give_up_at = deadline.min(began + self.settings.connection_timeout);
        let permit = timeout_at(give_up_at, permits.acquire_owned()).await;
        drop(waiting);
        match permit {
            Ok(Ok(permit)) => Ok((permit, began.elapsed())),
            _ => {
                self.counters.waited(began.elapsed());
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
        lock(&self.breaker)
    }
}

/// Counts a waiting call until it is dropped, so that an abandoned call is also counted correctly.
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

/// A call that the breaker admitted. It reports its outcome, or on drop that it was abandoned.
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
                log::error!(database:% = self.endpoint.role, error:%; "circuit breaker opened");
            }
            (BreakerState::HalfOpen, BreakerState::Closed, _) => {
                log::info!(database:% = self.endpoint.role; "circuit breaker closed");
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
