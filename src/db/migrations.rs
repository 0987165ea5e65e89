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

/// Applies pending migrations if `auto_migrate` is set. Otherwise only reads that there are none.
///
/// # Errors
/// A migration fails, or is pending and `auto_migrate` is not set.
pub fn ensure_current(conn: &mut Conn, auto_migrate: bool) -> Result<(), DbError> {
    let known = status(conn)?;
    let pending: Vec<&MigrationStatus> = known.iter().filter(|migration| !migration.applied).collect();
    let newer = newer(conn)?;
    if !newer.is_empty() {
        log::warn!(migrations:% = newer.join(" "); "schema newer than this binary");
    }
    let Some(first) = pending.first() else {
        return Ok(());
    };
    if !auto_migrate {
        let what = match pending.len() == known.len() {
            true => "the database has no schema yet".to_owned(),
            false => format!(
                "the schema is not up to date: it lacks {} and all later migrations",
                first.name
            ),
        };
        return Err(DbError::Query(format!("{what}: run `mintage migrate up`")));
    }
    for version in up(conn)? {
        log::info!(version:%; "migration applied");
    }
    Ok(())
}

/// What [`down_if_alone`] has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reverted {
    /// Nothing, because others use the database.
    InUse,
    /// Nothing, because no migration is applied.
    Nothing,
    /// It has reverted this migration.
    Last(String),
}

/// As [`down`], but only if no other connection uses the SQLite file, and no other of this version is
/// connected to PostgreSQL.
///
/// # Errors
/// As [`down`].
pub fn down_if_alone(conn: &mut Conn) -> Result<Reverted, DbError> {
    let alone = match conn {
        Conn::Sqlite(sqlite) => sqlite_alone(sqlite)?,
        Conn::Postgres(postgres) => postgres_alone(postgres)?,
    };
    if !alone {
        return Ok(Reverted::InUse);
    }
    let reverted = down(conn);
    match conn {
        Conn::Sqlite(sqlite) => sqlite.batch_execute("PRAGMA journal_mode = WAL")?,
        Conn::Postgres(postgres) => locks::release_alone(postgres)?,
    }
    Ok(reverted?.map_or(Reverted::Nothing, Reverted::Last))
}

/// SQLite ends its WAL only for the last connection.
fn sqlite_alone(sqlite: &mut diesel::SqliteConnection) -> Result<bool, DbError> {
    match sqlite
        .batch_execute("PRAGMA journal_mode = DELETE")
        .map_err(DbError::from)
    {
        Ok(()) => Ok(true),
        Err(DbError::Unavailable(cause)) if cause.contains("locked") => Ok(false),
        Err(error) => Err(error),
    }
}

/// A connection that was just closed may still have its lock.
fn postgres_alone(postgres: &mut diesel::PgConnection) -> Result<bool, DbError> {
    for _ in 0..10 {
        if locks::try_alone(postgres)? {
            return Ok(true);
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Ok(false)
}

/// Reverts the last applied migration. Returns its name, or `None` if none is applied.
///
/// # Errors
/// As [`up`], and if the last one is newer than this binary.
pub fn down(conn: &mut Conn) -> Result<Option<String>, DbError> {
    locked(conn, |conn| {
        if let Some(newest) = newer(conn)?.pop() {
            return Err(DbError::Query(format!(
                "the schema has migration {newest}, which is newer than this binary: revert it with the version that has it"
            )));
        }
        if !status(conn)?.iter().any(|migration| migration.applied) {
            return Ok(None);
        }
        let reverted = match conn {
            Conn::Sqlite(conn) => conn.revert_last_migration(SQLITE).map(|version| version.to_string()),
            Conn::Postgres(conn) => conn.revert_last_migration(POSTGRES).map(|version| version.to_string()),
        };
        reverted.map(Some).map_err(to_error)
    })
}

/// All migrations of this version, oldest first. Only reads: a role without the right to create
/// tables may ask.
///
/// # Errors
/// The database cannot be read.
pub fn status(conn: &mut Conn) -> Result<Vec<MigrationStatus>, DbError> {
    let applied = applied_versions(conn)?;
    let known = known(conn)?.into_iter();
    Ok(known
        .map(|(name, version)| MigrationStatus {
            applied: applied.contains(&version),
            name,
        })
        .collect())
}

/// The applied migrations that this binary does not have, oldest first: those of a newer one.
///
/// # Errors
/// The database cannot be read.
pub fn newer(conn: &mut Conn) -> Result<Vec<String>, DbError> {
    let known = known(conn)?;
    let mut newer = applied_versions(conn)?;
    newer.retain(|version| known.iter().all(|(_, of_known)| of_known != version));
    Ok(newer)
}

/// Name and version of each migration of this binary, oldest first.
fn known(conn: &Conn) -> Result<Vec<(String, String)>, DbError> {
    fn described<DB: diesel::backend::Backend>(all: &[Box<dyn Migration<DB>>]) -> Vec<(String, String)> {
        let names = all.iter().map(|migration| migration.name());
        names
            .map(|name| (name.to_string(), name.version().to_string()))
            .collect()
    }
    let mut all = match conn {
        Conn::Sqlite(_) => described::<Sqlite>(&SQLITE.migrations().map_err(to_error)?),
        Conn::Postgres(_) => described::<Pg>(&POSTGRES.migrations().map_err(to_error)?),
    };
    all.sort();
    Ok(all)
}

/// What diesel has noted as applied, oldest first.
fn applied_versions(conn: &mut Conn) -> Result<Vec<String>, DbError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        value: String,
    }
    let exists = match conn {
        Conn::Sqlite(_) => "SELECT name AS value FROM sqlite_master WHERE name = '__diesel_schema_migrations'",
        Conn::Postgres(_) => "SELECT 'yes' AS value WHERE to_regclass('__diesel_schema_migrations') IS NOT NULL",
    };
    let mut read = |query: &str| -> Result<Vec<Row>, DbError> { Ok(diesel::sql_query(query).load(conn)?) };
    if read(exists)?.is_empty() {
        return Ok(Vec::new());
    }
    let rows = read("SELECT version AS value FROM __diesel_schema_migrations ORDER BY version")?;
    Ok(rows.into_iter().map(|row| row.value).collect())
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
