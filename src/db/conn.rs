//! A connection to either database, and a transaction on it.

use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel::{PgConnection, SqliteConnection};

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
