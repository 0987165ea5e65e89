//! Opens connections, configures them and detects dead ones.
//!
//! Testing a connection costs a round trip, so a connection is tested only if it was unused for a
//! second, or if another connection was found dead since it last answered. A dead connection never
//! returns to the pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use diesel::connection::{InstrumentationEvent, SimpleConnection};
use diesel::r2d2::R2D2Connection;
use diesel::{Connection, PgConnection, SqliteConnection};
use tokio::time::Instant;

use super::conn::{Backend, Conn};
use super::error::DbError;
use super::pool_counters::PoolCounters;
use crate::config::DatabaseUrl;

/// PostgreSQL ends a transaction that is idle for half of `database.query_timeout`, but not less
/// than this. The end releases its locks, among them those of the change log and the janitor.
///
/// Without this limit, a process that was stopped within a transaction, or a machine that has
/// vanished, would block every change on every instance. Half of the query timeout lets waiting
/// calls get the lock in time. The minimum keeps a slow machine from losing its transactions.
const MIN_IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// Opens connections for the pool. The manager of r2d2 would try each dialect in turn.
pub struct Manager {
    url: String,
    query_timeout: Duration,
    counters: Arc<PoolCounters>,
    /// Incremented whenever a connection is found dead. Connections of an earlier generation must
    /// be tested.
    generation: Arc<AtomicU64>,
}

/// A connection that answered within this time is not tested.
const FRESH: Duration = Duration::from_secs(1);

/// A connection of the pool and the state of its health.
pub struct Pooled {
    conn: Conn,
    /// Whether the connection was lost.
    dead: bool,
    /// When it last answered.
    answered: Instant,
    /// The generation in which it last answered.
    generation: u64,
    current_generation: Arc<AtomicU64>,
}

impl Pooled {
    /// Runs `work` with the connection and records whether the connection is alive.
    ///
    /// # Errors
    /// The error of `work`.
    pub fn call<T>(&mut self, work: impl FnOnce(&mut Conn) -> Result<T, DbError>) -> Result<T, DbError> {
        let generation = self.current_generation.load(Ordering::Relaxed);
        let result = work(&mut self.conn);
        match result {
            Err(DbError::Disconnected(_)) => {
                self.dead = true;
                // The cause has probably also cut the other connections.
                self.current_generation.fetch_add(1, Ordering::Relaxed);
            }
            _ => (self.answered, self.generation) = (Instant::now(), generation),
        }
        result
    }
}

impl Manager {
    /// A manager for one URL. `query_timeout` also limits statements on the database's side.
    pub fn new(url: &str, query_timeout: Duration, counters: Arc<PoolCounters>) -> Self {
        Self {
            url: url.to_owned(),
            query_timeout,
            counters,
            generation: Arc::default(),
        }
    }

    fn sqlite(&self) -> Result<SqliteConnection, ConnectError> {
        let path = sqlite_path(&self.url);
        create_private(path)
            .map_err(|error| ConnectError(format!("cannot open the SQLite database {path}: {error}")))?;
        let mut conn = SqliteConnection::establish(path)
            .map_err(|error| ConnectError(format!("cannot open the SQLite database {path}: {error}")))?;
        // Shorter than the deadline of a call, so that a lock held elsewhere causes an error and
        // not an orphaned thread.
        let busy_millis = self.query_timeout.as_millis() * 3 / 4;
        let settings = [
            format!("PRAGMA busy_timeout = {busy_millis}"),
            "PRAGMA journal_mode = WAL".into(),
            // With NORMAL, a power failure can lose a commit. A revocation must not be lost.
            "PRAGMA synchronous = FULL".into(),
            "PRAGMA foreign_keys = ON".into(),
            "PRAGMA temp_store = MEMORY".into(),
            // Each connection has its own page cache. 25 caches of the default 2 MB would take more
            // memory than everything else, and the operating system already caches the same pages
            // once.
            "PRAGMA cache_size = -256".into(),
        ];
        for setting in settings {
            conn.batch_execute(&setting)
                .map_err(|error| ConnectError(format!("{setting}: {error}")))?;
        }
        Ok(conn)
    }

    fn postgres(&self) -> Result<PgConnection, ConnectError> {
        let url = with_defaults(&self.url).ok_or_else(|| ConnectError("database.url is malformed".into()))?;
        let mut conn = PgConnection::establish(&url).map_err(cannot_connect)?;
        let millis = self.query_timeout.as_millis();
        let idle_millis = (self.query_timeout / 2).max(MIN_IDLE_TIMEOUT).as_millis();
        let settings = format!(
            "SET statement_timeout = {millis}; SET lock_timeout = {millis};
             SET idle_in_transaction_session_timeout = {idle_millis};
             SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
        );
        conn.batch_execute(&settings)
            .map_err(|error| ConnectError(format!("{settings}: {error}")))?;
        Ok(conn)
    }
}

