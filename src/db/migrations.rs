//! Schema migrations: embedded, in both dialects, applied under a lock so that several instances
//! can start at once.

use diesel::RunQueryDsl;
use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::sql_types::Text;
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::conn::Conn;
use super::error::DbError;
use super::locks;

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// A migration and whether it is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStatus {
    /// The name of its directory.
    pub name: String,
    /// Whether it is applied to the database.
    pub applied: bool,
}

/// Applies pending migrations and returns their names.
///
/// # Errors
/// The lock cannot be taken, or a migration fails. The failed migration is rolled back.
pub fn up(conn: &mut Conn) -> Result<Vec<String>, DbError> {
    locked(conn, |conn| match conn {
        Conn::Sqlite(conn) => names(conn.run_pending_migrations(SQLITE)),
        Conn::Postgres(conn) => names(conn.run_pending_migrations(POSTGRES)),
    })
}

/// Applies pending migrations if `auto_migrate` is set. Otherwise only checks that there are none.
///
/// # Errors
/// A migration fails, or is pending and `auto_migrate` is not set.
pub fn ensure_current(conn: &mut Conn, auto_migrate: bool) -> Result<(), DbError> {
    if status(conn)?.iter().all(|migration| migration.applied) {
        return Ok(());
    }
    if !auto_migrate {
        return Err(DbError::Query(
            "the schema is not up to date: run `mintage migrate up`".into(),
        ));
    }
    for version in up(conn)? {
        log::info!(version:%; "migration applied");
    }
    Ok(())
}

/// Reverts the last applied migration. Returns its name, or `None` if none is applied.
///
/// # Errors
/// As [`up`].
pub fn down(conn: &mut Conn) -> Result<Option<String>, DbError> {
    locked(conn, |conn| {
        if !status_of(conn)?.iter().any(|migration| migration.applied) {
            return Ok(None);
        }
        let reverted = match conn {
            Conn::Sqlite(conn) => conn.revert_last_migration(SQLITE).map(|version| version.to_string()),
            Conn::Postgres(conn) => conn.revert_last_migration(POSTGRES).map(|version| version.to_string()),
        };
        reverted.map(Some).map_err(to_error)
    })
}

/// All migrations of this version, oldest first.
///
/// # Errors
/// The database cannot be read.
pub fn status(conn: &mut Conn) -> Result<Vec<MigrationStatus>, DbError> {
    match conn {
        Conn::Sqlite(_) => status_of(conn),
        // diesel creates its table if it does not exist. On PostgreSQL, two connections that do so
        // at once conflict.
        Conn::Postgres(_) => locked(conn, status_of),
    }
}

fn status_of(conn: &mut Conn) -> Result<Vec<MigrationStatus>, DbError> {
    let (all, pending) = match conn {
        Conn::Sqlite(conn) => {
            let all: Vec<Box<dyn Migration<Sqlite>>> = SQLITE.migrations().map_err(to_error)?;
            let pending = conn.pending_migrations(SQLITE).map_err(to_error)?;
            (
                all.iter().map(|m| m.name().to_string()).collect::<Vec<_>>(),
                pending.iter().map(|m| m.name().to_string()).collect::<Vec<_>>(),
            )
        }
        Conn::Postgres(conn) => {
            let all: Vec<Box<dyn Migration<Pg>>> = POSTGRES.migrations().map_err(to_error)?;
            let pending = conn.pending_migrations(POSTGRES).map_err(to_error)?;
            (
                all.iter().map(|m| m.name().to_string()).collect(),
                pending.iter().map(|m| m.name().to_string()).collect(),
            )
        }
    };
    let mut all = all;
    all.sort();
    Ok(all
        .into_iter()
        .map(|name| MigrationStatus {
            applied: !pending.contains(&name),
            name,
        })
        .collect())
}

fn names(
    applied: diesel::migration::Result<Vec<diesel::migration::MigrationVersion<'_>>>,
) -> Result<Vec<String>, DbError> {
    match applied {
        Ok(versions) => Ok(versions.iter().map(ToString::to_string).collect()),
        Err(error) => Err(to_error(error)),
    }
}

