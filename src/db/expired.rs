//! The removal of what has expired, a small batch at a time: the writer and whoever revokes wait no longer than for one.
//!
//! One instance at a time does it. On PostgreSQL each batch takes a lock that ends with its transaction, so one who dies
//! holds nothing up; on SQLite there is one writer anyway.

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use serde::Serialize;

use super::conn::Conn;
use super::error::DbError;
use super::schema::tokens;
use super::{locks, partitions};
use crate::oauth::token_id::TokenId;
use crate::time::UnixMillis;

/// Rows removed in one transaction: about 2 ms of work.
pub const BATCH: i64 = 500;

/// What is removed by its time of expiry alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// Token records that are in no partition of their own (PostgreSQL).
    StrayTokens,
    /// Token records wherever they are (PostgreSQL): where they are kept for less time than a partition covers.
    Tokens,
    /// Revocations.
    Revocations,
    /// Uses of one-time tokens.
    Redemptions,
}

/// Removes a batch of what expired before `before` (seconds); answers how many rows, `None` when another instance is at it.
///
/// # Errors
/// When the database refuses or cannot be reached.
pub fn remove(conn: &mut Conn, what: Leftover, before: i64) -> Result<Option<usize>, DbError> {
    let (table, key) = match what {
        Leftover::StrayTokens => ("tokens_default", "jti"),
        Leftover::Tokens => ("tokens", "jti"),
        Leftover::Revocations => ("revocations", "jti"),
        Leftover::Redemptions => ("redemptions", "jti"),
    };
    locked(conn, |conn| {
        // The condition stands twice, so that PostgreSQL looks into the partitions that it speaks of only.
        Ok(diesel::sql_query(format!(
            "DELETE FROM {table} WHERE expires_at < {before} AND {key} IN
             (SELECT {key} FROM {table} WHERE expires_at < {before} LIMIT {BATCH})"
        ))
        .execute(conn)?)
    })
}

/// How far a walk through the token records of SQLite has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// The last id that was looked at.
    after: String,
    /// Rows that were passed because they live longer.
    pub passed: usize,
}

/// Looks at the next batch of token records of SQLite, oldest first, and removes those that expired before `before`
/// (seconds); answers how many, `None` at the end.
///
/// The ids rise with the time of issue, so what can have expired is at one end of the table, and no index is needed
/// that every insert would have to pay for.
///
/// # Errors
/// When the database refuses or cannot be reached.
pub fn walk(conn: &mut Conn, walk: &mut Walk, before: i64) -> Result<Option<usize>, DbError> {
    // Nothing that was issued after it can have expired before it.
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
        let looked_at = tokens::jti.gt(&walk.after).and(tokens::jti.le(last));
        let expired = tokens::table.filter(looked_at.and(tokens::expires_at.lt(before)));
        conn.write(|conn| Ok(diesel::delete(expired).execute(conn)?))?;
    }
    walk.passed += page.len() - expired;
    walk.after.clone_from(last);
    Ok(Some(expired))
}

/// Removes a batch of the oldest lines of the change log that are from before `before` (milliseconds), but never the
/// last one of them: whoever has read the log up to there must find it again, and know by it that nothing is lost.
///
/// # Errors
/// When the database refuses or cannot be reached.
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

/// Rows that have expired and are still there; counted up to [`COUNTED`] of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Waiting {
    /// Token records; on PostgreSQL whole partitions as the database estimates them.
    pub tokens: i64,
    /// Revocations.
    pub revocations: i64,
    /// Uses of one-time tokens.
    pub redemptions: i64,
}

/// Where counting ends.
pub const COUNTED: i64 = 100_000;

/// What expired before `before` (seconds) and is still there.
///
/// # Errors
/// When the database cannot be reached.
pub fn waiting(conn: &mut Conn, before: i64) -> Result<Waiting, DbError> {
    let tokens = match conn {
        Conn::Sqlite(_) => {
            let end = TokenId::new(UnixMillis(before.max(0) * 1000), [0; 10]);
            let oldest = format!("SELECT expires_at FROM tokens WHERE jti < '{end}' ORDER BY jti LIMIT {COUNTED}");
            count(conn, &format!("({oldest}) AS oldest WHERE expires_at < {before}"))?
        }
        Conn::Postgres(_) => count_expired(conn, "tokens_default", before)? + partitions::rows_past(conn, before)?,
    };
    Ok(Waiting {
        tokens,
        revocations: count_expired(conn, "revocations", before)?,
        redemptions: count_expired(conn, "redemptions", before)?,
    })
}

fn count_expired(conn: &mut Conn, table: &str, before: i64) -> Result<i64, DbError> {
    let rows = format!("SELECT 1 FROM {table} WHERE expires_at < {before} LIMIT {COUNTED}");
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