/// The file of an SQLite URL: `sqlite:a.db`, `sqlite://a.db` and `sqlite:///a.db` are all accepted.
pub fn sqlite_path(url: &str) -> &str {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    path.strip_prefix("//").unwrap_or(path)
}

/// Creates the file before SQLite does, readable by its owner only, because it may contain
/// unencrypted private keys.
fn create_private(path: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    match std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// The message of libpq, unless it is about the URL. Such a message quotes the URL, which may
/// contain the password.
fn cannot_connect(error: diesel::ConnectionError) -> ConnectError {
    const ABOUT_THE_URL: [&str; 3] = ["URI", "percent-encoded", "connection option"];
    let cause = error.to_string();
    let cause = match ABOUT_THE_URL.iter().any(|part| cause.contains(part)) {
        true => "the URL is malformed; special characters in user and password must be percent-encoded",
        false => &cause,
    };
    ConnectError(format!("cannot connect to PostgreSQL: {cause}"))
}

/// Parameters of libpq unless the URL sets them. With these, a vanished peer (power failure,
/// unplugged cable) is noticed within about 10 to 25 s. The defaults of libpq take hours.
const LIBPQ_DEFAULTS: [(&str, &str); 6] = [
    ("connect_timeout", "2"),
    ("tcp_user_timeout", "10000"),
    ("keepalives_idle", "10"),
    ("keepalives_interval", "5"),
    ("keepalives_count", "3"),
    ("application_name", "mintage"),
];

/// `None` if the URL is malformed, which the configuration rejects.
fn with_defaults(url: &str) -> Option<String> {
    let url = DatabaseUrl::parse(url).ok()?;
    Some(
        url.with(
            LIBPQ_DEFAULTS
                .into_iter()
                .filter(|(name, _)| url.parameter(name).is_none()),
        ),
    )
}

/// A connection cannot be opened.
#[derive(Debug)]
pub struct ConnectError(String);

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConnectError {}

impl r2d2::ManageConnection for Manager {
    type Connection = Pooled;
    type Error = ConnectError;

    fn connect(&self) -> Result<Pooled, ConnectError> {
        let generation = self.generation.load(Ordering::Relaxed);
        let mut conn = match Backend::of_url(&self.url) {
            Backend::Sqlite => self.sqlite().map(Conn::Sqlite),
            Backend::Postgres => self.postgres().map(Conn::Postgres),
        }?;
        let counters = self.counters.clone();
        conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
            if let InstrumentationEvent::StartQuery { .. } = event {
                counters.statement_sent();
            }
        });
        Ok(Pooled {
            conn,
            dead: false,
            answered: Instant::now(),
            generation,
            current_generation: self.generation.clone(),
        })
    }

    /// Called by r2d2 at every checkout. On the warm path this costs a comparison and no round
    /// trip.
    fn is_valid(&self, pooled: &mut Pooled) -> Result<(), ConnectError> {
        let generation = self.generation.load(Ordering::Relaxed);
        let is_fresh = match pooled.conn {
            Conn::Sqlite(_) => true,
            Conn::Postgres(_) => pooled.generation == generation && pooled.answered.elapsed() < FRESH,
        };
        if is_fresh {
            return Ok(());
        }
        self.counters.validated();
        match pooled.conn.ping() {
            Ok(()) => {
                (pooled.answered, pooled.generation) = (Instant::now(), generation);
                Ok(())
            }
            Err(error) => {
                self.generation.fetch_add(1, Ordering::Relaxed);
                self.counters.discarded();
                Err(ConnectError(error.to_string()))
            }
        }
    }

    fn has_broken(&self, pooled: &mut Pooled) -> bool {
        let broken = std::thread::panicking() || pooled.dead || pooled.conn.is_broken();
        if broken {
            self.counters.discarded();
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_the_url_take_precedence() {
        let url = with_defaults("postgres://m@db/m?connect_timeout=9&sslmode=require").unwrap();
        assert!(url.starts_with("postgres://m@db/m?connect_timeout=9&sslmode=require&tcp_user_timeout=10000&"));
        assert_eq!(url.matches("connect_timeout").count(), 1);
        // A password is not a parameter.
        let url = with_defaults("postgres://m:connect_timeout=9&@db/m").unwrap();
        assert!(url.starts_with("postgres://m:connect_timeout=9&@db/m?connect_timeout=2&"));
    }

    #[test]
    fn a_url_without_parameters_gets_the_defaults() {
        let url = with_defaults("postgres://m@db/m").unwrap();
        assert!(
            url.starts_with("postgres://m@db/m?connect_timeout=2&tcp_user_timeout=10000&"),
            "{url}"
        );
    }
}