/// An outage during a migration is an outage, not a rejected migration: the start retries.
fn to_error(error: Box<dyn std::error::Error + Send + Sync>) -> DbError {
    let error = match error.downcast::<diesel::result::Error>() {
        Ok(error) => return DbError::from(*error),
        Err(error) => error.to_string(),
    };
    // The text of a failed migration begins with its name, which says nothing about the cause.
    let cause = error.split_once(" with: ").map_or(error.as_str(), |(_, cause)| cause);
    match DbError::from_message(cause) {
        DbError::Unavailable(_) => DbError::Unavailable(error),
        DbError::Disconnected(_) => DbError::Disconnected(error),
        _ => DbError::Query(error),
    }
}

/// Runs `work` under the lock of the migrations, because diesel takes none.
fn locked<T>(conn: &mut Conn, work: impl FnOnce(&mut Conn) -> Result<T, DbError>) -> Result<T, DbError> {
    match conn {
        Conn::Sqlite(sqlite) => {
            AnsiTransactionManager::begin_transaction_sql(sqlite, "BEGIN EXCLUSIVE")?;
            let result = work(conn);
            let Conn::Sqlite(sqlite) = conn else {
                return result;
            };
            match result {
                Ok(value) => AnsiTransactionManager::commit_transaction(sqlite)
                    .map(|()| value)
                    .map_err(DbError::from),
                Err(error) => {
                    // Fails if SQLite has rolled back by itself; the first error is the cause.
                    let _ = AnsiTransactionManager::rollback_transaction(sqlite);
                    Err(error)
                }
            }
        }
        Conn::Postgres(postgres) => {
            let limits: Limits = diesel::sql_query(Limits::QUERY).get_result(postgres)?;
            // A migration may take longer than a query, and on a busy machine this process may
            // pause within its transaction.
            postgres.batch_execute(
                "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = '1min'",
            )?;
            locks::wait_for_migrations(postgres)?;
            let result = work(conn);
            let released = match conn {
                Conn::Postgres(postgres) => release(postgres, &limits),
                Conn::Sqlite(_) => Ok(()),
            };
            // If both failed, the first error is the cause.
            result.and_then(|value| released.map(|()| value))
        }
    }
}

/// The limits of a PostgreSQL connection, restored before it returns to the pool.
#[derive(diesel::QueryableByName)]
struct Limits {
    #[diesel(sql_type = Text)]
    statement_timeout: String,
    #[diesel(sql_type = Text)]
    lock_timeout: String,
    #[diesel(sql_type = Text)]
    idle_timeout: String,
}

impl Limits {
    const QUERY: &str = "SELECT current_setting('statement_timeout') AS statement_timeout,
        current_setting('lock_timeout') AS lock_timeout,
        current_setting('idle_in_transaction_session_timeout') AS idle_timeout";
}

fn release(postgres: &mut diesel::PgConnection, limits: &Limits) -> Result<(), DbError> {
    locks::release_migrations(postgres)?;
    const RESTORE: &str = "SELECT set_config('statement_timeout', $1, false), set_config('lock_timeout', $2, false),
        set_config('idle_in_transaction_session_timeout', $3, false)";
    diesel::sql_query(RESTORE)
        .bind::<Text, _>(&limits.statement_timeout)
        .bind::<Text, _>(&limits.lock_timeout)
        .bind::<Text, _>(&limits.idle_timeout)
        .execute(postgres)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_during_a_migration_is_distinguished_from_a_rejected_migration() {
        let failed = |text: &str| to_error(text.into());
        assert!(failed("Failed to run 2026_x with: database or disk is full").is_unavailable());
        assert!(failed("Failed to run 2026_x with: server closed the connection unexpectedly").is_unavailable());
        assert!(to_error(Box::new(diesel::result::Error::BrokenTransactionManager)).is_unavailable());
        let rejected = "Failed to run 2026_connection_names with: syntax error";
        assert_eq!(failed(rejected), DbError::Query(rejected.into()));
    }
}
