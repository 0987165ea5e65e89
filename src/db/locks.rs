//! The advisory locks that coordinate instances on one PostgreSQL. SQLite has one writer, so there
//! [`Conn::write`] is the lock.

use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::conn::Conn;
use super::error::DbError;

/// The lock of the change log: "log" in ASCII.
const LOG: i64 = 0x6c_6f67;

/// The lock of the removal of expired rows: "sweep" in ASCII.
const REMOVAL: i64 = 0x73_7765_6570;

/// The lock of the migrations: "mint" in ASCII.
const MIGRATIONS: i64 = 0x6d69_6e74;

/// Waits for the lock of the change log, which is held until the end of the transaction or
/// connection. For transactions that must read before they can decide whether to write.
///
/// # Errors
/// The database cannot be reached, or another transaction holds the lock for too long.
pub(super) fn wait_for_log(conn: &mut Conn) -> Result<(), DbError> {
    if let Conn::Postgres(postgres) = conn {
        diesel::sql_query(format!("SELECT pg_advisory_xact_lock({LOG})")).execute(postgres)?;
    }
    Ok(())
}

/// Tries to take the lock for removing expired rows until the end of the transaction. Returns
/// `false` if another instance holds it.
///
/// # Errors
/// The database cannot be reached.
pub(super) fn try_removal(conn: &mut Conn) -> Result<bool, DbError> {
    #[derive(QueryableByName)]
    struct Answer {
        #[diesel(sql_type = Bool)]
        yes: bool,
    }
    let Conn::Postgres(conn) = conn else {
        return Ok(true);
    };
    let query = diesel::sql_query(format!("SELECT pg_try_advisory_xact_lock({REMOVAL}) AS yes"));
    Ok(query.get_result::<Answer>(conn)?.yes)
}

/// Waits for the lock of the migrations, which is held until [`release_migrations`] or the end of
/// the connection.
///
/// # Errors
/// The database cannot be reached.
pub(super) fn wait_for_migrations(postgres: &mut PgConnection) -> Result<(), DbError> {
    diesel::sql_query(format!("SELECT pg_advisory_lock({MIGRATIONS})")).execute(postgres)?;
    Ok(())
}

/// Releases the lock of the migrations.
///
/// # Errors
/// The database cannot be reached. The lock then ends with the connection.
pub(super) fn release_migrations(postgres: &mut PgConnection) -> Result<(), DbError> {
    diesel::sql_query(format!("SELECT pg_advisory_unlock({MIGRATIONS})")).execute(postgres)?;
    Ok(())
}
