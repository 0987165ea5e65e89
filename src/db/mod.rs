//! The database, and the only room that knows diesel: rows stay inside, domain types leave.
//!
//! Callers hold a [`Db`]. Every call through it passes a circuit breaker, waits for one of as many permits as the
//! pool has connections, runs on a blocking thread, and has a deadline: a database that hangs looks like one that
//! is down, and never holds a worker. Reads that may be a moment old can go to a replica.

pub mod audit;
pub mod changes;
pub mod client_status;
pub mod clients;
mod conn;
pub mod deployment;
mod endpoint;
mod error;
pub mod expired;
mod locks;
mod manager;
pub mod migrations;
pub mod partitions;
mod pool;
mod pool_counters;
pub mod revocations;
pub mod routes;
mod schema;
pub mod secrets;
pub mod signing_keys;
pub mod tokens;
pub mod transactions;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::breaker::BreakerState;
use crate::config;
use endpoint::Endpoint;

pub use conn::{Backend, Conn};
pub use endpoint::{PoolSettings, PoolStats};
pub use error::DbError;

/// The handle to the database; a clone is the same database.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

struct Inner {
    primary: Arc<Endpoint>,
    replicas: Vec<Arc<Endpoint>>,
    /// Whose turn it is.
    turn: AtomicUsize,
    /// The last change that this process knows of: a replica that has not come so far is not asked.
    known_change: AtomicI64,
    /// Rung when this process has appended to the change log.
    written: Notify,
    replica_reads: AtomicU64,
    replica_fallbacks: AtomicU64,
    query_timeout: Duration,
}

/// Whether there may be a database at this URL: `false` for an SQLite file that is not there, which opening would make.
pub fn may_exist(url: &str) -> bool {
    Backend::of_url(url) != Backend::Sqlite || std::path::Path::new(manager::sqlite_path(url)).exists()
}

/// `/admin/pool/stats`: the pool of the primary, and those of the replicas.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct DbStats {
    /// Of the primary.
    #[serde(flatten)]
    pub primary: PoolStats,
    /// Of each replica, in the order of `database.replica_urls`.
    pub replicas: Vec<PoolStats>,
    /// Reads that a replica answered.
    pub replica_reads_total: u64,
    /// Reads that went to the primary because a replica did not answer, or was behind.
    pub replica_fallbacks_total: u64,
}

impl Db {
    /// Builds the handle without connecting: a database that is down now may be up later.
    pub fn open(database: &config::Database) -> Self {
        let replica = |(index, url): (usize, &String)| Endpoint::new(format!("replica {}", index + 1), url, database);
        let replicas = database.replica_urls.iter().enumerate().map(replica);
        Self {
            inner: Arc::new(Inner {
                primary: Arc::new(Endpoint::new("primary".into(), &database.url, database)),
                replicas: replicas.map(Arc::new).collect(),
                turn: AtomicUsize::new(0),
                known_change: AtomicI64::new(0),
                written: Notify::new(),
                replica_reads: AtomicU64::new(0),
                replica_fallbacks: AtomicU64::new(0),
                query_timeout: database.query_timeout.0,
            }),
        }
    }

    /// A database that does not exist, for tests of what does not ask it.
    #[cfg(test)]
    pub fn unreachable() -> Self {
        Self::open(&config::Database {
            url: "sqlite:/nonexistent/mintage.db".into(),
            ..config::Database::default()
        })
    }

