//! The secret that the instances on this database share: 256 bits, made once.

use aws_lc_rs::rand;
use diesel::prelude::*;
use zeroize::Zeroizing;

use super::conn::Conn;
use super::error::DbError;
use super::schema::deployment;
use crate::time::UnixMillis;

/// There is one row.
const ROW: i64 = 1;

/// The secret; the first who asks makes it.
///
/// # Errors
/// When the database refuses or cannot be reached, or holds another secret than one of ours.
pub fn secret(conn: &mut Conn, now: UnixMillis) -> Result<Zeroizing<[u8; 32]>, DbError> {
    if let Some(secret) = find(conn)? {
        return Ok(secret);
    }
    let mut made = Zeroizing::new([0; 32]);
    rand::fill(&mut *made).map_err(|_| DbError::Query("the machine gives no randomness".into()))?;
    let row = (
        deployment::id.eq(ROW),
        deployment::secret.eq(&made[..]),
        deployment::created_at_ms.eq(now.0),
    );
    let insert = diesel::insert_into(deployment::table).values(row);
    match conn {
        Conn::Sqlite(conn) => insert.on_conflict_do_nothing().execute(conn)?,
        Conn::Postgres(conn) => insert.on_conflict_do_nothing().execute(conn)?,
    };
    // Read again: of several instances that start at once, the first one's counts.
    find(conn)?.ok_or_else(|| DbError::Inconsistent("the deployment's secret is not there".into()))
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
        .map_err(|_| DbError::Inconsistent("the deployment's secret has not 32 bytes".into()))
}
