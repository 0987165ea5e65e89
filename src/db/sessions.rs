//! Detects a pooler in front of PostgreSQL that gives one session to several connections, as
//! PgBouncer does in transaction mode.
//!
//! Locks, limits and prepared statements belong to a session. Behind such a pooler, they reach the
//! wrong one, and a migration ends midway.

use diesel::prelude::*;
use diesel::sql_types::Integer;

use super::conn::Conn;
use super::error::DbError;
use super::manager::Pooled;

/// How often both connections are asked, because others may use the pooler as well.
const ROUNDS: usize = 3;

/// Checks that each of two connections keeps a session of its own.
///
/// # Errors
/// [`DbError::Unusable`] if it does not. Otherwise the database does not answer.
pub(super) fn check(one: &mut Conn, other: &mut Pooled) -> Result<(), DbError> {
    let mut seen = None;
    for _ in 0..ROUNDS {
        let both = (session(one)?, other.call(session)?);
        if both.0 == both.1 || seen.is_some_and(|before| before != both) {
            return Err(pooled());
        }
        seen = Some(both);
    }
    Ok(())
}

/// The process of PostgreSQL that answers.
fn session(conn: &mut Conn) -> Result<i32, DbError> {
    #[derive(QueryableByName)]
    struct Session {
        #[diesel(sql_type = Integer)]
        pid: i32,
    }
    let Conn::Postgres(postgres) = conn else {
        return Ok(0);
    };
    match diesel::sql_query("SELECT pg_backend_pid() AS pid").get_result::<Session>(postgres) {
        Ok(session) => Ok(session.pid),
        Err(error) if error.to_string().contains("prepared statement") => Err(pooled()),
        Err(error) => Err(error.into()),
    }
}

fn pooled() -> DbError {
    DbError::Unusable(
        "a pooler, such as PgBouncer in transaction mode, gives one session to several connections: \
         set pool_mode = session for this database, or name PostgreSQL itself in database.url \
         (docs/postgresql.md#poolers)"
            .into(),
    )
}