    /// Runs `work` with a connection to the primary, off this thread.
    ///
    /// # Errors
    /// [`DbError::Unavailable`] at once while the breaker is open, after `connection_timeout` without a connection
    /// and after `query_timeout` without an answer (`work` may still finish then); otherwise what `work` gave.
    pub async fn run<T, F>(&self, work: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T, DbError> + Send + 'static,
    {
        self.inner.primary.run(self.deadline(), work).await
    }

    /// As [`Db::run`], for work that may be done twice: a connection that died meanwhile costs a second try and no
    /// failure.
    ///
    /// # Errors
    /// As [`Db::run`].
    pub async fn run_repeatable<T, F>(&self, work: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: Fn(&mut Conn) -> Result<T, DbError> + Send + 'static,
    {
        self.inner.primary.run_repeatable(self.deadline(), work).await
    }

    /// Reads from a replica that has come as far in the change log as this process has, or else from the primary.
    ///
    /// A replica that hangs may use up half of `query_timeout`; the other half is the primary's.
    ///
    /// # Errors
    /// As [`Db::run`], when the primary fails too.
    pub async fn read<T, F>(&self, work: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: Fn(&mut Conn) -> Result<T, DbError> + Clone + Send + 'static,
    {
        let deadline = self.deadline();
        if let Some(replica) = self.replica() {
            // Read before the replica is asked: a change that comes later invalidates what is read now.
            let known = self.inner.known_change.load(Ordering::Acquire);
            let ask = work.clone();
            let if_recent = move |conn: &mut Conn| match changes::last(conn)? >= known {
                true => ask(conn).map(Some),
                false => Ok(None),
            };
            let half = deadline - self.inner.query_timeout / 2;
            match replica.run_repeatable(half, if_recent).await {
                Ok(Some(value)) => {
                    self.inner.replica_reads.fetch_add(1, Ordering::Relaxed);
                    return Ok(value);
                }
                Ok(None) => log::debug!(change = known; "replica behind"),
                Err(error) => log::debug!(error:%; "replica read failed"),
            }
            self.inner.replica_fallbacks.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.primary.run_repeatable(deadline, work).await
    }

    /// This process knows of change number `seq`: nothing older is read from now on.
    pub fn knows_change(&self, seq: i64) {
        self.inner.known_change.fetch_max(seq, Ordering::AcqRel);
    }

    /// The change log is another one, which ends at number `seq`: what was known of the old one says nothing about it.
    pub fn knows_change_of_another_log(&self, seq: i64) {
        self.inner.known_change.store(seq, Ordering::Release);
    }

    /// To be called after a write of this process's own: what it wrote is what it reads from now on.
    ///
    /// # Errors
    /// As [`Db::run`]; the write counts all the same.
    pub async fn catch_up(&self) -> Result<(), DbError> {
        self.has_written();
        if !self.inner.replicas.is_empty() {
            let last = self.run_repeatable(changes::last).await?;
            self.knows_change(last);
        }
        Ok(())
    }

    /// This process has appended to the change log and committed it: the feed may want to read it now.
    pub fn has_written(&self) {
        self.inner.written.notify_one();
    }

    /// Waits until this process has appended to the change log; for one who waits, which is the feed.
    pub async fn written(&self) {
        self.inner.written.notified().await;
    }

    /// Runs `work` with a connection on this thread: for the command line, which has nothing else to do.
    ///
    /// # Errors
    /// As [`Db::run`], without breaker and deadline.
    pub fn run_here<T>(&self, work: impl FnOnce(&mut Conn) -> Result<T, DbError>) -> Result<T, DbError> {
        self.inner.primary.run_here(work)
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

    /// Whether calls to the primary are let through.
    pub fn breaker_state(&self) -> BreakerState {
        self.inner.primary.breaker_state()
    }

    /// Which kind of database it is.
    pub fn backend(&self) -> Backend {
        self.inner.primary.backend()
    }

    /// The longest that a call may take.
    pub fn query_timeout(&self) -> Duration {
        self.inner.query_timeout
    }

    /// The state of pools and breakers.
    pub fn stats(&self) -> DbStats {
        DbStats {
            primary: self.inner.primary.stats(),
            replicas: self.inner.replicas.iter().map(|replica| replica.stats()).collect(),
            replica_reads_total: self.inner.replica_reads.load(Ordering::Relaxed),
            replica_fallbacks_total: self.inner.replica_fallbacks.load(Ordering::Relaxed),
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.inner.query_timeout
    }

    /// The next one in turn that answers.
    fn replica(&self) -> Option<&Arc<Endpoint>> {
        let replicas = &self.inner.replicas;
        let turn = self.inner.turn.fetch_add(1, Ordering::Relaxed);
        (0..replicas.len())
            .map(|step| &replicas[turn.wrapping_add(step) % replicas.len()])
            .find(|replica| replica.answers())
    }
}
