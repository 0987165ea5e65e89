//! The partitions of `tokens` on PostgreSQL, by the time of expiry. SQLite has none.
//!
//! They are made ahead, as far as the longest-lived token reaches, so that no insert has to wait for one. Rows for which
//! there is none yet, on the first day, fall into the default partition and are removed from there in batches.

use std::collections::BTreeSet;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text};

use super::conn::Conn;
use super::error::DbError;
use super::locks;
use crate::oauth::client::TTL_SECONDS;

/// The time that one partition covers, in seconds: 6 hours. The longest-lived token lives 30 days, so there are about
/// 125 partitions, which a look-up by jti can still afford; and a record goes at most 6 hours after its time.
pub const WIDTH: i64 = 6 * 3600;

/// Made beyond the longest-lived token, so that a clock that is ahead finds its partition too.
const MARGIN: i64 = 24 * 3600;

/// How long a partition is waited for: while it is, whoever wants to insert waits behind.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '100ms'";

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Bool)]
    yes: bool,
}

/// Makes the partitions that tokens issued from `now` (seconds) on can fall into; answers how many were missing.
///
/// # Errors
/// When the database refuses, is busy or cannot be reached: what was made before stays.
pub fn create_ahead(conn: &mut Conn, now: i64) -> Result<usize, DbError> {
    let Conn::Postgres(_) = conn else {
        return Ok(0);
    };
    let there = starts(conn)?;
    let first = (now - now.rem_euclid(WIDTH)).max(there.old_end);
    let last = now + TTL_SECONDS.end() + MARGIN;
    let missing: Vec<i64> = (first..=last)
        .step_by(WIDTH as usize)
        .filter(|start| !there.starts.contains(start))
        .collect();
    if missing.is_empty() {
        return Ok(0);
    }
    conn.write(|conn| {
        // Another instance that makes them makes them for all.
        if !locks::try_removal(conn)? {
            return Ok(0);
        }
        let there = starts(conn)?;
        let mut made = 0;
        for start in missing.iter().filter(|start| !there.starts.contains(start)) {
            made += usize::from(make(conn, *start)?);
        }
        Ok(made)
    })
}

/// Makes one, unless rows for it are in the default partition.
///
/// It is attached and not made in its place: that takes a lock which does not hold up who inserts elsewhere.
fn make(conn: &mut Conn, start: i64) -> Result<bool, DbError> {
    let end = start + WIDTH;
    execute(conn, LOCK_TIMEOUT)?;
    let taken: Answer = diesel::sql_query(format!(
        "SELECT EXISTS (SELECT FROM tokens_default WHERE expires_at >= {start} AND expires_at < {end}) AS yes"
    ))
    .get_result(conn)?;
    if taken.yes {
        return Ok(false);
    }
    let name = name(start);
    execute(conn, &format!("CREATE TABLE {name} (LIKE tokens INCLUDING ALL)"))?;
    execute(
        conn,
        &format!("ALTER TABLE tokens ATTACH PARTITION {name} FOR VALUES FROM ({start}) TO ({end})"),
    )?;
    Ok(true)
}

/// Drops a partition in which every token expired before `before` (seconds): one, so that nobody waits for many.
/// `None` when another instance is at it, otherwise whether there may be more.
///
/// # Errors
/// When the database refuses, is busy or cannot be reached.
pub fn drop_one(conn: &mut Conn, before: i64) -> Result<Option<bool>, DbError> {
    let Conn::Postgres(_) = conn else {
        return Ok(Some(false));
    };
    let Some(name) = names(conn)?
        .into_iter()
        .find(|name| end_of(name).is_some_and(|end| end <= before))
    else {
        return Ok(Some(false));
    };
    conn.write(|conn| {
        if !locks::try_removal(conn)? {
            return Ok(None);
        }
        execute(conn, LOCK_TIMEOUT)?;
        execute(conn, &format!("DROP TABLE IF EXISTS {name}"))?;
        Ok(Some(true))
    })
}

/// Rows of all partitions, as the database estimates them, that expired before `before` (seconds).
///
/// # Errors
/// When the database cannot be reached.
pub fn rows_past(conn: &mut Conn, before: i64) -> Result<i64, DbError> {
    #[derive(QueryableByName)]
    struct Estimate {
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = BigInt)]
        rows: i64,
    }
    let Conn::Postgres(_) = conn else {
        return Ok(0);
    };
    let estimates: Vec<Estimate> = diesel::sql_query(
        "SELECT relname::text AS name, greatest(reltuples, 0)::bigint AS rows
         FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid WHERE inhparent = 'tokens'::regclass",
    )
    .load(conn)?;
    let past = estimates
        .into_iter()
        .filter(|estimate| end_of(&estimate.name).is_some_and(|end| end <= before));
    Ok(past.map(|estimate| estimate.rows).sum())
}

/// The partitions that there are.
struct Partitions {
    /// When those of ours begin.
    starts: BTreeSet<i64>,
    /// When the one that was the whole table ends, if there is one.
    old_end: i64,
}

fn starts(conn: &mut Conn) -> Result<Partitions, DbError> {
    let names = names(conn)?;
    let old_end = names
        .iter()
        .filter_map(|name| name.strip_prefix(OLD)?.parse().ok())
        .max();
    Ok(Partitions {
        starts: names.iter().filter_map(|name| start_of(name)).collect(),
        old_end: old_end.unwrap_or(i64::MIN),
    })
}

fn names(conn: &mut Conn) -> Result<Vec<String>, DbError> {
    let names: Vec<Name> = diesel::sql_query(
        "SELECT relname::text AS name FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
         WHERE inhparent = 'tokens'::regclass",
    )
    .load(conn)?;
    Ok(names.into_iter().map(|row| row.name).collect())
}

/// What the name of a partition begins with; the second at which its time begins follows.
const OURS: &str = "tokens_e";

/// What the name of the partition begins with that was the whole table; the second at which its time ends follows.
const OLD: &str = "tokens_until";

fn name(start: i64) -> String {
    format!("{OURS}{start}")
}

fn start_of(name: &str) -> Option<i64> {
    name.strip_prefix(OURS)?.parse().ok()
}

fn end_of(name: &str) -> Option<i64> {
    match name.strip_prefix(OLD) {
        Some(end) => end.parse().ok(),
        None => start_of(name).map(|start| start + WIDTH),
    }
}

fn execute(conn: &mut Conn, statement: &str) -> Result<(), DbError> {
    diesel::sql_query(statement).execute(conn)?;
    Ok(())
}
