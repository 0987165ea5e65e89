//! Opens connections, configures them and detects dead ones.
//!
//! Testing a connection costs a round trip, so a connection is tested only if it was unused for a
//! second, or if another connection was found dead since it last answered. A dead connection never
//! returns to the pool.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use diesel::connection::{InstrumentationEvent, SimpleConnection};
use diesel::r2d2::R2D2Connection;
use diesel::{Connection, PgConnection, SqliteConnection};
use tokio::time::Instant;

use super::conn::{Backend, Conn};
use super::error::DbError;
use super::libpq::{self, Surroundings};
use super::locks;
use super::pool_counters::PoolCounters;
use crate::config::{DatabaseUrl, sqlite_path};

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
        let path = sqlite_path(&self.url).unwrap_or(&self.url);
        let cannot_open = |cause: &dyn std::fmt::Display| format!("cannot open the SQLite database {path}: {cause}");
        claim(path).map_err(|error| ConnectError {
            is_lasting: LASTING_FAILURES.contains(&error.kind()),
            text: cannot_open(&error),
        })?;
        let mut conn = SqliteConnection::establish(path).map_err(|error| ConnectError::passing(cannot_open(&error)))?;
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
            conn.batch_execute(&setting).map_err(|error| {
                let cause = error.to_string();
                ConnectError {
                    is_lasting: ["file is not a database", "malformed"]
                        .iter()
                        .any(|text| cause.contains(text)),
                    text: cannot_open(&cause),
                }
            })?;
        }
        Ok(conn)
    }

    fn postgres(&self) -> Result<PgConnection, ConnectError> {
        // The configuration has been validated.
        let url = DatabaseUrl::parse(&self.url).map_err(|_| ConnectError {
            text: "database.url is malformed".into(),
            is_lasting: true,
        })?;
        let url = libpq::complete(&url, &Surroundings::of_process());
        let mut conn = PgConnection::establish(&url).map_err(cannot_connect)?;
        let millis = self.query_timeout.as_millis();
        let idle_millis = (self.query_timeout / 2).max(MIN_IDLE_TIMEOUT).as_millis();
        let settings = format!(
            "SET statement_timeout = {millis}; SET lock_timeout = {millis};
             SET idle_in_transaction_session_timeout = {idle_millis};
             SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;
             {}",
            locks::USE
        );
        conn.batch_execute(&settings)
            .map_err(|error| ConnectError::passing(format!("cannot set up a connection: {error}")))?;
        Ok(conn)
    }
}

/// Creates the file before SQLite does, readable by its owner only, because it may contain
/// unencrypted private keys. One that exists is opened, because SQLite does not say why it cannot.
fn claim(path: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    options.open(path).map(drop)
}

/// The message of libpq, unless it is about the URL or about a variable. Such a message quotes the
/// value, which may contain the password.
fn cannot_connect(error: diesel::ConnectionError) -> ConnectError {
    const ABOUT_A_VALUE: [&str; 7] = [
        "URI",
        "percent-encoded",
        "connection option",
        " value: \"",
        "invalid port number",
        "service file",
        "of service \"",
    ];
    const ABOUT_TRUST: [&str; 3] = ["does not support SSL", "certificate", "authentication method"];
    let cause = error.to_string();
    let names = |text: &str, parts: &[&str]| parts.iter().any(|part| text.contains(part));
    let is_about = |parts: &[&str]| names(&cause, parts);
    let lasts = |attempt: &str| {
        [&ABOUT_A_VALUE[..], &ABOUT_TRUST, &REFUSALS]
            .iter()
            .any(|parts| names(attempt, parts))
    };
    // libpq tries each host, and says so of each. One of them may only be down.
    let mut attempts = cause
        .split("connection to server ")
        .filter(|text| !text.trim().is_empty());
    let is_lasting = attempts.all(lasts);
    let hint = match is_about(&ABOUT_TRUST) {
        true => "; a server without TLS or SCRAM needs sslmode or require_auth in database.url (docs/postgresql.md)",
        false => "",
    };
    let cause = if is_about(&ABOUT_A_VALUE) {
        "the URL, or a variable that begins with PG, is malformed"
    } else {
        cause.trim_end()
    };
    ConnectError {
        text: format!("cannot connect to PostgreSQL: {cause}{hint}"),
        is_lasting,
    }
}

/// What PostgreSQL answers to a role that may not connect, or to a wrong name.
const REFUSALS: [&str; 6] = [
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "is not permitted to log in",
    "permission denied for database",
    "\" does not exist",
];

/// Why a file cannot be opened, whenever it is tried.
const LASTING_FAILURES: [ErrorKind; 4] = [
    ErrorKind::PermissionDenied,
    ErrorKind::NotADirectory,
    ErrorKind::IsADirectory,
    ErrorKind::ReadOnlyFilesystem,
];

/// A connection cannot be opened.
#[derive(Debug)]
pub struct ConnectError {
    text: String,
    /// Whether waiting does not help.
    is_lasting: bool,
}

impl ConnectError {
    fn passing(text: String) -> Self {
        Self {
            text,
            is_lasting: false,
        }
    }
}

impl From<ConnectError> for DbError {
    fn from(error: ConnectError) -> Self {
        match error.is_lasting {
            true => Self::Unusable(error.text),
            false => Self::Unavailable(error.text),
        }
    }
}

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
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
                Err(ConnectError::passing(error.to_string()))
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
    fn a_host_that_does_not_resolve_is_reported_as_such() {
        let report = |message: &str| cannot_connect(diesel::ConnectionError::BadConnection(message.into())).to_string();
        let unknown = "could not translate host name \"db\" to address: Name or service not known";
        assert!(report(unknown).ends_with(unknown), "{}", report(unknown));
        for (lost, is_about_trust) in [
            ("SSL SYSCALL error: EOF detected", false),
            ("server does not support SSL, but SSL was required", true),
        ] {
            assert_eq!(report(lost).contains("sslmode"), is_about_trust, "{}", report(lost));
        }
        for quoted in [
            "definition of service \"hunter2\" not found",
            "service file \"hunter2\" not found",
            "syntax error in service file \"hunter2\", line 1",
        ] {
            assert!(!report(quoted).contains("hunter2"), "{}", report(quoted));
        }
    }

    #[test]
    fn a_wrong_password_lasts_and_a_host_that_is_down_may_come_back() {
        let lasts = |message: &str| cannot_connect(diesel::ConnectionError::BadConnection(message.into())).is_lasting;
        for lasting in [
            "FATAL:  password authentication failed for user \"a\"",
            "FATAL:  database \"a\" does not exist",
            "FATAL:  role \"a\" does not exist",
            "server does not support SSL, but SSL was required",
            "invalid port number: \"x\"",
            "connection to server at \"a\", port 1 failed: FATAL:  no pg_hba.conf entry for host \"c\"\n\
             connection to server at \"b\", port 1 failed: FATAL:  database \"a\" does not exist",
        ] {
            assert!(lasts(lasting), "{lasting}");
        }
        for passing in [
            "connection to server at \"a\", port 1 failed: Connection refused",
            "FATAL:  the database system is starting up",
            "FATAL:  sorry, too many clients already",
            "connection to server at \"a\", port 1 failed: No route to host\n\
             connection to server at \"b\", port 1 failed: FATAL:  no pg_hba.conf entry for host \"c\"",
            "connection to server at \"a\", port 1 failed: FATAL:  password authentication failed for user \"x\"\n\
             connection to server at \"b\", port 1 failed: session is read-only",
            "timeout expired",
        ] {
            assert!(!lasts(passing), "{passing}");
        }
    }
}
