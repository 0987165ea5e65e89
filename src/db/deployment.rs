//! The secret that all instances on this database share: 256 bits, generated once.

use aws_lc_rs::rand;
use diesel::prelude::*;
use zeroize::Zeroizing;

use super::conn::Conn;
use super::error::DbError;
use super::schema::deployment;
use crate::time::UnixMillis;

/// The id of the only row.
const ROW: i64 = 1;

/// Returns the secret. The first caller generates it.
///
/// # Errors
/// The database rejects the statement or cannot be reached, or the stored secret is malformed.
pub fn secret(conn: &mut Conn, now: UnixMillis) -> Result<Zeroizing<[u8; 32]>, DbError> {
    if let Some(secret) = find(conn)? {
        return Ok(secret);
    }
    let mut generated = Zeroizing::new([0; 32]);
    rand::fill(&mut *generated).map_err(|_| DbError::Query("the operating system provides no randomness".into()))?;
    let row = (
        deployment::id.eq(ROW),
        deployment::secret.eq(&generated[..]),
        deployment::created_at_ms.eq(now.0),
    );
    let insert = diesel::insert_into(deployment::table).values(row);
    match conn {
        Conn::Sqlite(conn) => insert.on_conflict_do_nothing().execute(conn)?,
        Conn::Postgres(conn) => insert.on_conflict_do_nothing().execute(conn)?,
    };
    // Read it again: if several instances start at once, the secret of the first one is in effect.
    find(conn)?.ok_or_else(|| DbError::Inconsistent("the deployment secret is missing".into()))
}

fn find(conn: &mut Conn) -> Result<Option<Zeroizing<[u8; 32]>>, DbError> {
    let stored: Option<Vec<u8>> = deployment::table
        .find(ROW)
        .select(deployment::secret)
        .first(conn)
        .optional()?;
    let Some(stored) = stored.map(Zeroizing::new) else {
        return Ok(None);
    };
    let secret = <[u8; 32]>::try_from(&stored[..]);
    secret
        .map(|secret| Some(Zeroizing::new(secret)))
        .map_err(|_| DbError::Inconsistent("the deployment secret is not 32 bytes long".into()))
}
