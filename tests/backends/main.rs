#![allow(
    clippy::disallowed_methods,
    reason = "a test that waits for a real replica measures real time"
)]
//! Every query on SQLite and on PostgreSQL: both databases must give the same results.

mod administration;
mod audit_chain;
mod authority;
mod bootstrap;
mod changes;
mod client_search;
mod clients;
mod connections;
mod declarations;
mod deployment;
mod expired;
mod migrations;
mod poolers;
mod replicas;
mod roles;
mod secret_usage;
mod signing_keys;
mod tokens;
mod trust;

use diesel::RunQueryDsl;
use diesel::sql_types::{BigInt, Text};
use mintage::config;
use mintage::db::{Backend, Conn, Db, DbError};
use testkit::postgres;
use testkit::sqlite::Sqlite;

/// A database of either backend, for one test.
struct Store {
    db: Db,
    settings: config::Database,
    backend: Backend,
    /// Holds the folder of an embedded database for the lifetime of the test.
    _folder: Option<Sqlite>,
}

impl Store {
    /// A SQLite database without a schema.
    fn sqlite() -> Self {
        let sqlite = Sqlite::empty();
        Self::new(sqlite.settings(), Some(sqlite))
    }

    /// A PostgreSQL database without a schema.
    fn postgres() -> Self {
        Self::new(postgres::empty(), None)
    }

    fn new(mut settings: config::Database, folder: Option<Sqlite>) -> Self {
        // A busy machine must not look like an outage.
        settings.query_timeout = config::Duration::seconds(20);
        settings.pool.connection_timeout = config::Duration::seconds(20);
        Self {
            db: Db::open(&settings),
            backend: Backend::of_url(&settings.url),
            settings,
            _folder: folder,
        }
    }

    fn migrated(self) -> Self {
        self.run(mintage::db::migrations::up);
        self
    }

    /// Runs work that must succeed.
    fn run<T>(&self, work: impl FnOnce(&mut Conn) -> Result<T, DbError>) -> T {
        self.try_run(work).unwrap()
    }

    fn try_run<T>(&self, work: impl FnOnce(&mut Conn) -> Result<T, DbError>) -> Result<T, DbError> {
        self.db.run_here(work)
    }

    /// Runs a statement of the test itself, in the dialect of the database.
    fn execute(&self, on_sqlite: &str, on_postgres: &str) {
        let statement = match self.backend {
            Backend::Sqlite => on_sqlite,
            Backend::Postgres => on_postgres,
        };
        self.run(|conn| Ok(diesel::sql_query(statement).execute(conn)?));
    }

    /// One number.
    fn number(&self, query: &str) -> i64 {
        let rows: Vec<Number> = self.run(|conn| Ok(diesel::sql_query(query).load(conn)?));
        rows[0].value
    }

    /// Texts, in the order of the query.
    fn texts(&self, query: &str) -> Vec<String> {
        let rows: Vec<Words> = self.run(|conn| Ok(diesel::sql_query(query).load(conn)?));
        rows.into_iter().map(|row| row.value).collect()
    }
}

#[derive(diesel::QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    value: i64,
}

#[derive(diesel::QueryableByName)]
struct Words {
    #[diesel(sql_type = Text)]
    value: String,
}

/// Generates two tests from each function, one per backend. A function that is not listed is dead
/// code.
macro_rules! on_both_backends {
    ($($test:ident)*) => {
        mod on_sqlite {
            $(#[test] fn $test() { super::$test(crate::Store::sqlite()) })*
        }
        mod on_postgres {
            $(#[test] fn $test() { super::$test(crate::Store::postgres()) })*
        }
    };
}
use on_both_backends;
