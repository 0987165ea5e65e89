//! Removal of expired rows in small batches, so that the writer and revocations wait for one batch
//! at most.
//!
//! One instance at a time removes rows. On PostgreSQL each batch takes a lock that ends with its
//! transaction, so a dead instance blocks no other. SQLite has only one writer.

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use serde::Serialize;

use super::conn::Conn;
use super::error::DbError;
use super::schema::tokens;
use super::{locks, partitions};
use crate::oauth::token_id::TokenId;
use crate::time::UnixMillis;

/// Rows per transaction: about 2 ms of work.
pub const BATCH: i64 = 500;

/// Rows that are removed by their time of expiry alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// Token records in the default partition (PostgreSQL).
    StrayTokens,
    /// Token records in all partitions (PostgreSQL). For a retention shorter than the time of a
    /// partition.
    Tokens,
    /// Revocations.
    Revocations,
    /// Redemptions of one-time tokens.
    Redemptions,
}

/// Removes a batch of rows that expired before `before` (seconds). Returns the number of rows, or
/// `None` if another instance is removing rows.
///
/// # Errors
/// The database rejects the statement or cannot be reached.
pub fn remove(conn: &mut Conn, what: Leftover, before: i64) -> Result<Option<usize>, DbError> {
    let (table, key) = match what {
        Leftover::StrayTokens => ("tokens_default", "jti"),
        Leftover::Tokens => ("tokens", "jti"),
        Leftover::Revocations => ("revocations", "jti"),
        Leftover::Redemptions => ("redemptions", "jti"),
    };
    locked(conn, |conn| {
        // The condition is repeated so that PostgreSQL scans only the partitions that can match.
        Ok(diesel::sql_query(format!(
            "DELETE FROM {table} WHERE expires_at < {before} AND {key} IN
             (SELECT {key} FROM {table} WHERE expires_at < {before} LIMIT {BATCH})"
        ))
        .execute(conn)?)
    })
}

/// The position of a walk through the token records of SQLite.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// The last visited id.
    after: String,
    /// Visited rows that have not expired.
    pub passed: usize,
}

/// Visits the next batch of token records of SQLite, oldest first, and removes those that expired
/// before `before` (seconds). Returns the number of removed rows, or `None` at the end.
///
/// Ids increase with the time of issue, so expired records are at one end of the table. This needs
/// no further index, which every insert would have to update.
///
/// # Errors
/// The database rejects the statement or cannot be reached.
pub fn walk(conn: &mut Conn, walk: &mut Walk, before: i64) -> Result<Option<usize>, DbError> {
    // A token issued after `before` cannot have expired before it.
    let end = TokenId::new(UnixMillis(before.max(0) * 1000), [0; 10]).to_string();
    let page: Vec<(String, i64)> = tokens::table
        .filter(tokens::jti.gt(&walk.after).and(tokens::jti.lt(&end)))
        .order(tokens::jti)
        .limit(BATCH)
        .select((tokens::jti, tokens::expires_at))
        .load(conn)?;
    let Some((last, _)) = page.last() else {
        return Ok(None);
    };
    let expired = page.iter().filter(|(_, expires_at)| *expires_at < before).count();
    if expired > 0 {
        let visited = tokens::jti.gt(&walk.after).and(tokens::jti.le(last));
        let expired = tokens::table.filter(visited.and(tokens::expires_at.lt(before)));
        conn.write(|conn| Ok(diesel::delete(expired).execute(conn)?))?;
    }
    walk.passed += page.len() - expired;
    walk.after.clone_from(last);
    Ok(Some(expired))
}

/// Removes a batch of the oldest lines of the change log that were written before `before`
/// (milliseconds). Returns as [`remove`] does.
///
/// The last of those lines is kept. An instance that has read the log up to there must find that
/// line again, to know that it has missed none.
///
/// # Errors
/// The database rejects the statement or cannot be reached.
pub fn remove_changes(conn: &mut Conn, before: UnixMillis) -> Result<Option<usize>, DbError> {
    locked(conn, |conn| {
        let before = before.0;
        Ok(diesel::sql_query(format!(
            "DELETE FROM changes WHERE seq IN
             (SELECT seq FROM
              (SELECT seq, at_ms, lead(at_ms) OVER (ORDER BY seq) AS next_at_ms FROM
               (SELECT seq, at_ms FROM changes ORDER BY seq LIMIT {BATCH} + 1) AS oldest) AS neighbours
              WHERE at_ms < {before} AND next_at_ms < {before})"
        ))
        .execute(conn)?)
    })
}

fn locked(conn: &mut Conn, work: impl FnOnce(&mut Conn) -> Result<usize, DbError>) -> Result<Option<usize>, DbError> {
    conn.write(|conn| match locks::try_removal(conn)? {
        true => work(conn).map(Some),
        false => Ok(None),
    })
}

/// Expired rows that are not removed yet, counted up to [`MAX_COUNTED`] per table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Waiting {
    /// Token records. On PostgreSQL, whole partitions are counted by the database's estimate.
    pub tokens: i64,
    /// Revocations.
    pub revocations: i64,
    /// Redemptions of one-time tokens.
    pub redemptions: i64,
}

/// Maximum count per table.
pub const MAX_COUNTED: i64 = 100_000;

/// Counts the rows that expired before `before` (seconds) and are not removed yet.
///
/// # Errors
/// The database cannot be reached.
pub fn waiting(conn: &mut Conn, before: i64) -> Result<Waiting, DbError> {
    let tokens = match conn {
        Conn::Sqlite(_) => {
            let end = TokenId::new(UnixMillis(before.max(0) * 1000), [0; 10]);
            let oldest = format!("SELECT expires_at FROM tokens WHERE jti < '{end}' ORDER BY jti LIMIT {MAX_COUNTED}");
            count(conn, &format!("({oldest}) AS oldest WHERE expires_at < {before}"))?
        }
        Conn::Postgres(_) => count_expired(conn, "tokens_default", before)? + partitions::expired_rows(conn, before)?,
    };
    Ok(Waiting {
        tokens,
        revocations: count_expired(conn, "revocations", before)?,
        redemptions: count_expired(conn, "redemptions", before)?,
    })
}

fn count_expired(conn: &mut Conn, table: &str, before: i64) -> Result<i64, DbError> {
    let rows = format!("SELECT 1 FROM {table} WHERE expires_at < {before} LIMIT {MAX_COUNTED}");
    count(conn, &format!("({rows}) AS expired"))
}

fn count(conn: &mut Conn, rows: &str) -> Result<i64, DbError> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        rows: i64,
    }
    let query = diesel::sql_query(format!("SELECT count(*) AS rows FROM {rows}"));
    Ok(query.get_result::<Count>(conn)?.rows)
}
