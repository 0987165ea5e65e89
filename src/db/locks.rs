//! The three advisory locks by which instances on one PostgreSQL keep out of each other's way. On SQLite
//! [`Conn::write`] is the lock: there is one writer anyway.

use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::conn::Conn;
use super::error::DbError;

/// Of the change log: "log" in ASCII.
const LOG: i64 = 0x6c_6f67;

/// Of the removal of what has expired: "sweep" in ASCII.
const REMOVAL: i64 = 0x73_7765_6570;

/// Of the migrations: "mint" in ASCII.
const MIGRATIONS: i64 = 0x6d69_6e74;

/// Waits for the lock of the change log, held until the transaction ends or its connection does; to be called inside of
/// one that must read before it knows whether it changes anything.
///
/// # Errors
/// When the database cannot be reached, or another holds the lock for too long.
pub(super) fn wait_for_log(conn: &mut Conn) -> Result<(), DbError> {
    if let Conn::Postgres(postgres) = conn {
        diesel::sql_query(format!("SELECT pg_advisory_xact_lock({LOG})")).execute(postgres)?;
    }
    Ok(())
}

/// Takes the lock of the instance that removes what has expired, until the end of the transaction; `false` when another
/// has it.
///
/// # Errors
/// When the database cannot be reached.
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

/// Waits for the lock of the migrations, held until [`release_migrations`] or the end of the connection.
///
/// # Errors
/// When the database cannot be reached.
pub(super) fn wait_for_migrations(postgres: &mut PgConnection) -> Result<(), DbError> {
    diesel::sql_query(format!("SELECT pg_advisory_lock({MIGRATIONS})")).execute(postgres)?;
    Ok(())
}

/// Gives the lock of the migrations back.
///
/// # Errors
/// When the database cannot be reached; the lock ends with the connection then.
pub(super) fn release_migrations(postgres: &mut PgConnection) -> Result<(), DbError> {
    diesel::sql_query(format!("SELECT pg_advisory_unlock({MIGRATIONS})")).execute(postgres)?;
    Ok(())
}
