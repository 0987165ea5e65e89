//! The partitions of `tokens` on PostgreSQL, by time of expiry. SQLite has none.
//!
//! Partitions are created ahead, up to the expiry of the longest-lived token, so that no insert
//! waits for one. Rows without a partition, as on the first day, go into the default partition and
//! are removed from it in batches.

use std::collections::BTreeSet;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text};

use super::conn::Conn;
use super::error::DbError;
use super::locks;
use crate::oauth::client::TTL_SECONDS;

/// The time that one partition covers, in seconds: 6 hours. The longest-lived token lives 30 days,
/// so there are about 125 partitions, few enough for lookups by jti. A record is removed at most 6
/// hours late.
pub const WIDTH: i64 = 6 * 3600;

/// Partitions are created this far beyond the longest-lived token, in seconds. A fast clock then
/// also finds its partition.
const MARGIN: i64 = 24 * 3600;

/// How long to wait for the lock of a partition. Inserts queue behind a waiting lock request.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '100ms'";

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(QueryableByName)]
struct Exists {
    #[diesel(sql_type = Bool)]
    yes: bool,
}

/// Creates the missing partitions for tokens issued from `now` (seconds) on. Returns how many it
/// created.
///
/// # Errors
/// The database rejects the statement, is busy or cannot be reached. Partitions created before
/// stay.
pub fn create_ahead(conn: &mut Conn, now: i64) -> Result<usize, DbError> {
    let Conn::Postgres(_) = conn else {
        return Ok(0);
    };
    let existing = starts(conn)?;
    let first = (now - now.rem_euclid(WIDTH)).max(existing.old_end);
    let last = now + TTL_SECONDS.end() + MARGIN;
    let missing: Vec<i64> = (first..=last)
        .step_by(WIDTH as usize)
        .filter(|start| !existing.starts.contains(start))
        .collect();
    if missing.is_empty() {
        return Ok(0);
    }
    conn.write(|conn| {
        // Another instance is creating the partitions.
        if !locks::try_removal(conn)? {
            return Ok(0);
        }
        let existing = starts(conn)?;
        let mut created = 0;
        for start in missing.iter().filter(|start| !existing.starts.contains(start)) {
            created += usize::from(create(conn, *start)?);
        }
        Ok(created)
    })
}

/// Creates a partition, unless rows for it are in the default partition.
///
/// The table is created first and then attached, because attaching takes a lock that does not block
/// inserts into other partitions.
fn create(conn: &mut Conn, start: i64) -> Result<bool, DbError> {
    let end = start + WIDTH;
    execute(conn, LOCK_TIMEOUT)?;
    let occupied: Exists = diesel::sql_query(format!(
        "SELECT EXISTS (SELECT FROM tokens_default WHERE expires_at >= {start} AND expires_at < {end}) AS yes"
    ))
    .get_result(conn)?;
    if occupied.yes {
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

/// Drops a partition in which every token expired before `before` (seconds). Only one, so that no
/// other transaction waits for several. Returns whether there may be more, or `None` if another
/// instance is removing rows.
///
/// # Errors
/// The database rejects the statement, is busy or cannot be reached.
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

/// The number of rows in partitions that ended before `before` (seconds), by the database's
/// estimate.
///
/// # Errors
/// The database cannot be reached.
pub fn expired_rows(conn: &mut Conn, before: i64) -> Result<i64, DbError> {
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
    let expired = estimates
        .into_iter()
        .filter(|estimate| end_of(&estimate.name).is_some_and(|end| end <= before));
    Ok(expired.map(|estimate| estimate.rows).sum())
}

/// The existing partitions.
struct Partitions {
    /// The begin of each partition created here.
    starts: BTreeSet<i64>,
    /// The end of the partition that was the whole table, if any.
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

/// Name prefix of the partitions created here, followed by the second at which their time begins.
const OURS: &str = "tokens_e";

/// Name prefix of the partition that was the whole table, followed by the second at which its time
/// ends.
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
