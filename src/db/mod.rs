//! The database, and the only module that uses diesel: row structs stay inside, domain types leave.
//!
//! Callers hold a [`Db`]. Every call passes a circuit breaker, waits for one of as many permits as
//! the pool has connections, runs on a blocking thread and has a deadline. A database that hangs
//! therefore looks like one that is down, and never blocks a worker. Reads that may be slightly old
//! can go to a replica.

pub mod audit;
pub mod audit_chain;
mod authority;
pub mod bootstrap;
pub mod changes;
pub mod client_search;
pub mod client_status;
pub mod clients;
mod conn;
pub mod declarations;
pub mod deployment;
mod endpoint;
mod error;
pub mod expired;
pub mod key_reencryption;
mod labels;
mod libpq;
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
mod sessions;
pub mod signing_keys;
mod token_record;
pub mod tokens;
pub mod transactions;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::breaker::{BreakerState, BreakerView};
use crate::config;
use endpoint::Endpoint;

pub use conn::{Backend, Conn, sqlite_version};
pub use endpoint::{PoolSettings, PoolStats};
pub use error::{DbError, NotAuthorized};

/// The handle to the database. Clones share the pools.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

struct Inner {
    primary: Arc<Endpoint>,
    replicas: Vec<Arc<Endpoint>>,
    /// Index of the next replica, in round-robin order.
    turn: AtomicUsize,
    /// The last change that this process knows. A replica that is behind it does not answer reads.
    known_change: AtomicI64,
    /// Notified when this process has appended to the change log.
    written: Notify,
    replica_reads: AtomicU64,
    replica_fallbacks: AtomicU64,
    query_timeout: Duration,
}

/// Whether a database can exist at this URL. `false` for an SQLite file that does not exist,
/// because opening it would create it.
pub fn may_exist(url: &str) -> bool {
    config::sqlite_path(url).is_none_or(|path| std::path::Path::new(path).exists())
}

/// The response of `/admin/pool/stats`: the pools of the primary and of the replicas.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct DbStats {
    /// The pool of the primary.
    #[serde(flatten)]
    pub primary: PoolStats,
    /// The pool of each replica, in the order of `database.replica_urls`.
    pub replicas: Vec<PoolStats>,
    /// Reads that a replica answered.
    pub replica_reads_total: u64,
    /// Reads that went to the primary because a replica failed or was behind.
    pub replica_fallbacks_total: u64,
}

impl Db {
    /// Creates the handle without connecting. A database that is down now may be up later.
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

    /// A database that does not exist, for tests that need no database.
    #[cfg(test)]
    pub fn unreachable() -> Self {
        Self::open(&config::Database {
            url: "sqlite:/nonexistent/mintage.db".into(),
            ..config::Database::default()
        })
    }

