//! A connection to SQLite or PostgreSQL, and a transaction on it.

use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel::prelude::*;
use diesel::{PgConnection, SqliteConnection};

use super::error::DbError;

/// A connection. Most queries run on both databases. Where the dialects differ, a function matches
/// on this.
#[derive(diesel::MultiConnection)]
pub enum Conn {
    /// The embedded database.
    Sqlite(SqliteConnection),
    /// PostgreSQL.
    Postgres(PgConnection),
}

/// The version of SQLite in this process.
///
/// # Errors
/// SQLite cannot open a database in memory.
pub fn sqlite_version() -> Result<String, DbError> {
    let mut conn = SqliteConnection::establish(":memory:").map_err(|error| DbError::Unusable(error.to_string()))?;
    Ok(diesel::select(diesel::dsl::sql::<diesel::sql_types::Text>("sqlite_version()")).get_result(&mut conn)?)
}

impl Conn {
    /// Runs `work` in a transaction that may write, and commits it. Within another transaction,
    /// `work` becomes a part of that one.
    ///
    /// On SQLite the transaction is IMMEDIATE. Otherwise a transaction that reads before it writes
    /// would fail immediately if another connection wrote in between, regardless of the busy
    /// timeout.
    ///
    /// # Errors
    /// The error of `work` or of the commit. Everything is rolled back then.
    pub fn write<T>(&mut self, work: impl FnOnce(&mut Conn) -> Result<T, DbError>) -> Result<T, DbError> {
        if self.is_in_transaction()? {
            return work(self);
        }
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
                // If the rollback also fails, the connection is marked as broken and the pool drops
                // it.
                let _ = match self {
                    Conn::Sqlite(conn) => AnsiTransactionManager::rollback_transaction(conn),
                    Conn::Postgres(conn) => AnsiTransactionManager::rollback_transaction(conn),
                };
                Err(error)
            }
        }
    }

    fn is_in_transaction(&mut self) -> Result<bool, DbError> {
        let depth = match self {
            Conn::Sqlite(conn) => AnsiTransactionManager::transaction_manager_status_mut(conn).transaction_depth()?,
            Conn::Postgres(conn) => AnsiTransactionManager::transaction_manager_status_mut(conn).transaction_depth()?,
        };
        Ok(depth.is_some())
    }
}

/// The kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// `sqlite:PATH`
    Sqlite,
    /// `postgres://…`
    Postgres,
}

impl Backend {
    /// The kind of database at a URL, by its scheme. Configuration validation ensures that any
    /// other URL than PostgreSQL's is one of SQLite.
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
