//! The change log: every write that a cache must know of appends to it in its own transaction.

use diesel::prelude::*;

use super::conn::Conn;
use super::error::DbError;
use super::locks;
use super::schema::changes;
use crate::oauth::activity::InvalidatedToken;
use crate::oauth::client::ClientId;
use crate::oauth::token_id::TokenId;
use crate::time::UnixMillis;

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A client, its secrets included.
    Client(ClientId),
    /// The global not-before, which is that of all clients.
    GlobalNotBefore,
    /// A token that was revoked or redeemed.
    InvalidatedToken(InvalidatedToken),
    /// The signing keys.
    Keys,
    /// The forward-auth policy.
    Routes,
    /// Something that a newer version writes; this one drops everything it has to be on the safe side.
    Unknown,
}

impl Change {
    fn columns(&self) -> (&'static str, String) {
        match self {
            Change::Client(id) => ("client", id.to_string()),
            Change::GlobalNotBefore => ("everybody", String::new()),
            Change::InvalidatedToken(token) => ("spent", format!("{} {}", token.jti, token.expires_at)),
            Change::Keys => ("keys", String::new()),
            Change::Routes => ("routes", String::new()),
            Change::Unknown => ("unknown", String::new()),
        }
    }

    fn from_columns(kind: &str, subject: &str) -> Self {
        let known = match kind {
            "client" => ClientId::parse(subject).map(Change::Client),
            "everybody" => Some(Change::GlobalNotBefore),
            "spent" => invalidated(subject).map(Change::InvalidatedToken),
            "keys" => Some(Change::Keys),
            "routes" => Some(Change::Routes),
            _ => None,
        };
        known.unwrap_or(Change::Unknown)
    }
}

/// Reads `JTI EXP`: the whole of a revocation stands in the log, so that nobody has to look it up.
fn invalidated(subject: &str) -> Option<InvalidatedToken> {
    let (jti, expires_at) = subject.split_once(' ')?;
    Some(InvalidatedToken {
        jti: TokenId::parse(jti)?,
        expires_at: expires_at.parse().ok()?,
    })
}

/// Appends to the log; to be called inside the transaction of the write itself.
///
/// PostgreSQL hands out sequence numbers before it commits, so a reader could pass over a number that commits late.
/// Writers therefore take a lock first, held until they commit: numbers become visible in order.
///
/// # Errors
/// When the database refuses or cannot be reached.
pub fn append(conn: &mut Conn, change: &Change, now: UnixMillis) -> Result<(), DbError> {
    locks::wait_for_log(conn)?;
    let (kind, subject) = change.columns();
    diesel::insert_into(changes::table)
        .values((
            changes::kind.eq(kind),
            changes::subject.eq(subject),
            changes::at_ms.eq(now.0),
        ))
        .execute(conn)?;
    Ok(())
}

/// Appends one line for each of many clients; to be called as [`append`].
///
/// # Errors
/// As [`append`].
pub(super) fn append_clients(conn: &mut Conn, ids: &[&ClientId], now: UnixMillis) -> Result<(), DbError> {
    /// A line to be written; the database gives it its number.
    #[derive(Insertable)]
    #[diesel(table_name = changes, treat_none_as_default_value = false)]
    struct NewLine<'a> {
        kind: &'a str,
        subject: &'a str,
        at_ms: i64,
    }
    locks::wait_for_log(conn)?;
    let rows: Vec<NewLine> = ids
        .iter()
        .map(|id| NewLine {
            kind: "client",
            subject: id.as_str(),
            at_ms: now.0,
        })
        .collect();
    let insert = diesel::insert_into(changes::table).values(rows);
    match conn {
        Conn::Sqlite(conn) => insert.execute(conn)?,
        Conn::Postgres(conn) => insert.execute(conn)?,
    };
    Ok(())
}

/// The number of the last change, 0 when there was none.
///
/// # Errors
/// When the database cannot be reached.
pub fn last(conn: &mut Conn) -> Result<i64, DbError> {
    let last = changes::table
        .select(diesel::dsl::max(changes::seq))
        .first::<Option<i64>>(conn)?;
    Ok(last.unwrap_or(0))
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number.
    pub seq: i64,
    /// When it was written, by the clock of whoever wrote it.
    pub at: UnixMillis,
    /// What it says.
    pub change: Change,
}

/// The columns of a line, as they are stored.
type Row = (i64, i64, String, String);

impl From<Row> for Line {
    fn from((seq, at, kind, subject): Row) -> Self {
        Self {
            seq,
            at: UnixMillis(at),
            change: Change::from_columns(&kind, &subject),
        }
    }
}

/// Up to `limit` lines from number `seq` on, oldest first.
///
/// # Errors
/// When the database cannot be reached.
pub fn from(conn: &mut Conn, seq: i64, limit: i64) -> Result<Vec<Line>, DbError> {
    let rows = changes::table
        .filter(changes::seq.ge(seq))
        .order(changes::seq)
        .limit(limit)
        .select((changes::seq, changes::at_ms, changes::kind, changes::subject))
        .load::<Row>(conn)?;
    Ok(rows.into_iter().map(Line::from).collect())
}

/// The lines that have these numbers, as far as there are any.
///
/// # Errors
/// When the database cannot be reached.
pub fn at(conn: &mut Conn, numbers: &[i64]) -> Result<Vec<Line>, DbError> {
    if numbers.is_empty() {
        return Ok(Vec::new());
    }
    let rows = changes::table
        .filter(changes::seq.eq_any(numbers))
        .order(changes::seq)
        .select((changes::seq, changes::at_ms, changes::kind, changes::subject))
        .load::<Row>(conn)?;
    Ok(rows.into_iter().map(Line::from).collect())
}

/// Which clients changed lately, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecentChanges {
    /// Of changes after this number it is complete.
    pub after: i64,
    /// Clients, each with the number of its last change.
    pub clients: Vec<(ClientId, i64)>,
}

/// The clients that changed since `since`, as far as they are no more than `limit`; with more, only that the log ends here.
///
/// # Errors
/// When the database cannot be reached.
pub fn recent(conn: &mut Conn, since: UnixMillis, limit: i64) -> Result<RecentChanges, DbError> {
    let before = changes::table
        .filter(changes::at_ms.lt(since.0))
        .order(changes::seq.desc())
        .select(changes::seq)
        .first::<i64>(conn)
        .optional()?;
    let first = changes::table
        .select(diesel::dsl::min(changes::seq))
        .first::<Option<i64>>(conn)?;
    // What lies before the first line was removed, or never was.
    let mut after = before.or(first.map(|first| first - 1)).unwrap_or(0);
    let dropping_all = changes::table
        .filter(changes::seq.gt(after))
        .filter(changes::kind.ne_all(["client", "everybody", "spent", "keys", "routes"]))
        .select(diesel::dsl::max(changes::seq))
        .first::<Option<i64>>(conn)?;
    after = dropping_all.unwrap_or(after);
    let rows: Vec<(String, Option<i64>)> = changes::table
        .filter(changes::seq.gt(after))
        .filter(changes::kind.eq("client"))
        .group_by(changes::subject)
        .select((changes::subject, diesel::dsl::max(changes::seq)))
        .limit(limit + 1)
        .load(conn)?;
    if rows.len() as i64 > limit {
        let after = last(conn)?;
        return Ok(RecentChanges {
            after,
            clients: Vec::new(),
        });
    }
    let clients = rows
        .into_iter()
        .filter_map(|(subject, seq)| Some((ClientId::parse(&subject)?, seq?)))
        .collect();
    Ok(RecentChanges { after, clients })
}
