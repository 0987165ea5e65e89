//! A connection to either database, and how one is made and set up.

use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::r2d2::R2D2Connection;
use diesel::{Connection, PgConnection, SqliteConnection};
use std::time::Duration;

use super::error::DbError;

/// A connection. Most queries run on either; where the dialects differ, the function matches on it.
#[derive(diesel::MultiConnection)]
pub enum Conn {
    /// The embedded database.
    Sqlite(SqliteConnection),
    /// PostgreSQL.
    Postgres(PgConnection),
}

impl Conn {
    /// Runs `work` in one transaction that may write, and commits it.
    ///
    /// On SQLite it begins IMMEDIATE: a transaction that reads first and writes later fails at once when another
    /// wrote in between, however long the busy timeout is.
    ///
    /// # Errors
    /// What `work` or the commit gave; everything is rolled back then.
    pub fn write<T>(&mut self, work: impl FnOnce(&mut Conn) -> Result<T, DbError>) -> Result<T, DbError> {
        match self {
            Conn::Sqlite(conn) => AnsiTransactionManager::begin_transaction_sql(conn, "BEGIN IMMEDIATE")?,
            Conn::Postgres(conn) => AnsiTransactionManager::begin_transaction(conn)?,
        }
        match work(self) {
            Ok(value) => {
                match self {
                    Conn::Sqlite(conn) => AnsiTransactionManager::commit_transaction(conn)?,
                    Conn::Postgres(conn) => AnsiTransactionManager::commit_transaction(conn)?,
                }
                Ok(value)
            }
            Err(error) => {
                // Where the rollback fails too, the connection is marked broken and the pool drops it.
                let _ = match self {
                    Conn::Sqlite(conn) => AnsiTransactionManager::rollback_transaction(conn),
                    Conn::Postgres(conn) => AnsiTransactionManager::rollback_transaction(conn),
                };
                Err(error)
            }
        }
    }
}

/// Which database a URL names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// `sqlite:PATH`
    Sqlite,
    /// `postgres://…`
    Postgres,
}

impl Backend {
    /// By the scheme of the URL; whatever is not PostgreSQL is SQLite, as the configuration has made sure.
    pub fn of_url(url: &str) -> Self {
        if url.starts_with("postgres") {
            Self::Postgres
        } else {
            Self::Sqlite
        }
    }

    /// The name in `/admin/pool/stats`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// Makes connections for the pool. r2d2's own manager would ask each dialect in turn whether the URL is its own.
pub struct Manager {
    url: String,
    query_timeout: Duration,
}

impl Manager {
    /// For one URL; `query_timeout` becomes the database's own limit as well.
    pub fn new(url: &str, query_timeout: Duration) -> Self {
        Self {
            url: url.to_owned(),
            query_timeout,
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
        let mut conn = PgConnection::establish(&with_connect_timeout(&self.url)).map_err(cannot_connect)?;
        let millis = self.query_timeout.as_millis();
        for setting in [
            format!("SET statement_timeout = {millis}"),
            format!("SET lock_timeout = {millis}"),
        ] {
            conn.batch_execute(&setting)
                .map_err(|error| ConnectError(format!("{setting}: {error}")))?;
        }
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

fn with_connect_timeout(url: &str) -> String {
    if url.contains("connect_timeout") {
        return url.to_owned();
    }
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}connect_timeout=2")
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
    type Connection = Conn;
    type Error = ConnectError;

    fn connect(&self) -> Result<Conn, ConnectError> {
        match Backend::of_url(&self.url) {
            Backend::Sqlite => self.sqlite().map(Conn::Sqlite),
            Backend::Postgres => self.postgres().map(Conn::Postgres),
        }
    }

    fn is_valid(&self, conn: &mut Conn) -> Result<(), ConnectError> {
        conn.ping().map_err(|error| ConnectError(error.to_string()))
    }

    fn has_broken(&self, conn: &mut Conn) -> bool {
        std::thread::panicking() || conn.is_broken()
    }
}
