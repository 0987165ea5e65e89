//! How a connection is made and set up, and how one that has died is told from one that lives.
//!
//! Asking a connection whether it lives is a round trip, so that is done only where there is reason to: after a second
//! without use, and for every connection that has not answered since another one was found dead. The one that was
//! found dead never comes back to the pool.

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

/// A transaction in which nothing is asked for so long is ended by PostgreSQL, and with it the locks that it holds: those of
/// the change log and of the janitor. Otherwise a process that was stopped in the middle of one, or a machine that has
/// vanished, would hold up every change on every instance. Half of `database.query_timeout`, so that who waits behind it
/// gets its turn in time, but not less than this, or a machine that is merely slow would lose its transactions.
const MIN_IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// Makes connections for the pool. r2d2's own manager would ask each dialect in turn whether the URL is its own.
pub struct Manager {
    url: String,
    query_timeout: Duration,
    counters: Arc<PoolCounters>,
    /// Rises whenever a connection is found dead: what was fresh before that is uncertain.
    generation: Arc<AtomicU64>,
}

/// A connection used this lately is taken for alive without being asked.
const FRESH: Duration = Duration::from_secs(1);

/// A connection of the pool, and what is known of its health.
pub struct Pooled {
    conn: Conn,
    /// It is of no more use.
    dead: bool,
    /// When it last answered.
    answered: Instant,
    /// The generation in which it last answered.
    generation: u64,
    current_generation: Arc<AtomicU64>,
}

impl Pooled {
    /// Runs `work` with the connection, and takes note of whether that lives.
    ///
    /// # Errors
    /// What `work` gave.
    pub fn call<T>(&mut self, work: impl FnOnce(&mut Conn) -> Result<T, DbError>) -> Result<T, DbError> {
        let generation = self.current_generation.load(Ordering::Relaxed);
        let result = work(&mut self.conn);
        match result {
            Err(DbError::Disconnected(_)) => {
                self.dead = true;
                // Whatever cut this one has probably cut the others too.
                self.current_generation.fetch_add(1, Ordering::Relaxed);
            }
            _ => (self.answered, self.generation) = (Instant::now(), generation),
        }
        result
    }
}

impl Manager {
    /// For one URL; `query_timeout` becomes the database's own limit as well.
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
        make_private(path).map_err(|error| ConnectError(format!("cannot open the SQLite database {path}: {error}")))?;
        let mut conn = SqliteConnection::establish(path)
            .map_err(|error| ConnectError(format!("cannot open the SQLite database {path}: {error}")))?;
        // Below the deadline of a call, so that a lock held elsewhere ends in an error and not in an orphaned thread.
        let busy_millis = self.query_timeout.as_millis() * 3 / 4;
        let settings = [
            format!("PRAGMA busy_timeout = {busy_millis}"),
            "PRAGMA journal_mode = WAL".into(),
            // With NORMAL a commit can be lost at a power cut; a revocation must not be.
            "PRAGMA synchronous = FULL".into(),
            "PRAGMA foreign_keys = ON".into(),
            "PRAGMA temp_store = MEMORY".into(),
            // Each connection has a page cache of its own; 25 of the default 2 MB would outweigh everything else, and
            // the operating system keeps the same pages once for all.
            "PRAGMA cache_size = -256".into(),
        ];
        for setting in settings {
            conn.batch_execute(&setting)
                .map_err(|error| ConnectError(format!("{setting}: {error}")))?;
        }
        Ok(conn)
    }

    fn postgres(&self) -> Result<PgConnection, ConnectError> {
        let mut conn = PgConnection::establish(&with_defaults(&self.url)).map_err(cannot_connect)?;
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

/// The file that an SQLite URL names: `sqlite:a.db`, `sqlite://a.db` and `sqlite:///a.db` as people write them.
pub fn sqlite_path(url: &str) -> &str {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    path.strip_prefix("//").unwrap_or(path)
}

/// Makes the file before SQLite does, readable for its owner only: it may hold private keys in the clear.
fn make_private(path: &str) -> std::io::Result<()> {
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

/// What libpq says, unless it is about the URL: then it quotes from it, which may be the password.
fn cannot_connect(error: diesel::ConnectionError) -> ConnectError {
    const ABOUT_THE_URL: [&str; 3] = ["URI", "percent-encoded", "connection option"];
    let cause = error.to_string();
    let cause = match ABOUT_THE_URL.iter().any(|part| cause.contains(part)) {
        true => "its URL cannot be read; special characters in user and password must be percent-encoded",
        false => &cause,
    };
    ConnectError(format!("cannot connect to PostgreSQL: {cause}"))
}

/// What libpq is told unless the URL says otherwise. A peer that has vanished without a word (a machine that lost its
/// power, a cable) is noticed within some 10 to 25 s; libpq's own defaults take hours.
const LIBPQ_DEFAULTS: [(&str, &str); 6] = [
    ("connect_timeout", "2"),
    ("tcp_user_timeout", "10000"),
    ("keepalives_idle", "10"),
    ("keepalives_interval", "5"),
    ("keepalives_count", "3"),
    ("application_name", "mintage"),
];

fn with_defaults(url: &str) -> String {
    let mut url = url.to_owned();
    for (name, value) in LIBPQ_DEFAULTS {
        if !url.contains(&format!("{name}=")) {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(&format!("{name}={value}"));
        }
    }
    url
}

/// A connection cannot be made.
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
                counters.stated();
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

    /// Asked by r2d2 at every checkout; on the warm path it costs a comparison and no round trip.
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
    fn what_the_url_says_is_not_overruled() {
        let url = with_defaults("postgres://m@db/m?connect_timeout=9&sslmode=require");
        assert!(url.starts_with("postgres://m@db/m?connect_timeout=9&sslmode=require&tcp_user_timeout=10000&"));
        assert_eq!(url.matches("connect_timeout").count(), 1);
    }

    #[test]
    fn a_url_without_parameters_gets_them() {
        let url = with_defaults("postgres://m@db/m");
        assert!(
            url.starts_with("postgres://m@db/m?connect_timeout=2&tcp_user_timeout=10000&"),
            "{url}"
        );
    }
}