    /// Runs `work` with a connection to the primary, on a blocking thread.
    ///
    /// # Errors
    /// [`DbError::Unavailable`] immediately while the breaker is open, after `connection_timeout`
    /// without a connection, and after `query_timeout` without an answer (`work` may still finish
    /// then). Otherwise the error of `work`.
    pub async fn run<T, F>(&self, work: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T, DbError> + Send + 'static,
    {
        self.inner.primary.run(self.deadline(), work).await
    }

    /// As [`Db::run`], for work that may run twice: a lost connection costs a retry instead of an
    /// error.
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

    /// Reads from a replica that has every change known to this process, or otherwise from the
    /// primary.
    ///
    /// A replica may take half of `query_timeout`. The other half is left for the primary.
    ///
    /// # Errors
    /// As [`Db::run`], if the primary also fails.
    pub async fn read<T, F>(&self, work: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: Fn(&mut Conn) -> Result<T, DbError> + Clone + Send + 'static,
    {
        let deadline = self.deadline();
        if let Some(replica) = self.replica() {
            // Loaded before the replica is queried. A later change invalidates the result of this
            // read.
            let known = self.inner.known_change.load(Ordering::Acquire);
            let read = work.clone();
            let if_recent = move |conn: &mut Conn| match changes::last(conn)? >= known {
                true => read(conn).map(Some),
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

    /// Notes that this process knows change number `seq`. Replicas behind it no longer answer
    /// reads.
    pub fn knows_change(&self, seq: i64) {
        self.inner.known_change.fetch_max(seq, Ordering::AcqRel);
    }

    /// Notes that the change log was replaced by another one, which ends at number `seq`. Numbers
    /// of the previous log do not apply to it.
    pub fn knows_change_of_another_log(&self, seq: i64) {
        self.inner.known_change.store(seq, Ordering::Release);
    }

    /// Call this after a write of this process, so that later reads include it.
    ///
    /// # Errors
    /// As [`Db::run`]. The write is in effect nevertheless.
    pub async fn catch_up(&self) -> Result<(), DbError> {
        self.has_written();
        if !self.inner.replicas.is_empty() {
            let last = self.run_repeatable(changes::last).await?;
            self.knows_change(last);
        }
        Ok(())
    }

    /// Notes that this process has appended to the change log and committed, and wakes the feed.
    pub fn has_written(&self) {
        self.inner.written.notify_one();
    }

    /// Waits until this process has appended to the change log. For a single waiter, the feed.
    pub async fn written(&self) {
        self.inner.written.notified().await;
    }

    /// Runs `work` with a connection on this thread. For the command line, which has nothing else
    /// to do.
    ///
    /// # Errors
    /// As [`Db::run`], without breaker and deadline.
    pub fn run_here<T>(&self, work: impl FnOnce(&mut Conn) -> Result<T, DbError>) -> Result<T, DbError> {
        self.inner.primary.run_here(work)
    }

    /// Checks that statements of one connection reach one session, which a pooler in front of
    /// PostgreSQL prevents. `conn` is a connection to the primary.
    ///
    /// # Errors
    /// [`DbError::Unusable`] if they do not.
    pub fn check_sessions(&self, conn: &mut Conn) -> Result<(), DbError> {
        if self.backend() == Backend::Sqlite {
            return Ok(());
        }
        match self.inner.primary.another() {
            Ok(mut other) => sessions::check(conn, &mut other),
            // There may be no place for a second one.
            Err(_) => Ok(()),
        }
    }

    /// Moves the contents of SQLite's WAL file into the database file at shutdown, so that the
    /// database file alone is complete. Does nothing on PostgreSQL.
    ///
    /// # Errors
    /// The database cannot be reached. All data is then safe in the WAL file.
    pub async fn checkpoint(&self) -> Result<(), DbError> {
        if self.backend() == Backend::Postgres {
            return Ok(());
        }
        self.run(|conn| {
            if let Conn::Sqlite(conn) = conn {
                use diesel::connection::SimpleConnection;
                conn.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)")?;
            }
            Ok(())
        })
        .await
    }

    /// The state of the primary's circuit breaker.
    pub fn breaker_state(&self) -> BreakerState {
        self.inner.primary.breaker_state()
    }

    /// [`Db::breaker_state`], for callers that must not have access to the database itself.
    pub fn breaker_view(&self) -> BreakerView {
        let primary = self.inner.primary.clone();
        BreakerView::new(move || primary.breaker_state())
    }

    /// The kind of the database.
    pub fn backend(&self) -> Backend {
        self.inner.primary.backend()
    }

    /// Maximum duration of a call.
    pub fn query_timeout(&self) -> Duration {
        self.inner.query_timeout
    }

    /// The state of pools and circuit breakers.
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

    /// The next replica in turn whose circuit breaker admits calls.
    fn replica(&self) -> Option<&Arc<Endpoint>> {
        let replicas = &self.inner.replicas;
        let turn = self.inner.turn.fetch_add(1, Ordering::Relaxed);
        (0..replicas.len())
            .map(|step| &replicas[turn.wrapping_add(step) % replicas.len()])
            .find(|replica| replica.answers())
    }
}
