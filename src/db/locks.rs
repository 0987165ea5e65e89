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

/// The lock of those that use the database: "use" in ASCII.
const USERS: i64 = 0x75_7365;

/// Takes a share in the lock of those that use the database, until the end of the connection.
pub(super) const USE: &str = "SELECT pg_advisory_lock_shared(7697253)";

/// Tries to take the lock of those that use the database: whether only this connection does.
///
/// # Errors
/// The database cannot be reached.
pub(super) fn try_alone(postgres: &mut PgConnection) -> Result<bool, DbError> {
    try_lock(postgres, format!("SELECT pg_try_advisory_lock({USERS}) AS yes"))
}

/// Releases the lock of [`try_alone`].
///
/// # Errors
/// The database cannot be reached. The lock then ends with the connection.
pub(super) fn release_alone(postgres: &mut PgConnection) -> Result<(), DbError> {
    diesel::sql_query(format!("SELECT pg_advisory_unlock({USERS})")).execute(postgres)?;
    Ok(())
}

fn try_lock(postgres: &mut PgConnection, query: String) -> Result<bool, DbError> {
    #[derive(QueryableByName)]
    struct Answer {
        #[diesel(sql_type = Bool)]
        yes: bool,
    }
    Ok(diesel::sql_query(query).get_result::<Answer>(postgres)?.yes)
}

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
    match conn {
        Conn::Sqlite(_) => Ok(true),
        Conn::Postgres(conn) => try_lock(conn, format!("SELECT pg_try_advisory_xact_lock({REMOVAL}) AS yes")),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_shares_the_lock_that_is_tried() {
        assert_eq!(USE, format!("SELECT pg_advisory_lock_shared({USERS})"));
    }
}
